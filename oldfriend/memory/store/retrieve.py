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
from oldfriend.memory.store.outdated import Endings, about_now
from oldfriend.memory.store.periods import Interval
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.rerank import LateInteraction, Match
from oldfriend.memory.store.shelf import Shelves
from oldfriend.memory.store.state import State
from oldfriend.memory.store.user import UserMemory

DAY = 86400.0
LOOKED_AT = 4  # times the limit: so many records are asked whether they are outdated

Column = NDArray[np.float32]


@dataclass(frozen=True)
class Weights:
    """What each signal counts; 0 switches it off. ``candidates``: hits taken from the engine, at
    least; twice the limit of a query if that is more."""

    candidates: int = 40
    neighbours: int = 1  # turns on each side of a candidate that become candidates
    window: float = 1.0  # late interaction with the turn and its neighbours
    own: float = 0.5  # late interaction with the turn alone
    fused: float = 0.1  # the engine's own order
    speaker: float = 0.5  # said by the one asked about; as much is taken off for others
    time: float = 0.5  # true or said in the time that the question names
    recency: float = 0.1  # halves every ``recency_days``
    recency_days: float = 30.0
    importance: float = 0.1
    outdated: float = 2.0  # taken off words whose values have ended, if the question is about now


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
        self._shelves = Shelves()
        self._late = (
            LateInteraction(reader, shelves=self._shelves)
            if isinstance(reader, TokenReader)
            else None
        )
        self._endings = Endings()

    def search(self, memory: UserMemory, query: Query) -> list[Hit]:
        """The best hits for ``query`` among this person's memories, best first."""
        state, weights = memory.state, self._weights
        if not query.text.strip() or not len(state):
            return []
        found = {hit.id: hit for hit in memory.scored(self._plan(query))}
        records = self._candidates(state, found, query)
        if not records:
            return []
        match = self._match(query.text, records, state)
        columns = _columns(records, found, match, query, weights, self._late is not None)
        total = np.sum(list(columns.values()), axis=0)
        if state.ended and weights.outdated and (query.current or about_now(query.text)):
            columns["outdated"] = self._outdated(records, total, state, query)
            total += columns["outdated"]
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
        self._endings.clear()
        self._shelves.clear()

    def _plan(self, query: Query) -> Plan:
        dense, words = self._embedder.encode([query.text])[0], sparse.question(query.text)
        limit = max(self._weights.candidates, 2 * query.limit)
        leaves = [Leaf("dense", dense, limit), Leaf("dense_w", dense, limit)]
        if words[0]:
            leaves += [Leaf("bm25", words, limit), Leaf("bm25_w", words, limit)]
        return Plan(
            leaves, "dbsf", limit=limit, since=query.since, until=query.until,
            kinds=query.kinds, current=query.current,
        )  # fmt: skip

    def _candidates(
        self, state: State, found: Mapping[UUID, Scored], query: Query
    ) -> list[MemoryRecord]:
        """What the engine found, and the turns beside it that the query allows."""
        records = [state[id] for id in found if id in state]
        reach = self._weights.neighbours
        if not reach or not records:
            return records
        shelf = self._shelves.of(state)
        rows = shelf.rows(records)
        near = [shelf.beside(rows, away) for away in range(-reach, reach + 1)]
        others = np.setdiff1d(np.concatenate(near), np.append(rows, -1))
        beside = [state[id] for id in shelf.ids(others)]
        return records + [record for record in beside if _allowed(record, query)]

    def _outdated(
        self, records: Sequence[MemoryRecord], total: Column, state: State, query: Query
    ) -> Column:
        """What is taken off records that only hold what has ended; looked for among those that
        might be given back."""
        column = np.zeros(len(records), np.float32)
        for row in np.argsort(-total, kind="stable")[: LOOKED_AT * query.limit].tolist():
            if self._endings.outdated(records[row], state, query.now):
                column[row] = -self._weights.outdated
        return column

    def _match(self, text: str, records: Sequence[MemoryRecord], state: State) -> Match:
        if self._late is None:
            none = np.zeros(len(records), np.float32)
            return Match(none, none)
        return self._late.match(text, records, state)


def _allowed(record: MemoryRecord, query: Query) -> bool:
    if record.archived or (query.kinds and record.kind not in query.kinds):
        return False
    if query.current and not record.current:
        return False
    return (query.since is None or _seconds(record) >= seconds(query.since)) and (
        query.until is None or _seconds(record) < seconds(query.until)
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
    speakers = [speaker(record) for record in records]
    about = asked_about(query.text, sorted(set(speakers)), query.asker)
    if about:
        told = _array([1.0 if name == about else -1.0 for name in speakers])
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
