"""Harry Potter Dialogue, RoleBench and PDNC: the speech of characters, who are the friend."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from oldfriend.corpus.importers.read import Record, csv_rows, files, json_object, json_records
from oldfriend.corpus.importers.source import (
    Source,
    exchange,
    place_number,
    snake,
    split_of,
    turn,
)
from oldfriend.corpus.importers.views import Line, seen_by, spoken
from oldfriend.corpus.schema import Conversation

HARRY_POTTER = Source("harry_potter", "annotations for non-commercial use; text in copyright")
ROLEBENCH = Source("rolebench", "Apache-2.0")
PDNC = Source("pdnc", "text: US public domain; annotations: unknown")

HERO = "Harry"
GAP = 600  # bytes of narration between two quotes of one exchange
SPEECH = re.compile(r"^\s*([^:\uff1a]{1,60})[:\uff1a]\s*(.*)$", re.DOTALL)


def load_harry_potter(path: Path) -> Iterator[Conversation]:
    """Harry is the friend, whoever talks with him the user; the scene is the situation."""
    for file in files(path, "*.json"):
        for key, session in json_object(file).entries():
            fields = Record({snake(k): v for k, v in session.values.items()}, session.place)
            said = [_speech(text, fields) for text in _text_or_texts(fields, "dialogue")]
            answers = "positive_response" in fields and _text_or_texts(fields, "positive_response")
            if answers:
                said.append((HERO, _without_name(answers[0])))
            yield from HARRY_POTTER.conversation(
                f"{snake(file.stem)}:{key}",
                (
                    turn("friend" if name.split()[0] == HERO else "user", text)
                    for name, text in said
                ),
                split=split_of(file),
                situation="\n".join(_text_or_texts(fields, "scene")) if "scene" in fields else "",
            )


def _text_or_texts(record: Record, key: str) -> list[str]:
    value = record.values.get(key)
    return record.text(key).splitlines() if isinstance(value, str) else record.texts(key)


def _speech(text: str, record: Record) -> tuple[str, str]:
    match = SPEECH.match(text)
    if match is None or not match.group(1).strip():
        raise record.place.error("expected lines like 'Ron: ...'", "dialogue")
    return match.group(1).strip(), match.group(2)


def _without_name(text: str) -> str:
    return text.removeprefix(HERO).lstrip(":\uff1a ") if text.startswith(HERO) else text


def load_rolebench(path: Path) -> Iterator[Conversation]:
    """A question and the first answer in character; the character's name is the situation."""
    for file in files(path, "*.jsonl"):
        parts = "_".join([*file.parts[-4:-1], file.stem])
        for record in json_records(file):
            if not {"question", "generated"} <= record.values.keys():  # profiles, instructions
                continue
            answers = record.texts("generated")
            if answers:
                yield from ROLEBENCH.conversation(
                    f"{snake(parts)}:{place_number(record.place)}",
                    exchange(record.text("question"), answers[0]),
                    split=split_of(file),
                    situation=record.text("role"),
                )


@dataclass(frozen=True)
class _Quote:
    speaker: str
    addressees: tuple[str, ...]
    text: str
    start: int
    end: int


def load_pdnc(path: Path) -> Iterator[Conversation]:
    """Exchanges of two characters, each in turn the friend; their name is the situation."""
    for file in files(path, "quotation_info.csv", "quotations.csv"):
        novel = file.parent.name
        for number, run in enumerate(_runs(_quotes(file))):
            talk = spoken([(quote.speaker, quote.text) for quote in run])
            for friend in sorted({line.speaker for line in talk}):
                other = _other(run, friend)
                yield from PDNC.conversation(
                    f"{novel}:{number}:{snake(friend)}",
                    seen_by(_renamed(talk, friend, other), other),
                    person=f"{novel}:{other}",
                    situation=f"{friend} in {novel}",
                )


def _quotes(file: Path) -> Iterator[_Quote]:
    for row in csv_rows(file, ("quoteText", "quoteByteSpans", "speaker", "addressees")):
        spans = re.findall(r"[0-9]{1,15}", row.text("quoteByteSpans"))
        if len(spans) < 2:
            raise row.place.error("expected a list of byte spans", "quoteByteSpans")
        text = re.sub(r"\s+", " ", row.text("quoteText"))
        start, end = int(spans[0]), int(spans[-1])
        yield _Quote(row.text("speaker"), _names(row, "addressees"), text, start, end)


def _names(row: Record, key: str) -> tuple[str, ...]:
    """A Python list of strings, as PDNC writes them."""
    try:
        value = ast.literal_eval(row.text(key) or "[]")
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        value = None
    if not isinstance(value, list):
        raise row.place.error("expected a list of names", key)
    return tuple(str(name) for name in value)


def _runs(quotes: Iterator[_Quote]) -> Iterator[list[_Quote]]:
    """Quotes that follow each other closely between the same two characters."""
    run: list[_Quote] = []
    for quote in sorted(quotes, key=lambda quote: quote.start):
        if run and not _goes_on(run, quote):
            yield run
            run = []
        run.append(quote)
    if run:
        yield run


def _goes_on(run: Sequence[_Quote], quote: _Quote) -> bool:
    pair = {run[0].speaker, *run[0].addressees}
    return (
        len(pair) == 2
        and {quote.speaker, *quote.addressees} == pair
        and quote.start - run[-1].end <= GAP
    )


def _other(run: Sequence[_Quote], friend: str) -> str:
    """Whom ``friend`` talks with."""
    names = [quote.speaker for quote in run] + [name for q in run for name in q.addressees]
    return next((name for name in names if name != friend), "nobody")


def _renamed(talk: Sequence[Line], friend: str, other: str) -> list[Line]:
    return [Line(friend if line.speaker == friend else other, line.text) for line in talk]
