"""Time expressions mean what the calendar says, and ordinary words mean no time."""

import ast
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import date_bank as bank
import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oldfriend.memory.store import date_words, dates, periods
from oldfriend.memory.store.dates import find, resolve
from oldfriend.memory.store.periods import Interval, Unit

UNITS: tuple[Unit, ...] = ("hour", "day", "week", "month", "year", "decade")
moments = st.datetimes(datetime(1900, 1, 1), datetime(2200, 12, 31))


def parse(text: str) -> Interval:
    """ "2024-05-06/2024-05-13" or "2024-05-14T18/.."."""
    start, end = (
        None if edge == ".." else datetime.fromisoformat(edge if "T" not in edge or ":" in edge
                                                         else f"{edge}:00")
        for edge in text.split("/")
    )  # fmt: skip
    return Interval(start, end)


def meant(text: str, anchor: datetime, otherwise: dates.Lean | None = None) -> Interval | None:
    found = resolve(text, anchor, otherwise=otherwise)
    return found.interval if found else None


@pytest.mark.parametrize(("text", "interval"), bank.DEV)
def test_sentences_the_rules_were_written_for(text: str, interval: str) -> None:
    assert meant(text, bank.ANCHOR) == parse(interval)


@pytest.mark.parametrize(("text", "interval"), bank.TEST)
def test_sentences_written_before_the_rules(text: str, interval: str) -> None:
    assert meant(text, bank.ANCHOR) == parse(interval)


@pytest.mark.parametrize(("said", "text", "interval"), bank.OTHER_DAYS)
def test_sentences_said_on_awkward_days(said: str, text: str, interval: str) -> None:
    anchor = datetime.fromisoformat(said if ":" in said else f"{said}:00")
    assert meant(text, anchor) == parse(interval)


@pytest.mark.parametrize(("text", "interval"), bank.VERBLESS)
def test_without_a_verb_that_tells_the_caller_decides_or_nothing_is_certain(
    text: str, interval: str
) -> None:
    assert meant(text, bank.ANCHOR) is None
    assert meant(text, bank.ANCHOR, "past") == parse(interval)
    ahead = meant(text, bank.ANCHOR, "future")
    assert ahead is not None and ahead != parse(interval)


@pytest.mark.parametrize("text", bank.PLAIN_DEV + bank.PLAIN_TEST)
def test_ordinary_words_are_no_time(text: str) -> None:
    assert find(text, bank.ANCHOR) == []
    assert find(text, bank.ANCHOR, otherwise="past") == []


def test_the_bank_is_large_enough_to_mean_something() -> None:
    assert len(bank.DEV) + len(bank.TEST) + len(bank.OTHER_DAYS) >= 120
    assert len(bank.PLAIN_DEV) + len(bank.PLAIN_TEST) >= 60


def test_the_words_that_say_it_are_marked() -> None:
    text = "Where did I go yesterday evening, and who with?"
    found = resolve(text, bank.ANCHOR)
    assert found is not None
    assert text[found.start : found.end] == found.text == "yesterday evening"


def test_two_times_at_once_are_not_certain_unless_one_holds_the_other() -> None:
    assert resolve("I was ill yesterday and will be well tomorrow.", bank.ANCHOR) is None
    both = find("I was ill yesterday and will be well tomorrow.", bank.ANCHOR)
    assert [e.text for e in both] == ["yesterday", "tomorrow"]
    nested = resolve("This year was good, and yesterday was best.", bank.ANCHOR)
    assert nested is not None
    assert nested.text == "yesterday"


def test_summer_is_in_december_down_under() -> None:
    found = resolve("We surfed last summer.", bank.ANCHOR, hemisphere="south")
    assert found is not None
    assert found.interval == parse("2023-12-01/2024-03-01")


def test_curly_apostrophes_are_apostrophes() -> None:
    assert meant("I\u2019m leaving on Sunday.", bank.ANCHOR) == parse("2024-05-19/2024-05-20")


def test_intervals_carry_the_anchor_s_time_zone() -> None:
    zone = ZoneInfo("Europe/Rome")
    found = resolve("I saw her last week.", datetime(2024, 4, 3, 9, tzinfo=zone))
    assert found is not None
    assert found.interval == Interval(
        datetime(2024, 3, 25, tzinfo=zone), datetime(2024, 4, 1, tzinfo=zone)
    )


number_words = st.sampled_from(sorted(date_words.NUMBERS)) | st.integers(1, 400).map(str)


