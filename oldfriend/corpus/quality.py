"""Filters: why a conversation is not worth learning from."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from oldfriend.corpus.schema import Conversation
from oldfriend.corpus.settings import QualityParams

Filter = Callable[[Conversation, QualityParams], bool]

LINK = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_BOILERPLATE = re.compile(
    r"lorem ipsum|all rights reserved|(?:accept|enable|our use of) (?:all )?cookies|cookie policy"
    r"|subscribe to (?:our|my|the) (?:newsletter|channel)|click here to|terms of (?:use|service)"
    r"|javascript (?:is|must be|has been) (?:dis|en)abled|add to (?:cart|basket)"
    r"|\*\*\* ?(?:start|end) of (?:the|this) project gutenberg",
    re.IGNORECASE,
)
_ASSISTANT = re.compile(
    r"\bas an? (?:ai|artificial intelligence|large language|language)(?: language)?"
    r" (?:model|assistant)\b|\bi am (?:just )?an ai language model\b|\bmy knowledge cutoff\b",
    re.IGNORECASE,
)
_LETTER = re.compile(r"[^\W\d_]")
# Control and private characters, and what a decoder writes for bytes that it cannot read.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ue000-\uf8ff\ufffd]")


def too_short(conversation: Conversation, limits: QualityParams) -> bool:
    """A talk of few turns, or hardly any text at all, unless there are labels to learn."""
    few = is_dialogue(conversation) and len(conversation.turns) < limits.min_turns
    return not _is_labelled(conversation) and (few or _length(conversation) < limits.min_chars)


def too_long(conversation: Conversation, limits: QualityParams) -> bool:
    """More text than one conversation holds, or a speech instead of a turn."""
    if _length(conversation) > limits.max_chars:
        return True
    longest = max(len(turn.text) for turn in conversation.turns)
    return is_dialogue(conversation) and longest > limits.max_turn_chars


def not_two_speakers(conversation: Conversation, _: QualityParams) -> bool:
    """A dialogue in which one side never speaks; documents and labelled texts have one voice."""
    alone = len({turn.speaker for turn in conversation.turns}) < 2
    return alone and is_dialogue(conversation) and not _is_labelled(conversation)


def no_letters(conversation: Conversation, _: QualityParams) -> bool:
    """Not one letter of any script."""
    return not any(_LETTER.search(turn.text) for turn in conversation.turns)


def mostly_symbols(conversation: Conversation, limits: QualityParams) -> bool:
    """Tables, rulers, emoticons: letters are rare among the characters that are not blanks."""
    text = "".join("".join(turn.text.split()) for turn in conversation.turns)
    missing = limits.min_letters * len(text) - len(_LETTER.findall(text))
    # Vowel signs of Indic scripts are marks; they are counted only where it matters.
    return missing > 0 and missing > sum(unicodedata.category(char)[0] == "M" for char in text)


def repeated_turns(conversation: Conversation, limits: QualityParams) -> bool:
    """The same sentence again and again."""
    said = [" ".join(turn.text.casefold().split()) for turn in conversation.turns]
    return len(said) - len(set(said)) > limits.max_repeated * len(said)


def mostly_links(conversation: Conversation, limits: QualityParams) -> bool:
    """Link lists and advertisements."""
    links = sum(len(link) for turn in conversation.turns for link in LINK.findall(turn.text))
    return links > limits.max_link_chars * _length(conversation)


def boilerplate(conversation: Conversation, _: QualityParams) -> bool:
    """Web page furniture; a document may mention it, so a talk and short pages only."""
    short = is_dialogue(conversation) or _length(conversation) < 2_000
    return short and any(_BOILERPLATE.search(turn.text) for turn in conversation.turns)


def assistant_speech(conversation: Conversation, _: QualityParams) -> bool:
    """A friend never speaks as a language model."""
    return is_dialogue(conversation) and any(
        _ASSISTANT.search(turn.text) for turn in conversation.turns if turn.speaker == "friend"
    )


def unprintable(conversation: Conversation, limits: QualityParams) -> bool:
    """Binary leftovers and undecodable characters."""
    bad = sum(len(_UNPRINTABLE.findall(turn.text)) for turn in conversation.turns)
    return bad > limits.max_unprintable * _length(conversation)


FILTERS: dict[str, Filter] = {
    rule.__name__: rule
    for rule in (
        no_letters,
        too_short,
        too_long,
        not_two_speakers,
        unprintable,
        mostly_symbols,
        repeated_turns,
        mostly_links,
        boilerplate,
        assistant_speech,
    )
}


def reason(conversation: Conversation, limits: QualityParams) -> str | None:
    """Name of the first filter that rejects ``conversation``, or None."""
    for name, rejects in FILTERS.items():
        if rejects(conversation, limits):
            return name
    return None


def keep_good(
    conversations: Iterable[Conversation], limits: QualityParams, removed: Counter[str]
) -> Iterator[Conversation]:
    """Yield what passes every filter; count the rest by reason."""
    for conversation in conversations:
        why = reason(conversation, limits)
        if why is None:
            yield conversation
        else:
            removed[why] += 1


def is_dialogue(conversation: Conversation) -> bool:
    """A talk between two; every other domain holds documents."""
    return conversation.domain == "talk"


def _is_labelled(conversation: Conversation) -> bool:
    return any(turn.facts or turn.emotion for turn in conversation.turns)


def _length(conversation: Conversation) -> int:
    return sum(len(turn.text) for turn in conversation.turns)
