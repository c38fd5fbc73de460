"""Our memory beside mem0, in one run, with the same vectors and texts, and no language model.

mem0 2.2.1 stores what it is told (``infer=False``) in Qdrant's local mode and searches by vector
alone, which is what it does where nothing can be downloaded (its BM25 comes from a hub). Ours is
the whole search: hybrid query, late interaction, rescoring. Evidence recall is on LoCoMo where its
data is given; times are of writing and searching, without embedding. CPU times are those of the
whole process and tell more than wall times do on a busy machine.
"""

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from math import nan
from pathlib import Path
from random import Random
from statistics import fmean
from tempfile import TemporaryDirectory, gettempdir
from time import perf_counter, process_time
from typing import Any, Protocol
from uuid import UUID
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from oldfriend.bench.locomo import talks
from oldfriend.bench.recall import Talk, recall, records, scratch_pool
from oldfriend.bench.ways import Vectors
from oldfriend.errors import MissingDataError
from oldfriend.memory.store.embed import Embedder, Tokens, embedder
from oldfriend.memory.store.keys import key
from oldfriend.memory.store.pool import MemoryPool
from oldfriend.memory.store.record import MemoryRecord, Source, record_id
from oldfriend.memory.store.retrieve import Query, Retriever
from oldfriend.outcome import Outcome, Row

MEM0 = "2.2.1"
DEPTHS = (1, 5, 10)
SIZES = (1_000, 10_000)
WRITES, SEARCHES = 100, 30
SESSION, TURN_WORDS, QUESTION_WORDS = 40, 12, 5
START = datetime(2024, 1, 1, tzinfo=UTC)


class Peer(Protocol):
    """A memory as it is compared."""

    def fill(self, records: Sequence[MemoryRecord]) -> None: ...

    def search(self, user: str, text: str, limit: int, now: datetime) -> list[UUID]:
        """The ids of the records found for ``text``, best first."""
        ...


class Ours:
    """A pool, searched as a friend searches it."""

    def __init__(self, pool: MemoryPool, embed: Embedder) -> None:
        self._pool, self._embed, self._retriever = pool, embed, Retriever(embed)

    def fill(self, records: Sequence[MemoryRecord]) -> None:
        self._pool.of(records[0].user).add(records, at=records[-1].created_at)

    def search(self, user: str, text: str, limit: int, now: datetime) -> list[UUID]:
        hits = self._retriever.search(self._pool.of(user), Query(text, limit=limit, now=now))
        return [hit.record.id for hit in hits]

    def without_late_interaction(self) -> "Ours":
        """The same pool, searched by hybrid query and rescoring alone."""
        return Ours(self._pool, Vectors(self._embed))


class Mem0:
    """mem0 in ``folder`` with our vectors and our text of a record (speaker, date, words)."""

    def __init__(self, folder: Path, embed: Embedder) -> None:
        self._memory = _mem0().Memory.from_config({
            "vector_store": {"provider": "qdrant", "config": {
                "path": str(folder / "qdrant"), "embedding_model_dims": embed.size}},
            # Clients are made but never asked.
            "llm": {"provider": "openai", "config": {"api_key": "unused"}},
            "embedder": {"provider": "openai", "config": {"api_key": "unused"}},
            "history_db_path": str(folder / "history.db"),
        })  # fmt: skip
        self._memory.embedding_model = _Embedding(embed)
        self._ids: dict[str, UUID] = {}

    def fill(self, records: Sequence[MemoryRecord]) -> None:
        for record in records:
            told = [{"role": "user", "content": key(record)}]
            done = self._memory.add(told, user_id=record.user, infer=False)
            self._ids[done["results"][0]["id"]] = record.id

    def search(self, user: str, text: str, limit: int, now: datetime) -> list[UUID]:
        found = self._memory.search(text, top_k=limit, filters={"user_id": user}, threshold=0.0)
        return [self._ids[hit["id"]] for hit in found["results"]]


