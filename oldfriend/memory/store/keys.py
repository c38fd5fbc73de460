"""What is embedded of a record, and whom a question is about."""

import re
from collections.abc import Iterable, Sequence

from oldfriend.memory.store.record import MemoryRecord

SCHEME = "speaker-date-1"  # another one needs a reindex
NICKNAME = 3  # letters a short form must have: "Mel" asks about Melanie


def key(record: MemoryRecord) -> str:
    """``Speaker (8 May 2023): text``. Without speaker and date a turn is found half as often."""
    said = record.valid_from or record.created_at
    return f"{speaker(record)} ({said.day} {said:%B %Y}): {record.text}"


def keys(record: MemoryRecord, around: Sequence[MemoryRecord]) -> tuple[str, str]:
    """The record's own key, and that of its window: it and the turns around it in order.

    The date stands once in a window; its turns are of one session.
    """
    said = record.valid_from or record.created_at
    window = sorted([record, *around], key=_place)
    lines = "\n".join(f"{speaker(r)}: {r.text}" for r in window)
    return key(record), f"({said.day} {said:%B %Y})\n{lines}"


def speaker(record: MemoryRecord) -> str:
    """Who said it, or whom it is about where nobody did."""
    return record.source.speaker if record.source else record.subject


def asked_about(question: str, speakers: Iterable[str], asker: str = "") -> str:
    """The one speaker a question is about, or "": by first name or its beginning, or "I" and "my"
    for the ``asker``. Of two people named nobody is meant more than the other."""
    words = set(re.findall(r"\w+", question.casefold()))
    named = [name for name in dict.fromkeys(speakers) if _named(name, words)]
    if not named and asker and words & {"i", "me", "my", "mine", "myself"}:
        return asker
    return named[0] if len(named) == 1 else ""


def _named(name: str, words: set[str]) -> bool:
    parts = name.casefold().split()
    if not parts:
        return False
    first = parts[0]
    return first in words or any(
        len(word) >= NICKNAME and first.startswith(word) and first != word for word in words
    )


def _place(record: MemoryRecord) -> int:
    return record.source.turn if record.source else 0
