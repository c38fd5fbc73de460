"""Time told from the moment of speaking: "yesterday evening", "two weeks ago", "last week"."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple, cast

from oldfriend.memory.store import date_words as words
from oldfriend.memory.store import periods
from oldfriend.memory.store.date_words import rule
from oldfriend.memory.store.periods import DayPart, Interval, Span, Unit, period, step


class Read(NamedTuple):
    """An interval read up to ``end``; None: the words are understood and leave the time open."""

    interval: Interval | None
    end: int


class Moment(NamedTuple):
    """When it was said, and whether the verbs around look to the "future", the "past" or ""."""

    anchor: datetime
    leaning: str


def read_relative(text: str, at: int, moment: Moment) -> Read | None:
    """The relative expression that starts at ``at`` of ``text``, if any."""
    for pattern, read in _RULES:
        if match := pattern.match(text, at):
            return Read(read(match, moment), match.end())
    return None


def today(moment: Moment) -> Span:
    """The day it was said."""
    return period(moment.anchor, "day")


def _day_word(match: re.Match[str], moment: Moment) -> Interval:
    days = {"the day before yesterday": -2, "yesterday": -1, "today": 0, "tomorrow": 1}
    shift = days.get(" ".join(match["word"].lower().split()), 2)
    day = period(moment.anchor + timedelta(days=shift), "day")
    return periods.day_part(day, cast(DayPart, match["part"].lower())) if match["part"] else day


def _tonight(match: re.Match[str], moment: Moment) -> Interval:
    last = match[0].lower().startswith("last")
    return periods.day_part(period(moment.anchor - timedelta(days=last), "day"), "night")


def _this_part(match: re.Match[str], moment: Moment) -> Interval:
    return periods.day_part(today(moment), cast(DayPart, match["part"].lower()))


def _ago(match: re.Match[str], moment: Moment) -> Interval | None:
    """The whole unit that lies so far back; "about" widens it by one on each side, "more than"
    and "less than" leave it open on one."""
    count, unit = words.number(match["num"]), cast(Unit, match["unit"].lower())
    anchor = moment.anchor
    if unit in ("second", "minute") and match["num"].lower() in ("a", "an", "one"):
        return None  # "a second ago" is no measure
    then = anchor - step(unit, count)
    if match["over"]:
        return Interval(None, then)
    if match["under"]:
        return Interval(then, anchor)
    if match["today"]:
        return period(then, "day")
    if match["about"]:
        near = min(period(anchor - step(unit, count - 1), unit).end, anchor)
        return Interval(period(anchor - step(unit, count + 1), unit).start, near)
    return period(then, unit)


def _ahead(match: re.Match[str], moment: Moment) -> Interval | None:
    """ "In two weeks" is also how long something took, unless the verb looks ahead."""
    if not match["sure"] and moment.leaning != "future":
        return None
    unit = cast(Unit, match["unit"].lower())
    if unit in ("second", "minute") and match["num"].lower() in ("a", "an", "one"):
        return None
    return period(moment.anchor + step(unit, words.number(match["num"])), unit)


def _rolling(match: re.Match[str], moment: Moment) -> Interval:
    """So much time up to now, or from now on."""
    found = match.groupdict()
    length = step(cast(Unit, match["unit"].lower()), words.number(found.get("num") or "one"))
    if match["way"].lower() in ("next", "coming"):
        return Interval(moment.anchor, moment.anchor + length)
    return Interval(moment.anchor - length, moment.anchor)


def _second_next(match: re.Match[str], moment: Moment) -> Interval:
    count = -2 if match["last"] else 2
    unit = cast(Unit, match["unit"].lower())
    return period(moment.anchor + step(unit, count), unit)


def _unit(match: re.Match[str], moment: Moment) -> Interval:
    """Last, this or next week, month, ..."""
    way, unit = match["way"].lower().split()[-1], cast(Unit, match["unit"].lower())
    count = {"last": -1, "past": -1, "next": 1}.get(way, 0)
    found = period(moment.anchor + step(unit, count), unit)
    if way == "this" and found.start > moment.anchor and moment.leaning == "past":
        return period(moment.anchor - step(unit), unit)  # "how was this weekend?"
    if unit == "weekend" and way == "last" and found.end > today(moment).start:
        return period(moment.anchor - step(unit, 2), unit)
    return found


def _so_far(match: re.Match[str], moment: Moment) -> Interval | None:
    unit = cast(Unit, (match["unit"] or "day").lower())
    whole = period(moment.anchor, unit)
    earlier = match["way"].lower() == "earlier"
    start, end = (whole.start, moment.anchor) if earlier else (moment.anchor, whole.end)
    return Interval(start, end) if start < end else None


_PART = "(?: (?:in the |at )?{part})?"
_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], Moment], Interval | None]], ...] = (
    (rule(
        "(?P<word>the day before yesterday|the day after tomorrow|yesterday|today|tomorrow)\\b"
        "(?!'s (?:youth|kids|world))" + _PART
    ), _day_word),
    (rule("(?:tonight|last night)\\b"), _tonight),
    (rule("this (?P<part>morning|afternoon|evening)\\b"), _this_part),
    (rule(
        "(?:(?P<about>about|around|roughly|approximately|nearly|almost|some) |(?P<over>over|more "
        "than|at least) |(?P<under>less than|under|not even) |exactly )?{num} {unit} ago\\b"
        "(?P<today> today\\b)?"
    ), _ago),
    (rule("(?:in )?{num} {unit}(?P<sure> from (?:now|today)\\b)"), _ahead),
    (rule("in {num} {unit}(?P<sure>'? time\\b)?"), _ahead),
    (rule("(?:the |these |my |our )?(?P<way>last|past|next|coming) {num} {unit}"), _rolling),
    (rule(
        "(?:the|this) (?P<way>past|last(?! \\w+ (?:of|before|in|at|with|when|that|i|we)\\b)) "
        "(?P<unit>week|month|year|decade)\\b"
    ), _rolling),
    (rule("the (?P<unit>week|weekend|month|year) (?:(?P<last>before last)|after next)\\b"),
     _second_next),
    (rule("(?P<way>last|this|next|this past|this coming) "
          "(?P<unit>week|weekend|month|year|decade)\\b"), _unit),
    (rule("(?P<way>earlier|later) (?:this (?P<unit>week|month|year)\\b|(?P<today>today)\\b)"),
     _so_far),
)  # fmt: skip
