"""One person's memories: the only way to read or write any."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from oldfriend.errors import InputError
from oldfriend.memory.store import rights
from oldfriend.memory.store.engine import Plan, Scored
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
from oldfriend.memory.store.state import State

if TYPE_CHECKING:
    from oldfriend.memory.store.pool import MemoryPool


class UserMemory:
    """What a pool holds of one person. Cheap to make; times are always given by the caller.

    When a writing method returns, the journal is on disk. Writing about a record that is not there
    is an InputError and writes nothing.
    """

    def __init__(self, pool: "MemoryPool", user: str) -> None:
        if not user or not user.isprintable() or len(user) > 256:
            raise InputError("a user is named by 1 to 256 printable characters", field="user")
        self.pool, self.user = pool, user

    # Reading

    @property
    def state(self) -> State:
        """All records by id, with indexes by slot and turn. Not to be changed."""
        return self.pool.state(self.user)

    def get(self, id: UUID) -> MemoryRecord | None:
        return self.state.get(id)

    def records(
        self, kinds: Sequence[str] = (), *, current: bool = False, archived: bool = False
    ) -> list[MemoryRecord]:
        """Records in the order they were written: of these kinds, only those held to be true now,
        with or without the archive."""
        return [
            record for record in self.state.values()
            if (not kinds or record.kind in kinds)
            and (record.current or not current)
            and (archived or not record.archived)
        ]  # fmt: skip

    def history(self, slot: str, subject: str = "me") -> list[MemoryRecord]:
        """All that a slot ever held, oldest first."""
        return self.state.history(slot, subject)

    def query(self, plan: Plan) -> list[tuple[UUID, float]]:
        """The ids that ``plan`` finds, best first, with scores."""
        return [(found.id, found.score) for found in self.scored(plan)]

    def scored(self, plan: Plan) -> list[Scored]:
        """As ``query``, with what each leaf, recency and importance gave."""
        return self.pool.search(self.user, plan)

    # Writing

    def write(self, entries: Sequence[Entry]) -> None:
        """Put down ``entries`` as one: after a crash all of them are there or none is (of more than
        a thousand, perhaps the first thousands)."""
        state = self.state
        known = {e.record.id for e in entries if isinstance(e, Add)}
        for entry in entries:
            if isinstance(entry, Opened | Forget):
                raise InputError(f"'{entry.op}' is written by the pool itself; use forget()")
            if isinstance(entry, Add | Revise) and entry.record.user != self.user:
                raise InputError(
                    f"the record is of '{entry.record.user}', not of '{self.user}'", field="user"
                )
            for id in _about(entry):
                if id not in state and id not in known:
                    raise InputError(f"no record {id} of '{self.user}'; see records()", field="id")
        if entries:
            self.pool.write(self.user, entries)

    def add(self, records: Iterable[MemoryRecord], at: datetime) -> list[UUID]:
        """Remember ``records``; the ids that are new. Known and forgotten ones are passed over."""
        state, new = self.state, dict[UUID, MemoryRecord]()
        for record in records:
            if record.id not in state and record.id not in state.forgotten:
                new.setdefault(record.id, record)
        self.write([Add(at=at, record=record) for record in new.values()])
        return list(new)

    def revise(self, record: MemoryRecord, at: datetime) -> None:
        """Tell a derived record (summary, profile) anew under its old id."""
        self.write([Revise(at=at, record=record)])

    def supersede(
        self, old: UUID, new: MemoryRecord | None, at: datetime, valid_to: datetime | None = None
    ) -> None:
        """The world changed: ``old`` was true until ``valid_to`` (default ``at``), now ``new``."""
        id = new.id if new else None
        self.write([*_adding(new, at), Supersede(at=at, old=old, new=id, valid_to=valid_to)])

    def correct(self, old: UUID, new: MemoryRecord | None, at: datetime) -> None:
        """``old`` was never true; ``new`` (if anything) is."""
        self.write([*_adding(new, at), Correct(at=at, old=old, new=new.id if new else None)])

    def recall(self, ids: Sequence[UUID], at: datetime, gain: float = 1.0) -> None:
        """These were used in an answer: they fade more slowly."""
        self.write([Recall(at=at, ids=tuple(ids), gain=gain)] if ids else [])

    def pin(self, ids: Sequence[UUID], at: datetime, pinned: bool = True) -> None:
        """Keep these out of forgetting's reach (or let it have them again)."""
        self.write([Pin(at=at, ids=tuple(ids), pinned=pinned)] if ids else [])

    def archive(self, ids: Sequence[UUID], reason: str, at: datetime) -> None:
        """Put away: still listed, no longer found by search."""
        self.write([Archive(at=at, ids=tuple(ids), reason=reason)] if ids else [])

    def restore(self, ids: Sequence[UUID], at: datetime) -> None:
        """Out of the archive."""
        self.write([Restore(at=at, ids=tuple(ids))] if ids else [])

    # Rights

    def forget(self, ids: Sequence[UUID], at: datetime) -> "rights.Erasure":
        """Erase records, what says the same and what was made from them; see rights.forget."""
        return rights.forget(self.pool, self.user, ids, at)

    def forget_topic(self, topic: str, at: datetime) -> "rights.Erasure":
        """Erase every record that mentions ``topic``."""
        return rights.forget(self.pool, self.user, rights.about(self.state, topic), at)

    def forget_all(self, at: datetime, adapter: Path | None = None) -> "rights.Erasure":
        """Erase the person, and their LoRA in the folder ``adapter``."""
        return rights.forget_person(self.pool, self.user, at, adapter)


def _adding(record: MemoryRecord | None, at: datetime) -> list[Entry]:
    return [Add(at=at, record=record)] if record else []


def _about(entry: Entry) -> tuple[UUID, ...]:
    """Records that have to be there for ``entry`` to mean anything."""
    match entry:
        case Revise(record=record):
            return (record.id,)
        case Supersede(old=old, new=new) | Correct(old=old, new=new):
            return (old, new) if new else (old,)
        case Recall() | Pin() | Archive() | Restore():
            return entry.ids
    return ()
