"""Talk of two people seen from either side: each in turn is the user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oldfriend.corpus.importers.source import clean, turn
from oldfriend.corpus.schema import Fact, Turn


@dataclass(frozen=True)
class Line:
    """Who said what; ``key`` is the source's own id of the line."""

    speaker: str
    text: str
    key: str = ""


def spoken(pairs: Sequence[tuple[str, str]]) -> list[Line]:
    """Lines with clean text, without empty ones."""
    return [Line(speaker, clean(text)) for speaker, text in pairs if clean(text)]


def own(talk: Sequence[Line], person: str) -> list[str]:
    """The texts of the lines that ``person`` said, with an empty one for every other line."""
    return [line.text if line.speaker == person else "" for line in talk]


def seen_by(
    talk: Sequence[Line], person: str, facts: Mapping[int, Sequence[Fact]] | None = None
) -> list[Turn | None]:
    """The turns with ``person`` as the user; ``facts`` by line number."""
    return [
        turn(
            "user" if line.speaker == person else "friend",
            line.text,
            facts=(facts or {}).get(number, ()),
        )
        for number, line in enumerate(talk)
    ]
