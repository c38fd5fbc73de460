"""How a person has been feeling, kept as one of their own memories: nobody else's tenant holds it,
it is exported with the rest, and forgetting the turns it speaks of, or the person, takes it along.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from oldfriend.empathy.mood import Mood
from oldfriend.errors import InputError
from oldfriend.memory.store.change import derived_id
from oldfriend.memory.store.journal import Add, Entry, Revise
from oldfriend.memory.store.periods import comparable
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.state import State

SLOT = "mood"
EVENTS = 8  # strong feelings that are written down with what they were over


def read(state: State, user: str) -> Mood:
    """The mood as it was after the last turn; calm if none is known or what is kept is broken."""
    record = state.get(derived_id(state, user, "insight", SLOT))
    try:
        return Mood.from_json(record.value) if record else Mood()
    except InputError:
        return Mood()


def entries(
    state: State, user: str, mood: Mood, now: datetime, turn: UUID, strong: bool
) -> list[Entry]:
    """Entries that keep ``mood`` after the ``turn`` of ``now``; ``strong``: it is over that turn,
    too, so that it goes when that turn is forgotten."""
    mood = replace(mood, events=mood.events[-EVENTS:])
    id = derived_id(state, user, "insight", SLOT)
    old = state.get(id)
    times = {comparable(event.time) for event in mood.events}
    behind: Sequence[UUID] = [i for i in (old.evidence if old else ()) if i in state]
    kept = [i for i in behind if comparable(state[i].created_at) in times]
    tone = "low" if mood.valence < -0.1 else "good" if mood.valence > 0.1 else "even"
    record = MemoryRecord(
        id=id,
        user=user,
        kind="insight",
        slot=SLOT,
        cardinality="single",
        value=mood.to_json(),
        text=f"mood {tone}, {mood.direction}",
        created_at=now,
        evidence=(*kept, turn) if strong else tuple(kept),
        pinned=True,
    )
    return [Revise(at=now, record=record) if old else Add(at=now, record=record)]
