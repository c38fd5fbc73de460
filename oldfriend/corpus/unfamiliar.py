"""Unfamiliar values for training: a model that knows every value by heart never copies.

A listed value ("open water") is replaced by others' words ("rye skylight") of the same number, so
that only its place in the talk tells what it is. Held-out examples keep real values.
"""

from collections.abc import Iterable, Iterator
from random import Random

from oldfriend.corpus.people import Life
from oldfriend.corpus.schema import NoteExample, retold
from oldfriend.corpus.seeds import Seeds


class Unfamiliar:
    """Draws values in the shape of a listed one; never one that is held out."""

    def __init__(self, seeds: Seeds, rng: Random) -> None:
        listed = {n: s.values for n, s in seeds.slots.items() if not isinstance(s.values, str)}
        self._rng = rng
        self._slots = set(listed)
        self._held_out = {value.lower() for values in listed.values() for value in values.test}
        train = (value for values in listed.values() for value in values.train)
        words = {word.lower() for value in train for word in value.split() if word.isalpha()}
        held_out = {word for value in self._held_out for word in value.split()}
        self._words = sorted(word for word in words - held_out if len(word) > 2)

    def value(self, slot: str, value: str) -> str:
        """Another value as long as this one; the same one for slots whose values are invented."""
        if slot not in self._slots:
            return value
        while True:
            words = self._rng.choices(self._words, k=len(value.split()))
            drawn = " ".join(words)
            if drawn not in self._held_out:
                return drawn.title() if value[:1].isupper() else drawn

    def lives(self, lives: Iterable[Life], share: float) -> list[Life]:
        """Lives of which a ``share`` of the listed values is unfamiliar."""
        return [
            life.model_copy(
                update={
                    "facts": type(life.facts)(
                        fact.model_copy(update={"value": self.value(fact.slot, fact.value)})
                        if self._rng.random() < share
                        else fact
                        for fact in life.facts
                    )
                }
            )
            for life in lives
        ]

    def notes(self, examples: Iterable[NoteExample], share: float) -> Iterator[NoteExample]:
        """Examples of which a ``share`` has unfamiliar values in its text and facts."""
        for example in examples:
            if self._rng.random() < share:
                example = retold(example, lambda fact: self.value(fact.slot, fact.value))
            yield example
