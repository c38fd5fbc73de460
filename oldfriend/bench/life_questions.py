"""Questions about a simulated life whose answers the simulator knows, and memory's answers.

All words come from the test half of the banks, which nobody was trained or tuned on. No model
reads them: what kind of question it is (current, former, before a value, in a month) is given, what
slot it is about and which time it names are found by retrieval and by ``dates``.
"""

import calendar
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from random import Random
from typing import Literal

from oldfriend.corpus.banks import Slot
from oldfriend.corpus.people import Known, Life
from oldfriend.corpus.schema import slot_words
from oldfriend.corpus.seeds import Seeds
from oldfriend.memory.store import change
from oldfriend.memory.store.dates import resolve
from oldfriend.memory.store.forgetting import TYPED
from oldfriend.memory.store.periods import Interval
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.retrieve import Query, Retriever
from oldfriend.memory.store.user import UserMemory

Kind = Literal["current", "former", "before", "held_in", "told_in"]
TEMPORAL: tuple[Kind, ...] = ("former", "before", "held_in", "told_in")
TRIED = 10  # typed records whose slots are tried, best first


@dataclass(frozen=True)
class Asked:
    """A question. ``truth``: the values of which each is right. ``stale``: those of the same slot
    that are no longer true. ``told``: the turns that told a right value."""

    kind: Kind
    text: str
    slot: str
    importance: int
    truth: frozenset[str]
    stale: frozenset[str] = frozenset()
    told: frozenset[tuple[str, int]] = frozenset()
    before: str = ""


def questions(life: Life, seeds: Seeds, now: datetime) -> list[Asked]:
    """One question of each kind that a slot allows, for every slot the person told of."""
    rng = Random(f"questions {life.person}")
    found: list[Asked] = []
    for name in sorted({known.slot for known in life.facts}):
        told = [known for known in life.facts if known.slot == name]
        found += _of_slot(name, seeds.slots[name], told, seeds.glue.month.test, now, rng)
    return found


def answer(asked: Asked, memory: UserMemory, retriever: Retriever, now: datetime) -> frozenset[str]:
    """The values that memory answers with; empty if it knows none."""
    named = resolve(asked.text, now, otherwise="past")
    when = named.interval if named else None
    told_in = when if asked.kind == "told_in" else None
    query = Query(
        asked.text, limit=TRIED, now=now, asker="user", kinds=TYPED,
        current=asked.kind == "current",
        since=told_in.start if told_in else None, until=told_in.end if told_in else None,
    )  # fmt: skip
    for hit in retriever.search(memory, query):
        values = _values(asked, hit.record, memory, when, now)
        if values:
            return values
    return frozenset()


def holds(record: MemoryRecord, values: frozenset[str]) -> bool:
    """Whether one of ``values`` stands in the record, as whole words."""
    return any(re.search(rf"(?<!\w){re.escape(value)}(?!\w)", record.text) for value in values)


def _of_slot(
    name: str, slot: Slot, told: Sequence[Known], months: Sequence[str], now: datetime, rng: Random
) -> Iterator[Asked]:
    """``told`` is in the order in which it was told."""
    weight = slot.importance
    holding = [known for known in told if known.valid_to is None]
    ended = frozenset(known.value for known in told if known.valid_to is not None)
    yield Asked(
        "current", rng.choice(slot.ask.test), name, weight,
        frozenset(known.value for known in holding), ended,
        frozenset((known.conversation, known.turn) for known in holding),
    )  # fmt: skip
    if ended and len(told) > 1:
        last, now_true = told[-2].value, told[-1].value
        if slot.ask_past:
            past = rng.choice(slot.ask_past.test)
            yield Asked("former", past, name, weight, frozenset({last}))
        text = f"What was my {slot_words(name)} before {now_true}?"
        yield Asked("before", text, name, weight, frozenset({last}), before=now_true)
        if sure := list(_held(told, now)):
            month, value = rng.choice(sure)
            text = f"{rng.choice(slot.ask.test)} I mean how it was in {month}."
            yield Asked("held_in", text, name, weight, frozenset({value}))
    alone = list(_told_alone(told, now))
    if alone and len(told) > 1:
        month, value = rng.choice(alone)
        which = rng.choice(months).replace("{value}", month)
        text = f"{rng.choice(slot.ask.test)} {which}"
        yield Asked("told_in", text, name, weight, frozenset({value}))


def _held(told: Sequence[Known], now: datetime) -> Iterator[tuple[str, str]]:
    """Past months in which a value held throughout, as anyone who was told of it would say: told
    before the month began, and the next one neither true nor told before it was over."""
    for year, month in _past_months(told[0].said_on, now):
        first, after = date(year, month, 1), date(year + month // 12, month % 12 + 1, 1)
        for place, known in enumerate(told):
            later = told[place + 1] if place + 1 < len(told) else None
            if known.said_on < first and (
                later is None or min(later.said_on, later.valid_from) >= after
            ):
                yield calendar.month_name[month], known.value


def _told_alone(told: Sequence[Known], now: datetime) -> Iterator[tuple[str, str]]:
    """Past months in which exactly one value was told."""
    for year, month in _past_months(told[0].said_on, now):
        then = [k for k in told if (k.said_on.year, k.said_on.month) == (year, month)]
        if len(then) == 1:
            yield calendar.month_name[month], then[0].value


def _past_months(first: date, now: datetime) -> Iterator[tuple[int, int]]:
    """Year and month from that of ``first`` to the last one that is over; at most eleven, so that
    a month's name without a year means one of them."""
    start, stop = first.year * 12 + first.month - 1, now.year * 12 + now.month - 1
    for number in range(max(start, stop - 11), stop):
        yield number // 12, number % 12 + 1


def _values(
    asked: Asked, hit: MemoryRecord, memory: UserMemory, when: Interval | None, now: datetime
) -> frozenset[str]:
    """The answer if the question is about the slot of ``hit``."""
    state, slot, subject = memory.state, hit.slot, hit.subject
    match asked.kind:
        case "current":
            return frozenset({hit.value})
        case "told_in":
            return frozenset({hit.value}) if when else frozenset()
        case "held_in":
            found = change.during(state, slot, when, subject) if when else change.Answer(())
        case "before":
            found = change.before(state, slot, asked.before, subject)
        case "former":
            holding = change.current(state, slot, now, subject).values
            told = change.history(state, slot, subject).records
            found = change.Answer(tuple(r for r in told if r.value not in holding)[-1:])
    return frozenset(found.values)
