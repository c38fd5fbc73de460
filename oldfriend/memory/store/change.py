"""What becomes of a slot when something new is said of it, and what it held when.

Every statement holds from its ``valid_from`` (else from the turn's time) until the next one of the
same single-valued slot begins, or until its own ``valid_to``: so an older fact that arrives late
goes into the past and never overrides a newer one, and no two statements contradict each other at
any moment. This is Graphiti's interval rule (facts whose intervals do not overlap do not
contradict; of two that do, the one that began earlier ends where the later begins), with the
turn's time for a missing date. Pure functions: they read a state and return journal entries.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count, pairwise
from uuid import UUID

from oldfriend.memory.store.journal import Add, Correct, Entry, Recall, Revise, Supersede
from oldfriend.memory.store.periods import Interval, comparable
from oldfriend.memory.store.record import MemoryRecord, record_id
from oldfriend.memory.store.state import State


@dataclass(frozen=True)
class Answer:
    """What a slot held, oldest first, and the records that say so."""

    records: tuple[MemoryRecord, ...]

    @property
    def values(self) -> tuple[str, ...]:
        """Without repetition."""
        return tuple(dict.fromkeys(record.value for record in self.records))

    @property
    def ids(self) -> tuple[UUID, ...]:
        """What the answer stands on."""
        return tuple(record.id for record in self.records)

    def __bool__(self) -> bool:
        return bool(self.records)


def absorb(state: State, records: Iterable[MemoryRecord]) -> list[Entry]:
    """Entries that take ``records`` in, one after the other; nothing for those already known.

    An equal value that holds already is not written twice but strengthened: its record then names
    the new one's id in ``evidence``, so that re-reading a session changes nothing, ever.
    """
    records, entries = list(records), list[Entry]()
    often = Counter((record.subject, record.slot) for record in records)
    scratch = State()  # slots that several of the records are about, as they stand after each
    for record in records:
        told = state.history(record.slot, record.subject) if record.slot else []
        if often[record.subject, record.slot] > 1:
            for old in told:
                scratch.apply(Add(at=old.created_at, record=old))  # once: a known id is ignored
            told = scratch.history(record.slot, record.subject)
        merged = any(record.id in old.evidence for old in told)
        if merged or record.id in state or record.id in state.forgotten or record.id in scratch:
            continue
        new = _take_in(_believed(told), record) if record.slot else [_add(record)]
        for entry in new:
            scratch.apply(entry)
        entries += new
    return entries


def retract(
    state: State,
    slot: str,
    at: datetime,
    *,
    subject: str = "me",
    value: str | None = None,
    since: datetime | None = None,
) -> list[Entry]:
    """ "I don't have a car any more", said ``at``: what holds then ends, and nothing follows.

    ``since``: when it ended, if that was said. ``value``: only this one of several.
    """
    entries: list[Entry] = []
    for old in _standing(state, slot, subject, at):
        end = max(comparable(since or at), start(old))
        later = old.valid_to is None or comparable(old.valid_to) > end
        if later and (value is None or same(old.value, value)):
            entries.append(Supersede(at=at, old=old.id, valid_to=end))
    return entries


def correct(
    state: State, wrong: UUID, at: datetime, right: MemoryRecord | None = None
) -> list[Entry]:
    """ "No, my sister is Ada, not Ana", said ``at``: ``wrong`` was never true.

    It does not become history. ``right`` takes its place and its time; without one, what ``wrong``
    had ended goes on as if it had never been said. Nothing if ``wrong`` is unknown or was put right
    before.
    """
    old = state.get(wrong)
    if old is None or not believed(old):
        return []
    entries: list[Entry] = [Correct(at=at, old=wrong, new=right.id if right else None)]
    before = [r for r in state.history(old.slot, old.subject) if r.superseded_by == wrong]
    before = [r for r in before if believed(r)]
    if right is not None and right.id not in state:
        place = {
            "valid_from": right.valid_from or old.valid_from or old.created_at,
            "valid_to": old.valid_to,
            "expired_at": old.expired_at,
            "superseded_by": old.superseded_by,
            "pinned": right.pinned or old.pinned,
        }
        entries.append(Add(at=at, record=right.model_copy(update=place)))
    for earlier in before:
        changed: dict[str, object] = {"superseded_by": right.id if right else old.superseded_by}
        if right is None:
            changed |= {"valid_to": old.valid_to, "expired_at": old.expired_at}
        entries.append(Revise(at=at, record=earlier.model_copy(update=changed)))
    return entries


def current(state: State, slot: str, now: datetime, subject: str = "me") -> Answer:
    """What holds now; what was announced for later does not hold yet."""
    return at(state, slot, now, subject)


def at(state: State, slot: str, t: datetime, subject: str = "me") -> Answer:
    """What held at the moment ``t``."""
    return Answer(tuple(_standing(state, slot, subject, t)))


def during(state: State, slot: str, interval: Interval, subject: str = "me") -> Answer:
    """What held at any moment of ``interval``, which ``dates.resolve`` reads from a question."""
    wanted = Interval(_utc(interval.start), _utc(interval.end))
    return Answer(tuple(r for r in history(state, slot, subject).records if _held(r, wanted)))


def before(state: State, slot: str, than: str | datetime, subject: str = "me") -> Answer:
    """What came before a value ("before Rome"), or held last before a moment."""
    told = history(state, slot, subject).records
    if isinstance(than, str):
        return Answer(tuple(a for a, b in _neighbours(told) if same(b.value, than))[-1:])
    return Answer(tuple(r for r in told if start(r) < comparable(than))[-1:])


def after(state: State, slot: str, than: str | datetime, subject: str = "me") -> Answer:
    """What came after a value, or began first at or after a moment; else what held then."""
    told = history(state, slot, subject).records
    if isinstance(than, str):
        return Answer(tuple(b for a, b in _neighbours(told) if same(a.value, than))[-1:])
    began = tuple(r for r in told if start(r) >= comparable(than))[:1]
    return Answer(began) if began else at(state, slot, than, subject)


def history(state: State, slot: str, subject: str = "me") -> Answer:
    """All that the slot ever held for some time, oldest first, without what was never true."""
    told = _believed(state.history(slot, subject))
    return Answer(tuple(r for r in told if not _empty(r)))


def believed(record: MemoryRecord) -> bool:
    """Whether it is or was true, as far as we know: corrected records are neither."""
    return record.expired_at is None or record.valid_to is not None


def contradict(old: MemoryRecord, new: MemoryRecord) -> bool:
    """Whether both cannot be true: one single-valued slot, two values, overlapping times."""
    if (old.subject, old.slot) != (new.subject, new.slot) or new.cardinality != "single":
        return False
    return not same(old.value, new.value) and _held(old, _interval(new))


def same(value: str, other: str) -> bool:
    """Equal but for case, white space and punctuation at the ends."""
    return _plain(value) == _plain(other)


def start(record: MemoryRecord) -> datetime:
    """Since when it is true: as was said, else since the turn that said it.

    Of what had ended when it was told without a beginning, only its last day is certain.
    """
    if record.valid_from is not None:
        return comparable(record.valid_from)
    told = comparable(record.created_at)
    if record.valid_to is not None and comparable(record.valid_to) <= told:
        return comparable(record.valid_to) - timedelta(days=1)
    return told


def derived_id(state: State, user: str, *parts: str) -> UUID:
    """The id of what is made from other records. Forgotten ids never come back, so what is made
    anew after an erasure gets the next one."""
    ids = (record_id(user, *parts, str(n)) for n in count())
    return next(id for id in ids if id not in state.forgotten)


def _take_in(told: Sequence[MemoryRecord], new: MemoryRecord) -> list[Entry]:
    """Entries for one new record of a slot that held ``told``, in order of their starts."""
    stamp, begin = new.created_at, start(new)
    standing = [r for r in told if _holds(r, begin)]
    for old in standing:
        if same(old.value, new.value) and _outlasts(old, new, told):
            return _merge(old, new) + _end(old, new)
    if new.cardinality == "multi":
        return [_add(new)]
    later = next((r for r in told if start(r) > begin and not _empty(r)), None)
    reaches = later and (new.valid_to is None or comparable(new.valid_to) >= start(later))
    keep, entries = new, [_add(new)]
    if later and reaches and same(later.value, new.value):  # it began earlier than we knew
        keep = later.model_copy(update={"valid_from": begin})
        entries = _merge(keep, new)
    elif later and reaches:
        until = start(later)
        entries.append(Supersede(at=stamp, old=new.id, new=later.id, valid_to=until))
    return entries + [
        Supersede(at=stamp, old=old.id, new=keep.id, valid_to=begin) for old in standing
    ]


def _add(record: MemoryRecord) -> Entry:
    return Add(at=record.created_at, record=record)


def _merge(old: MemoryRecord, new: MemoryRecord) -> list[Entry]:
    """``old`` also stands on ``new`` from now on, and is stronger if another turn told it."""
    known = old.model_copy(update={"evidence": (*old.evidence, new.id)})
    entries: list[Entry] = [Revise(at=new.created_at, record=known)]
    if (old.created_at, old.source) != (new.created_at, new.source):
        latest = max(new.created_at, old.last_recalled or new.created_at, key=comparable)
        entries.append(Recall(at=latest, ids=(old.id,)))
    return entries


def _end(old: MemoryRecord, new: MemoryRecord) -> list[Entry]:
    """The end of ``old``, if ``new`` tells it."""
    if new.valid_to is None or not _holds(old, comparable(new.valid_to)):
        return []
    return [Supersede(at=new.created_at, old=old.id, valid_to=new.valid_to)]


def _outlasts(old: MemoryRecord, new: MemoryRecord, told: Sequence[MemoryRecord]) -> bool:
    """Whether ``new`` tells no later end than ``old`` has, or than another value sets it."""
    if old.valid_to is None or any(start(r) == comparable(old.valid_to) for r in told):
        return True
    return new.valid_to is not None and comparable(new.valid_to) <= comparable(old.valid_to)


def _believed(told: Iterable[MemoryRecord]) -> list[MemoryRecord]:
    """By start; of two that start together the one that was told later comes last."""
    return sorted(filter(believed, told), key=lambda r: (start(r), comparable(r.created_at)))


def _standing(state: State, slot: str, subject: str, t: datetime) -> list[MemoryRecord]:
    return [r for r in history(state, slot, subject).records if _holds(r, comparable(t))]


def _neighbours(told: Sequence[MemoryRecord]) -> list[tuple[MemoryRecord, MemoryRecord]]:
    """Each value with the next other one."""
    changes = [r for n, r in enumerate(told) if n == 0 or not same(told[n - 1].value, r.value)]
    return list(pairwise(changes))


def _interval(record: MemoryRecord) -> Interval:
    return Interval(start(record), _utc(record.valid_to))


def _held(record: MemoryRecord, when: Interval) -> bool:
    return believed(record) and not _empty(record) and _interval(record).overlaps(when)


def _empty(record: MemoryRecord) -> bool:
    """Whether it ended as it began: two values for one moment, and the other was told later."""
    return record.valid_to is not None and comparable(record.valid_to) <= start(record)


def _holds(record: MemoryRecord, t: datetime) -> bool:
    return start(record) <= t and (record.valid_to is None or t < comparable(record.valid_to))


def _utc(t: datetime | None) -> datetime | None:
    return None if t is None else comparable(t)


def _plain(value: str) -> str:
    return " ".join(re.sub(r"^[\W_]+|[\W_]+$", "", value).casefold().split())
