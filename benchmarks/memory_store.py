"""The memory pool at scale: building, writing a turn, searching, reopening, memory and disk.

    python -m benchmarks.memory_store --records 100000 --users 1000

Vectors are random and of unit length, so embedding costs nothing and is in no figure. One person
holds a ``--large`` share of all records, the others the same number each. A search is the hybrid
plan: dense and BM25, of turn and window, 50 hits each, fused and rescored. Retrieval is all that a
friend does: hybrid query, late interaction over word vectors that were read before, rescoring. An
erasure takes one record out of every file and looks through all of them. ``cpu_p50`` is of the
whole process; on a busy machine it tells more than the clock does.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from time import perf_counter, process_time
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from oldfriend.bench.peers import MadeUp
from oldfriend.files import write_json
from oldfriend.memory.store.engine import Leaf, Plan
from oldfriend.memory.store.pool import MemoryPool
from oldfriend.memory.store.record import MemoryRecord, Source
from oldfriend.memory.store.retrieve import Query, Retriever
from oldfriend.memory.store.sparse import question

SIZE, WORDS, SESSION = 384, (4, 20), 40  # vector size, words a turn, turns a session
START = datetime(2024, 1, 1, tzinfo=UTC)
VOCABULARY = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in ("a", "e", "io", "u") for c in
              ("ban", "del", "fir", "gol", "kem", "lut", "mis", "nor", "pex", "rim")]  # fmt: skip
SEARCHES, WRITES, RETRIEVALS = 200, 300, 60


class RandomEncoder(MadeUp):
    """Unit vectors out of a pool of random ones, by nothing but their turn; words by a table."""

    id = "random"

    def __init__(self) -> None:
        super().__init__()
        self._rng = np.random.default_rng(0)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = self._rng.standard_normal((len(texts), SIZE), dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def said(user: str, place: int, rng: Random) -> MemoryRecord:
    """Turn ``place`` of ``user``, an hour after the one before."""
    # Some words are much more frequent than others, as in talk.
    count = rng.randint(*WORDS)
    words = (VOCABULARY[int(len(VOCABULARY) * rng.random() ** 2)] for _ in range(count))
    return MemoryRecord(
        id=UUID(int=rng.getrandbits(128)), user=user, kind="turn", text=" ".join(words),
        created_at=START + timedelta(hours=place), importance=rng.randrange(1, 11),
        source=Source(session=f"s{place // SESSION}", turn=place % SESSION),
    )  # fmt: skip


def plan(rng: Random, encoder: RandomEncoder) -> Plan:
    vector = encoder.encode([""])[0]
    words = question(" ".join(rng.sample(VOCABULARY, 5)))
    leaves = [Leaf(n, vector) for n in ("dense", "dense_w")]
    leaves += [Leaf(n, words) for n in ("bm25", "bm25_w")]
    return Plan(leaves, now=START, recency_weight=0.1, importance_weight=0.1)


def timed(count: int, do: Callable[[int], object]) -> dict[str, float]:
    """Median and 95th percentile by the clock, median of the processor, in milliseconds."""
    wall, cpu = [], []
    for number in range(count):
        start, worked = perf_counter(), process_time()
        do(number)
        wall.append(perf_counter() - start)
        cpu.append(process_time() - worked)
    p50, p95 = np.percentile(wall, [50, 95]) * 1e3
    found = {"p50": p50, "p95": p95, "cpu_p50": float(np.median(cpu)) * 1e3}
    return {name: round(float(value), 3) for name, value in found.items()}


def retrievals(pool: MemoryPool, encoder: RandomEncoder, users: Sequence[str]) -> dict[str, float]:
    """Whole retrievals of what was asked once before, so that its word vectors are at hand."""
    rng, retriever = Random(2), Retriever(encoder)
    asked = [" ".join(rng.sample(VOCABULARY, 5)) for _ in range(RETRIEVALS)]

    def ask(number: int) -> object:
        query = Query(asked[number], now=START + timedelta(days=999))
        return retriever.search(pool.of(users[number % len(users)]), query)

    timed(RETRIEVALS, ask)
    return timed(RETRIEVALS, ask)


def shares(records: int, users: int, large: float) -> dict[str, int]:
    """How many records everyone holds."""
    first = int(records * large)
    each = max((records - first) // max(users - 1, 1), 1)
    return {"large": first, **{f"user{n}": each for n in range(1, users)}}


def build(folder: Path, counts: dict[str, int]) -> dict[str, object]:
    """Fill a pool person by person, then measure writing and searching."""
    rng, encoder = Random(0), RandomEncoder()
    with MemoryPool.open(folder, encoder) as pool:
        start = perf_counter()
        for user, count in counts.items():
            pool.of(user).add((said(user, i, rng) for i in range(count)), START)
        pool.flush()
        total = sum(counts.values())
        figures: dict[str, object] = {
            "records": total, "users": len(counts), "large": counts["large"],
            "build_records_per_s": round(total / (perf_counter() - start)),
        }  # fmt: skip
        few = [f"user{n}" for n in range(1, min(len(counts), 21))]
        for user in ("large", *few):
            pool.of(user).query(plan(rng, encoder))  # reads the journal
        turns = [said(few[n % len(few)], counts[few[0]] + n, rng) for n in range(WRITES)]
        figures["write_ms"] = timed(WRITES, lambda n: pool.of(turns[n].user).add([turns[n]], START))
        figures["fsync_ms"] = fsync(folder)
        plans = [plan(rng, encoder) for _ in range(SEARCHES)]
        figures["search_small_ms"] = timed(
            SEARCHES, lambda n: pool.of(few[n % len(few)]).query(plans[n])
        )
        figures["search_large_ms"] = timed(
            SEARCHES // 2, lambda n: pool.of("large").query(plans[n])
        )
        figures["retrieve_small_ms"] = retrievals(pool, encoder, few)
        figures["retrieve_large_ms"] = retrievals(pool, encoder, ["large"])
        start = perf_counter()
        pool.flush()
        figures["flush_s"] = round(perf_counter() - start, 3)
    return figures


def fsync(folder: Path) -> dict[str, float]:
    """What the disk alone takes to append and sync 600 bytes, the floor under every write."""
    path = folder / "probe"
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def append(number: int) -> None:
        os.write(handle, b"x" * 600)
        os.fsync(handle)

    try:
        return timed(100, append)
    finally:
        os.close(handle)
        path.unlink()


def reopen(folder: Path) -> dict[str, object]:
    """In a fresh process: seconds to open, to the first search, and memory after it."""
    encoder = RandomEncoder()
    start = perf_counter()
    with MemoryPool.open(folder, encoder) as pool:
        opened = perf_counter()
        pool.of("user1").query(plan(Random(1), encoder))
        small = perf_counter()
        pool.of("large").query(plan(Random(1), encoder))
        large = perf_counter()
        return {
            "reopen_s": round(opened - start, 3),
            "first_search_small_s": round(small - opened, 3),
            "first_search_large_s": round(large - small, 3),
            "rss_mb": memory_mb("VmRSS"),
            "behind": pool.behind,
        }


def memory_mb(name: str) -> int:
    """What the kernel says of this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith(name))
    return int(line.split()[1]) // 1024


