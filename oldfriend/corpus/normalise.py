"""Clean Unicode and whitespace of conversations, keeping facts at their place."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable

import ftfy

from oldfriend.corpus.schema import Conversation, Fact, Turn

# Joiners (U+200C, U+200D) stay: emoji and several scripts need them.
_INVISIBLE = re.compile("[\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_BLANKS = re.compile(r"[^\S\n]+")
_LINE_EDGE = re.compile(r" ?\n ?")
_PARAGRAPHS = re.compile(r"\n{3,}")
# Full-width punctuation is right in Chinese and Japanese.
_CONFIG = ftfy.TextFixerConfig(explain=False, fix_character_width=False)


def normalise_text(text: str, *, lines: bool = False) -> str:
    """Repair encoding slips, straighten quotes, compose to NFC and squeeze blanks.

    Line breaks become blanks unless ``lines``; then at most one empty line stays in a row.
    """
    text = unicodedata.normalize("NFC", ftfy.fix_text(_INVISIBLE.sub("", text), _CONFIG))
    if lines:
        text = _LINE_EDGE.sub("\n", _BLANKS.sub(" ", text))
        text = _PARAGRAPHS.sub("\n\n", text)
    else:
        text = " ".join(text.split())
    return text.strip()


def normalise(
    conversations: Iterable[Conversation], counts: Counter[str]
) -> Iterable[Conversation]:
    """Yield clean conversations. Counts ``facts_lost`` and ``empty_turns``; drops empty talk."""
    for conversation in conversations:
        lines = conversation.domain != "talk"
        turns = tuple(
            turn
            for turn in (normalise_turn(old, counts, lines=lines) for old in conversation.turns)
            if turn is not None
        )
        if not turns:
            counts["empty_conversations"] += 1
        elif turns == conversation.turns:
            yield conversation
        else:
            yield conversation.model_copy(update={"turns": turns})


def normalise_turn(turn: Turn, counts: Counter[str], *, lines: bool = False) -> Turn | None:
    """Normalise one turn; None if nothing is left of it."""
    text = normalise_text(turn.text, lines=lines)
    if text == turn.text:
        return turn
    if not text:
        counts["empty_turns"] += 1
        return None

    def clean(part: str) -> str:
        return normalise_text(part, lines=lines)

    placed = [relocate(fact, turn.text, text, clean) for fact in turn.facts]
    facts = tuple(fact for fact in placed if fact is not None)
    if lost := len(placed) - len(facts):
        counts["facts_lost"] += lost
    return turn.model_copy(update={"text": text, "facts": facts})


def relocate(fact: Fact, old: str, new: str, clean: Callable[[str], str]) -> Fact | None:
    """Return ``fact`` at its place in ``new == clean(old)``, or None if its value is gone.

    A value that occurs more than once is taken where the cleaned text before it ends.
    """
    value = clean(fact.value)
    if not value:
        return None
    expected = len(clean(old[: fact.end])) - len(value)
    places = [match.start() for match in re.finditer(f"(?={re.escape(value)})", new)]
    if not places:
        return None
    start = min(places, key=lambda place: (abs(place - expected), place))
    return fact.model_copy(update={"value": value, "start": start, "end": start + len(value)})
