"""Conversations as stretches of turns: opened, resumed after a restart, ended with a summary."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from oldfriend.agent.noting import USER
from oldfriend.agent.settings import FriendParams
from oldfriend.corpus.schema import Turn
from oldfriend.memory.store.forgetting import make_room, reflect
from oldfriend.memory.store.levels import digest
from oldfriend.memory.store.periods import comparable
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.user import UserMemory

# Why a turn is put away that was said in danger: it is kept, and never brought up.
QUIET = "said in danger: kept, and never brought up"


@dataclass
class Session:
    """A conversation under way. ``turn``: the number that the next turn gets. ``told``: memories
    that the friend's last reply told."""

    name: str
    last: datetime
    turn: int = 0
    talk: list[Turn] = field(default_factory=list)
    told: tuple[UUID, ...] = ()

    def over(self, now: datetime, params: FriendParams) -> bool:
        """Whether the silence since the last turn has ended it."""
        return now - self.last > timedelta(hours=params.session_gap_hours)


def open_session(memory: UserMemory, now: datetime, params: FriendParams) -> Session:
    """The person's last conversation if it is not over, else a new one.

    Conversations that ended without a summary, because the program was stopped, get theirs now.
    """
    turns = _turns(memory)
    told = {r.source.session for r in memory.records(("session",), archived=True) if r.source}
    resumed: Session | None = None
    for name, said in turns.items():
        session = _resumed(name, said)
        if name not in told and not session.over(now, params) and session.last <= now:
            resumed = session
    for name, said in turns.items():
        if name not in told and (resumed is None or name != resumed.name):
            close_session(memory, name, max(now, _resumed(name, said).last), params)
    if resumed:
        return resumed
    name = f"{now:%Y-%m-%dT%H:%M:%S}"
    number = sum(other == name or other.startswith(f"{name}.") for other in turns)
    return Session(f"{name}.{number}" if number else name, now)


def close_session(memory: UserMemory, name: str, now: datetime, params: FriendParams) -> None:
    """What a conversation leaves behind: its summary, the portrait, insights; then room is made."""
    memory.write(digest(memory.state, name, now, params.levels))
    memory.write(reflect(memory.state, now, params.forgetting))
    memory.write(make_room(memory.state, now, params.forgetting))


def _turns(memory: UserMemory) -> dict[str, list[MemoryRecord]]:
    turns: dict[str, list[MemoryRecord]] = {}
    for record in memory.records(("turn",), archived=True):
        if record.source:
            turns.setdefault(record.source.session, []).append(record)
    return turns


def _resumed(name: str, said: Sequence[MemoryRecord]) -> Session:
    ordered = sorted(said, key=lambda r: (r.source.turn if r.source else 0, str(r.id)))
    talk = [
        Turn(
            speaker="user" if r.source and r.source.speaker == USER else "friend",
            text=r.text,
            quote=r.value,
        )
        for r in ordered
        if r.archived != QUIET
    ]
    last = max(comparable(r.created_at) for r in ordered)
    behind = max((r.source.turn for r in ordered if r.source), default=-1) + 1
    return Session(name, last, behind, talk, ordered[-1].evidence)
