"""What an engine stores and how it is asked: points, plans, and the one way to fuse and rescore.

An engine ranks each leaf of a plan by itself, always within one tenant. Ties are broken by id and
leaves are fused here, in one place, so that every engine gives the same ids in the same order:
fusion inside Qdrant breaks ties by the place of a point in its segment, which no two engines share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from math import fsum, sqrt
from typing import Literal, NamedTuple, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from oldfriend.errors import OldFriendError

DENSE, SPARSE = ("dense", "dense_w"), ("bm25", "bm25_w")  # _w: of the window of neighbours
DAY = 86400.0
SLACK = 30  # hits asked for beyond a leaf's limit, to see whether ties cross it
NONE = 0.0, 0.0  # points for recency and importance, where neither counts
TIE = 2e-6  # relative; two engines' float32 sums of 384 products differ by less than 1e-6

Vector = NDArray[np.float32]
Sparse = tuple[Sequence[int], Sequence[float]]  # token ids and weights
Fusion = Literal["rrf", "dbsf"]


class EngineDownError(OldFriendError):
    """The engine cannot be reached; the journal goes on without it."""


@dataclass(frozen=True)
class Point:
    """One record as an engine holds it: vectors and numbers, never text.

    ``ts``: seconds since 1970 UTC of when it was true (else said). ``importance``: 0 to 1.
    ``session``: hash of the session, "" for none. ``mark``: fingerprint of all that was indexed.
    """

    id: UUID
    vectors: Mapping[str, Vector]
    sparse: Mapping[str, Sparse]
    ts: int
    importance: float = 0.5
    kind: str = "turn"
    session: str = ""
    current: bool = True
    mark: int = 0


@dataclass(frozen=True)
class Leaf:
    """Nearest neighbours by one named vector: an array for dense ones, a pair for sparse ones."""

    vector: str
    query: Vector | Sparse
    limit: int = 50
    weight: float = 1.0


@dataclass(frozen=True)
class Plan:
    """A search: leaves, their fusion, then recency and importance.

    Score = fused + recency_weight * 0.5 ** (|now - ts| / recency_scale_days)
    + importance_weight * importance. RRF gives 1 / (k + rank) a leaf, rank from 0; DBSF puts a
    leaf's mean +- 3 standard deviations on [0, 1] (both as Qdrant defines them). ``since`` is
    included, ``until`` is not; naive times count as UTC. ``kinds`` empty: all. ``current``: only
    what is held to be true now.
    """

    prefetches: Sequence[Leaf]
    fusion: Fusion = "rrf"
    limit: int = 10
    k: int = 2
    since: datetime | None = None
    until: datetime | None = None
    kinds: Sequence[str] = ()
    current: bool = False
    now: datetime | None = None
    recency_weight: float = 0.0
    recency_scale_days: float = 30.0
    importance_weight: float = 0.0

    @property
    def payload(self) -> list[str]:
        """What rescoring needs of a point; what is not asked for need not be read."""
        needed = {"ts": self.recency_weight, "importance": self.importance_weight}
        return [name for name, weight in needed.items() if weight]


class Hit(NamedTuple):
    """One point that a leaf found, with what rescoring needs. ``key``: the id's number, because a
    UUID takes ten times as long to make, to hash and to compare."""

    key: int
    score: float
    ts: int = 0
    importance: float = 0.0

    @property
    def id(self) -> UUID:
        return UUID(int=self.key)


@dataclass(frozen=True)
class Scored:
    """A result and why it stands there: per leaf its rank (from 0), score and share of the sum."""

    id: UUID
    score: float
    ranks: Mapping[str, int] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    recency: float = 0.0
    importance: float = 0.0


class Engine(Protocol):
    """What the pool needs of Qdrant. ``tenant`` is ``tenant_key(user)``; nothing reads without.

    An engine that does not answer raises EngineDownError.
    """

    def connect(self) -> bool:
        """Get ready to be asked; True if the store is new, so that nothing is in it."""
        ...

    def upsert(self, tenant: str, points: Sequence[Point]) -> None: ...
    def delete(self, tenant: str, ids: Sequence[UUID]) -> None: ...
    def drop(self, tenant: str) -> None:
        """Delete all points of a tenant."""

    def leaves(self, tenant: str, plan: Plan, limits: Mapping[int, int]) -> Mapping[int, list[Hit]]:
        """Best hits of the leaves at the places in ``limits``, so many of each, best first."""
        ...

    def marks(self, tenant: str) -> dict[UUID, int]:
        """The fingerprint of every point of a tenant."""
        ...

    def dense(self, tenant: str, ids: Sequence[UUID]) -> list[tuple[UUID, Vector]]:
        """Every dense vector of these points as stored, for a proof that they are gone."""
        ...

    def scrub(self, tenant: str) -> bool:
        """Make deleted points of a tenant unreadable in the engine's files; False if those are
        not ours."""
        ...

    def clear(self) -> None:
        """Delete everything."""

    def flush(self) -> None: ...
    def close(self) -> None: ...


def tenant_key(user: str) -> str:
    """32 hex digits that stand for ``user`` in file names and payloads."""
    return blake2b(user.encode(), digest_size=16).hexdigest()


def point_id(tenant: str, record: UUID) -> UUID:
    """The id of a record's point, and back: two people may hold records of one id (an import)
    without touching each other's points."""
    return UUID(int=record.int ^ int(tenant, 16))


