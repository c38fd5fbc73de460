"""Instruction data: Alpaca, ShareGPT, OpenAI chat, question and answer, service dialogues."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from oldfriend.corpus.importers.read import Record, files, json_records
from oldfriend.corpus.importers.source import (
    UNKNOWN,
    Source,
    clean,
    exchange,
    place_number,
    split_of,
    turn,
)
from oldfriend.corpus.schema import Conversation, Speaker, Turn

ALPACA = Source("alpaca", UNKNOWN, domain="assistant")
SHAREGPT = Source("sharegpt", UNKNOWN, domain="assistant")
OPENAI = Source("openai_chat", UNKNOWN, domain="assistant")
QA = Source("qa", UNKNOWN, domain="assistant")
GSM8K = Source("gsm8k", "MIT", domain="math")
MEDQUAD = Source("medquad", "CC BY 4.0", domain="medical")
SGD = Source("schema_guided", "CC BY-SA 4.0", domain="assistant")

SPEAKERS: dict[str, Speaker | None] = {
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "friend",
    "gpt": "friend",
    "chatgpt": "friend",
    "bing": "friend",
    "bard": "friend",
    "model": "friend",
    "system": None,
    "developer": None,
    "tool": None,
    "function": None,
    "function_call": None,
    "observation": None,
}
JSON_FILES = ("*.json", "*.jsonl")


def load_alpaca(path: Path) -> Iterator[Conversation]:
    """Instruction and input are the question, output the answer."""
    for file, record in _all(path):
        question = f"{record.text('instruction')}\n\n{record.maybe('input')}"
        yield from ALPACA.conversation(
            _key(file, record), exchange(question, record.text("output")), split=split_of(file)
        )


def load_sharegpt(path: Path) -> Iterator[Conversation]:
    """``conversations`` of ``from`` and ``value``; the system's words are the situation."""
    for file, record in _all(path):
        said = [
            (_name(line, "from"), line.text("value")) for line in record.records("conversations")
        ]
        yield from _chat(SHAREGPT, file, record, said)


def load_openai(path: Path) -> Iterator[Conversation]:
    """``messages`` of ``role`` and ``content``; the system's words are the situation."""
    for file, record in _all(path):
        said = [(_name(line, "role"), _content(line)) for line in record.records("messages")]
        yield from _chat(OPENAI, file, record, said)


def load_qa(path: Path, source: Source = QA) -> Iterator[Conversation]:
    """``question`` and ``answer`` in JSON or JSON Lines."""
    for file, record in _all(path):
        yield from source.conversation(
            _key(file, record),
            exchange(record.text("question"), record.text("answer")),
            split=split_of(file),
        )


def load_medquad(path: Path) -> Iterator[Conversation]:
    """Questions and answers of medical sites."""
    return load_qa(path, MEDQUAD)


def load_gsm8k(path: Path) -> Iterator[Conversation]:
    """School problems; the calculator's marks are left out, the result is a sentence."""
    for file, record in _all(path):
        answer = re.sub(r"<<[^<>]*>>", "", record.text("answer"))
        answer = re.sub(r"\n#### *(.+)$", r"\nThe answer is \1.", answer)
        yield from GSM8K.conversation(
            _key(file, record), exchange(record.text("question"), answer), split=split_of(file)
        )


def load_schema_guided(path: Path) -> Iterator[Conversation]:
    """Service dialogues; turns are objects as published, or pairs of speaker and utterance."""
    for file in files(path, "dialogues_*.json", "*.jsonl"):
        split = split_of(file) or split_of(file.parent)
        for record in json_records(file):
            key = f"{split or file.stem}:{record.text('dialogue_id')}"
            turns = [
                turn(_service_speaker(name, record), text) for name, text in _utterances(record)
            ]
            yield from SGD.conversation(key, turns, split=split)


def _utterances(record: Record) -> Sequence[Sequence[str]]:
    turns = record.values.get("turns")
    if isinstance(turns, list) and turns and isinstance(turns[0], dict):
        return [(line.text("speaker"), line.text("utterance")) for line in record.records("turns")]
    pairs = record.lists("turns")
    for number, pair in enumerate(pairs):
        if len(pair) != 2:
            raise record.place.error("expected a pair of speaker and utterance", f"turns.{number}")
    return pairs


def _service_speaker(name: str, record: Record) -> Speaker:
    if name not in ("USER", "SYSTEM"):
        raise record.place.error(f"expected USER or SYSTEM, found {name!r}", "turns")
    return "user" if name == "USER" else "friend"


def _all(path: Path) -> Iterator[tuple[Path, Record]]:
    for file in files(path, *JSON_FILES):
        for record in json_records(file):
            yield file, record


def _key(file: Path, record: Record) -> str:
    return f"{file.stem}:{place_number(record.place)}"


def _name(line: Record, field: str) -> str:
    name = line.text(field).lower()
    if name not in SPEAKERS:
        raise line.place.error(f"expected one of {', '.join(SPEAKERS)}; found {name!r}", field)
    return name


def _content(line: Record) -> str:
    """A string, a list of parts of which the text is kept, or null beside a tool call."""
    if not isinstance(line.values.get("content"), list):
        return line.maybe("content")
    parts = [part for part in line.records("content") if part.maybe("type") == "text"]
    return "\n".join(part.text("text") for part in parts)


def _chat(
    source: Source, file: Path, record: Record, said: Sequence[tuple[str, str]]
) -> Iterator[Conversation]:
    turns: list[Turn | None] = []
    for name, text in said:
        speaker = SPEAKERS[name]
        if speaker is not None:
            turns.append(turn(speaker, text))
    rules = [clean(text) for name, text in said if name in ("system", "developer")]
    yield from source.conversation(
        _key(file, record), turns, split=split_of(file), situation="\n".join(rules)
    )
