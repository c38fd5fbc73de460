"""Plain text by folder: pieces of documents, for the domains of the experts."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from oldfriend.corpus.importers.read import files, lines
from oldfriend.corpus.importers.source import UNKNOWN, Source, detokenise, snake, turn
from oldfriend.corpus.schema import Conversation

TEXT = Source("text", UNKNOWN)
FICTION = Source("fiction", "public domain", domain="fiction")
LEGAL = Source("legal", "US government work", domain="legal")
REVIEWS = Source("reviews", "CC BY 4.0", domain="reviews")
CODE = Source("code", "PSF-2.0", domain="code")

WORDS = 400  # at most, in a piece
ABOUT = re.compile(r"(source|licen[cs]e|readme|copying|notice)\b", re.IGNORECASE)
KINDS = ("*.txt", "*.md", "*.rst", "*.py")


def load_text(path: Path) -> Iterator[Conversation]:
    """The folder's name is the domain, without a leading ``domain_``."""
    folder = path if path.is_dir() else path.parent
    domain = snake(folder.resolve().name.removeprefix("domain_")) or "text"
    return _load(path, replace(TEXT, domain=domain), KINDS)


def load_fiction(path: Path) -> Iterator[Conversation]:
    """Novels of LitBank."""
    return _load(path, FICTION, ("*.txt",))


def load_legal(path: Path) -> Iterator[Conversation]:
    """Titles of the US Code."""
    return _load(path, LEGAL, ("*.txt",))


def load_reviews(path: Path) -> Iterator[Conversation]:
    """Film reviews, tokenised by their source."""
    return _load(path, REVIEWS, ("*.txt",), detokenise)


def load_code(path: Path) -> Iterator[Conversation]:
    """Python source."""
    return _load(path, CODE, ("*.py",))


def _load(
    path: Path, source: Source, kinds: tuple[str, ...], tidy: Callable[[str], str] = str
) -> Iterator[Conversation]:
    """Pieces of a document are of one person, so that no split cuts through a document."""
    for file in files(path, *kinds):
        if path.is_dir() and ABOUT.match(file.name):
            continue
        name = (file.relative_to(path) if path.is_dir() else Path(file.name)).as_posix()
        for number, piece in enumerate(pieces(lines(file))):
            yield from source.conversation(
                f"{source.domain}:{name}:{number}",
                [turn("friend", tidy(piece))],
                person=f"{source.domain}:{name}",
            )


def pieces(source: Iterator[tuple[int, str]]) -> Iterator[str]:
    """Paragraphs joined up to ``WORDS`` words; a longer paragraph is cut between lines or words."""
    kept: list[str] = []
    count = 0
    for paragraph in _paragraphs(source):
        size = len(paragraph.split())
        if kept and count + size > WORDS:
            yield "\n\n".join(kept)
            kept, count = [], 0
        kept.append(paragraph)
        count += size
    if kept:
        yield "\n\n".join(kept)


def _paragraphs(source: Iterator[tuple[int, str]]) -> Iterator[str]:
    kept: list[str] = []
    count = 0
    for _, line in source:
        for part in _short(line):
            size = len(part.split())
            if kept and (not size or count + size > WORDS):
                yield "\n".join(kept)
                kept, count = [], 0
            if size:
                kept.append(part)
                count += size
    if kept:
        yield "\n".join(kept)


def _short(line: str) -> list[str]:
    words = line.split()
    if len(words) <= WORDS:
        return [line]
    return [" ".join(words[start : start + WORDS]) for start in range(0, len(words), WORDS)]
