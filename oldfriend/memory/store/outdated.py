"""Words that were true when they were said and are not any more.

A turn stays as it was said, whatever happens later. So "I live in Rome" would answer "Where do I
live?" long after the move, better than the note that knows of Oslo. Here is told apart what only
holds values that have ended, and whether a question is about now at all.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from weakref import ref

from oldfriend.memory.store.change import believed
from oldfriend.memory.store.periods import comparable
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.state import State

_PAST = re.compile(
    r"\b(?:before|previous(?:ly)?|prior|former(?:ly)?|used? to|back then|at first|original(?:ly)?|"
    r"earlier|formerly|once|in the past|old|ex|last|until|till|ago|since|any ?more|any longer|"
    r"history|first|gave up|given up|abandon\w*|swap\w*|replace\w*|left|leave|quit)\b"
    r"|\bdid (?:i|we) (?!say\b|tell\b|mention\b|call\b|name\b|give\b)|\bwhen\b",
    re.I,
)
_TOLD = ("turn", "session", "insight")  # kinds that are no notes
_WORDS = re.compile(r"\w+")

PEOPLE = 64  # whose endings are kept

Words = tuple[str, ...]  # in small letters
Place = tuple[str, str]  # subject and slot


def about_now(question: str) -> bool:
    """Whether nothing in ``question`` speaks of the past. "What did I say my dog was called?" is
    about now, for all its tense; where it is doubtful, it is not."""
    return not _PAST.search(question)


class Endings:
    """What has ended in the lives of people. Keeps what it learnt of a state until it changes."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def outdated(self, record: MemoryRecord, state: State, now: datetime | None) -> bool:
        """Whether ``record``, which is no note itself, holds a value that has ended at ``now``, and
        nothing that holds: neither a note of its own nor another value of the same slot."""
        if not state.ended or (record.slot and record.kind not in _TOLD):
            return False
        notes = [r for r in state.noted(record) if believed(r)]
        if any(not _ended(note, now) for note in notes):
            return False
        words = tuple(_WORDS.findall(record.text.casefold()))
        over = self._over(state)
        told = {
            place
            for at, word in enumerate(words)
            for value, place in over.get(word, ())
            if words[at : at + len(value)] == value
        }
        return bool(notes or told) and not any(
            _says(words, held)
            for subject, slot in told
            for held in state.history(slot, subject)
            if believed(held) and not _ended(held, now)
        )

    def clear(self) -> None:
        """Forget all that was learnt."""
        self._known.clear()

    def _over(self, state: State) -> dict[str, list[tuple[Words, Place]]]:
        """Values that have an end, by their first word."""
        known = self._known.get(state.user)
        if known is None or known.state() is not state or known.endings != state.endings:
            values: dict[str, list[tuple[Words, Place]]] = {}
            for id in state.ended:
                record = state[id]
                words = tuple(_WORDS.findall(record.value.casefold()))
                if words:
                    place = record.subject, record.slot
                    values.setdefault(words[0], []).append((words, place))
            known = self._known[state.user] = _Known(ref(state), state.endings, values)
        self._known.move_to_end(state.user)
        while len(self._known) > PEOPLE:
            self._known.popitem(last=False)
        return known.values


@dataclass(frozen=True)
class _Known:
    """What has ended according to a state that has seen so many endings."""

    state: "ref[State]"
    endings: int
    values: dict[str, list[tuple[Words, Place]]]


def _ended(record: MemoryRecord, now: datetime | None) -> bool:
    if record.valid_to is None:
        return False
    return now is None or comparable(record.valid_to) <= comparable(now)


def _says(words: Words, record: MemoryRecord) -> bool:
    value = tuple(_WORDS.findall(record.value.casefold()))
    return any(words[at : at + len(value)] == value for at in range(len(words) if value else 0))
