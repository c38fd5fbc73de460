"""Scores of notes, the certainty below which none is kept, and the baseline to beat."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oldfriend.corpus.schema import Fact, NoteExample
from oldfriend.memory.extract import by_slot, calibrate, sample
from oldfriend.memory.keywords import KeywordExtractor
from oldfriend.memory.notes import Note
from oldfriend.memory.scores import note_scores


def example(text: str, *said: tuple[str, str], name: str = "e") -> NoteExample:
    facts = tuple(
        Fact(slot=slot, value=value, start=text.index(value), end=text.index(value) + len(value))
        for slot, value in said
    )
    return NoteExample(id=name, user="u", source="s", text=text, facts=facts)


def note(slot: str, value: str) -> Note:
    return Note(slot, value, 0, len(value))


MIRO = example("Miro plays chess", ("pet", "Miro"), ("likes", "chess"))
SILENT = example("Good morning")


def test_perfect_notes() -> None:
    scores = note_scores([MIRO, SILENT], [[note("pet", "Miro"), note("likes", "chess")], []])
    assert scores.pop("examples") == 2
    assert scores.pop("false_memory_rate") == 0
    assert set(scores.values()) == {1.0}


def test_a_false_memory_a_miss_and_a_wrong_slot() -> None:
    found = [[note("pet", "Miro"), note("pet", "chess")], [note("likes", "morning")]]
    scores = note_scores([MIRO, SILENT], found)
    assert scores["gate_precision"] == 1 / 2
    assert scores["gate_recall"] == 1
    assert scores["record_recall"] == 1 / 2
    assert scores["false_memory_rate"] == 2 / 3
    assert scores["record_f1"] == pytest.approx(2 / 5)


def test_the_same_note_twice_counts_once() -> None:
    twice = note_scores([MIRO], [[note("pet", "Miro"), note("pet", "Miro")]])
    assert twice == note_scores([MIRO], [[note("pet", "Miro")]])


def test_silence_is_no_division_by_zero() -> None:
    assert set(note_scores([], []).values()) == {0.0}
    assert note_scores([SILENT], [[]])["false_memory_rate"] == 0


def test_slots_are_scored_apart_and_hardest_first() -> None:
    rows = by_slot([MIRO, SILENT], [[note("pet", "Miro")], [note("other", "x")]])
    assert rows == [{"slot": "likes", "record_f1": 0.0}, {"slot": "pet", "record_f1": 1.0}]


def test_samples_are_drawn_by_seed_and_never_too_many() -> None:
    rows = [example(f"text {n}") for n in range(30)]
    assert sample(rows, 30, 0) == rows
    assert sample(rows, 10, 1) == sample(rows, 10, 1) != sample(rows, 10, 2)
    assert len(sample(rows, 10, 1)) == 10


certainties = st.one_of(st.sampled_from((0.0, 0.5, 0.9, 1.0)), st.floats(0, 1))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(certainties, st.booleans()), max_size=30), st.floats(0, 1))
def test_calibration_keeps_its_promise(graded: list[tuple[float, bool]], most: float) -> None:
    examples = [MIRO] * len(graded)
    read = [[(note("pet", "Miro" if right else "Rex"), sure)] for sure, right in graded]
    threshold = calibrate(examples, read, most)
    assert math.isfinite(threshold)

    def promise(level: float) -> bool:
        kept = [right for sure, right in graded if sure >= level]
        return kept.count(False) <= most * len(kept)

    assert promise(threshold)
    lower = [sure for sure, _ in graded if sure < threshold]
    assert not any(promise(sure) for sure in lower), "a lower one would have done"


def test_without_a_note_on_val_everything_is_kept() -> None:
    assert calibrate([SILENT], [[]], 0.0) == 0.0


PLANTED = [
    example(text.format(value), (slot, value), name=f"{slot}{n}")
    for slot, text, values in (
        ("pet", "yesterday our kitten {} slept", ("Miro", "Tibbles", "Ashby", "Quill")),
        ("city", "we finally moved over to {} yesterday", ("Velmora", "Ostrava", "Lund", "Tarn")),
        ("likes", "honestly I adore {} these days", ("chess", "figs", "rain", "jazz")),
    )
    for n, value in enumerate(values)
] + [example(f"good morning friend number {n}", name=f"n{n}") for n in range(6)]


def test_keywords_beat_writing_nothing() -> None:
    extractor = KeywordExtractor.fit(PLANTED)
    test = [
        example("then our kitten Brindle woke", ("pet", "Brindle")),
        example("well, we moved over to Lund again", ("city", "Lund")),
        example("honestly do you adore chess too", ("likes", "chess")),
        example("good morning, friend"),
    ]
    scores = note_scores(test, [extractor.read(row.text) for row in test])
    nothing = note_scores(test, [[] for _ in test])
    assert nothing["record_f1"] == 0
    assert scores["record_f1"] == 1
    assert scores["gate_f1"] == 1


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text(max_size=40).map(lambda text: f"our kitten {text} moved"))
def test_keyword_values_stand_in_the_text(text: str) -> None:
    for found in KeywordExtractor.fit(PLANTED).read(text):
        assert text[found.start : found.end] == found.value


def test_keywords_that_learnt_nothing_say_nothing() -> None:
    assert KeywordExtractor.fit([]).read("our kitten Miro") == []
    assert KeywordExtractor.fit([SILENT] * 5).read("Good morning Miro") == []
