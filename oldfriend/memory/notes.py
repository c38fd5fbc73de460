"""The summarizer's language: what it writes, how that parses, and what it may write at all.

A note is ``slot: value`` a line, the slot in plain words as in the lines of a memory prompt, or
``nothing``. Small models learn it, a parser validates it, and the constraint lets a value be
nothing but a run of whole words of the turn it was read from.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from oldfriend.corpus.schema import Fact, NoteExample, Turn, slot_words
from oldfriend.errors import InputError
from oldfriend.lm.chat import Message, message, stop_ids
from oldfriend.lm.spelling import Spelling

NOTHING = "nothing"
TASK = "Take notes."  # short: it stands in every example
MAX_RECORDS = 4  # a turn; more is a model running in circles


@dataclass(frozen=True)
class SlotType:
    """What is known of a slot apart from its value."""

    kind: str
    subject: str
    cardinality: str
    importance: int


@dataclass(frozen=True)
class Note:
    """One line that the summarizer wrote, with the span of the turn it stands on."""

    slot: str
    value: str
    start: int
    end: int


Slots = dict[str, SlotType]


def slot_types(examples: Iterable[NoteExample]) -> Slots:
    """The catalogue of slots that occur in ``examples``, in alphabetical order."""
    found: Slots = {}
    for example in examples:
        for f in example.facts:
            found.setdefault(f.slot, SlotType(f.kind, f.subject, f.cardinality, f.importance))
    return dict(sorted(found.items()))


def save_slots(slots: Slots, path: Path) -> None:
    """Write the catalogue as JSON beside the adapter that knows it."""
    rows = {name: vars(slot) for name, slot in slots.items()}
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def load_slots(path: Path) -> Slots:
    """Read a catalogue; InputError if it is not one."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {name: SlotType(**row) for name, row in rows.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"not a slot catalogue: {error}", path=path) from None


def prompt(text: str, context: Sequence[Turn] = ()) -> tuple[Message, ...]:
    """Ask for the notes of one turn, after the talk before it."""
    before = [f"({turn.speaker}: {turn.text})" for turn in context]
    return (message("system", TASK), message("user", "\n".join([*before, text])))


def write(facts: Iterable[Fact]) -> str:
    """The notes of a turn as the summarizer should write them, in order of their spans."""
    ordered = sorted(facts, key=lambda f: (f.start, f.end, f.slot))
    lines = [f"{slot_words(f.slot)}: {f.value}" for f in ordered]
    return "\n".join(lines) or NOTHING


def dialogue(example: NoteExample, context_turns: int) -> tuple[Message, ...]:
    """Training dialogue of one example."""
    context = example.context[-context_turns:] if context_turns else ()
    return (*prompt(example.text, context), message("assistant", write(example.facts)))


def parse(written: str, text: str) -> list[Note]:
    """Notes in ``written`` whose values stand in ``text`` as whole words; the rest is dropped."""
    notes: dict[tuple[str, str], Note] = {}
    for line in written.split("\n"):
        slot, colon, value = line.partition(": ")
        slot, value = slot.strip().replace(" ", "_"), value.strip()
        if not colon or not value or not re.fullmatch(r"[a-z0-9_]+", slot):
            continue
        found = re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text)
        if found:
            notes.setdefault((slot, value), Note(slot, value, found.start(), found.end()))
    return list(notes.values())


class NoteGrammar:
    """Constrained decoding of notes: ``nothing`` | (slot ": " words-of-the-text)+, then the end.

    Works on the characters that tokens stand for, so it fits any tokenizer. Output always parses.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, slots: Iterable[str]) -> None:
        self._decode = tokenizer.decode
        self._ends = stop_ids(tokenizer)
        self._slots = [slot_words(slot) for slot in slots]
        self._spelling = Spelling(tokenizer)
        self._sayable = lru_cache(maxsize=1024)(self._without_unspellable)

    def allow(self, text: str, generated: Sequence[int]) -> list[int]:
        """Ids that may follow ``generated`` when noting ``text``."""
        text = self._sayable(text)
        written = self._decode(list(generated)) if generated else ""
        allowed = {
            i for rest in self._continuations(written, text) for i in self._spelling.starts(rest)
        }
        if self._may_end(written, text):
            allowed.update(self._ends)
        return sorted(allowed) or self._ends

    def _continuations(self, written: str, text: str) -> list[str]:
        """Every string that may come next (as far as one token could reach)."""
        *done, line = written.split("\n")
        _, colon, value = line.partition(": ")
        if not colon:
            words = {self._ahead(text, m.start()) for m in re.finditer(r"\b\w", text)}
            starts = [f"{name}: " for name in self._slots if words]
            if not done:
                starts.append(NOTHING)
            # The first word of a value usually comes with its space: let a token cross the border.
            heads = [s[len(line) :] for s in starts if s.startswith(line) and s != line]
            crossing = [head + word for head in heads if head in (": ", " ") for word in words]
            return heads + crossing
        rests = (self._ahead(text, at + len(value)) for at in self._places(value, text))
        more = [rest for rest in rests if rest]
        if value and self._may_end(written, text) and len(done) + 1 < MAX_RECORDS:
            more += [f"\n{name}: " for name in self._slots]
        return more

    def _without_unspellable(self, text: str) -> str:
        """``text`` with line breaks, which no value holds, in place of words we cannot spell."""
        return re.sub(
            r"\w+|\W",
            lambda m: m[0] if all(c in self._spelling.ids for c in m[0]) else "\n" * len(m[0]),
            text,
        )

    def _ahead(self, text: str, start: int) -> str:
        """What a value may go on with: from ``start`` to the line's last word, or one token far."""
        line = text[start:].partition("\n")[0]
        words = [m.end() for m in re.finditer(r"\w+", line)]
        return line[: min(words[-1], self._spelling.longest)] if words else ""

    def _places(self, value: str, text: str) -> list[int]:
        """Where ``value`` stands in ``text``, starting at a word's start."""
        return [
            at for at in range(len(text) - len(value) + 1)
            if text.startswith(value, at) and _is_word(text[at : at + 1])
            and not _is_word(text[max(at - 1, 0) : at])
        ]  # fmt: skip

    def _may_end(self, written: str, text: str) -> bool:
        if written == NOTHING:
            return True
        *_, line = written.split("\n")
        slot, colon, value = line.partition(": ")
        if not colon or not value or not _is_word(value[-1:]):
            return False
        ends = (at + len(value) for at in self._places(value, text))
        return slot in self._slots and any(not _is_word(text[end : end + 1]) for end in ends)


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
