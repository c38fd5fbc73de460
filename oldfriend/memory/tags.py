"""Word-piece labels for memory notes: outside, or the beginning or inside of a slot's value.

BIO labels (Ramshaw & Marcus 1995): 0 is outside, ``1 + 2i`` begins a value of slot ``i``,
``2 + 2i`` goes on with it.
"""

from collections.abc import Iterable, Sequence

from oldfriend.corpus.schema import Fact
from oldfriend.memory.notes import MAX_RECORDS, Note

OUTSIDE = 0
Span = tuple[int, int]  # characters of the text; an empty one is a mark around it


def tags_of(facts: Iterable[Fact], pieces: Sequence[Span], slots: Sequence[str]) -> list[int]:
    """The label of each word piece; facts of slots that are not in ``slots`` stay outside."""
    places = {slot: place for place, slot in enumerate(slots)}
    tags = [OUTSIDE] * len(pieces)
    for fact in facts:
        if fact.slot not in places:
            continue
        inside = [
            i
            for i, (start, end) in enumerate(pieces)
            if end > start and start >= fact.start and end <= fact.end
        ]
        for order, i in enumerate(inside):
            tags[i] = 1 + 2 * places[fact.slot] + bool(order)
    return tags


def notes_of(
    text: str,
    tags: Sequence[int],
    certainties: Sequence[float],
    pieces: Sequence[Span],
    slots: Sequence[str],
) -> list[tuple[Note, float]]:
    """The values that ``tags`` mark, widened to whole words, each with its least certainty."""
    found: dict[tuple[str, str], tuple[Note, float]] = {}
    i = 0
    while i < len(tags):
        if tags[i] == OUTSIDE or pieces[i][0] == pieces[i][1]:
            i += 1
            continue
        first, slot = i, (tags[i] - 1) // 2
        i += 1
        while i < len(tags) and _goes_on(tags[i], slot, pieces[i - 1], pieces[i]):
            i += 1
        start, end = _whole_words(text, pieces[first][0], pieces[i - 1][1])
        note = Note(slots[slot], text[start:end], start, end)
        found.setdefault((note.slot, note.value), (note, min(certainties[first:i])))
    return list(found.values())[:MAX_RECORDS]


def _goes_on(tag: int, slot: int, before: Span, piece: Span) -> bool:
    """Whether ``piece`` belongs to the value of ``slot`` that the piece before it belongs to."""
    if piece[0] == piece[1]:
        return False
    same_word = piece[0] == before[1]
    return tag == 2 + 2 * slot or (same_word and tag == 1 + 2 * slot)


def _whole_words(text: str, start: int, end: int) -> Span:
    while start > 0 and _is_word(text[start - 1]) and _is_word(text[start]):
        start -= 1
    while end < len(text) and _is_word(text[end]) and _is_word(text[end - 1]):
        end += 1
    return start, end


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
