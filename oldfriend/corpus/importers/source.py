"""What the conversations of one dataset share, and how their text, ids and splits are made."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from oldfriend.corpus.importers.read import Place
from oldfriend.corpus.schema import Conversation, Fact, Speaker, Split, Turn

UNKNOWN = "unknown"  # a licence that the source does not state

SPLIT_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}


@dataclass(frozen=True)
class Source:
    """A dataset's name and licence, and the domain of its conversations."""

    name: str
    licence: str
    domain: str = "talk"

    def conversation(
        self,
        key: str,
        turns: Iterable[Turn | None],
        *,
        person: str = "",
        session: int = 0,
        time: datetime | None = None,
        split: Split | None = None,
        situation: str = "",
    ) -> Iterator[Conversation]:
        """Yield the conversation, or nothing where every turn is empty.

        ``key`` and ``person`` are unique within the dataset; without ``person`` every
        conversation is of a person of its own.
        """
        kept = tuple(turn for turn in turns if turn is not None)
        if kept:
            yield Conversation(
                id=f"{self.name}:{key}",
                person=f"{self.name}:{person or key}",
                source=self.name,
                licence=self.licence,
                session=session,
                time=time,
                domain=self.domain,
                split=split,
                situation=clean(situation) or None,
                turns=kept,
            )


@dataclass(frozen=True)
class Importer:
    """One way to read a public format: ``load`` takes a file or a folder of them."""

    name: str
    licence: str
    reads: str
    load: Callable[[Path], Iterator[Conversation]]


def turn(
    speaker: Speaker,
    text: str,
    *,
    facts: Iterable[Fact] = (),
    emotion: str | None = None,
    intensity: float | None = None,
    cause: str | None = None,
    strategy: str | None = None,
) -> Turn | None:
    """A turn with clean text, or None where there is no text; ``facts`` are of clean text."""
    text = clean(text)
    if not text:
        return None
    return Turn(
        speaker=speaker,
        text=text,
        facts=tuple(facts),
        emotion=emotion or None,
        intensity=intensity,
        cause=cause or None,
        strategy=strategy or None,
    )


def exchange(question: str, answer: str) -> list[Turn | None]:
    """A question and its answer; nothing unless both are there."""
    turns = [turn("user", question), turn("friend", answer)]
    return [] if None in turns else turns


def clean(text: str) -> str:
    """One kind of line end, no trailing spaces, nothing around."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()


def detokenise(text: str) -> str:
    """Undo the spaces that word tokenisers put around punctuation and apostrophes."""
    text = re.sub(r"\s*(['\u2019])\s*(s|m|d|t|re|ve|ll)\b", r"\1\2", text, flags=re.IGNORECASE)
    text = re.sub(r"\s+([,.!?;:%)\]])", r"\1", text)
    return re.sub(r"([(\[$])\s+", r"\1", text)


def unsegment(text: str) -> str:
    """Join Chinese words that stand apart; spaces between Latin words stay."""
    wide = "[\u2e80-\u9fff\uff00-\uffef\u2018-\u201d\u2026]"
    return re.sub(rf"(?<={wide})\s+|\s+(?={wide})", "", text)


def snake(text: str) -> str:
    """``text`` as a slot or domain name."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def split_of(path: Path) -> Split | None:
    """The split that a file's own name states."""
    words = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", path.stem).lower())
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)


def hash_split(key: str) -> Split:
    """A split by the hash of ``key``, for sources that have none: 80 : 10 : 10."""
    bucket = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % 10
    return "val" if bucket == 8 else "test" if bucket == 9 else "train"


def when(text: str, *formats: str) -> datetime | None:
    """The time that ``text`` states in one of ``formats``; unknown stays None."""
    for form in formats:
        try:
            return datetime.strptime(text.strip(), form)
        except ValueError:
            continue
    return None


def place_number(place: Place) -> str:
    """The record or line number of a place, for ids where the source has none."""
    return str(place.record if place.record is not None else place.line)
