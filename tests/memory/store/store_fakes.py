"""Small pools: people, records, plans, and an engine that can be switched off."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from oldfriend.memory.store.embed import HashEmbedder
from oldfriend.memory.store.engine import EngineDownError, Leaf, Plan
from oldfriend.memory.store.pool import MemoryPool
from oldfriend.memory.store.record import MemoryRecord, Source, record_id
from oldfriend.memory.store.sparse import question
from oldfriend.memory.store.user import UserMemory

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
EMBEDDER = HashEmbedder(32)
SENTENCE = (
    "piano violin garden river mountain coffee bread sister brother doctor train ticket winter "
    "summer jacket puppy kitten harbour lantern novel chess marathon recipe tomato guitar museum"
)
WORDS = SENTENCE.split()


def sentence(rng: Random, words: int = 6) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


def turn(
    text: str, place: int = 0, *, user: str = "ada", session: str = "s1", **changes: Any
) -> MemoryRecord:
    """A turn as it was said, a minute after the one before."""
    source = Source(session=session, turn=place, end=len(text))
    fields = {
        "id": record_id(user, session, str(place), text), "user": user, "kind": "turn",
        "text": text, "created_at": START + timedelta(minutes=place), "source": source,
    }  # fmt: skip
    return MemoryRecord(**{**fields, **changes})


def fact(
    slot: str, value: str, place: int = 0, *, user: str = "ada", **changes: Any
) -> MemoryRecord:
    """A note of what a turn said."""
    id = record_id(user, slot, value, str(place))
    fields = {"id": id, "kind": "profile", "slot": slot, "value": value, "cardinality": "single"}
    return turn(f"{slot}: {value}", place, user=user, **{**fields, **changes})


def turns(count: int, *, user: str = "ada", seed: int = 0) -> list[MemoryRecord]:
    rng = Random(f"{user}{seed}")
    return [turn(f"{sentence(rng)} {i}", i, user=user) for i in range(count)]


def plan(text: str, **changes: Any) -> Plan:
    """Dense and BM25, of turn and window."""
    vector = EMBEDDER.encode([f"user (01 March 2026): {text}"])[0]
    words = question(text)
    leaves = [Leaf(n, vector) for n in ("dense", "dense_w")]
    leaves += [Leaf(n, words) for n in ("bm25", "bm25_w")]
    return Plan(**{"prefetches": leaves, **changes})


def found(memory: UserMemory, text: str, **changes: Any) -> list[str]:
    """Texts that a search finds, best first."""
    return [memory.state[id].text for id, _ in memory.query(plan(text, **changes))]


@contextmanager
def opened(folder: Path, **options: Any) -> Iterator[MemoryPool]:
    with MemoryPool.open(folder, EMBEDDER, **options) as pool:
        yield pool


class Switch:
    """An engine that stops answering while ``down``."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.down, self.calls = engine, False, 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.engine, name)

        def call(*args: Any) -> Any:
            self.calls += 1
            if self.down and name not in ("close", "flush"):
                raise EngineDownError("switched off")
            return method(*args)

        return call


def ids(records: Sequence[MemoryRecord]) -> list[UUID]:
    return [record.id for record in records]
