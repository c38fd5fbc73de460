"""Unfamiliar values: other words in the same place, never a held-out value."""

from random import Random

import pytest

from oldfriend.corpus.people import Life
from oldfriend.corpus.schema import Conversation
from oldfriend.corpus.seeds import Seeds
from oldfriend.corpus.settings import SimulatorParams
from oldfriend.corpus.simulator import simulate
from oldfriend.corpus.tasks import notes
from oldfriend.corpus.unfamiliar import Unfamiliar

World = tuple[list[Conversation], list[Life]]


@pytest.fixture(scope="module")
def listed(real: Seeds) -> dict[str, set[str]]:
    """The values of every slot that draws from a list, held-out ones."""
    slots = real.slots.items()
    return {name: set(s.values.test) for name, s in slots if not isinstance(s.values, str)}


@pytest.fixture(scope="module")
def people(real: Seeds) -> World:
    return simulate(SimulatorParams(people=12), real)


def test_only_listed_values_change_and_never_to_a_held_out_one(
    real: Seeds, people: World, listed: dict[str, set[str]]
) -> None:
    lives = [life for life in people[1] if life.split == "train"]
    changed = Unfamiliar(real, Random(0)).lives(lives, 1.0)
    pairs = [
        (before, after)
        for old, new in zip(lives, changed, strict=True)
        for before, after in zip(old.facts, new.facts, strict=True)
    ]
    for before, after in pairs:
        if before.slot in listed:
            assert after.value not in listed[before.slot]
            assert len(after.value.split()) == len(before.value.split())
        else:
            assert after == before
    assert any(before != after for before, after in pairs)


def test_notes_keep_their_spans_and_the_rest_of_the_text(real: Seeds, people: World) -> None:
    talk = [row for row in people[0] if row.split == "train"]
    before = notes(talk, [life for life in people[1] if life.split == "train"])
    after = list(Unfamiliar(real, Random(0)).notes(before, 1.0))
    for old, new in zip(before, after, strict=True):
        frame = new.text
        for fact in sorted(new.facts, key=lambda fact: -fact.start):
            assert new.text[fact.start : fact.end] == fact.value
            frame = frame[: fact.start] + "{}" + frame[fact.end :]
        values = [fact.value for fact in sorted(old.facts, key=lambda fact: fact.start)]
        assert frame.format(*values) == old.text


def test_a_share_of_nothing_changes_nothing(real: Seeds, people: World) -> None:
    before = notes(people[0], people[1])
    assert list(Unfamiliar(real, Random(0)).notes(before, 0.0)) == before
