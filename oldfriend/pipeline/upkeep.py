"""Keeps a folder of memories in order: summaries, insights, archive, shorter journals.

What fades does so by itself (retention is computed when it is asked for); this is what has to be
written down: summaries of conversations that ended without one, insights out of many small
memories, what goes to the archive because there is no room, and journals without the thousand
times that something was recalled.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from oldfriend.agent.sessions import open_session
from oldfriend.agent.settings import FriendParams
from oldfriend.errors import MissingDataError
from oldfriend.memory.store.engine import tenant_key
from oldfriend.memory.store.forgetting import make_room, reflect
from oldfriend.memory.store.indexing import Encoder
from oldfriend.memory.store.journal import Entry, Forget, Recall
from oldfriend.memory.store.minilm import MiniLM
from oldfriend.memory.store.pool import MemoryPool
from oldfriend.memory.store.user import UserMemory

WORTH_IT = 0.5  # share of a journal's entries that folding must save, as it embeds all anew


@dataclass(frozen=True)
class Kept:
    """What was done for one person: records written, records archived, journal entries saved."""

    user: str
    summaries: int
    insights: int
    archived: int
    folded: int


def upkeep(
    memory: Path, now: datetime, params: FriendParams | None = None, encoder: Encoder | None = None
) -> list[Kept]:
    """Put the memories of everyone in the folder ``memory`` in order.

    A second time at the same moment changes nothing. StoreLockedError while somebody talks.
    """
    if not (memory / "meta.json").is_file():
        raise MissingDataError(f"no memories in '{memory}'; talk first (oldfriend chat)")
    params = params or FriendParams()
    with MemoryPool.open(memory, encoder or MiniLM()) as pool:
        return [_tend(pool, pool.of(user), now, params) for user in pool.users()]


def _tend(pool: MemoryPool, own: UserMemory, now: datetime, params: FriendParams) -> Kept:
    before = _counts(own)
    open_session(own, now, params)  # closes all that are over
    own.write(reflect(own.state, now, params.forgetting))
    own.write(make_room(own.state, now, params.forgetting))
    summaries, insights, archived = (a - b for a, b in zip(_counts(own), before, strict=True))
    return Kept(own.user, summaries, insights, archived, _fold(pool, own))


def _counts(own: UserMemory) -> tuple[int, int, int]:
    records = list(own.state.values())
    kinds = [record.kind for record in records]
    archived = sum(bool(record.archived) for record in records)
    return kinds.count("session"), kinds.count("insight"), archived


def _fold(pool: MemoryPool, own: UserMemory) -> int:
    """Shorten the person's journal if it is worth it; how many entries were saved."""
    key = tenant_key(own.user)
    entries = list(pool.books.journal(key).read())
    shorter = folded(entries)
    saved = len(entries) - len(shorter)
    if saved < WORTH_IT * len(entries):
        return 0
    pool.unlearn(key)
    pool.books.journal(key).rewrite(shorter)
    pool.learn(key)
    return saved


def folded(entries: Sequence[Entry]) -> list[Entry]:
    """The journal with one entry for all recalls of a memory; replayed it gives the same state."""
    gains: dict[UUID, float] = {}
    last: dict[UUID, datetime] = {}
    for entry in entries:
        if isinstance(entry, Recall):
            for id in entry.ids:
                gains[id], last[id] = gains.get(id, 0) + entry.gain, entry.at
    gone = {id for entry in entries if isinstance(entry, Forget) for id in entry.ids}
    alike: dict[tuple[datetime, float], list[UUID]] = {}
    for id in (id for id in gains if id not in gone):
        alike.setdefault((last[id], gains[id]), []).append(id)
    recalls: Iterable[Entry] = (
        Recall(at=at, ids=tuple(ids), gain=gain) for (at, gain), ids in alike.items()
    )
    return [entry for entry in entries if not isinstance(entry, Recall)] + list(recalls)
