"""Retrieval: one hybrid query of the engine, then a closer look at what it found.

The engine's four leaves (dense and BM25, of the turn and of its window) name candidates; late
interaction, whom the question is about, when, how recent and how important it is put them in
order. Every hit says what each of these gave.

Weights are per standard deviation over a question's candidates. OWN, SPEAKER, FUSED and the
discounts of rerank.py are the best of about ten settings each on the first five chats of REALTALK
(Lee et al. 2025), where all of them lie within two points of recall. The method itself, and the
first draft of the discounts, were compared on LoCoMo as well: its figures are not quite unseen.
The other weights come from no benchmark: they settle ties in a conversation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from oldfriend.memory.store import sparse
from oldfriend.memory.store.dates import resolve
from oldfriend.memory.store.embed import Embedder, TokenReader
from oldfriend.memory.store.engine import Leaf, Plan, Scored, seconds
from oldfriend.memory.store.keys import asked_about, speaker
from oldfriend.memory.store.periods import Interval
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.rerank import LateInteraction, Match
from oldfriend.memory.store.state import State
from oldfriend.memory.store.user import UserMemory

DAY = 86400.0


@dataclass(frozen=True)
class Weights:
    """What each signal counts; 0 switches it off. ``candidates``: hits taken from the engine."""

    candidates: int = 100
    neighbours: int = 1  # turns on each side of a candidate that become candidates
    window: float = 1.0  # late interaction with the turn and its neighbours
    own: float = 0.5  # late interaction with the turn alone
    fused: float = 0.1  # the engine's own order
    speaker: float = 0.5  # said by the one asked about; as much is taken off for others
    time: float = 0.5  # true or said in the time that the question names
    recency: float = 0.1  # halves every ``recency_days``
    recency_days: float = 30.0
    importance: float = 0.1


@dataclass(frozen=True)
class Query:
    """What is asked. Without ``now`` there is neither recency nor "last week".

    ``asker``: the speaker whom "I" and "my" mean. ``kinds`` empty: all. ``current``: only what is
    held to be true now. ``since`` (included) and ``until`` (not) are hard limits.
    """

    text: str
    limit: int = 10
    now: datetime | None = None
    asker: str = ""
    kinds: Sequence[str] = ()
    current: bool = False
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Hit:
    """A memory and why it stands where it stands.

    ``score`` is the sum of ``parts``; it compares hits of one question. ``match`` in [-1, 1] is how
    well it and its neighbours meet the words asked, ``said`` how well it alone does: these compare
    questions too. ``found`` are the engine's raw scores by leaf; empty for what stands beside them.
    """

    record: MemoryRecord
    score: float
    match: float
    said: float
    parts: Mapping[str, float]
    found: Mapping[str, float]


class Retriever:
    """Asks pools. Keeps vectors of what it lately read, so ``clear`` it after erasing.

    ``embedder`` must be the one that the pool was indexed with. Late interaction is done if it
    (or what it caches) is a TokenReader, and is left out of the sum otherwise.
    """

    def __init__(self, embedder: Embedder, weights: Weights = Weights()) -> None:
        self._embedder, self._weights = embedder, weights
        reader = getattr(embedder, "inner", embedder)
        self._late = LateInteraction(reader) if isinstance(reader, TokenReader) else None

    def search(self, memory: UserMemory, query: Query) -> list[Hit]:
        """The best hits for ``query`` among this person's memories, best first."""
        state, weights = memory.state, self._weights
        if not query.text.strip() or not len(state):
            return []
        found = {hit.id: hit for hit in memory.scored(self._plan(query))}
        records = _candidates(state, found, query, weights.neighbours)
        if not records:
            return []
        match = self._match(query.text, records, state)
        columns = _columns(records, found, match, query, weights, self._late is not None)
        total = np.sum(list(columns.values()), axis=0)
        order = sorted(range(len(records)), key=lambda row: (-total[row], records[row].id))
        return [
            Hit(
                records[row], float(total[row]), float(match.window[row]), float(match.own[row]),
                {name: float(column[row]) for name, column in columns.items()},
                found[records[row].id].scores if records[row].id in found else {},
            )
            for row in order[: query.limit]
        ]  # fmt: skip

    def clear(self) -> None:
        """Forget all that was read."""
        if self._late is not None:
            self._late.clear()

    def _plan(self, query: Query) -> Plan:
        dense, words = self._embedder.encode([query.text])[0], sparse.question(query.text)
        limit = self._weights.candidates
        leaves = [Leaf("dense", dense, limit), Leaf("dense_w", dense, limit)]
        if words[0]:
            leaves += [Leaf("bm25", words, limit), Leaf("bm25_w", words, limit)]
        return Plan(
            leaves, "dbsf", limit=limit, since=query.since, until=query.until,
            kinds=query.kinds, current=query.current,
        )  # fmt: skip

    def _match(self, text: str, records: Sequence[MemoryRecord], state: State) -> Match:
        if self._late is None:
            none = np.zeros(len(records), np.float32)
            return Match(none, none)
        return self._late.match(text, records, state)


