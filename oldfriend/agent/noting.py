"""From what was said to records and journal entries: provenance, dates, changes, corrections."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from oldfriend.corpus.schema import slot_words
from oldfriend.errors import InputError
from oldfriend.memory.store.change import absorb, believed, correct, current, same, start
from oldfriend.memory.store.dates import find
from oldfriend.memory.store.forgetting import TYPED
from oldfriend.memory.store.journal import Add, Entry
from oldfriend.memory.store.periods import comparable
from oldfriend.memory.store.record import MemoryRecord, Source, record_id
from oldfriend.memory.store.state import State, replay

if TYPE_CHECKING:  # these import transformers
    from oldfriend.memory.notes import Note, SlotType

USER, FRIEND = "user", "friend"  # who said a turn
_SENTENCE = re.compile(r"[^.!?\n]+[.!?\n]*")
_PUTS_RIGHT = re.compile(r"\b(?:no|nope|actually|i meant|i mean|wrong|mistake|correction)\b", re.I)


@dataclass(frozen=True)
class Place:
    """Where in whose talk something is said: the turn ``turn`` of a session, at ``now``."""

    user: str
    session: str
    turn: int
    now: datetime

    def id(self, *parts: str) -> UUID:
        """The id of what is said here. The moment counts: what is said again after it was forgotten
        is a new memory."""
        return record_id(self.user, self.session, str(self.turn), self.now.isoformat(), *parts)


def turn_record(
    place: Place,
    text: str,
    speaker: str,
    *,
    quote: str = "",
    evidence: Sequence[UUID] = (),
) -> MemoryRecord:
    """A turn word for word. Of the friend's: the ``quote`` it stands on as its value, and the
    memories it tells as ``evidence``, so that forgetting them takes it along."""
    return MemoryRecord(
        id=place.id(speaker, text),
        user=place.user,
        kind="turn",
        value=quote,
        text=text,
        importance=3,
        created_at=place.now,
        source=Source(session=place.session, turn=place.turn, end=len(text), speaker=speaker),
        evidence=tuple(evidence),
    )


def note_record(
    place: Place, text: str, note: "Note", slot: "SlotType", state: State | None = None
) -> MemoryRecord | None:
    """What ``note`` says of ``text``; None unless its value stands in its span.

    Dates in the sentence of the span say since when it is true, or until when it was; a time that
    is not certain stays unknown. "I moved last week" cannot be before what held on Tuesday
    according to ``state``.
    """
    if not note.value or text[note.start : note.end] != note.value or slot.kind not in TYPED:
        return None
    told = state.history(note.slot, slot.subject) if state else []
    since, until = _when(text, note.start, place.now, told if slot.cardinality == "single" else ())
    return MemoryRecord.model_validate(
        {
            "id": place.id(note.slot, note.value),
            "user": place.user,
            "kind": slot.kind,
            "subject": slot.subject,
            "slot": note.slot,
            "cardinality": slot.cardinality,
            "value": note.value,
            "text": f"{slot_words(note.slot)}: {note.value}",
            "importance": slot.importance,
            "valid_from": since,
            "valid_to": until,
            "created_at": place.now,
            "source": Source(
                session=place.session, turn=place.turn, start=note.start, end=note.end
            ),
        }
    )


def entries_for(state: State, text: str, records: Sequence[MemoryRecord]) -> list[Entry]:
    """Entries that take in what one turn says: changes, and corrections of what was wrong."""
    entries: list[Entry] = []
    rest: list[MemoryRecord] = []
    for record in records:
        wrong = _denied(state, text, record)
        if wrong:
            entries += correct(state, wrong.id, record.created_at, record)
        else:
            rest.append(record)
    return entries + absorb(state, rest)


def corrected(state: State, old: MemoryRecord, value: str, now: datetime) -> list[Entry]:
    """The person says that ``old`` is wrong and ``value`` right. InputError where that has no
    meaning: of words that were said, and of what was derived."""
    if not old.slot or old.kind not in TYPED:
        raise InputError("only a note can be corrected; forget what was said instead", field="id")
    value = value.strip()
    if not value or same(old.value, value):
        raise InputError("say another value than it has", field="value")
    # In place of the turn that was understood wrongly; no span of it says so, the person does.
    session, turn = (
        (old.source.session, old.source.turn) if old.source else (f"by-hand-{old.id}", 0)
    )
    source = Source(session=session, turn=turn, speaker=USER)
    right = old.model_copy(
        update={
            "id": record_id(old.user, "correction", str(old.id), value, now.isoformat()),
            "value": value,
            "text": f"{slot_words(old.slot)}: {value}",
            "created_at": now,
            "expired_at": None,
            "superseded_by": None,
            "evidence": (),
            "source": source,
        }
    )
    entries = correct(state, old.id, now, right)
    if not entries:
        raise InputError("that was put right before; correct the newer record", field="id")
    return entries


def instead(place: Place, old: MemoryRecord, value: str, start: int) -> MemoryRecord:
    """The note that stands in place of ``old`` because the turn at ``place`` says so: its ``value``
    stands at ``start`` in it."""
    return old.model_copy(
        update={
            "id": place.id(old.slot, value),
            "value": value,
            "text": f"{slot_words(old.slot)}: {value}",
            "created_at": place.now,
            "evidence": (),
            "source": Source(
                session=place.session, turn=place.turn, start=start, end=start + len(value)
            ),
        }
    )


def added(entries: Sequence[Entry]) -> list[MemoryRecord]:
    """Typed records that ``entries`` write, as they stand after all of them."""
    after = replay(entries)
    new = dict.fromkeys(e.record.id for e in entries if isinstance(e, Add))
    return [after[id] for id in new if id in after and after[id].kind in TYPED]


def _denied(state: State, text: str, new: MemoryRecord) -> MemoryRecord | None:
    """The record that "no, my sister is Ada, not Ana" says was never true: its value is named as
    not being so, in a turn that puts something right."""
    if new.cardinality != "single" or new.id in state or not _PUTS_RIGHT.search(text):
        return None
    for old in current(state, new.slot, new.created_at, new.subject).records:
        denied = rf"\b(?:not|never|n't)\s+(?:\w+\s+){{0,2}}?{re.escape(old.value)}(?!\w)"
        if not same(old.value, new.value) and re.search(denied, text, re.I):
            return old
    return None


def _when(
    text: str, at: int, now: datetime, told: Sequence[MemoryRecord]
) -> tuple[datetime | None, datetime | None]:
    """Since when, and until when, by the one time that the sentence at ``at`` speaks of; not before
    anything ``told`` that began within that time."""
    sentences = (m[0] for m in _SENTENCE.finditer(text) if m.start() <= at < m.end())
    found = find(next(sentences, text), now)
    if len(found) != 1:
        return None, None
    interval = found[0].interval
    over = interval.start is None and interval.end is not None
    if over and interval.end and comparable(interval.end) <= comparable(now):
        return None, interval.end  # "until 2018"
    if interval.start is None:
        return None, None
    first, end = comparable(interval.start), interval.end and comparable(interval.end)
    began = (start(r) for r in told if believed(r))
    within = [t for t in began if first <= t and (end is None or t < end)]
    return max([interval.start, *(t + timedelta(seconds=1) for t in within)], key=comparable), None
