"""Facts to word-piece labels and back."""

from hypothesis import given
from hypothesis import strategies as st

from oldfriend.corpus.schema import Fact
from oldfriend.lm.encoder import word_pieces
from oldfriend.memory.notes import MAX_RECORDS
from oldfriend.memory.tags import OUTSIDE, notes_of, tags_of

SLOTS = ["home_city", "pet_name"]
words = st.text("abcdefgäéz", min_size=1, max_size=9)
values = st.lists(words, min_size=1, max_size=3).map(" ".join)


@st.composite
def told(draw: st.DrawFn) -> tuple[str, list[Fact]]:
    """A text of words between which values of slots stand, each value once."""
    text, facts = draw(words), list[Fact]()
    for slot in draw(st.lists(st.sampled_from(SLOTS), max_size=MAX_RECORDS)):
        value = draw(values)
        if any((f.slot, f.value) == (slot, value) for f in facts):
            continue
        start = len(text) + 1
        text = f"{text} {value}, {draw(words)}"
        facts.append(Fact(slot=slot, value=value, start=start, end=start + len(value)))
    return text, facts


@given(told())
def test_what_is_tagged_is_read_back(case: tuple[str, list[Fact]]) -> None:
    text, facts = case
    spans = word_pieces().encode(text).offsets
    tags = tags_of(facts, spans, SLOTS)
    read = notes_of(text, tags, [0.5] * len(tags), spans, SLOTS)
    assert [(n.slot, n.value, n.start, n.end) for n, _ in read] == [
        (f.slot, f.value, f.start, f.end) for f in facts
    ]


@given(st.text(max_size=60), st.data())
def test_any_labels_give_whole_words_of_the_text(text: str, data: st.DataObject) -> None:
    spans = word_pieces().encode(text).offsets
    size = len(spans)
    tags = data.draw(st.lists(st.integers(0, 2 * len(SLOTS)), min_size=size, max_size=size))
    sure = data.draw(st.lists(st.floats(0, 1), min_size=size, max_size=size))
    for note, certainty in notes_of(text, tags, sure, spans, SLOTS):
        assert text[note.start : note.end] == note.value != ""
        assert 0 <= certainty <= 1
        for edge, beside in ((note.start, note.start - 1), (note.end - 1, note.end)):
            if 0 <= beside < len(text):
                assert not (text[edge].isalnum() and text[beside].isalnum())


def test_slots_nobody_named_stay_outside() -> None:
    fact = Fact(slot="hobby", value="judo", start=2, end=6)
    assert set(tags_of([fact], [(0, 1), (2, 6)], SLOTS)) == {OUTSIDE}