@settings(max_examples=300, deadline=None)
@given(number_words, st.sampled_from(UNITS), moments)
def test_so_many_units_ago_is_calendar_arithmetic(word: str, unit: Unit, anchor: datetime) -> None:
    n = date_words.number(word)
    years = 10 * n if unit == "decade" else n
    assume(unit != "decade" or n < 150)  # no calendar goes back that far
    name = "years" if unit == "decade" else f"{unit}s"
    then = anchor - relativedelta(**{name: years})  # type: ignore[arg-type]
    interval = meant(f"It was {word} {unit}s ago.", anchor)
    assert interval is not None and interval.start is not None and interval.end is not None
    assert then in interval
    assert interval.start == periods.floor(then, unit)
    assert interval.end == interval.start + relativedelta(**{name: years // n})  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 60), st.sampled_from(UNITS), moments)
def test_vague_words_widen_and_bounds_open(n: int, unit: Unit, anchor: datetime) -> None:
    exact = meant(f"It was {n} {unit}s ago.", anchor)
    about = meant(f"It was about {n} {unit}s ago.", anchor)
    over = meant(f"It was more than {n} {unit}s ago.", anchor)
    under = meant(f"It was less than {n} {unit}s ago.", anchor)
    then = anchor - periods.step(unit, n)
    assert exact and about and exact.start and about.start
    assert about.start < exact.start and then in about
    assert over == Interval(None, then)
    assert under == Interval(then, anchor)


@settings(max_examples=200, deadline=None)
@given(moments, st.sampled_from(date_words.WEEKDAYS))
def test_weekdays_lie_within_a_week(anchor: datetime, name: str) -> None:
    today = periods.floor(anchor, "day")
    for text, first, last in (
        (f"I fell on {name}.", -7, -1), (f"I fell last {name}.", -7, -1),
        (f"I will go on {name}.", 1, 7), (f"I will go next {name}.", 1, 7),
    ):  # fmt: skip
        interval = meant(text, anchor)
        assert interval and interval.start and interval.end
        assert interval.start.weekday() == date_words.weekday(name)
        assert interval.end - interval.start == timedelta(days=1)
        assert first <= (interval.start - today).days <= last


@settings(max_examples=200, deadline=None)
@given(moments, st.sampled_from(date_words.MONTHS))
def test_bounds_touch_what_they_name(anchor: datetime, name: str) -> None:
    named = meant(f"I slept in {name}.", anchor)
    assert named and named.start and named.end
    assert named.start <= anchor
    assert named.start.month == date_words.month(name) and named.start.day == 1
    assert named.end == named.start + relativedelta(months=1)
    assert meant(f"I slept before {name}.", anchor) == Interval(None, named.start)
    assert meant(f"I slept after {name}.", anchor) == Interval(named.end, None)
    assert meant(f"I have slept since {name}.", anchor) == Interval(named.start, None)
    assert meant(f"I slept until {name}.", anchor) == Interval(None, named.end)
    ahead = meant(f"I will sleep in {name}.", anchor)
    assert ahead and ahead.start and ahead.start > periods.floor(anchor, "day") - timedelta(days=1)


@settings(max_examples=150, deadline=None)
@given(st.dates(datetime(1901, 1, 1).date(), datetime(2099, 12, 31).date()), moments)
def test_full_dates_mean_that_day_in_every_spelling(day: object, anchor: datetime) -> None:
    start = datetime.fromisoformat(str(day))
    whole = Interval(start, start + timedelta(days=1))
    for text in (
        f"{start:%Y-%m-%d}", f"{start.day} {start:%B %Y}", f"{start:%B} {start.day}, {start:%Y}",
        f"the {start.day}th of {start:%B}, {start:%Y}", f"{start:%A}, {start.day} {start:%B %Y}",
    ):  # fmt: skip
        assert meant(f"We met on {text}.", anchor) == whole, text


def test_a_date_with_the_wrong_weekday_is_not_certain() -> None:
    assert meant("We met on Monday, 4 June 2023.", bank.ANCHOR) is None  # a Sunday


@settings(max_examples=100, deadline=None)
@given(moments, st.sampled_from(("month", "year", "week")))
def test_thirds_share_out_the_whole(anchor: datetime, unit: Unit) -> None:
    whole = periods.period(anchor, unit)
    first, middle, last = (periods.part(whole, n) for n in (0, 1, 2))
    assert (first.start, last.end) == (whole.start, whole.end)
    assert (first.end, middle.end) == (middle.start, last.start)


WORDS = (
    "in", "on", "at", "before", "after", "since", "until", "by", "from", "to", "between", "and",
    "the", "last", "next", "this", "week", "month", "year", "may", "May", "March", "june", "sun",
    "second", "two", "3rd", "2023", "31", "February", "ago", "days", "Friday", "weekend",
    "Christmas", "of", "early", "end", "beginning", "night", "03/04/2024", ",", ".", "?", "was",
    "will", "about", "80s", "winter", "now", "Monday", "half", "more", "than", "a",
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join) | st.text(max_size=40), moments)
def test_any_text_is_read_without_fail_and_in_order(text: str, anchor: datetime) -> None:
    found = find(text, anchor, otherwise="past")
    for expression in found:
        assert text[expression.start : expression.end] == expression.text
        assert expression.interval.start or expression.interval.end
    assert all(a.end <= b.start for a, b in pairwise(found))
    assert found == find(text, anchor, otherwise="past")


@pytest.mark.parametrize("anchor", [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59)])
def test_the_ends_of_the_calendar_are_no_trouble(anchor: datetime) -> None:
    for text, _ in bank.DEV + bank.TEST:
        find(text, anchor)


def test_the_clock_is_never_read() -> None:
    for module in Path(dates.__file__).parent.glob("date*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute):
                assert called.attr not in {"now", "utcnow", "today", "time"}, module.name


def test_intervals_are_half_open() -> None:
    first, second = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)
    interval = Interval(first, second)
    assert first in interval and second not in interval
    assert not interval.overlaps(Interval(second, None))
    assert interval.overlaps(Interval(None, first + timedelta(seconds=1)))
    assert Interval(None, second).covers(interval) and not interval.covers(Interval(None, second))
    with pytest.raises(ValueError, match="ends after it starts"):
        Interval(second, first)
