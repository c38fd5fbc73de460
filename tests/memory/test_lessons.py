"""The lessons of grounding: each kind in its share, no example unseen, the easy ones earlier."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from oldfriend.corpus.schema import Fact, GroundExample, MemoryLine, NoteExample
from oldfriend.lm.chat import answer_documents
from oldfriend.lm.packing import Document
from oldfriend.lm.settings import FitParams
from oldfriend.lm.tokenizer import train_tokenizer
from oldfriend.memory import grounding, notes
from oldfriend.memory.ground import mix_lessons
from oldfriend.memory.settings import GroundParams

MOST = 9  # memories an example
ROW_TOKENS = 256


def question(n: int) -> GroundExample:
    memories = tuple(
        MemoryLine(owner="Ana", slot="pet_name", value=f"Miro {n} {m}", text="cat")
        for m in range(n * 7 % (MOST + 1))
    )
    return GroundExample(
        id=f"g{n}", user="Ana", source="s", kind="recall", slot="pet_name", memories=memories,
        message=f"What is my cat number {n} called?", reply=f"It is Miro {n}.",
    )  # fmt: skip


def reading(n: int) -> NoteExample:
    fact = Fact(slot="pet_name", value=f"Miro {n}", start=17, end=17 + len(f"Miro {n}"))
    text = f"my cat is called Miro {n}"
    return NoteExample(id=f"n{n}", user="ana", source="s", text=text, facts=(fact,))


ROWS = [question(n) for n in range(400)]
READINGS = [reading(n) for n in range(300)]
TOKENIZER = train_tokenizer([*(row.message for row in ROWS), *(r.text for r in READINGS)], 500)
GROUNDING = {
    document: row
    for row, document in zip(
        ROWS, answer_documents(TOKENIZER, map(grounding.dialogue, ROWS)), strict=True
    )
}
NOTES = set(answer_documents(TOKENIZER, [notes.dialogue(example, 0) for example in READINGS]))
ALL = sum(map(len, GROUNDING))  # tokens


def lessons(
    tokens: int, seed: int = 0, readings: Sequence[NoteExample] = READINGS, **changes: Any
) -> list[Document]:
    """Lessons of a run that sees about ``tokens`` tokens."""
    fit = FitParams(steps=max(tokens // ROW_TOKENS, 1), rows=1, row_tokens=ROW_TOKENS, lr=1e-3)
    params = GroundParams.model_validate({**changes, "fit": fit})
    return mix_lessons(params, TOKENIZER, ROWS, readings, seed)


def kind(lesson: Document) -> str:
    return "ground" if lesson in GROUNDING else "notes" if lesson in NOTES else "drill"


def chosen(mixed: Sequence[Document]) -> list[GroundExample]:
    """The rows that the lessons were made of, in order."""
    return [GROUNDING[lesson] for lesson in mixed if lesson in GROUNDING]


@pytest.mark.parametrize(
    ("noted", "drilled"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.2), (0.3, 0.2), (0.5, 0.4)]
)
def test_every_kind_has_its_share_of_the_tokens(noted: float, drilled: float) -> None:
    budget = ALL // 2
    mixed = lessons(budget, notes_share=noted, drill_share=drilled)
    overshoot = max(map(len, GROUNDING)) / (1 - noted - drilled)  # half an example brings its share
    found = Counter[str]()
    for lesson in mixed:
        found[kind(lesson)] += len(lesson)
    assert found.total() == pytest.approx(budget, abs=overshoot + 300), "what one pass can see"
    assert found["notes"] / found.total() == pytest.approx(noted, abs=0.02)
    assert found["drill"] / found.total() == pytest.approx(drilled, abs=0.02)
    assert (found["notes"] > 0, found["drill"] > 0) == (noted > 0, drilled > 0)


def test_an_example_is_taken_once_and_which_ones_depends_on_the_seed() -> None:
    takes = [chosen(lessons(ALL // 3, seed, drill_share=0.2)) for seed in (0, 0, 1)]
    assert all(0 < len(taken) == len({row.id for row in taken}) < len(ROWS) for taken in takes)
    assert takes[0] == takes[1]
    assert {row.id for row in takes[0]} != {row.id for row in takes[2]}


def test_a_run_longer_than_the_data_takes_every_example_once() -> None:
    mixed = lessons(5 * ALL, notes_share=0.3, drill_share=0.2)
    assert Counter(row.id for row in chosen(mixed)) == Counter(row.id for row in ROWS)
    noted = sum(len(lesson) for lesson in mixed if kind(lesson) == "notes")
    assert noted / sum(map(len, mixed)) == pytest.approx(0.3, abs=0.02)


def test_few_readings_come_again_until_they_have_their_share() -> None:
    mixed = lessons(ALL // 2, readings=READINGS[:10], notes_share=0.3)
    times = Counter(lesson for lesson in mixed if kind(lesson) == "notes")
    assert len(times) == 10 and max(times.values()) - min(times.values()) <= 1
    noted = sum(len(lesson) * count for lesson, count in times.items())
    assert noted / sum(map(len, mixed)) == pytest.approx(0.3, abs=0.02)


def test_the_curriculum_survives_the_mixing() -> None:
    counts = {
        curriculum: [
            len(row.memories)
            for row in chosen(
                lessons(ALL // 2, curriculum=curriculum, notes_share=0.3, drill_share=0.2)
            )
        ]
        for curriculum in (0.0, 0.5, 1.0)
    }
    assert counts[1.0] == sorted(counts[1.0])

    def rise(found: list[int]) -> float:
        third = len(found) // 3
        return sum(found[-third:]) / third - sum(found[:third]) / third

    assert rise(counts[1.0]) > rise(counts[0.5]) > 1 > abs(rise(counts[0.0]))


def test_notes_and_drills_lie_everywhere() -> None:
    kinds = [kind(lesson) for lesson in lessons(ALL // 2, notes_share=0.3, drill_share=0.2)]
    size = len(kinds) // 4
    for start in range(0, 4 * size, size):
        assert set(kinds[start : start + size]) == {"ground", "notes", "drill"}


@pytest.mark.parametrize(("noted", "drilled"), [(0.5, 0.5), (0.7, 0.4)])
def test_shares_that_leave_nothing_to_grounding_are_refused(noted: float, drilled: float) -> None:
    with pytest.raises(ValidationError, match="notes_share and drill_share together leave nothing"):
        lessons(ALL, notes_share=noted, drill_share=drilled)
