"""Which memories a prompt shows, and whether a reply stands on them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from oldfriend.agent.noting import USER
from oldfriend.corpus.schema import MemoryLine, slot_words
from oldfriend.memory.store import change
from oldfriend.memory.store.decide import Decision
from oldfriend.memory.store.forgetting import TYPED
from oldfriend.memory.store.periods import Interval, comparable
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.retrieve import Hit
from oldfriend.memory.store.state import State

HONEST = "You never told me that, as far as I can find, and I won't guess."
SAY = 0.5  # probability from which a memory is said rather than hinted at
SURE = 0.8  # probability from which a sentence counts as the answer, not as the nearest thing
LISTENING = "I'm listening."


# What the summarizer writes; a model that learnt both may fall into it when nothing is remembered.
_NOTES = re.compile(r"nothing|[a-z][a-z0-9 ]*: [^\n]*(?:\n.*)*")


@dataclass(frozen=True)
class Said:
    """What the friend says, the memory it stands on as the model quoted it, the records it tells
    or quotes, and, if what the model wrote was put aside, why."""

    text: str
    quote: str = ""
    memories: tuple[MemoryRecord, ...] = ()
    notice: str = ""


def usable(state: State, hits: Sequence[Hit]) -> list[Hit]:
    """Hits that can answer: notes that are or were true, and the person's own statements.

    A turn with notes is stood for by its notes, which know what has changed since; a question
    asserts nothing, and what the friend said is no source.
    """
    found: dict[object, Hit] = {}
    for hit in hits:
        record = hit.record
        if record.kind != "turn":
            if record.kind in TYPED and change.believed(record):
                found.setdefault(record.id, hit)
            continue
        if record.source is None or record.source.speaker != USER:
            continue
        notes = [
            other
            for other in (state[id] for id in state.said_with([record.id]))
            if other.kind in TYPED and not other.archived
        ]
        for note in sorted(notes, key=lambda r: str(r.id)):
            if change.believed(note):
                found.setdefault(note.id, replace(hit, record=note))
        if not notes and not record.text.rstrip().endswith("?"):
            found.setdefault(record.id, hit)
    return list(found.values())


def shown(
    state: State, decision: Decision, asked: Interval | None, now: datetime, most: int
) -> list[MemoryRecord]:
    """The notes that the prompt shows: those chosen, and of a slot that holds one value at a time
    also what it held before, or what it held in the time ``asked`` about."""
    found: dict[object, MemoryRecord] = {}
    for choice in decision.choices:
        record = choice.hit.record
        if record.kind == "turn":
            continue
        told = [record]
        if record.cardinality == "single":
            told = list(change.current(state, record.slot, now, record.subject).records)
            former = change.history(state, record.slot, record.subject).records
            told += [r for r in former if _over(r, now)][-1:]
            if asked and (then := change.during(state, record.slot, asked, record.subject)):
                told = list(then.records)
        for one in told:
            if not one.archived:
                found.setdefault(one.id, one)
    return list(found.values())[:most]


def line(record: MemoryRecord, user: str, now: datetime) -> MemoryLine:
    """A note as the ground stage shows it."""
    return MemoryLine(
        owner=user,
        slot=record.slot,
        value=record.value,
        text=record.text,
        since=(record.valid_from or record.created_at).date(),
        until=record.valid_to.date() if record.valid_to and _over(record, now) else None,
    )


def own_words(state: State, decision: Decision, now: datetime) -> Said | None:
    """The person's own sentence given back word for word, if none of the notes answers better and
    it says nothing that has changed since."""
    best = decision.choices[0] if decision.choices else None
    if best is None or best.how != "say" or best.hit.record.kind != "turn":
        return None
    record = best.hit.record
    changed = (r for r in state.values() if r.kind in TYPED and (_over(r, now) or r.expired_at))
    if any(r.value.casefold() in record.text.casefold() for r in changed if r.value):
        return None
    head = "You told me" if best.probability >= SURE else "The nearest I find is what you told me"
    day = record.created_at
    return Said(f'{head} on {day.day} {day:%B %Y}: "{record.text}"', memories=(record,))


def plainly(records: Sequence[MemoryRecord], now: datetime) -> str:
    """What memory holds, said without a model."""
    notes = [
        f"your {'former ' if _over(r, now) else ''}{slot_words(r.slot)}: {r.value}" for r in records
    ]
    return f"I have it noted: {'; '.join(notes)}."


def asking(decision: Decision) -> bool:
    """Whether the message asks for something that memory should hold."""
    return decision.needed and decision.say >= SAY


def without_model(decision: Decision, records: Sequence[MemoryRecord], now: datetime) -> Said:
    """A reply by memory alone."""
    if not asking(decision):
        return Said(LISTENING)
    return Said(plainly(records, now), memories=tuple(records)) if records else Said(HONEST)


def checked(reply: str, decision: Decision, records: Sequence[MemoryRecord], now: datetime) -> Said:
    """``reply`` as the person may hear it: a question is answered from the ``records`` that were
    shown or not at all, no reply quotes a memory that was not there, and talk is answered neither
    with "you never told me" nor with notes."""
    from oldfriend.memory.grounding import abstains, says, spoken

    quote = match[1] if (match := re.match(r"\[([^\]]*)\]", reply)) else ""
    text, quoted = spoken(reply).strip(), quote.partition(": ")[2]
    told = tuple(r for r in records if r.value == quoted or says(text, r.value))
    foreign = quoted not in ("", "nothing") and all(r.value != quoted for r in records)
    question, honest = asking(decision), abstains(text)
    answers = honest or any(says(text, r.value) for r in records) if question else not honest
    if text and answers and not foreign and not _NOTES.fullmatch(text):
        return Said(text, quote, told)
    why = "what the model wrote did not stand on memory, so it was put aside"
    if question and records:
        best = [r for r in records if r.value == quoted] or list(records[:1])
        return Said(plainly(best, now), "" if foreign else quote, tuple(best), why)
    return Said(HONEST if question else LISTENING, notice=why)


def _over(record: MemoryRecord, now: datetime) -> bool:
    return record.valid_to is not None and comparable(record.valid_to) <= comparable(now)
