"""What one person's readers note: real MiniLM vectors, a few made-up turns."""

from pathlib import Path

import numpy as np
import pytest

from oldfriend.corpus.schema import Fact, NoteExample
from oldfriend.memory import interests
from oldfriend.memory.intent import NOTHING
from oldfriend.memory.notes import Note
from oldfriend.memory.store.minilm import MiniLM

OPENINGS = ("Brindle Defence", "Karsholm Attack", "Salt Pawn", "Tollund System", "Duxley Gambit")
TOLD = (
    "I won with the {} again, mate in thirty moves.",
    "Blundered my rook in the {} tonight at the chess club.",
)
IDLE = (
    "The bus was late and it rained the whole way home.",
    "I had soup for lunch, far too salty.",
    "My sister rang, she talked for an hour about curtains.",
    "Did you sleep well?",
    "The neighbours are drilling holes again.",
)
STRANGERS = [
    *IDLE,
    "I found a heron standing in the pond this morning.",
    "Knitting a jumper out of the softest wool I ever had.",
    "He castled early and lost the chess game with the {} anyway.",
]


def turn(text: str, value: str = "") -> NoteExample:
    if not value:
        return NoteExample(id=text, user="u", source="s", text=text)
    at = text.find("{}")
    fact = Fact(slot="opening", value=value, start=at, end=at + len(value))
    text = text.format(value)
    return NoteExample(id=text, user="u", source="s", text=text, facts=(fact,))


OWN = [turn(text, name) for text in TOLD for name in OPENINGS] + [turn(text) for text in IDLE]


def test_turns_about_an_interest_are_told_from_others() -> None:
    encode = MiniLM().encode
    topics = interests.fit_topics(["opening"], OWN, STRANGERS, encode)
    assert topics.topics == (NOTHING, "opening")
    about = [
        "My opponent fell for the Heron Gambit on move nine.",
        "Chess is going well, I play e4.",
    ]
    other = ["The heron came back to the pond.", "What shall we eat tonight?"]
    assert [topic for topic, _ in topics.read(encode(about))] == ["opening"] * 2
    assert [topic for topic, _ in topics.read(encode(other))] == [NOTHING] * 2


@pytest.mark.parametrize("own", [OWN[-2:], OWN[:3]])
def test_without_two_kinds_of_turns_there_is_one_topic(own: list[NoteExample]) -> None:
    encode = MiniLM().encode
    topics = interests.fit_topics(["opening"], own, [], encode)
    assert topics.read(encode(["anything"])) == [(topics.topics[0], pytest.approx(1.0))]


def test_own_notes_replace_generic_ones_on_the_same_words() -> None:
    hobby, pet = Note("hobby", "Salt", 11, 15), Note("pet_name", "Miro", 30, 34)
    opening = Note("opening", "Salt Pawn", 11, 20)
    assert interests.together([pet, hobby], [opening]) == [opening, pet]
    assert interests.together([hobby, pet], []) == [hobby, pet]


def test_of_several_interests_each_is_found(tmp_path: Path) -> None:
    encode = MiniLM().encode
    birds = [
        NoteExample(
            id=text, user="u", source="s", text=text,
            facts=(Fact(slot="bird", value="bird", start=0, end=4),),
        )
        for text in ("bird in the hedge, a wren I think", "bird count today: two owls at dusk",
                     "bird of the week is a heron by the river")
    ]  # fmt: skip
    topics = interests.fit_topics(["bird", "opening"], [*OWN, *birds], STRANGERS, encode)
    assert topics.topics == (NOTHING, "bird", "opening")
    assert topics.weight.shape == (3, 384) and topics.weight.dtype == np.float32
    read = topics.read(
        encode(["An owl flew over the river at dusk.", "I lost my queen in that game"])
    )
    assert [topic for topic, _ in read] == ["bird", "opening"]
