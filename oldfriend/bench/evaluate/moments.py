"""What is said to a friend at the end of a simulated year, and what the simulator knows of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from oldfriend.bench.evaluate.settings import FIRST_SEED, EvaluateParams
from oldfriend.bench.life_questions import questions
from oldfriend.bench.life_writing import World
from oldfriend.corpus.people import Life
from oldfriend.corpus.schema import GroundExample
from oldfriend.corpus.seeds import Seeds
from oldfriend.corpus.settings import SimulatorParams
from oldfriend.corpus.simulator import simulate

Kind = Literal["recall", "update", "before", "when", "never_said", "someone_else"]
KINDS: tuple[Kind, ...] = ("recall", "update", "before", "when", "never_said", "someone_else")
OF: dict[str, Kind] = {"former": "before", "before": "before", "held_in": "when", "told_in": "when"}


@dataclass(frozen=True)
class Question:
    """``truth``: right values, none where nothing was told. ``wrong``: values that a mistake would
    tell: outdated ones, or another person's."""

    kind: Kind
    text: str
    truth: frozenset[str] = frozenset()
    wrong: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Feeling:
    """Something is shown to be felt; ``name`` and ``intensity`` as the simulator has them."""

    text: str
    name: str
    intensity: float


@dataclass(frozen=True)
class Talk:
    """Talk that a memory should colour; ``example`` knows the reply with and without it."""

    text: str
    example: GroundExample


Moment = Question | Feeling | Talk


def new_worlds(params: EvaluateParams, seeds: Seeds, seed: int) -> list[World]:
    """People whom nobody was trained on, each with a year of talk."""
    share = SimulatorParams().test_share
    simulated = SimulatorParams(
        seed=FIRST_SEED + seed,
        people=round(params.lives / share),
        sessions=(params.sessions, params.sessions),
    )
    talks, people = simulate(simulated, seeds)
    return [
        World(life, tuple(talk for talk in talks if talk.person == life.person))
        for life in people
        if life.split == "test"
    ]


def moments(
    world: World, others: Sequence[Life], seeds: Seeds, params: EvaluateParams
) -> list[Moment]:
    """What this person says and asks; kinds of questions take turns as far as the life goes."""
    rng = Random(f"moments {world.life.person}")
    return [
        *_questions(world, others, seeds, params.questions, rng),
        *_feelings(seeds, params.feelings, rng),
        *_talks(world.life, seeds, params.talks, rng),
    ]


def _questions(
    world: World, others: Sequence[Life], seeds: Seeds, most: int, rng: Random
) -> list[Question]:
    pools: dict[Kind, list[Question]] = {kind: [] for kind in KINDS}
    for asked in questions(world.life, seeds, world.now):
        kind = OF.get(asked.kind, "update" if asked.stale else "recall")
        held = {f.value for f in world.life.facts if f.slot == asked.slot}
        pools[kind].append(Question(kind, asked.text, asked.truth, frozenset(held - asked.truth)))
    for name in world.life.unsaid:
        theirs = frozenset(f.value for other in others for f in other.facts if f.slot == name)
        kind = "someone_else" if theirs else "never_said"
        text = rng.choice(seeds.slots[name].ask.test)
        pools[kind].append(Question(kind, text, frozenset(), theirs))
    for pool in pools.values():
        rng.shuffle(pool)
    chosen: list[Question] = []
    while len(chosen) < most and any(pools.values()):
        chosen += [pool.pop() for pool in pools.values() if pool]
    return chosen[:most]


def _feelings(seeds: Seeds, most: int, rng: Random) -> Iterator[Feeling]:
    names = sorted(seeds.life.emotions)
    for name in rng.sample(names, min(most, len(names))):
        bank = seeds.life.emotions[name]
        said = rng.choice(bank.test).say
        yield Feeling(said, name, sum(bank.intensity) / 2)


def _talks(life: Life, seeds: Seeds, most: int, rng: Random) -> Iterator[Talk]:
    held = [fact for fact in life.facts if fact.valid_to is None]
    for place, fact in enumerate(rng.sample(held, min(most, len(held)))):
        colour = rng.choice(seeds.slots[fact.slot].colour.test)
        yield Talk(
            colour.talk,
            GroundExample(
                id=f"{life.person}-{place}", user=life.name, source="simulator", kind="colour",
                slot=fact.slot, message=colour.talk, reply=colour.with_, contrast=colour.without,
            ),
        )  # fmt: skip