def _candidates(
    state: State, found: Mapping[UUID, Scored], query: Query, reach: int
) -> list[MemoryRecord]:
    """What the engine found, and the turns beside it that the query allows."""
    records = {id: state[id] for id in found if id in state}
    for record in list(records.values()):
        for other in state.around(record, reach) if reach else ():
            if other.id not in records and _allowed(other, query):
                records[other.id] = other
    return list(records.values())


def _allowed(record: MemoryRecord, query: Query) -> bool:
    time = _seconds(record)
    return (
        not record.archived
        and (not query.kinds or record.kind in query.kinds)
        and (record.current or not query.current)
        and (query.since is None or time >= seconds(query.since))
        and (query.until is None or time < seconds(query.until))
    )


def _columns(
    records: Sequence[MemoryRecord],
    found: Mapping[UUID, Scored],
    match: Match,
    query: Query,
    weights: Weights,
    late: bool,
) -> dict[str, NDArray[np.float32]]:
    """What each signal gives each record."""
    fused = _standard([found[r.id].score if r.id in found else 0.0 for r in records])
    columns: dict[str, NDArray[np.float32]] = {"fused": fused * (weights.fused if late else 1.0)}
    if late:
        scale = weights.window + weights.own or 1.0
        columns["window"] = _standard(match.window) * (weights.window / scale)
        columns["own"] = _standard(match.own) * (weights.own / scale)
    columns["importance"] = weights.importance * _array([r.importance / 10 for r in records])
    about = asked_about(query.text, sorted({speaker(r) for r in records}), query.asker)
    if about:
        told = _array([1.0 if speaker(r) == about else -1.0 for r in records])
        columns["speaker"] = weights.speaker * told
    if query.now:
        now = seconds(query.now)
        days = _array([abs(now - _seconds(r)) / DAY for r in records])
        columns["recency"] = weights.recency * 0.5 ** (days / weights.recency_days)
        asked = resolve(query.text, query.now, otherwise="past")
        if asked:
            columns["time"] = weights.time * _array([_within(asked.interval, r) for r in records])
    return columns


def _within(interval: Interval, record: MemoryRecord) -> float:
    start = seconds(interval.start) if interval.start else float("-inf")
    end = seconds(interval.end) if interval.end else float("inf")
    return float(start <= _seconds(record) < end)


def _seconds(record: MemoryRecord) -> int:
    return seconds(record.valid_from or record.created_at)


def _standard(values: Sequence[float] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Standard deviations from the mean; all 0 where the values are equal."""
    array = np.asarray(values, np.float32)
    spread = array.std()
    return (array - array.mean()) / spread if spread > 1e-6 else np.zeros_like(array)


def _array(values: Sequence[float]) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)
