"""Real domains as plain texts: one folder per domain, or the interpreter's own library as code.

Files are read up to a size limit and never executed or unpickled. Train and held-out texts never
share a file (novels, code, reviews) or a record (a disease, a section of the law, a problem).
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from oldfriend.corpus.schema import Conversation, read_rows
from oldfriend.errors import InputError, MissingDataError
from oldfriend.lm.packing import Document

MAX_FILE = 64 * 2**20  # bytes; a larger file is refused, not cut
MAX_LINE = 2**20  # bytes of one JSON line
HELD_OUT = 0.12  # share of files or records
ENOUGH = 4  # times the text that is taken: so much is read to draw it from
Record = tuple[str, str]  # (what decides the split, text)


@dataclass(frozen=True)
class Domain:
    """Texts of one kind."""

    name: str
    train: tuple[str, ...]
    val: tuple[str, ...]


def read_domains(
    folder: Path | None,
    names: Sequence[str],
    *,
    code: Path | None = None,
    talk: Path | None = None,
    max_chars: int = 2_000_000,
) -> list[Domain]:
    """The domains of ``names`` that are there, in that order.

    ``folder`` holds unpacked archives ``domain_NAME``, ``code`` is a folder of .py files, ``talk``
    holds {train,val}.jsonl of Conversations. At most ``max_chars`` of training text each and a
    tenth of that held out. Raises InputError for an unknown name or a malformed file and
    MissingDataError if none of the domains is there.
    """
    if unknown := sorted(set(names) - READERS.keys()):
        known = ", ".join(sorted(READERS))
        raise InputError(f"unknown domain '{unknown[0]}'; there are: {known}")
    found = []
    for name in names:
        if name == "talk":
            place = talk
        elif name == "code":
            place = code
        else:
            place = folder / f"domain_{name}" if folder else None
        if place is None or not place.is_dir():
            continue
        domain = _domain(name, READERS[name](place), max_chars)
        if domain.train and domain.val:
            found.append(domain)
    if not found:
        raise MissingDataError(
            f"no domain of {', '.join(names)} in '{folder}'; unpack archives domain_NAME there"
        )
    return found


def domain_documents(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], row_tokens: int
) -> list[Document]:
    """All tokens supervised; a text longer than a row is cut into pieces of a row."""
    ids = tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
    return [
        Document(tuple(one[start : start + row_tokens]))
        for one in ids
        for start in range(0, len(one), row_tokens)
        if len(one) - start > 1
    ]


def _domain(name: str, records: Iterator[Record], max_chars: int) -> Domain:
    """Records in an order that depends on their keys alone, cut to size.

    Reading stops once there is several times as much as is taken, on both sides.
    """
    held: list[tuple[float, str]] = []
    train: list[tuple[float, str]] = []
    left = {True: ENOUGH * max_chars // 10, False: ENOUGH * max_chars}
    for key, text in records:
        if not text.strip():
            continue
        place = _hash(f"{name}/{key}")
        (held if place < HELD_OUT else train).append((place, text))
        left[place < HELD_OUT] -= min(len(text), _most(max_chars))
        if max(left.values()) <= 0:
            break
    texts = [[text for _, text in sorted(side)] for side in (train, held)]
    return Domain(
        name, tuple(_portion(texts[0], max_chars)), tuple(_portion(texts[1], max_chars // 10))
    )


def _most(max_chars: int) -> int:
    """What a single text may give."""
    return max(max_chars // 10, 1)


def _portion(texts: Sequence[str], max_chars: int) -> Iterator[str]:
    """Texts up to ``max_chars`` together; from long ones a tenth of that each, at most."""
    left = max_chars
    for text in texts:
        if left <= 0:
            return
        piece = text[: min(left, _most(max_chars))]
        left -= len(piece)
        yield piece


def _hash(key: str) -> float:
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _text(path: Path) -> str:
    if (size := path.stat().st_size) > MAX_FILE:
        raise InputError(f"{size:,} bytes; at most {MAX_FILE:,} are read", path=path)
    return path.read_text(encoding="utf-8", errors="replace")


def _json_lines(path: Path, *fields: str) -> Iterator[tuple[int, dict[str, object]]]:
    """Objects of a JSON Lines file that have all ``fields``; InputError names file and line."""
    if (size := path.stat().st_size) > MAX_FILE:
        raise InputError(f"{size:,} bytes; at most {MAX_FILE:,} are read", path=path)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            if len(line) > MAX_LINE:
                raise InputError(f"a line of {len(line):,} bytes", path=path, line=number)
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"not JSON: {error}", path=path, line=number) from None
            if not isinstance(value, dict):
                raise InputError("expected an object", path=path, line=number)
            for field in fields:
                if field not in value:
                    raise InputError("is missing", path=path, line=number, field=field)
            yield number, value


def _files(
    folder: Path, pattern: str, keep: Callable[[Path], bool] = lambda _: True
) -> Iterator[Record]:
    for path in sorted(folder.rglob(pattern)):
        if path.is_file() and keep(path.relative_to(folder)):
            yield str(path.relative_to(folder)), _text(path)


def _fiction(folder: Path) -> Iterator[Record]:
    return _files(folder / "original", "*.txt")


def _reviews(folder: Path) -> Iterator[Record]:
    return _files(folder / "movie_reviews", "*.txt")


def _code(folder: Path) -> Iterator[Record]:
    """The library proper: no tests, no installed packages, no generated tables."""
    outside = {
        "site-packages",
        "dist-packages",
        "test",
        "tests",
        "idlelib",
        "encodings",
        "pydoc_data",
    }
    return _files(folder, "*.py", lambda path: not outside & set(path.parts))


def _legal(folder: Path) -> Iterator[Record]:
    """Sections of the United States Code; each starts with its citation."""
    for path in sorted(folder.glob("Title_*.txt")):
        for number, section in enumerate(_text(path).split("-CITE-")):
            yield f"{path.name}/{number}", section.strip()


def _medical(folder: Path) -> Iterator[Record]:
    """Question and answer; all of one disease on one side of the split."""
    for _, row in _json_lines(folder / "medquad.jsonl", "question", "answer"):
        yield str(row.get("focus") or row["question"]), f"{row['question']}\n{row['answer']}"


def _math(folder: Path) -> Iterator[Record]:
    for number, row in _json_lines(folder / "train.jsonl", "question", "answer"):
        yield str(number), f"{row['question']}\n{row['answer']}"


def _assistant(folder: Path) -> Iterator[Record]:
    for name in ("train.jsonl", "dev.jsonl"):
        path = folder / name
        for number, row in _json_lines(path, "turns") if path.is_file() else ():
            turns: Any = row["turns"]
            pairs = isinstance(turns, list) and all(
                isinstance(t, list) and len(t) == 2 for t in turns
            )
            if not pairs:
                raise InputError(
                    "expected [speaker, text] pairs", path=path, line=number, field="turns"
                )
            yield f"{name}/{number}", "\n".join(f"{who}: {text}" for who, text in turns)


def _talk(folder: Path) -> Iterator[Record]:
    """Simulated talk, split anew by person: people of its own validation set stay held out."""
    for conversation in read_rows(folder / "train.jsonl", Conversation):
        lines = (f"{turn.speaker}: {turn.text}" for turn in conversation.turns)
        yield conversation.person, "\n".join(lines)


READERS: dict[str, Callable[[Path], Iterator[Record]]] = {
    "fiction": _fiction,
    "code": _code,
    "legal": _legal,
    "medical": _medical,
    "math": _math,
    "assistant": _assistant,
    "reviews": _reviews,
    "talk": _talk,
}
