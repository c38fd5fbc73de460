"""A person's talks, written down turn by turn, and what turns mean beyond their facts."""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from oldfriend.corpus.banks import Idiolect
from oldfriend.corpus.people import Moment, Role
from oldfriend.corpus.schema import Fact, Split, Turn
from oldfriend.corpus.speech import Draft, render, speak

T = TypeVar("T")
Place = tuple[str, int]  # conversation and turn


class Script:
    """Deals out phrases to two speakers and records what they say."""

    def __init__(self, split: Split, idiolect: Idiolect, rng: Random) -> None:
        self.turns: list[Turn] = []
        self.moments: list[Moment] = []
        self._split, self._idiolect, self._rng = split, idiolect, rng
        self._conversation = ""
        self._decks: dict[int, list[int]] = {}  # by identity of the bank, which outlives us

    def begin(self, conversation: str) -> None:
        """Start the next conversation on an empty page."""
        self._conversation, self.turns = conversation, []

    @property
    def here(self) -> Place:
        """Where the next turn will stand."""
        return self._conversation, len(self.turns)

    def deal(self, items: Sequence[T], undivided: bool = False) -> T:
        """An item of a bank; none comes twice before all have come once.

        Of what people say from an ``undivided`` bank, every fourth item is for test alone.
        """
        deck = self._decks.setdefault(id(items), [])
        if not deck:
            test = self._split == "test"
            deck += [i for i in range(len(items)) if not undivided or (i % 4 == 0) == test]
            self._rng.shuffle(deck)
        return items[deck.pop()]

    def user(
        self,
        *sentences: str | Draft,
        told: bool = False,
        role: Role | None = None,
        refers: Place | None = None,
        emotion: str | None = None,
        intensity: float | None = None,
        cause: str | None = None,
    ) -> None:
        """The person speaks, in their idiolect; what they ``told`` is worth remembering."""
        draft: Draft = ()
        for sentence in sentences:
            words = (sentence,) if isinstance(sentence, str) else sentence
            draft = (*draft, " ", *words) if draft else words
        text, facts = render(speak(draft, self._idiolect, self._rng))
        self._mark(role, facts, refers)
        turn = Turn(
            speaker="user",
            text=text,
            facts=facts if told else (),
            emotion=emotion,
            intensity=intensity,
            cause=cause,
        )
        self.turns.append(turn)

    def friend(
        self,
        words: str | Draft,
        strategy: str | None = None,
        role: Role | None = None,
        refers: Place | None = None,
    ) -> None:
        """The friend speaks. What they say is never a fact to remember."""
        text, facts = render((words,) if isinstance(words, str) else words)
        self._mark(role, facts, refers)
        self.turns.append(Turn(speaker="friend", text=text, strategy=strategy))

    def _mark(self, role: Role | None, facts: Sequence[Fact], refers: Place | None) -> None:
        """Note what the turn about to be said means beyond its facts."""
        if role:
            conversation, turn = self.here
            fact = facts[0] if facts else None
            self.moments.append(
                Moment(role=role, conversation=conversation, turn=turn, fact=fact, refers=refers)
            )