def forget(folder: Path) -> dict[str, object]:
    """In a fresh process: seconds to erase one record of a small person and one of the largest,
    scan of all files included, and the most memory that took."""
    figures: dict[str, object] = {}
    with MemoryPool.open(folder, RandomEncoder()) as pool:
        for name, user in (("small", "user1"), ("large", "large")):
            memory = pool.of(user)
            start, worked = perf_counter(), process_time()
            erasure = memory.forget([memory.records()[0].id], START)
            figures |= {
                f"forget_{name}_s": round(perf_counter() - start, 2),
                f"forget_{name}_cpu_s": round(process_time() - worked, 2),
                f"forget_{name}_clean": erasure.clean,
            }
    return figures | {"forget_peak_mb": memory_mb("VmHWM")}


def disk_mb(folder: Path) -> int:
    """Blocks in use; segments are mostly holes."""
    return sum(p.stat().st_blocks for p in folder.rglob("*") if p.is_file()) * 512 // 2**20


def measure(folder: Path, records: int, users: int, large: float) -> dict[str, object]:
    figures = build(folder, shares(records, users, large))
    figures["disk_mb"] = disk_mb(folder)
    for step in ("--reopen", "--forget"):
        child = [sys.executable, "-m", "benchmarks.memory_store", step, str(folder)]
        told = subprocess.run(child, check=True, capture_output=True, text=True).stdout
        figures |= json.loads(told)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--large", type=float, default=0.1, help="share of the largest person")
    parser.add_argument("--folder", type=Path, help="where to build (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--reopen", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--forget", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reopen or options.forget:
        print(json.dumps(reopen(options.reopen) if options.reopen else forget(options.forget)))
        return
    found = []
    for records in options.records:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            found.append(measure(Path(folder), records, options.users, options.large))
    table = Table("", *(f"{figures['records']:,}" for figures in found))
    for name in found[0]:
        table.add_row(name, *(str(figures[name]) for figures in found))
    Console().print(table)
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    main()