def payload(tenant: str, point: Point) -> dict[str, str | int | float]:
    """The numbers and hashes that filters and rescoring need; no text."""
    return {
        "user": tenant, "ts": point.ts, "importance": point.importance, "kind": point.kind,
        "session": point.session, "current": int(point.current), "mark": point.mark,
    }  # fmt: skip


def seconds(time: datetime) -> int:
    """Whole seconds since 1970; a naive time counts as UTC."""
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


def search(engine: Engine, tenant: str, plan: Plan) -> list[Scored]:
    """Ask all leaves of ``plan`` and fuse them. One round trip, more only for long ties."""
    limits = {place: leaf.limit + SLACK for place, leaf in enumerate(plan.prefetches)}
    found: dict[int, list[Hit]] = {}
    while limits:
        for place, hits in engine.leaves(tenant, plan, limits).items():
            found[place] = in_order(hits)
        # A tie across the limit would be cut wherever the engine happened to cut it.
        limits = {
            place: 4 * asked for place, asked in limits.items()
            if len(found[place]) >= asked
            and _tied(found[place][plan.prefetches[place].limit - 1], found[place][-1])
        }  # fmt: skip
    return fuse(plan, [found[place] for place in range(len(plan.prefetches))])


def in_order(hits: Sequence[Hit]) -> list[Hit]:
    """Best first; scores that differ by rounding alone are ties, ordered by id."""
    ranked = sorted(hits, key=lambda hit: (-hit.score, hit.key))
    start = 0
    for end in range(1, len(ranked) + 1):
        if end == len(ranked) or not _tied(ranked[end - 1], ranked[end]):
            if end - start > 1:
                ranked[start:end] = sorted(ranked[start:end], key=lambda hit: hit.key)
            start = end
    return ranked


def fuse(plan: Plan, leaves: Sequence[Sequence[Hit]]) -> list[Scored]:
    """The plan's best, out of its leaves' hits in order; every leaf is cut to its limit."""
    known: dict[int, Hit] = {}
    given: dict[int, list[tuple[str, int, float, float]]] = {}  # leaf, rank, score, share
    names = set[str]()
    for place, (leaf, hits) in enumerate(zip(plan.prefetches, leaves, strict=True)):
        # Two leaves may ask one vector, as a second hop does.
        name = f"{leaf.vector}#{place}" if leaf.vector in names else leaf.vector
        names.add(name)
        cut = hits[: leaf.limit]
        for rank, (hit, share) in enumerate(zip(cut, _shares(plan, leaf, cut), strict=True)):
            known[hit.key] = hit
            given.setdefault(hit.key, []).append((name, rank, hit.score, share))
    rescored = bool(plan.payload)
    bonus = {id: _rescore(plan, hit) if rescored else NONE for id, hit in known.items()}
    totals = [
        Hit(id, sum([part[3] for part in parts]) + sum(bonus[id])) for id, parts in given.items()
    ]
    return [
        Scored(
            id=best.id,
            score=best.score,
            ranks={name: rank for name, rank, _, _ in given[best.key]},
            scores={name: score for name, _, score, _ in given[best.key]},
            shares={name: share for name, _, _, share in given[best.key]},
            recency=bonus[best.key][0],
            importance=bonus[best.key][1],
        )
        for best in in_order(totals)[: plan.limit]
    ]


def _shares(plan: Plan, leaf: Leaf, hits: Sequence[Hit]) -> list[float]:
    """What each hit of a leaf adds to the fused score."""
    if plan.fusion == "rrf":
        if leaf.weight <= 0:
            return [0.0] * len(hits)
        return [1 / ((rank + 1) / leaf.weight + plan.k - 1) for rank in range(len(hits))]
    values = [hit.score for hit in hits]
    if not hits or _tied(hits[0], hits[-1]):  # what spread there is, is rounding
        return [0.5 * leaf.weight] * len(hits)
    mean = fsum(values) / len(values)
    spread = sqrt(fsum([(value - mean) ** 2 for value in values]) / (len(values) - 1))
    low = mean - 3 * spread
    return [leaf.weight * (value - low) / (6 * spread) for value in values]


def _rescore(plan: Plan, hit: Hit) -> tuple[float, float]:
    """Points for recency and for importance."""
    recency = 0.0
    if plan.recency_weight and plan.now:
        away = abs(seconds(plan.now) - hit.ts) / (plan.recency_scale_days * DAY)
        recency = plan.recency_weight * 0.5**away
    return recency, plan.importance_weight * hit.importance


def _tied(better: Hit, worse: Hit) -> bool:
    return better.score - worse.score <= TIE * max(1.0, abs(better.score))
