"""Many people, random operations, and a plain dict that knows what each of them may see.

OLDFRIEND_USERS, OLDFRIEND_EXAMPLES and OLDFRIEND_OPERATIONS (of one step of daily life) set the
size; 100, 100 and 250 make 1,000 operations for each of 100 users. -s tells the number.
"""

import os
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from random import Random
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from store_fakes import EMBEDDER, START, fact, found, plan, sentence, turn

from oldfriend.errors import InputError
from oldfriend.memory.store import rights
from oldfriend.memory.store.journal import Add
from oldfriend.memory.store.pool import MemoryPool
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.user import UserMemory

EXAMPLES = int(os.environ.get("OLDFRIEND_EXAMPLES", "3"))
USERS = int(os.environ.get("OLDFRIEND_USERS", "8"))
OPERATIONS = int(os.environ.get("OLDFRIEND_OPERATIONS", "20"))
DONE: Counter[str] = Counter()

users = st.integers(0, USERS - 1).map(lambda n: f"user{n}")
seeds = st.integers(0, 2**32)


class People(RuleBasedStateMachine):
    """One pool; ``truth`` holds what each person should have."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.pool = MemoryPool.open(self.folder / "pool", EMBEDDER)
        self.truth: dict[str, dict[UUID, MemoryRecord]] = defaultdict(dict)
        self.archived: set[tuple[str, UUID]] = set()
        self.forgotten: dict[str, dict[UUID, MemoryRecord]] = defaultdict(dict)
        self.count = 0

    def teardown(self) -> None:
        self.pool.close()
        shutil.rmtree(self.folder)
        print(f"{sum(DONE.values())} operations", dict(DONE), end="\r")

    def memory(self, user: str) -> UserMemory:
        return self.pool.of(user)

    @initialize(seed=seeds)
    def begin(self, seed: int) -> None:
        rng = Random(seed)
        for n in range(USERS):
            self.add(f"user{n}", rng)

    @rule(user=users, seed=seeds)
    def live(self, user: str, seed: int) -> None:
        rng = Random(seed)
        everyday: list[Callable[[str, Random], None]] = [
            self.add, self.add, self.say_what_another_said, self.take_anothers_id, self.search,
            self.search, self.look, self.archive, self.recall, self.change, self.meddle,
        ]  # fmt: skip
        for _ in range(OPERATIONS):
            act = rng.choice(everyday)
            act(user, rng)
            DONE[act.__name__] += 1
            user = user if rng.random() < 0.5 else f"user{rng.randrange(USERS)}"

    @rule(user=users, seed=seeds)
    def forget(self, user: str, seed: int) -> None:
        mine = self.truth[user]
        if mine and Random(seed).random() < 0.5:
            chosen = Random(seed).choice(sorted(mine))
            erasure = self.memory(user).forget([chosen], START)
            DONE["forget"] += 1
            assert chosen in erasure.ids and erasure.done
            for id in erasure.ids:
                self.forgotten[user][id] = mine.pop(id)

    @rule(user=users, seed=seeds)
    def forget_all(self, user: str, seed: int) -> None:
        if Random(seed).random() < 0.1:
            self.memory(user).forget_all(START)
            DONE["forget_all"] += 1
            self.truth.pop(user, None)
            self.forgotten.pop(user, None)
            self.archived = {(who, id) for who, id in self.archived if who != user}

    @rule(seed=seeds)
    def reopen(self, seed: int) -> None:
        if Random(seed).random() < 0.3:
            self.pool.close()
            self.pool = MemoryPool.open(self.folder / "pool", EMBEDDER)
            assert self.pool.behind == 0

    @rule(user=users, other=users)
    def move(self, user: str, other: str) -> None:
        path = self.folder / "out.jsonl"
        rights.export(self.memory(user), path)
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") == len(self.truth[user])
        if user != other and self.truth[user]:
            with pytest.raises(InputError, match=f"a record of '{user}'"):
                rights.load(self.memory(other), path, START)

    @invariant()
    def everyone_has_a_journal_or_nothing(self) -> None:
        assert set(self.pool.users()) >= {user for user, mine in self.truth.items() if mine}

    def add(self, user: str, rng: Random) -> None:
        self.count += 1
        record = turn(f"{sentence(rng)} {self.count}", self.count, user=user)
        self.put(user, record)

    def say_what_another_said(self, user: str, rng: Random) -> None:
        """The same words, so the same vectors, as somebody else's."""
        if theirs := self.of_another(user, rng):
            self.count += 1
            self.put(user, turn(theirs.text, self.count, user=user))

    def take_anothers_id(self, user: str, rng: Random) -> None:
        """A record of one's own under the id of somebody else's."""
        if theirs := self.of_another(user, rng):
            self.count += 1
            self.put(user, turn(f"mine {self.count}", self.count, user=user, id=theirs.id))

    def put(self, user: str, record: MemoryRecord) -> None:
        fresh = record.id not in self.truth[user] and record.id not in self.forgotten[user]
        assert self.memory(user).add([record], START) == [record.id] * fresh
        if fresh:
            self.truth[user][record.id] = record

    def change(self, user: str, rng: Random) -> None:
        self.count += 1
        memory, new = self.memory(user), fact("job", f"job{self.count}", self.count, user=user)
        held = [record.id for record in memory.history("job") if record.current]
        if held:
            memory.supersede(held[0], new, START)
        else:
            memory.add([new], START)
        self.truth[user][new.id] = new

    def search(self, user: str, rng: Random) -> None:
        mine = self.truth[user]
        other = self.of_another(user, rng)
        record = rng.choice(sorted(mine.values(), key=lambda r: r.id)) if mine else None
        text = record.text if record and (rng.random() < 0.5 or other is None) else (
            other.text if other else "anything")  # fmt: skip
        hits = self.memory(user).scored(plan(text, limit=500))
        visible = {id for id in mine if (user, id) not in self.archived}
        assert {hit.id for hit in hits} <= visible, "a read across users"
        assert all(self.memory(user).state[hit.id].user == user for hit in hits)
        if record and text == record.text and record.id in visible and len(mine) < 40:
            assert text in found(self.memory(user), text, limit=500)

    def look(self, user: str, rng: Random) -> None:
        memory, mine = self.memory(user), self.truth[user]
        assert {r.id: r.text for r in memory.records(archived=True)} == {
            id: record.text for id, record in mine.items()
        }
        assert all(record.user == user for record in memory.records(archived=True))
        if (other := self.of_another(user, rng)) and other.id not in mine:
            assert memory.get(other.id) is None

    def archive(self, user: str, rng: Random) -> None:
        if mine := sorted(self.truth[user]):
            id = rng.choice(mine)
            if (user, id) in self.archived:
                self.memory(user).restore([id], START)
            else:
                self.memory(user).archive([id], "enough of it", START)
            self.archived ^= {(user, id)}

    def recall(self, user: str, rng: Random) -> None:
        if mine := sorted(self.truth[user]):
            id = rng.choice(mine)
            before = self.memory(user).state[id].strength
            self.memory(user).recall([id], START)
            assert self.memory(user).state[id].strength == before + 1

    def meddle(self, user: str, rng: Random) -> None:
        """Nothing can be done to a record of somebody else."""
        other = self.of_another(user, rng)
        if other and other.id not in self.truth[user]:
            memory = self.memory(user)
            for touch in (memory.pin, memory.restore, memory.recall, memory.forget):
                with pytest.raises(InputError, match="no record"):
                    touch([other.id], START)
            with pytest.raises(InputError, match="not of"):
                memory.write([Add(at=START, record=other)])

    def of_another(self, user: str, rng: Random) -> MemoryRecord | None:
        other = f"user{rng.randrange(USERS)}"
        mine = self.truth.get(other)
        if other == user or not mine:
            return None
        record = mine[rng.choice(sorted(mine))]
        return record if record.user == other else None


TestPeople = People.TestCase
TestPeople.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=40 if EXAMPLES > 10 else 12, deadline=None,
    derandomize=True, suppress_health_check=list(HealthCheck), print_blob=True,
)  # fmt: skip
