"""Two readers weighed against each other."""

import random

from oldfriend.corpus.schema import Fact, NoteExample
from oldfriend.memory.notes import Note
from oldfriend.memory.opinions import Read, together, weigh

EQUAL = (2.0, 2.0, 0.0, 0.0, -2.0)


def example(n: int) -> NoteExample:
    fact = Fact(slot="pet_name", value="Miro", start=10, end=14)
    return NoteExample(id=str(n), user="ana", source="s", text="My dog is Miro.", facts=(fact,))


def test_the_more_certain_of_two_notes_on_the_same_words_stays() -> None:
    written: Read = [(Note("home_city", "Miro", 10, 14), 0.4)]
    marked: Read = [(Note("pet_name", "Miro", 10, 14), 0.9), (Note("age", "ten", 0, 3), 0.2)]
    found = together(written, marked, EQUAL)
    assert [note.slot for note, _ in found] == ["age", "pet_name"]
    assert all(0 < sure < 1 for _, sure in found)


def test_agreement_counts_for_more_than_one_voice() -> None:
    note = Note("pet_name", "Miro", 10, 14)
    ((_, both),) = together([(note, 0.6)], [(note, 0.6)], EQUAL)
    ((_, one),) = together([(note, 0.6)], [], EQUAL)
    assert both > one


def test_the_reliable_reader_is_believed() -> None:
    rng = random.Random(0)
    right, wrong = Note("pet_name", "Miro", 10, 14), Note("home_city", "dog", 3, 6)
    examples = [example(n) for n in range(200)]
    written: list[Read] = [[(rng.choice([right, wrong]), rng.random())] for _ in examples]
    marked: list[Read] = [[(right, 0.5 + rng.random() / 2)] for _ in examples]
    weights = weigh(examples, written, marked)
    ((_, by_lm),) = together([(wrong, 0.95)], [], weights)
    ((_, by_tags),) = together([], [(right, 0.95)], weights)
    assert by_tags > 0.8 > by_lm


def test_with_nothing_to_learn_from_both_count_the_same() -> None:
    note = Note("pet_name", "Miro", 10, 14)
    weights = weigh([], [], [])
    assert together([(note, 0.7)], [], weights) == together([], [(note, 0.7)], weights)
