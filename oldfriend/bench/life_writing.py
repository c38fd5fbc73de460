"""Simulated lives put into memory through the real write path, with notes that are right or not.

Every turn is kept as it was said. The notes are the simulator's true facts, as a perfect summarizer
would write them; ``Noise`` misses some of them and notes what is none. After a session come its
summary and the portrait, then reflection, then forgetting, each at the time when the session ended.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from oldfriend.bench.recall import utc
from oldfriend.corpus.people import Life
from oldfriend.corpus.schema import Conversation, Fact, slot_words
from oldfriend.corpus.seeds import Seeds
from oldfriend.corpus.settings import SimulatorParams
from oldfriend.corpus.simulator import fact_of, simulate
from oldfriend.memory.store import change, forgetting, levels
from oldfriend.memory.store.record import MemoryRecord, Source, record_id
from oldfriend.memory.store.settings import ForgettingParams, LevelsParams
from oldfriend.memory.store.user import UserMemory
from oldfriend.outcome import Row

PACE = timedelta(seconds=30)  # from one turn to the next
WORDS = 3  # of a turn of small talk that a false note takes for a value


@dataclass(frozen=True)
class Noise:
    """How notes go wrong: the shares of facts ``missed``, of ``lookalikes`` (near misses, other
    people's niches) noted as facts, and of the person's other turns noted as some fact."""

    missed: float = 0.0
    lookalikes: float = 0.0
    smalltalk: float = 0.0


@dataclass(frozen=True)
class Writing:
    """How a life is written. Without ``supersede`` notes are added and nothing ever ends; without
    ``forgetting`` there is neither reflection nor a capacity."""

    supersede: bool = True
    forgetting: ForgettingParams | None = None
    noise: Noise = Noise()


@dataclass(frozen=True)
class World:
    """A person of the test split: the truth about them, and their talks in order."""

    life: Life
    talks: tuple[Conversation, ...]

    @property
    def now(self) -> datetime:
        """When they are asked: a day after the last talk."""
        return end(self.talks[-1]) + timedelta(days=1)


def worlds(seeds: Seeds, lives: int, seed: int) -> list[World]:
    """``lives`` people of the test split, each with a year of talk out of the banks ``seeds``."""
    share = SimulatorParams().test_share
    talks, people = simulate(SimulatorParams(seed=seed, people=round(lives / share)), seeds)
    return [
        World(life, tuple(talk for talk in talks if talk.person == life.person))
        for life in people
        if life.split == "test"
    ]


def live(memory: UserMemory, world: World, seeds: Seeds, writing: Writing) -> list[Row]:
    """Write a year, session by session; how large the pool was after each.

    Equal lives are noted with equal mistakes, whatever else ``writing`` says.
    """
    rng = Random(f"notes {world.life.person}")
    growth: list[Row] = []
    turns = 0
    for talk in world.talks:
        now = end(talk)
        turns += len(talk.turns)
        memory.add(_turns(memory.user, talk), at=now)
        notes = [
            _record(memory.user, talk, turn, fact)
            for turn, fact in _noted(world.life, talk, seeds, writing.noise, rng)
        ]
        if writing.supersede:
            memory.write(change.absorb(memory.state, notes))
        else:
            memory.add(notes, at=now)
        memory.write(levels.digest(memory.state, talk.id, now, LevelsParams()))
        if writing.forgetting:
            memory.write(forgetting.reflect(memory.state, now, writing.forgetting))
            memory.write(forgetting.make_room(memory.state, now, writing.forgetting))
        active = [record for record in memory.state.values() if not record.archived]
        typed = sum(record.kind in forgetting.TYPED for record in active)
        growth.append({
            "session": talk.session, "turns": turns, "records": len(memory.state),
            "active": len(active), "typed": typed,
        })  # fmt: skip
    return growth


def truths(life: Life) -> set[tuple[str, str]]:
    """Slots and values that a perfect summarizer notes: all that was told, and one's interest."""
    own = {(m.fact.slot, m.fact.value) for m in life.moments if m.fact and m.role == "interest"}
    return own | {(known.slot, known.value) for known in life.facts}


def begin(talk: Conversation) -> datetime:
    """When a talk began."""
    assert talk.time  # all simulated talks have one
    return utc(talk.time)


def end(talk: Conversation) -> datetime:
    """When a talk was over."""
    return begin(talk) + len(talk.turns) * PACE


def _turns(user: str, talk: Conversation) -> list[MemoryRecord]:
    return [
        MemoryRecord(
            id=record_id(user, talk.id, str(place)), user=user, kind="turn", text=turn.text,
            emotion=turn.emotion, created_at=begin(talk) + place * PACE,
            source=Source(session=talk.id, turn=place, end=len(turn.text), speaker=turn.speaker),
        )
        for place, turn in enumerate(talk.turns)
    ]  # fmt: skip


def _noted(
    life: Life, talk: Conversation, seeds: Seeds, noise: Noise, rng: Random
) -> Iterator[tuple[int, Fact]]:
    """What the summarizer writes of a talk: turn and fact, in order."""
    moments = {m.turn: m for m in life.moments if m.conversation == talk.id}
    for place, turn in enumerate(talk.turns):
        if turn.speaker != "user":
            continue
        moment = moments.get(place)
        facts = list(turn.facts)
        if moment and moment.role == "interest" and moment.fact:
            facts.append(moment.fact)
        # The draws do not depend on the noise, so that more of it errs where less of it did.
        draws = [rng.random() for _ in range(max(len(facts), 1))]
        slot, start = rng.choice(sorted(seeds.slots)), rng.random()
        if facts:
            yield from (
                (place, fact)
                for draw, fact in zip(draws, facts, strict=True) if draw >= noise.missed
            )  # fmt: skip
        elif moment and moment.fact:  # near_miss and passing; recall asks and tells nothing
            if draws[0] < noise.lookalikes:
                yield place, moment.fact
        elif draws[0] < noise.smalltalk:
            words = turn.text.split()
            first = int(start * max(len(words) - WORDS, 1))
            yield place, fact_of(slot, seeds.slots[slot], " ".join(words[first : first + WORDS]))


def _record(user: str, talk: Conversation, place: int, fact: Fact) -> MemoryRecord:
    return MemoryRecord(
        id=record_id(user, talk.id, str(place), fact.slot, fact.value), user=user,
        kind=fact.kind, subject=fact.subject, slot=fact.slot, cardinality=fact.cardinality,
        value=fact.value, text=f"my {slot_words(fact.slot)}: {fact.value}",
        importance=fact.importance, created_at=begin(talk) + place * PACE,
        source=Source(session=talk.id, turn=place, start=fact.start, end=fact.end),
    )  # fmt: skip
