"""Stretches of time on the calendar: half-open intervals, units, seasons, parts of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from dateutil.easter import easter
from dateutil.relativedelta import relativedelta

Unit = Literal["second", "minute", "hour", "day", "weekend", "week", "month", "year", "decade"]
DayPart = Literal["morning", "afternoon", "evening", "night"]
Hemisphere = Literal["north", "south"]

# Hours at which a part of the day begins and ends, counted from the day's midnight; a night, like
# an evening, begins at 18, because "last night" covers both.
DAY_PARTS: dict[DayPart, tuple[int, int]] = {
    "morning": (5, 12), "afternoon": (12, 18), "evening": (18, 24), "night": (18, 29),
}  # fmt: skip
# Meteorological seasons: whole months, here the first one in the north.
SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
HOLIDAYS: dict[str, tuple[int, int]] = {
    "new year's day": (1, 1), "new year's eve": (12, 31), "valentine's day": (2, 14),
    "halloween": (10, 31), "christmas eve": (12, 24), "christmas day": (12, 25),
    "christmas": (12, 25), "boxing day": (12, 26),
}  # fmt: skip


@dataclass(frozen=True)
class Interval:
    """``start <= t < end``; None leaves that end open. At least one instant lies in it."""

    start: datetime | None
    end: datetime | None

    def __post_init__(self) -> None:
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"an interval ends after it starts, not {self.start} to {self.end}")

    def __contains__(self, t: datetime) -> bool:
        return (self.start is None or self.start <= t) and (self.end is None or t < self.end)

    def overlaps(self, other: "Interval") -> bool:
        """Whether some instant lies in both."""
        return (self.start is None or other.end is None or self.start < other.end) and (
            other.start is None or self.end is None or other.start < self.end
        )

    def covers(self, other: "Interval") -> bool:
        """Whether every instant of ``other`` lies in this one."""
        return (self.start is None or (other.start is not None and self.start <= other.start)) and (
            self.end is None or (other.end is not None and other.end <= self.end)
        )


@dataclass(frozen=True)
class Span(Interval):
    """An interval with both ends, which is what a name on the calendar means."""

    start: datetime
    end: datetime


def comparable(t: datetime) -> datetime:
    """A time without a zone counts as UTC, as everywhere in the pool."""
    return t if t.tzinfo else t.replace(tzinfo=UTC)


def step(unit: Unit, count: int = 1) -> relativedelta:
    """``count`` units as calendar arithmetic: a month after 31 January is the last of February."""
    if unit == "weekend":
        return relativedelta(weeks=count)
    if unit == "decade":
        return relativedelta(years=10 * count)
    return relativedelta(**{f"{unit}s": count})  # type: ignore[arg-type]


def floor(t: datetime, unit: Unit) -> datetime:
    """The start of the unit that holds ``t``; weeks start on Monday. A weekend starts on the
    Saturday of its week, which lies ahead for most of ``t``."""
    if unit == "second":
        return t.replace(microsecond=0)
    if unit == "minute":
        return t.replace(second=0, microsecond=0)
    if unit == "hour":
        return t.replace(minute=0, second=0, microsecond=0)
    day = t.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit in ("week", "weekend"):
        return day - timedelta(days=day.weekday()) + timedelta(days=5 * (unit == "weekend"))
    if unit == "month":
        return day.replace(day=1)
    if unit == "year":
        return day.replace(month=1, day=1)
    if unit == "decade":
        return day.replace(year=day.year // 10 * 10, month=1, day=1)
    return day


def period(t: datetime, unit: Unit) -> Span:
    """The unit that holds ``t``, whole."""
    start = floor(t, unit)
    return Span(start, start + (relativedelta(days=2) if unit == "weekend" else step(unit)))


def part(span: Span, third: Literal[0, 1, 2]) -> Span:
    """First, middle or last third: in months of a season or more, in days of anything shorter."""
    apart = relativedelta(span.end, span.start)
    months = 12 * apart.years + apart.months
    if months >= 3 and not apart.days:
        cuts = [span.start + relativedelta(months=months * n // 3) for n in range(4)]
    else:
        days = (span.end - span.start).days
        cuts = [span.start + timedelta(days=days * n // 3) for n in range(3)] + [span.end]
    return Span(cuts[third], cuts[third + 1])


def day_part(span: Span, name: DayPart) -> Span:
    """A part of the day that ``span`` starts with; a night runs into the next day."""
    first, last = DAY_PARTS[name]
    return Span(span.start + timedelta(hours=first), span.start + timedelta(hours=last))


Cycle = Callable[[datetime], Iterator[Span]]  # occurrences around a moment, in order


def weekly(weekday: int) -> Cycle:
    """The days that are a ``weekday`` (0 is Monday)."""

    def around(t: datetime) -> Iterator[Span]:
        monday = floor(t, "week")
        for week in range(-2, 3):
            yield period(monday + timedelta(days=7 * week + weekday), "day")

    return around


def weekends(t: datetime) -> Iterator[Span]:
    """The weekends around ``t``."""
    for week in range(-2, 3):
        yield period(t + timedelta(weeks=week), "weekend")


def monthly(day: int) -> Cycle:
    """The days with a number, in the months that have it."""

    def around(t: datetime) -> Iterator[Span]:
        for month in range(-3, 4):
            first = floor(t, "month") + relativedelta(months=month)
            if (start := first + timedelta(days=day - 1)).month == first.month:
                yield period(start, "day")

    return around


def yearly(month: int, months: int = 1) -> Cycle:
    """``months`` whole months a year, from ``month`` on; a winter belongs to its December."""

    def around(t: datetime) -> Iterator[Span]:
        for year in range(-2, 3):
            start = floor(t, "year") + relativedelta(years=year, months=month - 1)
            yield Span(start, start + relativedelta(months=months))

    return around


def season(name: str, hemisphere: Hemisphere) -> Cycle:
    """A meteorological season, three whole months."""
    first = SEASONS[name] + (6 if hemisphere == "south" else 0)
    return yearly((first - 1) % 12 + 1, 3)


def date_of_year(month: int, day: int) -> Cycle:
    """One day a year, in the years that have it: 29 February comes every fourth or eighth."""

    def around(t: datetime) -> Iterator[Span]:
        for year in range(max(t.year - 8, 1), t.year + 9):
            first = floor(t, "year").replace(year=year, month=month)
            if (start := first + timedelta(days=day - 1)).month == month:
                yield period(start, "day")

    return around


def holiday(name: str) -> Cycle:
    """A holiday with a date, or Easter Sunday (western)."""
    if name != "easter":
        return date_of_year(*HOLIDAYS[name])

    def around(t: datetime) -> Iterator[Span]:
        for year in range(t.year - 2, t.year + 3):
            found = easter(year)
            yield period(floor(t, "day").replace(year, found.month, found.day), "day")

    return around
