"""How names and relative times combine: prepositions, before and since, ranges, parts."""

from datetime import datetime
from typing import Literal, NamedTuple, cast

from oldfriend.memory.store import date_words as words
from oldfriend.memory.store import periods
from oldfriend.memory.store.date_names import Place, read_name, within
from oldfriend.memory.store.date_relative import Moment, Read, read_relative, today
from oldfriend.memory.store.periods import Cycle, DayPart, Hemisphere, Interval, Span, Unit

Lean = Literal["past", "future"]


def read_at(
    text: str, start: int, anchor: datetime, otherwise: Lean | None, hemisphere: Hemisphere
) -> Read | None:
    """The expression that starts at ``start`` of ``text``, which was said at ``anchor``."""
    # Most places start nothing: look for the verbs only where something was found.
    if not _Reader(text, start, anchor, "past", hemisphere).expression():
        return None
    leaning = words.leaning(*words.clause(text, start, start)) or otherwise or ""
    return _Reader(text, start, anchor, leaning, hemisphere).expression()


class Edge(NamedTuple):
    """One end of a range: an interval, or a name that the other end makes certain."""

    end: int
    interval: Interval | None = None
    cycle: Cycle | None = None
    kind: str = ""


class _Reader:
    """Reads the one expression that starts at ``start`` of ``text``."""

    def __init__(
        self, text: str, start: int, anchor: datetime, leaning: str, hemisphere: Hemisphere
    ) -> None:
        self.text, self.start = text, start
        self.before, _ = words.clause(text, start, start)
        self.place = Place(text, anchor, hemisphere)
        self.moment = Moment(anchor, leaning)

    def expression(self) -> Read | None:
        """A range, something before or after, a part of something, or something alone."""
        at = self.start
        if words.COUNT.match(self.text, at) and words.UNSURE.search(self.before[-30:]):
            return None
        return (
            self._range(at)
            or self._offset(at)
            or self._beside(at)
            or self._bounded(at)
            or self._stretch(at, words.ALONE)
            or self._with_preposition(at)
        )

    def _range(self, at: int) -> Read | None:
        """ "Between May and July", "from 3 to 10 June": both ends included."""
        if not (opened := words.RANGE.match(self.text, at)):
            return None
        if day := words.BARE_DAY.match(self.text, opened.end()):
            cycle = periods.monthly(int(day["day"]))
            first: Edge | None = Edge(day.end(), cycle=cycle, kind="bare")
        else:
            first = self._edge(opened.end())
        joint = words.AND.match(self.text, first.end) if first else None
        last = self._edge(joint.end()) if joint else None
        return Read(self._between(first, last), last.end) if first and last else None

    def _edge(self, at: int) -> Edge | None:
        place = self.place._replace(bound=True)
        name = read_name(at, place)
        if name and name.cycle and not words.OF_THAT.match(self.text, name.end):
            return Edge(name.end, cycle=name.cycle, kind=name.kind)
        read = self._stretch(at, words.ANY, bound=True)
        return Edge(read.end, read.interval, kind=name.kind if name else "") if read else None

    def _between(self, first: Edge, last: Edge) -> Interval | None:
        """The last end is told by the verbs, or follows the first; the first is the last one
        before it. Two bare weekdays are office hours and mean no certain days."""
        if first.cycle and last.cycle and first.kind in ("weekday", "weekend"):
            return None
        if first.kind == "bare" and last.kind not in words.ALONE:
            return None
        until = last.interval
        if last.cycle and first.interval and first.interval.start:
            since = first.interval.start
            until = next((s for s in last.cycle(since) if s.start >= since), None)
        elif last.cycle:
            until = self._choose(last.cycle, last.kind)
        since_when = first.interval
        if first.cycle and until and until.start:
            starts = [s for s in first.cycle(until.start) if s.start <= until.start]
            since_when = starts[-1] if starts else None
        if not since_when or not until or None in (since_when.start, until.end):
            return None
        return Interval(since_when.start, until.end)

    def _offset(self, at: int) -> Read | None:
        """ "Two days before Christmas": the whole unit that lies so far off."""
        if not (found := words.OFFSET.match(self.text, at)):
            return None
        read = self._stretch(found.end(), words.ANY, bound=True)
        if not read or not isinstance(read.interval, Span):
            return None
        unit, count = cast(Unit, found["unit"].lower()), words.number(found["num"])
        sign = -1 if found["side"].lower() == "before" else 1
        shifted = read.interval.start + periods.step(unit, sign * count)
        return Read(periods.period(shifted, unit), read.end)

    def _beside(self, at: int) -> Read | None:
        """ "The week before 9 June", "the Friday after Easter": next to a day."""
        if not (found := words.BESIDE.match(self.text, at)):
            return None
        read = self._stretch(found.end(), words.ANY, bound=True)
        day = read.interval if read else None
        if not read or not isinstance(day, Span) or day != periods.period(day.start, "day"):
            return None
        sign = -1 if found["side"].lower() == "before" else 1
        if found["weekday"]:
            days = periods.weekly(words.weekday(found["weekday"]))(day.start)
            either = [s for s in days if (s.start < day.start if sign < 0 else s.start > day.start)]
            return Read(either[-1 if sign < 0 else 0], read.end)
        unit = cast(Unit, (found["unit"] or "day").lower())
        span = periods.period(day.start + periods.step(unit, sign), unit)
        return Read(periods.day_part(span, "night") if found["night"] else span, read.end)

    def _bounded(self, at: int) -> Read | None:
        """Before and after leave the named stretch out; since, until and by take it in."""
        if not (found := words.BOUND.match(self.text, at)):
            return None
        word = " ".join(found["word"].lower().split())
        if word == "by" and self.moment.leaning != "past":
            self.moment = self.moment._replace(leaning="future")
        elif word == "since":
            self.moment = self.moment._replace(leaning="past")
        read = self._stretch(found.end(), words.ANY, bound=True)
        if not read or not read.interval:
            return read
        start, end = read.interval.start, read.interval.end
        if word == "before":
            return Read(Interval(None, start) if start else None, read.end)
        if word == "after":
            return Read(Interval(end, None) if end else None, read.end)
        if word in ("until", "till", "by"):
            return Read(Interval(None, end) if end else None, read.end)
        onwards = words.ONWARDS.match(self.text, read.end)
        day = today(self.moment)
        ahead = read.interval == day or (start is not None and start >= self.moment.anchor)
        if word == "from" and not onwards and not ahead:
            return read  # "the bread from yesterday"
        end_of_words = onwards.end() if onwards else read.end
        return Read(Interval(start, None) if start else None, end_of_words)

    def _with_preposition(self, at: int) -> Read | None:
        found = words.PREPOSITION.match(self.text, at)
        if not found:
            return None
        return self._stretch(found.end(), words.KINDS[found["word"].lower()], usual=True)

    def _stretch(
        self, at: int, kinds: frozenset[str], *, bound: bool = False, usual: bool = False
    ) -> Read | None:
        """One whole stretch of time. ``usual``: without a year it may be what happens always."""
        read = (
            self._part_of(at)
            or self._relative(at)
            or self._with_way(at)
            or self._named(at, kinds, bound, usual)
        )
        if not read or not isinstance(read.interval, Span):
            return read
        days = periods.period(read.interval.start, "day")
        if read.interval == days and (part := words.DAY_PART.match(self.text, read.end)):
            name = cast(DayPart, part["part"].lower())
            return Read(periods.day_part(days, name), part.end())
        return read

    def _part_of(self, at: int) -> Read | None:
        """ "The beginning of the year", "late May": a third, if there are days to share out."""
        if not (found := words.PART_OF.match(self.text, at)):
            return None
        if unit := words.THE_UNIT.match(self.text, found.end()):
            whole = periods.period(self.moment.anchor, cast(Unit, unit["unit"].lower()))
            read: Read | None = Read(whole, unit.end())
        else:
            read = self._relative(found.end()) or self._with_way(found.end())
            read = read or self._named(found.end(), words.ALONE | words.LONG, False, False)
        if not read or not isinstance(read.interval, Span):
            return None
        third = words.THIRDS[(found["edge"] or found["adjective"]).lower()]
        if (read.interval.end - read.interval.start).days < 7:
            return None
        part = periods.part(read.interval, cast(Literal[0, 1, 2], third))
        came = part.start <= self.moment.anchor or not unit or self.moment.leaning == "future"
        return Read(part if came else None, read.end)

    def _relative(self, at: int) -> Read | None:
        """A relative time, and a day or month in it: "last week on Tuesday"."""
        if words.WAY.match(self.text, at) and words.DETERMINED.search(
            self.text[max(at - 9, 0) : at]
        ):
            return None  # "the last week of June", "my last year at school"
        read = read_relative(self.text, at, self.moment)
        if not read or not isinstance(read.interval, Span):
            return read
        if inner := words.IN_THAT.match(self.text, read.end):
            name = read_name(inner.end(), self.place)
            if name and name.cycle and (span := within(name.cycle, read.interval)):
                return Read(span, name.end)
        return read

    def _determined(self, at: int) -> bool:
        return words.DETERMINED.search(self.text[max(at - 9, 0) : at]) is not None

    def _with_way(self, at: int) -> Read | None:
        """ "Last July", "this Friday", "next summer"."""
        found = words.WAY.match(self.text, at)
        if not found or self._determined(at):
            return None
        name = read_name(found.end(), self.place)
        if not name or not name.cycle or name.kind in ("date", "day"):
            return None
        way = found["way"].lower().split()[-1]
        if way == "this" and name.kind in ("month", "season", "holiday"):
            return Read(self._this(name.cycle), name.end)
        if way in ("this", "coming") and self.moment.leaning != "past":
            return Read(self._first(name.cycle, today(self.moment).start), name.end)
        if way == "next":
            return Read(self._first(name.cycle, today(self.moment).end), name.end)
        ended = [s for s in name.cycle(self.moment.anchor) if s.end <= today(self.moment).start]
        return Read(ended[-1] if ended else None, name.end)

    def _this(self, cycle: Cycle) -> Interval | None:
        anchor = self.moment.anchor
        begun = [s for s in cycle(anchor) if s.start <= anchor]
        if self.moment.leaning == "past":
            return begun[-1]
        same = [s for s in cycle(anchor) if s.start.year == anchor.year]
        return begun[-1] if begun and anchor in begun[-1] else (same[-1] if same else None)

    def _named(self, at: int, kinds: frozenset[str], bound: bool, usual: bool) -> Read | None:
        name = read_name(at, self.place._replace(bound=bound))
        if not name or name.kind not in kinds:
            return None
        if not name.cycle:
            return Read(name.span, name.end)
        if outer := words.OF_THAT.match(self.text, name.end):
            read = read_relative(self.text, outer.end(), self.moment)
            if read and isinstance(read.interval, Span):
                return Read(within(name.cycle, read.interval), read.end)
        if (usual or name.kind == "date") and words.recurs(self.before):
            return Read(None, name.end)
        return Read(self._choose(name.cycle, name.kind), name.end)

    def _choose(self, cycle: Cycle, kind: str) -> Span | None:
        """The coming one if the verbs look ahead, the last one if they look back. A weekday is
        never today."""
        now, day = self.moment.anchor, today(self.moment)
        if not self.moment.leaning:
            return None
        if self.moment.leaning == "future":
            return self._first(cycle, day.end if kind == "weekday" else day.start)
        begun = [
            s for s in cycle(now) if (s.end <= day.start if kind == "weekday" else s.start <= now)
        ]
        return begun[-1] if begun else None

    def _first(self, cycle: Cycle, since: datetime) -> Span | None:
        """The first occurrence that is not over, or has not begun, at ``since``."""
        return next((s for s in cycle(self.moment.anchor) if s.start >= since), None)
