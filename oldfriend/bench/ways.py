"""Ways of writing and searching memory: the whole of it, and what is left without one part."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oldfriend.bench.life_writing import Writing
from oldfriend.memory.store.embed import Cached, Embedder, TokenReader, Tokens
from oldfriend.memory.store.engine import Plan, Scored
from oldfriend.memory.store.retrieve import Retriever, Weights
from oldfriend.memory.store.settings import ForgettingParams
from oldfriend.memory.store.user import UserMemory

TEXTS = 16_384  # vectors kept: of all texts of one life, in every way of writing it
PLAIN = Weights(speaker=0, time=0, recency=0, importance=0, neighbours=0)


@dataclass(frozen=True)
class Way:
    """A way of writing and searching. ``leaves``: the engine's vectors that are asked. ``late``:
    whether late interaction reorders what they found."""

    writing: Writing = field(default_factory=Writing)
    weights: Weights = field(default_factory=Weights)
    leaves: frozenset[str] = frozenset({"dense", "bm25", "dense_w", "bm25_w"})
    late: bool = True


def ways(capacity: int) -> dict[str, Way]:
    """The whole of memory, and what is left of it without one part. ``capacity``: active records a
    person, low enough for a year to overflow it."""
    full = Way(Writing(forgetting=ForgettingParams(capacity=capacity)))
    return {
        "full": full,
        "no_supersede": replace(full, writing=replace(full.writing, supersede=False)),
        "no_forgetting": replace(full, writing=replace(full.writing, forgetting=None)),
        "no_recency_importance": replace(full, weights=Weights(recency=0, importance=0)),
        "no_windows": replace(
            full, weights=Weights(window=0, neighbours=0), leaves=frozenset({"dense", "bm25"})
        ),
        "no_late_interaction": replace(full, late=False),
        "dense_only": replace(full, weights=PLAIN, leaves=frozenset({"dense"}), late=False),
        "bm25_only": replace(full, weights=PLAIN, leaves=frozenset({"bm25"}), late=False),
    }


def retriever_of(way: Way, read: "Once") -> Retriever:
    """A retriever that searches this way."""
    return Retriever(read.whole if way.late else Vectors(read.whole), way.weights)


class Once:
    """An embedder that reads every text once until ``clear``, for vectors and for word vectors, so
    that many ways can be compared in the time of one."""

    def __init__(self, embed: Embedder) -> None:
        inner = getattr(embed, "inner", embed)
        self._tokens = TokensOnce(inner) if isinstance(inner, TokenReader) else None
        self.whole = Cached(self._tokens or inner, TEXTS)

    def clear(self) -> None:
        """Forget every text."""
        self.whole.clear()
        if self._tokens:
            self._tokens.kept.clear()


class TokensOnce:
    """A model that keeps the word vectors of all that it read."""

    def __init__(self, inner: Any) -> None:
        self.inner: Any = inner
        self.kept: dict[tuple[str, bool], Tokens] = {}

    @property
    def id(self) -> str:
        return str(self.inner.id)

    @property
    def size(self) -> int:
        return int(self.inner.size)

    @property
    def vocabulary(self) -> int:
        return int(self.inner.vocabulary)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self.inner.encode(texts)
        return found

    def read(self, texts: Sequence[str], *, content: bool = False) -> list[Tokens]:
        fresh = [text for text in dict.fromkeys(texts) if (text, content) not in self.kept]
        read: list[Tokens] = self.inner.read(fresh, content=content) if fresh else []
        self.kept |= {(text, content): row for text, row in zip(fresh, read, strict=True)}
        return [self.kept[text, content] for text in texts]

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        found: list[list[int]] = self.inner.pieces(texts)
        return found


class Narrow(UserMemory):
    """A person's memories, searched by some of the engine's vectors only."""

    def __init__(self, memory: UserMemory, leaves: frozenset[str]) -> None:
        super().__init__(memory.pool, memory.user)
        self._leaves = leaves

    def scored(self, plan: Plan) -> list[Scored]:
        kept = [leaf for leaf in plan.prefetches if leaf.vector in self._leaves]
        return super().scored(replace(plan, prefetches=kept))


@dataclass(frozen=True)
class Vectors:
    """An embedder that gives no word vectors, so that there is no late interaction."""

    whole: Embedder

    @property
    def id(self) -> str:
        return self.whole.id

    @property
    def size(self) -> int:
        return self.whole.size

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.whole.encode(texts)
