"""Names on the calendar: "3 June", months, weekdays, seasons, holidays, years."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import NamedTuple

from oldfriend.memory.store import date_words as words
from oldfriend.memory.store import periods
from oldfriend.memory.store.date_words import rule
from oldfriend.memory.store.periods import Cycle, Hemisphere, Span


class Name(NamedTuple):
    """A name that ends at ``end`` of the text, and means one ``span`` or each of a ``cycle``.

    With neither the name is understood but not certain: 03/04/2024, the winter of 1988.
    """

    kind: str  # fixed, date, day, weekday, weekend, month, season, holiday, year or decade
    end: int
    span: Span | None = None
    cycle: Cycle | None = None


class Place(NamedTuple):
    """Where a name is read: the text, the moment it was said, where on earth."""

    text: str
    anchor: datetime
    hemisphere: Hemisphere
    bound: bool = False  # after "before", "since" and the like, where names of people stand too


def read_name(at: int, place: Place) -> Name | None:
    """The name that starts at ``at`` of ``place.text``, if any. ValueError: no such day."""
    for pattern, read in _RULES:
        if (match := pattern.match(place.text, at)) and (name := read(match, place)):
            return name
    return None


def within(cycle: Cycle, span: Span) -> Span | None:
    """The one occurrence that starts in ``span``, or None."""
    found = [s for s in cycle(span.start) if span.start <= s.start < span.end]
    return found[0] if len(found) == 1 else None


def _day(place: Place, year: int, month: int, day: int) -> Span:
    midnight = place.anchor.replace(hour=0, minute=0, second=0, microsecond=0)
    return periods.period(midnight.replace(year=year, month=month, day=day), "day")


def _iso(match: re.Match[str], place: Place) -> Name:
    return Name("fixed", match.end(), _day(place, *map(int, match.groups())))


def _numeric(match: re.Match[str], place: Place) -> Name:
    """Day and month stand in either order; only one of them above 12 tells which."""
    first, second, year = int(match["a"]), int(match["b"]), int(match["c"])
    if first <= 12 and second <= 12 and first != second:
        return Name("fixed", match.end())
    return Name("fixed", match.end(), _day(place, year, min(first, second), max(first, second)))


def _date(match: re.Match[str], place: Place) -> Name | None:
    if not words.is_month(place.text, match.start("month"), match.end("month"), place.bound):
        return None
    found = match.groupdict()
    # "may 3 people come" and "march 5 miles" are no dates.
    plain_day = not (found["suffix"] or found.get("nth") or found["year"])
    if match["month"] in ("may", "march") and plain_day and "nth" not in found:
        return None
    month = words.month(match["month"])
    day = int(match["day"]) if found["day"] else words.ORDINALS[match["nth"].lower()]
    weekday = words.weekday(match["weekday"]) if match["weekday"] else None
    if match["year"]:
        span = _day(place, int(match["year"]), month, day)
        right = weekday in (None, span.start.weekday())
        return Name("fixed", match.end(), span if right else None)
    if not any(True for _ in periods.date_of_year(month, day)(place.anchor)):
        return Name("date", match.end())
    return Name("date", match.end(), cycle=_on(weekday, periods.date_of_year(month, day)))


def _on(weekday: int | None, cycle: Cycle) -> Cycle:
    """Only the occurrences on that weekday, if one is named."""

    def around(t: datetime) -> Iterator[Span]:
        return (span for span in cycle(t) if weekday in (None, span.start.weekday()))

    return around


def _dated(cycle: Cycle, match: re.Match[str], place: Place, kind: str) -> Name:
    """A month or season, of a year if one is named; a winter of two years is not certain."""
    if not match["year"]:
        return Name(kind, match.end(), cycle=cycle)
    span = within(cycle, periods.period(_day(place, int(match["year"]), 1, 1).start, "year"))
    last = span and span.end - (span.end - span.start) / 100
    return Name("fixed", match.end(), span if last and last.year == int(match["year"]) else None)


def _month(match: re.Match[str], place: Place) -> Name | None:
    if not match["year"] and not words.is_month(
        place.text, match.start("month"), match.end("month"), place.bound
    ):
        return None
    return _dated(periods.yearly(words.month(match["month"])), match, place, "month")


def _season(match: re.Match[str], place: Place) -> Name | None:
    name = match["season"].lower()
    if name == "fall" and match["the"] and not match["year"]:
        return None  # people hurt themselves in the fall
    return _dated(periods.season(name, place.hemisphere), match, place, "season")


def _holiday(match: re.Match[str], place: Place) -> Name:
    name = match["holiday"].lower()
    cycle = periods.holiday(name)
    if not match["year"]:
        return Name("holiday", match.end(), cycle=cycle)
    year = periods.period(_day(place, int(match["year"]), 1, 1).start, "year")
    return Name("fixed", match.end(), within(cycle, year))


def _year(match: re.Match[str], place: Place) -> Name:
    span = periods.period(_day(place, int(match["year"]), 1, 1).start, "year")
    return Name("year", match.end(), span)


def _decade(match: re.Match[str], place: Place) -> Name | None:
    """Two digits mean the last such decade; warm weather is also in the 80s."""
    before, after = words.clause(place.text, match.start(), match.end())
    if words.WEATHER.search(before + after):
        return None
    first = int(match["decade"])
    if first < 100:
        first += place.anchor.year // 100 * 100
        first -= 100 * (first > place.anchor.year)
    return Name("decade", match.end(), periods.period(_day(place, first, 1, 1).start, "decade"))


_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], Place], Name | None]], ...] = (
    (rule(r"(\d{4})-(\d\d)-(\d\d)(?!\d)"), _iso),
    (rule(r"(?P<a>\d{1,2})([./])(?P<b>\d{1,2})\2(?P<c>\d{4})(?!\d)"), _numeric),
    (rule(
        "(?:{weekday},? )?(?:the )?(?:{day}|{nth}(?= of\\b))(?: of)? {month}(?:,? {year})?"
    ), _date),
    (rule("(?:{weekday},? )?{month} (?:the )?{day}(?:,? {year})?"), _date),
    (rule("{month}(?:,?(?: of)? {year})?"), _month),
    (rule("(?P<the>the )?{season}(?:,?(?: of)? {year})?"), _season),
    (rule("{holiday}(?:,?(?: of)? {year})?"), _holiday),
    (rule("(?:the year )?{year}"), _year),
    (rule("the '?(?P<decade>(?:19|20)?\\d0)s\\b"), _decade),
    (rule("{weekday}"), lambda m, _: Name(
        "weekday", m.end(), cycle=periods.weekly(words.weekday(m["weekday"])))),
    (rule("the weekend\\b"), lambda m, _: Name("weekend", m.end(), cycle=periods.weekends)),
    # "the 3rd" is a day of the month only where no noun follows.
    (rule(
        "the {day}(?<=[a-z])(?=\\s*(?:[.,;!?)]|$)| (?:and|or|i|we|you|he|she|it|they|with|at|when|"
        "because|of (?:last|this|next) month)\\b)"
    ), lambda m, _: Name("day", m.end(), cycle=periods.monthly(int(m["day"])))),
)  # fmt: skip
