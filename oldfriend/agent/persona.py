"""Who the friend is in a turn: a card's character, as strategy, judge and drafts need it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Self

from oldfriend.empathy.strategies import PLAYFUL, Strategy
from oldfriend.errors import InputError

if TYPE_CHECKING:
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
GLAD: dict[Strategy, "Topic"] = {"affirmation": "celebrate", "reflection_of_feelings": "celebrate"}
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

    def line(self, strategy: Strategy, valence: float, rng: Random) -> str:
        """A whole reply of the card's own that answers this way, or ""; comfort is for what hurts,
        and what pleases is celebrated."""
        topic = GLAD.get(strategy) if valence > 0 else None
        topic = topic or TOPICS.get(strategy)
        wrong = (topic == "comfort" and valence >= 0) or (topic == "celebrate" and valence <= 0)
        if topic is None or wrong or (strategy in PLAYFUL and valence < 0):
            return ""
        return rng.choice(self.character.lines[topic])
