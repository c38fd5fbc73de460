"""A life of random operations that a test may kill at any moment, and the same life on paper.

python kill_worker.py FOLDER SEED FIRST

goes on with operation FIRST, and prints ``begin N OP`` before and ``done N`` after each.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from uuid import UUID

from store_fakes import EMBEDDER, START, fact, sentence, turn

from oldfriend.memory.store.journal import (
    Add,
    Archive,
    Entry,
    Forget,
    Pin,
    Recall,
    Revise,
    Supersede,
)
from oldfriend.memory.store.pool import MemoryPool
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.state import State

USER = "ada"
SLOTS = ("home_city", "job", "pet_name")


def operation(seed: int, number: int, state: State) -> Sequence[Entry] | list[UUID]:
    """What comes next: entries to write, or ids to forget."""
    rng = Random(f"{seed} {number}")
    alive = list(state)
    text = f"{sentence(rng)} entry{number:06}"
    choice = rng.random() if len(alive) > 8 else 0.0
    if choice < 0.35:
        count = rng.randrange(1, 4)
        said = [turn(f"{text} part{i}", 3 * number + i) for i in range(count)]
        return [Add(at=START, record=record) for record in said]
    if choice < 0.55:  # the world changed
        slot = rng.choice(SLOTS)
        new = fact(slot, f"value{number:06}", 3 * number)
        held = [r.id for r in state.history(slot) if r.current]
        over: list[Entry] = [Supersede(at=START, old=id, new=new.id) for id in held]
        return [Add(at=START, record=new), *over]
    if choice < 0.75:  # consolidation: fold some into one, put them away
        ids = tuple(rng.sample(alive, 3))
        insight = _derived(f"insight {text}", ids)
        return [Add(at=START, record=insight), Archive(at=START, ids=ids, reason="folded")]
    if choice < 0.85:
        if told := [r for r in state.values() if r.kind == "insight"]:
            record = rng.choice(told)
            return [Revise(at=START, record=record.model_copy(update={"text": f"again {text}"}))]
        return [Pin(at=START, ids=(alive[0],))]
    if choice < 0.9:
        return [Recall(at=START, ids=tuple(rng.sample(alive, 2)))]
    return [rng.choice(alive)]


def _derived(text: str, evidence: tuple[UUID, ...]) -> MemoryRecord:
    return turn(text, kind="insight", source=None, evidence=evidence)


def on_paper(seed: int, number: int, state: State) -> list[MemoryRecord]:
    """Do operation ``number`` to ``state`` alone; the records that it erases."""
    todo = operation(seed, number, state)
    if isinstance(todo[0], UUID):
        said = state.said_with([id for id in todo if isinstance(id, UUID)])
        gone = said | state.made_from(said)
        erased = [state[id] for id in gone]
        state.apply(Forget(at=START, ids=tuple(gone)))
        return erased
    for entry in todo:
        if not isinstance(entry, UUID):
            state.apply(entry)
    return []


def live(folder: Path, seed: int, number: int) -> None:
    """Do operations for ever."""
    with MemoryPool.open(folder, EMBEDDER) as pool:
        memory = pool.of(USER)
        while True:
            todo = operation(seed, number, memory.state)
            forgetting = isinstance(todo[0], UUID)
            print("begin", number, "forget" if forgetting else "write", flush=True)
            if forgetting:
                memory.forget([id for id in todo if isinstance(id, UUID)], START)
            else:
                memory.write([entry for entry in todo if not isinstance(entry, UUID)])
            print("done", number, flush=True)
            number += 1
            if number % 20 == 0:
                pool.flush()


if __name__ == "__main__":
    live(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
