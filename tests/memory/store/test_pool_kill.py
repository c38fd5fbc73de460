"""kill -9 at any moment: what was acknowledged is there, what was forgotten is not.

OLDFRIEND_KILLS sets how many times (default 6; 50 for the full count).
"""

import os
import subprocess
import sys
from pathlib import Path
from random import Random
from time import sleep

from kill_worker import USER, on_paper
from store_fakes import found, opened

from oldfriend.memory.store.engine import tenant_key
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.state import State

KILLS = int(os.environ.get("OLDFRIEND_KILLS", "6"))
HERE = Path(__file__).parent


def run_until_killed(folder: Path, seed: int, first: int, rng: Random) -> tuple[int, str]:
    """Let the worker live for a while; the first operation that it did not acknowledge, and what
    it was doing."""
    command = [sys.executable, str(HERE / "kill_worker.py"), str(folder), str(seed), str(first)]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    lines: list[str] = []
    # Every second time while something is being erased, the slowest and most delicate of all.
    most, wanted = rng.randrange(5, 60), "forget" if rng.random() < 0.5 else "write"
    for line in worker.stdout:
        lines.append(line)
        if len(lines) >= most and line.startswith("begin") and wanted in line:
            break
    sleep(rng.random() * (0.5 if wanted == "forget" else 0.02))
    worker.kill()
    lines += worker.stdout.read().splitlines()
    assert worker.wait() == -9, "it died by itself"
    done = [int(line.split()[1]) for line in lines if line.startswith("done")]
    doing = lines[-1].split()[2] if lines[-1].startswith("begin") else "between"
    return (done[-1] + 1 if done else first), doing


def test_kill_9_loses_nothing_and_brings_nothing_back(tmp_path: Path) -> None:
    rng, seed = Random(20260301), 7
    paper, number = State(), 0
    forgotten: dict[str, MemoryRecord] = {}
    moments: list[str] = []
    for kill in range(KILLS):
        first = number
        number, doing = run_until_killed(tmp_path, seed, first, rng)
        moments.append(doing)
        for n in range(first, number):
            forgotten |= {record.text: record for record in on_paper(seed, n, paper)}
        with opened(tmp_path) as pool:
            memory = pool.of(USER)
            if dict(memory.state) != dict(paper):  # then what it was doing was done, and wholly
                assert doing != "between"
                forgotten |= {r.text: r for r in on_paper(seed, number, paper)}
                number += 1
            assert dict(memory.state) == dict(paper), f"kill {kill}, operation {number}, {doing}"
            pool.catch_up()
            searchable = {r.id for r in paper.values() if not r.archived}
            assert pool.engine.marks(tenant_key(USER)).keys() == searchable
            for record in rng.sample(sorted(paper.values(), key=lambda r: r.id), 3):
                assert (record.text in found(memory, record.text)) == (not record.archived)
            alive = {record.text for record in paper.values()}
            gone = [text for text in forgotten if text not in alive]
            for text in gone[-5:]:
                assert text not in found(memory, text)
        everything = b"\n".join(
            path.read_bytes() for path in tmp_path.rglob("*")
            if path.is_file() and "segments" not in path.parts
        )  # fmt: skip
        for text in gone:
            assert text.encode() not in everything
    assert number > 5 * KILLS
    assert len(forgotten) >= KILLS // 2
    print(f"{KILLS} kills, {number} operations, {len(forgotten)} forgotten, killed during: "
          f"{ {doing: moments.count(doing) for doing in sorted(set(moments))} }")  # fmt: skip
