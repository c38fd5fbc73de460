"""EmpatheticDialogues: short talk about a felt situation, 32 emotions."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from oldfriend.corpus.importers.read import Record, csv_rows, files, lines
from oldfriend.corpus.importers.source import Source, hash_split, split_of, turn
from oldfriend.corpus.schema import Conversation, Split, Turn

SOURCE = Source("empathetic_dialogues", "CC BY-NC 4.0")

BY_EMOTION = ("Dialog_ID", "Type", "Actor", "Text")
OFFICIAL = ("conv_id", "context", "prompt", "speaker_idx", "utterance")


def load(path: Path) -> Iterator[Conversation]:
    """The official train/valid/test CSV, or the same corpus with one CSV per emotion."""
    for file in files(path, "*.csv"):
        header = next((line for _, line in lines(file)), "")
        yield from _official(file) if "conv_id" in header else _by_emotion(file)


def _by_emotion(file: Path) -> Iterator[Conversation]:
    """The file's name is the emotion that people chose; the labels inside are a machine's."""
    rows = csv_rows(file, BY_EMOTION)
    for key, group in groupby(rows, key=lambda row: row.text("Dialog_ID")):
        dialogue = list(group)
        said = [row for row in dialogue if row.text("Type") == "utterance"]
        situation = " ".join(
            row.text("Text") for row in dialogue if row.text("Type") == "situation"
        )
        turns = _turns([(_own(row), row.text("Text")) for row in said], file.stem)
        yield from _conversation(key, turns, hash_split(_pair(key)), situation)


def _own(row: Record) -> bool:
    actor = row.text("Actor")
    if actor not in ("speaker", "listener"):
        raise row.place.error(f"expected speaker or listener, found {actor!r}", "Actor")
    return actor == "speaker"


def _official(file: Path) -> Iterator[Conversation]:
    """Fields are not quoted: a comma is written ``_comma_``."""
    rows = csv_rows(file, OFFICIAL, quoted=False, ragged=True)
    for key, group in groupby(rows, key=lambda row: row.text("conv_id")):
        dialogue = list(group)
        first = dialogue[0]
        speaker = first.text("speaker_idx")
        said = [(row.text("speaker_idx") == speaker, _commas(row, "utterance")) for row in dialogue]
        turns = _turns(said, first.text("context"))
        split = split_of(file) or hash_split(_pair(key))
        yield from _conversation(key, turns, split, _commas(first, "prompt"))


def _conversation(
    key: str, turns: list[Turn | None], split: Split, situation: str
) -> Iterator[Conversation]:
    yield from SOURCE.conversation(key, turns, person=_pair(key), split=split, situation=situation)


def _pair(key: str) -> str:
    """The two people of ``hit:7_conv:15``: they wrote two conversations, which stay together."""
    return key.partition("_conv")[0]


def _commas(row: Record, field: str) -> str:
    return row.text(field).replace("_comma_", ",")


def _turns(said: list[tuple[bool, str]], emotion: str) -> list[Turn | None]:
    """The emotion stands on the first turn of the one who feels it."""
    first = next((number for number, (own, _) in enumerate(said) if own), None)
    return [
        turn("user" if own else "friend", text, emotion=emotion if number == first else None)
        for number, (own, text) in enumerate(said)
    ]
