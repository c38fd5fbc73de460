"""Simulated people: who they are, what a year changes in their lives, and the truth about it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Literal

from oldfriend.corpus.banks import Bank, Slot
from oldfriend.corpus.names import draw, invent
from oldfriend.corpus.schema import SPLITS, Fact, Row, Split
from oldfriend.corpus.seeds import Seeds
from oldfriend.corpus.settings import SimulatorParams

Role = Literal[
    "near_miss", "passing", "interest", "recall", "joke", "callback", "promise", "kept", "broken"
]


class Known(Row):
    """One true thing about a person, and the turn that told it."""

    slot: str
    value: str
    said_on: date
    valid_from: date  # when it became true; a change becomes true between two sessions
    valid_to: date | None = None  # when the next value of a single slot became true
    conversation: str
    turn: int


class Moment(Row):
    """A user's turn with a meaning that no fact of the turn shows.

    near_miss and passing: ``fact`` looks like one, but nobody would want it remembered.
    interest: ``fact`` is worth remembering to this enthusiast only. recall: asks for ``fact``,
    told before, and the next turn answers right. callback, kept and broken refer to an earlier
    joke or promise by its conversation and turn.
    """

    role: Role
    conversation: str
    turn: int
    fact: Fact | None = None
    refers: tuple[str, int] | None = None


class Life(Row):
    """The truth about one person: what was told when, and what never was."""

    person: str
    name: str
    split: Split
    idiolect: str
    interest: str | None = None
    early: int  # sessions below this number are those to personalize on
    facts: tuple[Known, ...]
    unsaid: tuple[str, ...]
    moments: tuple[Moment, ...]


@dataclass(frozen=True)
class Telling:
    """A value due to be told in some session, with the value that it replaces."""

    slot: str
    value: str
    old: str | None = None


@dataclass(frozen=True)
class Person:
    """A person before their year: all that is decided in advance."""

    id: str
    name: str
    split: Split
    idiolect: str
    interest: str | None
    times: tuple[datetime, ...]  # of the sessions
    early: int
    tellings: tuple[tuple[Telling, ...], ...]  # by session
    mentions: tuple[int, ...]  # of the interest, by session


def cast(params: SimulatorParams, seeds: Seeds) -> list[Person]:
    """Decide who lives in this world."""
    rng = Random(f"cast {params.seed}")
    names: set[str] = set()
    people = []
    interests = _interests(params, sorted(seeds.niches), rng)
    for index, (split, interest) in enumerate(interests):
        own = Random(f"{params.seed} {index}")
        name = _unused_name(split, names, own)
        times = _times(params, own)
        early = math.ceil(len(times) * params.early_share)
        people.append(
            Person(
                id=f"sim{params.seed}-{index:04d}",
                name=name,
                split=split,
                idiolect=own.choice(sorted(seeds.life.idiolects)),
                interest=interest,
                times=times,
                early=early,
                tellings=_tellings(params, seeds, split, name, len(times), own),
                mentions=_mentions(params, len(times), early, own) if interest else (),
            )
        )
    return people


def value_for(slot: Slot, split: Split, used: set[str], rng: Random) -> str | None:
    """A value of the slot that is not in ``used`` yet, and now is; None if none is left."""
    if isinstance(slot.values, Bank):
        free = [value for value in slot.values.of(split) if value not in used]
        value = rng.choice(free) if free else None
    else:
        drawn = (draw(slot.values, split, rng) for _ in range(100))
        value = next((value for value in drawn if value not in used), None)
    if value is not None:
        used.add(value)
    return value


def _interests(
    params: SimulatorParams, niches: Sequence[str], rng: Random
) -> list[tuple[Split, str | None]]:
    """The split and interest of everybody; within each split, niches take turns."""
    shares: dict[Split, float] = {"val": params.val_share, "test": params.test_share}
    sizes = {split: round(share * params.people) for split, share in shares.items()}
    sizes["train"] = params.people - sum(sizes.values())
    everybody: list[tuple[Split, str | None]] = []
    for split in SPLITS:
        order = rng.sample(niches, len(niches))
        keen = math.ceil(sizes[split] * params.interest_share) if niches else 0
        for index in range(sizes[split]):
            everybody.append((split, order[index % len(order)] if index < keen else None))
    rng.shuffle(everybody)
    return everybody


def _unused_name(split: Split, names: set[str], rng: Random) -> str:
    name = invent("person_name", split, rng)
    while name in names:
        name = invent("person_name", split, rng)
    names.add(name)
    return name


def _times(params: SimulatorParams, rng: Random) -> tuple[datetime, ...]:
    """When the sessions begin: distinct days, at an hour at which people are awake."""
    days = sorted(rng.sample(range(params.days), rng.randint(*params.sessions)))
    midnight = datetime.combine(params.start, datetime.min.time())
    return tuple(
        midnight + timedelta(days=day, minutes=rng.randrange(7 * 60, 23 * 60)) for day in days
    )


def _tellings(
    params: SimulatorParams, seeds: Seeds, split: Split, name: str, sessions: int, rng: Random
) -> tuple[tuple[Telling, ...], ...]:
    """Which values are told in which session: a slot's values in their order, one a session."""
    due: list[list[Telling]] = [[] for _ in range(sessions)]
    used = {name, *seeds.name_alikes}
    wanted = min(rng.randint(*params.slots), len(seeds.slots))
    for slot_name in rng.sample(sorted(seeds.slots), wanted):
        slot = seeds.slots[slot_name]
        single = slot.cardinality == "single"
        again = params.change_share if single else params.more_share
        old: str | None = None
        session = rng.randrange(sessions)
        while value := value_for(slot, split, used, rng):
            due[session].append(Telling(slot_name, value, old))
            old = value if single else None
            if (single and not slot.change) or session + 1 == sessions or rng.random() >= again:
                break
            session = rng.randrange(session + 1, sessions)
    for tellings in due:
        rng.shuffle(tellings)
    return tuple(tuple(tellings) for tellings in due)


def _mentions(params: SimulatorParams, sessions: int, early: int, rng: Random) -> tuple[int, ...]:
    """How often the interest comes up in each session, spread evenly over early and later ones."""
    counts: list[int] = []
    for size, between in ((early, params.interest_early), (sessions - early, params.interest_late)):
        total = rng.randint(*between)
        part = [total // size + (index < total % size) for index in range(size)] if size else []
        rng.shuffle(part)
        counts += part
    return tuple(counts)
