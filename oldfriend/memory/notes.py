"""The summarizer's language: what it writes, how that parses, and what it may write at all.

A note is ``slot: value`` a line, or ``nothing``. Small models learn it, a parser validates it, and
the constraint lets a value be nothing but a run of whole words of the turn it was read from.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from oldfriend.corpus.schema import Fact, NoteExample, Turn
from oldfriend.errors import InputError
from oldfriend.lm.chat import Dialogue, Message, message

NOTHING = "nothing"
TASK = "Write down what is worth remembering."
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
    lines = [f"{f.slot}: {f.value}" for f in sorted(facts, key=lambda f: (f.start, f.end, f.slot))]
    return "\n".join(lines) or NOTHING


def dialogue(example: NoteExample, context_turns: int) -> Dialogue:
    """Training dialogue of one example."""
    context = example.context[-context_turns:] if context_turns else ()
    return Dialogue((*prompt(example.text, context), message("assistant", write(example.facts))))


def parse(written: str, text: str) -> list[Note]:
    """Notes in ``written`` whose values stand in ``text`` as whole words; the rest is dropped."""
    notes: dict[tuple[str, str], Note] = {}
    for line in written.splitlines():
        slot, colon, value = line.partition(": ")
        slot, value = slot.strip(), value.strip()
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
        self.end_id: int = tokenizer.eos_token_id
        self._slots = list(slots)
        special = set(tokenizer.all_special_ids)
        self._ids: dict[str, int] = {}
        for i in range(len(tokenizer)):
            if i not in special and (piece := tokenizer.decode([i])) and "�" not in piece:
                self._ids.setdefault(piece, i)
        self._longest = max(map(len, self._ids))

    def allow(self, text: str, generated: Sequence[int]) -> list[int]:
        """Ids that may follow ``generated`` when noting ``text``."""
        written = self._decode(list(generated)) if generated else ""
        allowed = {i for rest in self._continuations(written, text) for i in self._starts(rest)}
        if self._may_end(written, text):
            allowed.add(self.end_id)
        return sorted(allowed) or [self.end_id]

    def _continuations(self, written: str, text: str) -> list[str]:
        """Every string that may come next (as far as one token could reach)."""
        *done, line = written.split("\n")
        slot, colon, value = line.partition(": ")
        if not colon:
            starts = [f"{name}: " for name in self._slots]
            if not done:
                starts.append(NOTHING)
            # The first word of a value usually comes with its space: let a token cross the border.
            heads = [s[len(line) :] for s in starts if s.startswith(line) and s != line]
            words = {text[m.start() :][: self._longest] for m in re.finditer(r"\b\w", text)}
            crossing = [
                head + word for head in heads if head.endswith(": ") and len(head) <= 2
                for word in words
            ]  # fmt: skip
            return heads + crossing
        rests = [text[at + len(value) :] for at in self._places(value, text)]
        more = [rest[: self._longest] for rest in rests if rest and "\n" not in rest[:1]]
        if value and self._may_end(written, text) and len(done) + 1 < MAX_RECORDS:
            more += [f"\n{name}: " for name in self._slots if f"{name}: {value}" not in done]
            more.append("\n")
        return more

    def _places(self, value: str, text: str) -> list[int]:
        """Where ``value`` stands in ``text``, starting at a word's start."""
        return [
            at for at in range(len(text) - len(value) + 1)
            if text.startswith(value, at) and text[at : at + 1].isalnum()
            and not text[max(at - 1, 0) : at].isalnum()
        ]  # fmt: skip

    def _may_end(self, written: str, text: str) -> bool:
        if written == NOTHING:
            return True
        *_, line = written.split("\n")
        slot, colon, value = line.partition(": ")
        if not colon or not value or not value[-1:].isalnum():
            return False
        ends = (at + len(value) for at in self._places(value, text))
        return slot in self._slots and any(not text[end : end + 1].isalnum() for end in ends)

    def _starts(self, rest: str) -> list[int]:
        """Ids of all tokens that are a beginning of ``rest``."""
        lengths = range(1, min(len(rest), self._longest) + 1)
        return [self._ids[rest[:n]] for n in lengths if rest[:n] in self._ids]
