"""Time expressions in what people say, resolved against the moment they said it.

A small grammar finds the expression and names the stretch of calendar it means; python-dateutil
does the arithmetic. Nothing is guessed: an expression that leaves its time open ("a few days ago",
"when I was little", 03/04/2024) resolves to None, and so do words that only look like time. The
clock is never read. The rules are listed in docs/memory-time.md.
"""

from dataclasses import dataclass
from datetime import datetime

from oldfriend.memory.store.date_reader import Lean, read_at
from oldfriend.memory.store.date_words import STARTS
from oldfriend.memory.store.periods import Hemisphere, Interval

MAX_TEXT = 20_000  # characters that are read; a turn is far shorter


@dataclass(frozen=True)
class TimeExpression:
    """``text``, which stands at ``start:end`` of what was said, means ``interval``."""

    interval: Interval
    start: int
    end: int
    text: str


def find(
    text: str, anchor: datetime, *, otherwise: Lean | None = None, hemisphere: Hemisphere = "north"
) -> list[TimeExpression]:
    """Every time expression in ``text`` that is certain, in order.

    ``anchor`` is when ``text`` was said; intervals carry its time zone, if any. Whether "in July"
    is the last or the coming one is told by the verbs; ``otherwise`` says what holds where they do
    not tell (a question to one's memory: "past"). ``hemisphere`` decides when summer is.
    """
    plain = text[:MAX_TEXT].replace("\u2019", "'")
    found, position = list[TimeExpression](), 0
    for start in (match.start() for match in STARTS.finditer(plain)):
        if start < position:
            continue
        try:
            read = read_at(plain, start, anchor, otherwise, hemisphere)
        except (ValueError, OverflowError):  # 31 February; beyond year 9999
            continue
        if read:
            position = read.end
            if read.interval:
                interval = Interval(read.interval.start, read.interval.end)
                found.append(TimeExpression(interval, start, read.end, text[start : read.end]))
    return found


def resolve(
    text: str, anchor: datetime, *, otherwise: Lean | None = None, hemisphere: Hemisphere = "north"
) -> TimeExpression | None:
    """The one time that ``text`` speaks of, or None if there is none or more than one.

    Of several expressions the narrowest is meant if all others contain it.
    """
    found = find(text, anchor, otherwise=otherwise, hemisphere=hemisphere)
    inmost = [e for e in found if all(other.interval.covers(e.interval) for other in found)]
    return inmost[0] if inmost else None
