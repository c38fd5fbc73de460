"""The rows that every corpus becomes: conversations, and the task examples cut from them."""

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from oldfriend.errors import InputError, MissingDataError
from oldfriend.files import atomic_write

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Kind = Literal[
    "profile", "preference", "event", "relationship", "emotion", "promise", "shared joke"
]
Speaker = Literal["user", "friend"]
GroundKind = Literal["recall", "past", "abstain", "colour", "plain"]


class Row(BaseModel):
    """Base of every JSON Lines row: immutable, no unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Fact(Row):
    """One thing worth remembering, said in one turn: ``text[start:end] == value``."""

    slot: str = Field(min_length=1, pattern=r"^[a-z0-9_]+$")
    value: str = Field(min_length=1)
    kind: Kind = "profile"
    subject: str = "me"
    cardinality: Literal["single", "multi"] = "multi"
    start: int = Field(ge=0)
    end: int = Field(gt=0)
    importance: int = Field(default=5, ge=1, le=10)
    old_value: str | None = None  # what this fact replaces, where the turn says so or truth knows


class Turn(Row):
    """One utterance. ``facts`` are those that a good friend would remember from it."""

    speaker: Speaker
    text: str = Field(min_length=1)
    facts: tuple[Fact, ...] = ()
    emotion: str | None = None
    intensity: float | None = Field(default=None, ge=0, le=1)
    cause: str | None = None
    strategy: str | None = None  # of a friend's turn: ESConv strategies and ours
    quote: str = ""  # of a friend's turn: the memory it stands on, "your slot: value"; "" for none

    @model_validator(mode="after")
    def _facts_stand_in_text(self) -> "Turn":
        check_spans(self.text, self.facts)
        return self


class Conversation(Row):
    """One session between a person and their friend, or one dialogue of a public dataset."""

    id: str = Field(min_length=1)
    person: str = Field(min_length=1)
    source: str
    licence: str
    session: int = Field(default=0, ge=0)
    time: datetime | None = None
    domain: str = "talk"
    split: Split | None = None  # the split the source itself prescribes, if any
    situation: str | None = None
    turns: tuple[Turn, ...] = Field(min_length=1)


class NoteExample(Row):
    """Summarizer example: read ``text`` after ``context``, write down ``facts`` or nothing."""

    id: str
    user: str
    source: str
    session: int = Field(default=0, ge=0)
    time: datetime | None = None
    context: tuple[Turn, ...] = ()
    text: str = Field(min_length=1)
    facts: tuple[Fact, ...] = ()

    @model_validator(mode="after")
    def _facts_stand_in_text(self) -> "NoteExample":
        check_spans(self.text, self.facts)
        return self


class MemoryLine(Row):
    """One remembered fact as it stands in a prompt; ``until`` set means no longer true."""

    owner: str
    slot: str
    value: str
    text: str
    since: date | None = None
    until: date | None = None


class GroundExample(Row):
    """Grounding example: ``memories`` and talk so far, then ``message``, answered by ``reply``.

    recall: the current value is in the memories. past: the former value is asked for and there.
    abstain: the answer is not in the memories. colour: a memory should shape the reply's tone
    without being recited; ``contrast`` is the reply without it. plain: small talk, no memory
    needed.
    """

    id: str
    user: str
    source: str
    kind: GroundKind
    slot: str = ""
    memories: tuple[MemoryLine, ...] = ()
    history: tuple[Turn, ...] = ()
    message: str = Field(min_length=1)
    reply: str = Field(min_length=1)
    quote: str = ""  # the memory the reply stands on, "your slot: value" or "... nothing"
    value: str | None = None
    contrast: str | None = None


class Suited(Row):
    """A reply, and the strategy it follows if one is known."""

    text: str = Field(min_length=1)
    strategy: str | None = None


class Precedent(Row):
    """Replies that suited a message, which is "" if they suit any plain talk."""

    source: str
    message: str = ""
    emotion: str | None = None
    replies: tuple[Suited, ...] = Field(min_length=1)


def retold(example: NoteExample, other: Callable[[Fact], str]) -> NoteExample:
    """The same turn with every fact's value replaced by ``other(fact)``, spans moved along."""
    text, facts, moved = example.text, list[Fact](), 0
    for fact in sorted(example.facts, key=lambda fact: fact.start):
        value, start = other(fact), fact.start + moved
        text = text[:start] + value + text[start + len(fact.value) :]
        moved += len(value) - len(fact.value)
        place = {"start": start, "end": start + len(value)}
        facts.append(fact.model_copy(update={"value": value, **place}))
    return NoteExample.model_validate(
        example.model_dump() | {"text": text, "facts": [fact.model_dump() for fact in facts]}
    )


def slot_words(slot: str) -> str:
    """A slot's name as models read and write it: ``home_city`` is "home city"."""
    return slot.replace("_", " ")


def check_spans(text: str, facts: Iterable[Fact]) -> None:
    """Raise ValueError unless every fact's value stands at its span in ``text``."""
    for fact in facts:
        if text[fact.start : fact.end] != fact.value:
            found = text[fact.start : fact.end]
            raise ValueError(
                f"facts: '{fact.slot}' says {fact.value!r} but characters "
                f"{fact.start}-{fact.end} of the text are {found!r}"
            )


RowT = TypeVar("RowT", bound=Row)


def read_rows(path: Path, kind: type[RowT]) -> Iterator[RowT]:
    """Yield the rows of a JSON Lines file. InputError names file, line and field."""
    if not path.is_file():
        raise MissingDataError(f"{path} is not there; run the stage that makes it: dvc repro")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield kind.model_validate_json(line)
            except ValidationError as error:
                first = error.errors()[0]
                field = ".".join(str(part) for part in first["loc"])
                raise InputError(first["msg"], path=path, line=number, field=field) from None


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write rows as JSON Lines, whole or not at all; return how many."""
    count = 0
    with atomic_write(path) as out:
        for row in rows:
            out.write(row.model_dump_json(exclude_defaults=True) + "\n")
            count += 1
    return count