def run(
    data: Path | None = None,
    *,
    embed: Embedder | None = None,
    sizes: Sequence[int] = SIZES,
    conversations: int | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Metrics ``<peer>.recall_at_<k>.<overall|cat1_4>`` with LoCoMo in ``data``, of its first
    ``conversations``; ``<peer>.<write|search>_<p50|p95|cpu_p50>_ms.<size>``, for us ``hybrid`` too,
    which is search without late interaction; and mem0 to ours under ``ratio.``.

    ``embed`` is for recall; vectors in the timing are made up. Table ``peers``: a row for each.
    MissingDataError without mem0 or without LoCoMo in ``data``.
    """
    _mem0()  # before any work is done
    metrics: dict[str, float] = {}
    if data is not None:
        metrics |= _recalls(data, embed or embedder(cache=100_000), conversations, tell)
    for size in sizes:
        with _peers(MadeUp()) as peers:
            for name, peer in peers.items():
                tell(f"{name}: {size} memories")
                times = _times(peer, size)
                metrics |= {f"{name}.{what}_ms.{size}": value for what, value in times.items()}
    for place, value in list(metrics.items()):
        name, _, what = place.partition(".")
        if name == "mem0" and "_ms." in what and metrics[f"ours.{what}"]:
            metrics[f"ratio.{what}"] = value / metrics[f"ours.{what}"]
    return Outcome(metrics, {"peers": _table(metrics)})


def _recalls(
    data: Path, embed: Embedder, most: int | None, tell: Callable[[str], None]
) -> dict[str, float]:
    """Evidence recall of both; each conversation in memories of its own."""
    found: dict[str, list[tuple[bool, tuple[float, ...]]]] = {}
    for number, talk in enumerate(talks(data)):
        if most is not None and number >= most:
            break
        with _peers(embed) as peers:
            for name, peer in peers.items():
                tell(f"{name}: {talk.name}")
                found.setdefault(name, []).extend(_recall(peer, talk))
    metrics = {}
    for name, rows in found.items():
        fair = [at for answerable, at in rows if answerable]
        for place, k in enumerate(DEPTHS):
            metrics[f"{name}.recall_at_{k}.overall"] = fmean(at[place] for _, at in rows)
            metrics[f"{name}.recall_at_{k}.cat1_4"] = fmean(at[place] for at in fair)
    return metrics


def _recall(peer: Peer, talk: Talk) -> Iterator[tuple[bool, tuple[float, ...]]]:
    """Of each question: whether it has an answer, and recall at each of DEPTHS."""
    told = records(talk.name, talk.lines)
    spoken = [line for line in talk.lines if line.text.strip()]
    key_of = {record.id: line.key for record, line in zip(told, spoken, strict=True)}
    peer.fill(told)
    now = max(record.created_at for record in told) + timedelta(days=1)
    for question in talk.questions:
        ids = peer.search(talk.name, question.text, max(DEPTHS), now)
        found = [key_of[id] for id in ids]
        at = tuple(recall(found, question.evidence, k) for k in DEPTHS)
        yield question.category != "adversarial", at


def _times(peer: Peer, size: int) -> dict[str, float]:
    """Milliseconds of writing one more turn, and of searching, with ``size`` turns there."""
    rng = Random(size)
    turns = [_turn(place, rng) for place in range(size + WRITES)]
    asked = [" ".join(_words(QUESTION_WORDS, rng)) + "?" for _ in range(SEARCHES)]
    now = turns[-1].created_at + timedelta(days=1)
    peer.fill(turns[:size])
    peer.search("ada", asked[0], 10, now)  # what is read once is read
    found = {
        **_timed("write", [partial(peer.fill, [turn]) for turn in turns[size:]]),
        **_timed("search", [partial(peer.search, "ada", text, 10, now) for text in asked]),
    }
    if isinstance(peer, Ours):
        search = peer.without_late_interaction().search
        found |= _timed("hybrid", [partial(search, "ada", text, 10, now) for text in asked])
    return found


def _timed(name: str, calls: Sequence[Callable[[], object]]) -> dict[str, float]:
    wall, cpu = [], []
    for call in calls:
        start, worked = perf_counter(), process_time()
        call()
        wall.append(perf_counter() - start)
        cpu.append(process_time() - worked)
    p50, p95 = np.percentile(wall, [50, 95]) * 1e3
    cpu_p50 = float(np.median(cpu)) * 1e3
    return {f"{name}_p50": float(p50), f"{name}_p95": float(p95), f"{name}_cpu_p50": cpu_p50}


@contextmanager
def _peers(embed: Embedder) -> Iterator[dict[str, Peer]]:
    """Both, empty, on disk; gone afterwards."""
    with ExitStack() as stack:
        pool = stack.enter_context(scratch_pool(embed))
        folder = stack.enter_context(TemporaryDirectory(prefix="oldfriend-bench-"))
        yield {"ours": Ours(pool, embed), "mem0": Mem0(Path(folder), embed)}


class MadeUp:
    """Vectors of words out of a table of random ones: an embedder that costs next to nothing."""

    id, size, vocabulary = "made-up", 384, 4096

    def __init__(self) -> None:
        table = np.random.default_rng(0).standard_normal((self.vocabulary, self.size))
        self._table = (table / np.linalg.norm(table, axis=1, keepdims=True)).astype(np.float16)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        sums = [self._table[ids].astype(np.float32).sum(0) for ids in self.pieces(texts)]
        found = np.array(sums, np.float32).reshape(len(texts), self.size)
        lengths = np.linalg.norm(found, axis=1, keepdims=True).astype(np.float32)
        unit: NDArray[np.float32] = found / np.maximum(lengths, np.float32(1e-9))
        return unit

    def read(self, texts: Sequence[str], *, content: bool = False) -> list[Tokens]:
        return [Tokens(np.array(ids), self._table[ids]) for ids in self.pieces(texts)]

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        return [[crc32(word.encode()) % self.vocabulary for word in text.split()] for text in texts]


class _Embedding:
    """Our vectors, asked for as mem0 asks for them."""

    def __init__(self, embed: Embedder) -> None:
        self._embed = embed

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:
        found: list[float] = self._embed.encode([text])[0].tolist()
        return found

    def embed_batch(self, texts: Sequence[str], memory_action: str = "add") -> list[list[float]]:
        return [self.embed(text) for text in texts]


def _mem0() -> Any:
    """The package, told to stay offline and to leave the home folder alone."""
    os.environ.update(MEM0_TELEMETRY="False", HF_HUB_OFFLINE="1")
    os.environ.setdefault("MEM0_DIR", str(Path(gettempdir()) / "oldfriend-mem0"))
    try:
        return importlib.import_module("mem0")
    except ImportError:
        raise MissingDataError(
            f"memory-peers needs mem0: pip install mem0ai=={MEM0}, in an environment of its own, "
            "because it replaces protobuf by an older one"
        ) from None


def _turn(place: int, rng: Random) -> MemoryRecord:
    session, turn = divmod(place, SESSION)
    return MemoryRecord(
        id=record_id("ada", str(place)), user="ada", kind="turn",
        text=" ".join(_words(TURN_WORDS, rng)), created_at=START + timedelta(hours=place),
        source=Source(session=str(session), turn=turn),
    )  # fmt: skip


def _words(count: int, rng: Random) -> list[str]:
    """Some words are much more frequent than others, as in talk."""
    return [f"word{int(3000 * rng.random() ** 2)}" for _ in range(count)]


def _table(metrics: dict[str, float]) -> list[Row]:
    names = [place.partition(".")[2] for place in metrics if place.startswith("ours.")]
    return [
        {"metric": what, "ours": metrics[f"ours.{what}"], "mem0": metrics.get(f"mem0.{what}", nan),
         "ratio": metrics.get(f"ratio.{what}", nan)}
        for what in names
    ]  # fmt: skip
