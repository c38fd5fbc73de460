"""Persona-Chat, Synthetic-Persona-Chat and MSC personas: people told by a few lines each."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from oldfriend.corpus.importers.align import Notes, kind_of
from oldfriend.corpus.importers.read import Place, Record, csv_rows, files, json_object, lines
from oldfriend.corpus.importers.source import (
    UNKNOWN,
    Source,
    clean,
    detokenise,
    place_number,
    split_of,
    turn,
)
from oldfriend.corpus.importers.views import own, seen_by, spoken
from oldfriend.corpus.schema import Conversation, Fact, Split, Turn

PERSONA_CHAT = Source("persona_chat", UNKNOWN)
SYNTHETIC = Source("synthetic_persona_chat", "CC BY 4.0")
MSC = Source("msc_personas", "CC BY-NC 4.0")

PEOPLE = ("user 1", "user 2")
SPEECH = re.compile(r"^\W*user ([12])\s*:\s*(.*)$", re.IGNORECASE)
NUMBERED = re.compile(r"^(\d+) (.*)$")
STAGE_DIRECTION = re.compile(r"^(?:\[.*\]|[*\s]+)$")


def load_persona_chat(path: Path) -> Iterator[Conversation]:
    """ConvAI2 text: numbered lines that start again at 1, personas first, then both replies."""
    for file in files(path, "*self_*.txt", "*both_*.txt", "*other_*.txt"):
        personas: dict[str, list[str]] = {}
        said: list[tuple[str, str]] = []
        start = Place(file, 1)
        for number, text in lines(file):
            if not text.strip():
                continue
            index, rest = _numbered(text, Place(file, number))
            if index == 1:
                yield from _views(PERSONA_CHAT, start, split_of(file), personas, said)
                personas, said, start = {}, [], Place(file, number)
            _persona_chat_line(rest, personas, said, Place(file, number))
        yield from _views(PERSONA_CHAT, start, split_of(file), personas, said)


def load_synthetic(path: Path) -> Iterator[Conversation]:
    """Every conversation twice, once with each of the two as the user."""
    columns = ("user 1 personas", "user 2 personas", "Best Generated Conversation")
    for file in files(path, "Synthetic-Persona-Chat*.csv", "New-Persona*.csv"):
        for row in csv_rows(file, columns):
            personas = {person: _persona_lines(row.text(f"{person} personas")) for person in PEOPLE}
            said = list(_speeches(row))
            yield from _views(SYNTHETIC, row.place, split_of(file), personas, said)


def load_msc(path: Path) -> Iterator[Conversation]:
    """Personas alone: every line is a turn of its own, and all of it worth remembering."""
    splits: dict[str, Split] = {"train": "train", "valid": "val", "test": "test"}
    for file in files(path, "msc_personas*.json"):
        table = json_object(file)
        for name in table.values:
            if name not in splits:
                raise table.place.error(f"expected {', '.join(splits)}", name)
            for number, pair in enumerate(table.records(name)):
                for person in ("Speaker 1", "Speaker 2"):
                    told = [_told(clean(line)) for line in pair.texts(person)]
                    key = f"{name}:{number}:{person[-1]}"
                    yield from MSC.conversation(key, told, split=splits[name])


def _numbered(text: str, place: Place) -> tuple[int, str]:
    match = NUMBERED.match(text)
    if match is None:
        raise place.error("expected a line number, a space and text")
    return int(match.group(1)), match.group(2)


def _persona_chat_line(
    text: str, personas: dict[str, list[str]], said: list[tuple[str, str]], place: Place
) -> None:
    for mark, person in (("your persona:", PEOPLE[1]), ("partner's persona:", PEOPLE[0])):
        if text.startswith(mark):
            personas.setdefault(person, []).append(detokenise(text.removeprefix(mark)).strip())
            return
    cells = text.split("\t")
    if len(cells) < 2:
        raise place.error("expected two replies separated by a tab")
    said += zip(PEOPLE, map(detokenise, cells[:2]), strict=True)


def _persona_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _speeches(row: Record) -> Iterator[tuple[str, str]]:
    """Who said what; a line that names nobody goes on with the speech before it."""
    person, text = "", ""
    for line in row.text("Best Generated Conversation").splitlines():
        if STAGE_DIRECTION.match(line):
            continue
        match = SPEECH.match(line)
        if match is None:
            text += "\n" + line
            continue
        if person:
            yield person, text
        person, text = f"user {match.group(1)}", match.group(2)
    if not person:
        raise row.place.error("expected lines like 'User 1: ...'", "Best Generated Conversation")
    yield person, text


def _views(
    source: Source,
    place: Place,
    split: Split | None,
    personas: dict[str, list[str]],
    said: Sequence[tuple[str, str]],
) -> Iterator[Conversation]:
    """One view for each person whose persona is known, who is then the user."""
    talk = spoken(said)
    for person, persona in personas.items():
        key = f"{split or 'all'}:{place_number(place)}"
        yield from source.conversation(
            f"{key}:{person[-1]}",
            seen_by(talk, person, Notes("persona").find(own(talk, person), persona).found),
            split=split,
            situation="\n".join(persona),
        )


def _told(line: str) -> Turn | None:
    value = line.rstrip(".! ")
    if not value:
        return None
    fact = Fact(slot="persona", value=value, kind=kind_of(line, "profile"), start=0, end=len(value))
    return turn("user", line, facts=[fact])
