"""Records for tests of what a slot held when; days count from 1 January 2024."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from oldfriend.memory.store.journal import Entry
from oldfriend.memory.store.record import MemoryRecord, Source, record_id
from oldfriend.memory.store.state import State

USER = "mara"


def day(number: float) -> datetime:
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number)


def fact(slot: str, value: str, told: float, **other: Any) -> MemoryRecord:
    """``value``, told on day ``told``; single-valued unless ``other`` says so."""
    other = {
        "kind": "profile",
        "subject": "me",
        "cardinality": "single",
        "text": f"I say {value}.",
        "source": Source(session=f"s{int(told)}", turn=0),
    } | other
    parts = (slot, value, str(told), str(other.get("valid_from")), str(other.get("valid_to")))
    return MemoryRecord(
        id=record_id(USER, *parts),
        user=USER,
        slot=slot,
        value=value,
        created_at=day(told),
        **other,
    )


def after(state: State, entries: Iterable[Entry]) -> State:
    """``state`` once it took in ``entries``."""
    for entry in entries:
        state.apply(entry)
    return state
