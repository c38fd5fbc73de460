"""What ``extensions.oldfriend`` of a card says: a character's values, edges and way of talking.

The Character Card fields tell a model what to play; this tells a trainer how the voice sounds and
where it will not bend, in a form that can be measured.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from oldfriend.errors import InputError

Topic = Literal[
    "greeting", "farewell", "comfort", "celebrate", "tease", "disagree", "agree", "advice",
    "curiosity", "memory", "smalltalk",
]  # fmt: skip
TOPICS: tuple[Topic, ...] = get_args(Topic)
NAMESPACE = "oldfriend"
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Stand(_Part):
    """A claim that a user may push, and how the character stands against it.

    ``claim`` and ``belief`` are clauses that fit after "that": no capital, no full stop.
    Each of ``defence`` is a whole reply in the character's voice.
    """

    claim: Text
    belief: Text
    defence: tuple[Text, ...] = Field(min_length=4)


class Speech(_Part):
    """How any content becomes this voice.

    ``openers``, ``closers`` and ``interjections`` carry their own punctuation and stand before,
    after or between whole sentences. ``replacements`` maps plain lower-case words to those that
    the character always uses instead. ``max_sentences`` bounds one reply.
    """

    openers: tuple[Text, ...] = Field(min_length=8)
    closers: tuple[Text, ...] = Field(min_length=8)
    interjections: tuple[Text, ...] = Field(min_length=6)
    pet_names: tuple[Text, ...] = ()
    replacements: dict[Text, Text] = {}
    max_sentences: int = Field(ge=1, le=12)
    style: Text


class BigFive(_Part):
    """Declared traits, 0 (very low) to 1 (very high), of the Big Five Inventory."""

    openness: Share
    conscientiousness: Share
    extraversion: Share
    agreeableness: Share
    neuroticism: Share


class Profile(_Part):
    """What a questionnaire should find."""

    bfi: BigFive


class Character(_Part):
    """A character with edges. ``never`` lists literal words and marks it does not use."""

    values: tuple[Text, ...] = Field(min_length=3)
    humour: Text
    sore_points: tuple[Text, ...] = Field(min_length=1)
    never_agrees_to: tuple[Stand, ...] = Field(min_length=10)
    speech: Speech
    lines: dict[Topic, Annotated[tuple[Text, ...], Field(min_length=10)]]
    profile: Profile
    never: tuple[Text, ...] = ()

    def replies(self) -> Iterator[tuple[str, str]]:
        """Every whole reply with the place it stands at: lines of all topics, then defences."""
        for topic, lines in self.lines.items():
            yield from ((f"lines.{topic}", line) for line in lines)
        for place, stand in enumerate(self.never_agrees_to):
            yield from ((f"never_agrees_to.{place}.defence", line) for line in stand.defence)

    @property
    def views(self) -> tuple[tuple[str, str], ...]:
        """Every claim that it never agrees to, with what it holds instead."""
        return tuple((stand.claim, stand.belief) for stand in self.never_agrees_to)

    def slips(self, text: str) -> list[str]:
        """Those of ``never`` that ``text`` uses: words as whole words, marks anywhere."""
        return [word for word in self.never if re.search(_whole(word), text, re.IGNORECASE)]


def _whole(word: str) -> str:
    left = r"(?<!\w)" if word[0].isalnum() else ""
    right = r"(?!\w)" if word[-1].isalnum() else ""
    return f"{left}{re.escape(word)}{right}"


def read_character(extensions: Mapping[str, Any], path: Path | None = None) -> Character | None:
    """The character in a card's ``extensions``; None if the card has none of ours.

    InputError names the file and the field of the first mistake.
    """
    if NAMESPACE not in extensions:
        return None
    try:
        character = Character.model_validate(extensions[NAMESPACE])
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in ("data.extensions", NAMESPACE, *first["loc"]))
        raise InputError(first["msg"], path=path, field=field) from None
    if missing := [topic for topic in TOPICS if topic not in character.lines]:
        field = f"data.extensions.{NAMESPACE}.lines"
        raise InputError(f"no lines for {', '.join(missing)}", path=path, field=field)
    return character
