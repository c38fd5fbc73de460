"""What retrieval benchmarks share: talk as read, a pool filled with it, and recall at k."""

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oldfriend.memory.store.embed import Embedder
from oldfriend.memory.store.indexing import Indexer
from oldfriend.memory.store.keys import SCHEME, keys
from oldfriend.memory.store.pool import MemoryPool
from oldfriend.memory.store.record import MemoryRecord, Source, record_id
from oldfriend.memory.store.sparse import document


@dataclass(frozen=True)
class Line:
    """One thing that was said. ``key`` is what the benchmark calls it."""

    key: str
    speaker: str
    session: str
    turn: int
    time: datetime
    text: str


@dataclass(frozen=True)
class Question:
    """``evidence`` are keys of lines, as the file gives them."""

    text: str
    category: str
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Talk:
    """All that one pair of people said, and what is asked about it."""

    name: str
    lines: tuple[Line, ...]
    questions: tuple[Question, ...]


def records(user: str, lines: Sequence[Line]) -> list[MemoryRecord]:
    """The turn memories of ``lines``, in order; what is empty is passed over."""
    return [
        MemoryRecord(
            id=record_id(user, line.key, str(number)), user=user, kind="turn", text=line.text,
            created_at=line.time, valid_from=line.time,
            source=Source(session=line.session, turn=line.turn, speaker=line.speaker),
        )
        for number, line in enumerate(lines) if line.text.strip()
    ]  # fmt: skip


@contextmanager
def scratch_pool(embedder: Embedder) -> Iterator[MemoryPool]:
    """An empty pool on the embedded engine that is gone afterwards."""
    indexer = Indexer(embedder, keys=keys, sparse=document, scheme=SCHEME)
    with (
        tempfile.TemporaryDirectory(prefix="oldfriend-bench-") as folder,
        MemoryPool.open(Path(folder), embedder, indexer=indexer) as pool,
    ):
        yield pool


def recall(found: Sequence[str], evidence: Sequence[str], k: int) -> float:
    """Share of ``evidence`` among the first ``k`` found; 1 where none is asked for."""
    top = set(found[:k])
    return sum(key in top for key in evidence) / len(evidence) if evidence else 1.0


def auroc(values: Sequence[float], labels: Sequence[bool]) -> float:
    """Probability that a positive is rated above a negative; ties count half."""
    order: NDArray[np.float64] = np.asarray(values, float)
    positive = np.asarray(labels, bool)
    ranks = np.array([(order < v).sum() + ((order == v).sum() + 1) / 2 for v in order])
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return float("nan")
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def utc(time: datetime) -> datetime:
    """A time of a file, which states no zone."""
    return time.replace(tzinfo=UTC)


def numbered(keys: Sequence[str], pattern: str) -> list[int]:
    """The numbers in those keys that match ``pattern``, in order."""
    return sorted(int(found.group(1)) for key in keys if (found := re.fullmatch(pattern, key)))
