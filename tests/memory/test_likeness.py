"""Memories in the order of their likeness to the message."""

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from oldfriend.corpus.schema import MemoryLine
from oldfriend.memory.grounding import by_likeness
from oldfriend.memory.store.embed import HashEmbedder
from oldfriend.memory.store.minilm import MiniLM

SLOTS = ("home_city", "pet_name", "favourite_food", "job")


def line(owner: str, slot: str, value: str, *, past: bool = False) -> MemoryLine:
    until = date(2024, 5, 1) if past else None
    return MemoryLine(owner=owner, slot=slot, value=value, text=value, until=until)


lines = st.builds(
    line, st.sampled_from(["Ana", "Boris"]), st.sampled_from(SLOTS), st.text("abc", min_size=1),
    past=st.booleans(),
)  # fmt: skip
asked = st.tuples(st.just("Ana"), st.lists(lines, max_size=6), st.text("abc my city", min_size=1))


@given(st.lists(asked, max_size=4))
def test_nothing_is_lost_and_neighbours_do_not_matter(
    questions: list[tuple[str, list[MemoryLine], str]],
) -> None:
    encode = HashEmbedder().encode
    found = by_likeness(questions, encode)
    assert [sorted(map(repr, row)) for row in found] == [
        sorted(map(repr, memories)) for _, memories, _ in questions
    ]
    assert found == [by_likeness([question], encode)[0] for question in questions]


def test_what_is_asked_for_stands_last() -> None:
    memories = [
        line("Ana", "home_city", "Velmora"),
        line("Ana", "home_city", "Brenholm", past=True),
        line("Boris", "pet_name", "Quill"),
        line("Ana", "pet_name", "Miro"),
    ]
    questions = ["What's my dog called again?", "Which town did I live in before?", "Where's home?"]
    found = by_likeness([("Ana", memories, q) for q in questions], MiniLM().encode)
    assert [row[-1].value for row in found] == ["Miro", "Brenholm", "Velmora"]
