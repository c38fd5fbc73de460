"""What a journal says, folded into records: pure, deterministic, and always the same."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any
from uuid import UUID

from oldfriend.memory.store.engine import seconds
from oldfriend.memory.store.journal import (
    Add,
    Archive,
    Correct,
    Entry,
    Forget,
    Opened,
    Pin,
    Recall,
    Restore,
    Revise,
    Supersede,
)
from oldfriend.memory.store.record import MemoryRecord


class State(Mapping[UUID, MemoryRecord]):
    """One person's records by id, in the order they were written, with indexes by slot and turn."""

    def __init__(self) -> None:
        self.user = ""
        self.forgotten: set[UUID] = set()
        self.ended: dict[
            UUID, None
        ] = {}  # values of slots that are no longer true, or not for ever
        self.endings = 0  # how often that changed
        self._records: dict[UUID, MemoryRecord] = {}
        self._slots: dict[tuple[str, str], dict[UUID, None]] = {}
        self._turns: dict[str, list[tuple[int, UUID]]] = {}  # kind "turn", sorted
        self._sourced: dict[tuple[str, int], dict[UUID, None]] = {}
        self._made_from: dict[UUID, set[UUID]] = {}

    def __getitem__(self, id: UUID) -> MemoryRecord:
        return self._records[id]

    def __iter__(self) -> Iterator[UUID]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def history(self, slot: str, subject: str = "me") -> list[MemoryRecord]:
        """All that a slot ever held, oldest first (by when it became true, else was said)."""
        found = [self._records[id] for id in self._slots.get((subject, slot), ())]
        return sorted(found, key=lambda r: (seconds(r.valid_from or r.created_at), r.id))

    def newest(self, count: int) -> list[MemoryRecord]:
        """The last ``count`` records in the order in which they were written."""
        return list(islice(reversed(self._records.values()), count))[::-1]

    def around(self, record: MemoryRecord, reach: int) -> list[MemoryRecord]:
        """Other turns of the record's session, at most ``reach`` turns away, in order."""
        if record.source is None:
            return []
        turns = self._turns.get(record.source.session, [])
        here = record.source.turn
        start = bisect_left(turns, (here - reach,))
        found = []
        for turn, id in turns[start:]:
            if turn > here + reach:
                break
            if id != record.id:
                found.append(self._records[id])
        return found

    def near(self, id: UUID, reach: int) -> set[UUID]:
        """Records whose window holds the turn of ``id``, itself included."""
        source = self._records[id].source
        if source is None:
            return {id}
        places = range(source.turn - reach, source.turn + reach + 1)
        return {id}.union(*(self._sourced.get((source.session, place), ()) for place in places))

    def noted(self, record: MemoryRecord) -> list[MemoryRecord]:
        """The notes that were taken of a turn."""
        if record.kind != "turn" or record.source is None:
            return []
        here = self._sourced[record.source.session, record.source.turn]
        return [note for note in (self._records[id] for id in here) if note.slot]

    def said_with(self, ids: Iterable[UUID]) -> set[UUID]:
        """``ids`` and what says the same: all that was noted of a turn in ``ids``, and of a note in
        ``ids`` the turn it was taken from and the notes of that turn that repeat its value."""
        found = {id for id in ids if id in self._records}
        for record in [self._records[id] for id in found]:
            if record.source is None:
                continue
            value = (record.value or record.text).casefold()
            for id in self._sourced[record.source.session, record.source.turn]:
                other = self._records[id]
                if "turn" in (record.kind, other.kind) or value in other.text.casefold():
                    found.add(id)
        return found

    def made_from(self, ids: Iterable[UUID]) -> set[UUID]:
        """All that was ever made out of ``ids`` (summaries, insights), and out of that."""
        found, front = set[UUID](), set(ids)
        while front:
            made = set[UUID]().union(*(self._made_from.get(id, ()) for id in front))
            front = (made & self._records.keys()) - found
            found |= front
        return found

    def apply(self, entry: Entry, reach: int = 0) -> set[UUID]:
        """Take in one entry; the ids whose place in the index it may have changed.

        Entries about unknown records change nothing: they were forgotten in the meantime.
        """
        match entry:
            case Opened(user=user):
                self.user = user
            case Add(record=record):
                if record.id not in self._records and record.id not in self.forgotten:
                    self._put(record)
                    return self.near(record.id, reach)
            case Revise(record=record):
                if (old := self._records.get(record.id)) is not None:
                    kept = ("strength", "last_recalled", "pinned", "archived", "created_at")
                    touched = self.near(record.id, reach)
                    self._take(old)
                    self._put(record.model_copy(update={name: getattr(old, name) for name in kept}))
                    return touched | self.near(record.id, reach)
            case Supersede(old=id, new=new, valid_to=end):
                end, was = end or entry.at, self._records.get(id)
                if was and was.valid_from and seconds(was.valid_from) > seconds(end):
                    end = was.valid_from  # nothing ends before it began
                return self._set(id, valid_to=end, expired_at=entry.at, superseded_by=new)
            case Correct(old=id, new=new):
                # With an end it would look like something that once was true.
                return self._set(id, valid_to=None, expired_at=entry.at, superseded_by=new)
            case Recall(ids=ids, gain=gain):
                for id in ids:
                    if (was := self._records.get(id)) is not None:
                        self._set(id, strength=was.strength + gain, last_recalled=entry.at)
            case Pin(ids=ids, pinned=pinned):
                for id in ids:
                    self._set(id, pinned=pinned)
            case Archive(ids=ids, reason=reason):
                return set[UUID]().union(*(self._set(id, archived=reason) for id in ids))
            case Restore(ids=ids):
                return set[UUID]().union(*(self._set(id, archived="") for id in ids))
            case Forget(ids=ids):
                return self._forget(ids, reach)
        return set()

    def _set(self, id: UUID, **changes: Any) -> set[UUID]:
        if id not in self._records:
            return set()
        self._records[id] = self._records[id].model_copy(update=changes)
        self._mark_end(id)
        return {id}

    def _mark_end(self, id: UUID) -> None:
        record = self._records.get(id)
        over = record is not None and bool(record.slot) and record.valid_to is not None
        if over != (id in self.ended):
            self.endings += 1
            if over:
                self.ended[id] = None
            else:
                del self.ended[id]

    def _put(self, record: MemoryRecord) -> None:
        self._records[record.id] = record
        self._mark_end(record.id)
        if record.slot:
            self._slots.setdefault((record.subject, record.slot), {})[record.id] = None
        if record.source:
            place = (record.source.session, record.source.turn)
            self._sourced.setdefault(place, {})[record.id] = None
            if record.kind == "turn":
                turns = self._turns.setdefault(record.source.session, [])
                insort(turns, (record.source.turn, record.id))
        for id in record.evidence:
            self._made_from.setdefault(id, set()).add(record.id)

    def _take(self, record: MemoryRecord) -> None:
        """Out of the indexes. What it was made from stays known: older texts were."""
        self._slots.get((record.subject, record.slot), {}).pop(record.id, None)
        if record.source:
            place = (record.source.session, record.source.turn)
            self._sourced[place].pop(record.id, None)
            if record.kind == "turn":
                self._turns[record.source.session].remove((record.source.turn, record.id))

    def _forget(self, ids: Iterable[UUID], reach: int) -> set[UUID]:
        gone = set(ids)
        self.forgotten |= gone
        touched: set[UUID] = set()
        for id in gone & self._records.keys():
            touched |= self.near(id, reach)
            self._take(self._records.pop(id))
            self._mark_end(id)
        for id, record in list(self._records.items()):
            if record.superseded_by in gone:
                self._set(id, superseded_by=None)
        return touched | gone


def replay(entries: Iterable[Entry]) -> State:
    """The state after ``entries``."""
    state = State()
    for entry in entries:
        state.apply(entry)
    return state
