"""Who the friend is in a turn: a card's character, as strategy, judge and drafts need it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Self

from oldfriend.empathy.rules import allowed
from oldfriend.empathy.strategies import PLAYFUL, Strategy
from oldfriend.errors import InputError

if TYPE_CHECKING:
    from oldfriend.empathy.context import Choice
    from oldfriend.empathy.emotion import Feelings
    from oldfriend.empathy.judge import Character as Judged
    from oldfriend.persona.character import Character, Topic

# Where a card has lines for a strategy; the other strategies need words of their own.
TOPICS: dict[Strategy, "Topic"] = {
    "reflection_of_feelings": "comfort",
    "affirmation": "comfort",
    "companionship": "comfort",
    "suggestions": "advice",
    "praise": "celebrate",
    "humour": "tease",
    "teasing": "tease",
    "question": "curiosity",
}
GLAD: frozenset[Strategy] = frozenset(("affirmation", "reflection_of_feelings", "companionship"))
FELT = 0.25  # intensity from which a card's line is worth a try
WORDS_OF_A_SENTENCE = 16


@dataclass(frozen=True)
class Persona:
    """A character by the name that prompts call it. ``grounds``: all that the card says of it."""

    name: str
    character: "Character"
    grounds: str

    @classmethod
    def read(cls, card: Path) -> Self:
        """The persona of a card in any format. InputError if it says nothing of a character."""
        from oldfriend.persona import card as cards

        read = cards.read(card)
        if read.character is None:
            field = "data.extensions.oldfriend"
            raise InputError("this card has no character of ours", path=card, field=field)
        data = read.data
        grounds = (data.description, data.personality, data.scenario, data.mes_example)
        return cls(data.called, read.character, "\n".join(grounds))

    @property
    def sharpness(self) -> float:
        """0 to 1: what the declared profile lacks in agreeableness."""
        return 1 - self.character.profile.bfi.agreeableness

    @property
    def humour(self) -> float:
        """0 to 1: as the declared profile is outgoing and open, as wit mostly is."""
        traits = self.character.profile.bfi
        return (traits.extraversion + traits.openness) / 2

    @cached_property
    def judged(self) -> "Judged":
        """What the judge needs to know."""
        from oldfriend.empathy.judge import Character as Judged

        speech, lines = self.character.speech, self.character.replies()
        return Judged(
            name=self.name,
            grounds="\n".join([self.grounds, *(line for _, line in lines)]),
            banned=self.character.never,
            teases=bool(self.character.lines["tease"]),
            most_words=max(speech.max_sentences * WORDS_OF_A_SENTENCE, 40),
        )

    def line(
        self, choice: "Choice", feelings: "Feelings", rng: Random
    ) -> tuple[str, Strategy | str]:
        """A whole reply of the card's own, in the likeliest way that is open and that it has words
        for, and that way; ("", "") if there is none, or nothing much is felt."""
        if feelings.intensity < FELT:
            return "", ""
        for way in allowed(choice):
            if topic := _topic(way, feelings.valence):
                return rng.choice(self.character.lines[topic]), way
        return "", ""


def _topic(strategy: Strategy, valence: float) -> "Topic | None":
    """Comfort is for what hurts, what pleases is celebrated, and pain is no joke."""
    if valence > 0 and strategy in GLAD:
        return "celebrate"
    topic = TOPICS.get(strategy)
    wrong = (topic == "comfort" and valence >= 0) or (topic == "celebrate" and valence <= 0)
    return None if wrong or (strategy in PLAYFUL and valence < 0) else topic
