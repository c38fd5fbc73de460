"""The simulator's rules: what a reply does to a feeling, whatever words it is said in.

A reply is taken for what the nearest reply of the phrase bank does. Simulated friends meet each
feeling in certain ways: those ease it. A joke at pain, a dismissal, or what fits the opposite
feeling makes it worse. All else, small talk and what is like nothing in the bank, moves nobody.
The lines of persona cards do what the card says they are for: comfort what hurts, celebrate what
pleases, tease, advise. So this measures whether the right kind of thing is said, not how well.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oldfriend.agent import grounded
from oldfriend.bench.evaluate.moments import Feeling
from oldfriend.corpus.seeds import Seeds
from oldfriend.empathy.judge_data import Bank
from oldfriend.empathy.judge_rules import LOW, PAIN
from oldfriend.empathy.strategies import PLAYFUL, Strategy, strategy_of
from oldfriend.persona.character import Character, Topic

Encode = Callable[[Sequence[str]], NDArray[np.float32]]
LEAST = 0.5  # cosine below which a reply is like nothing in the bank
# Meant for another feeling these fall flat, but they hurt nobody.
GENERAL: frozenset[Strategy] = frozenset(("companionship", "reflection_of_feelings", "affirmation"))


@dataclass(frozen=True)
class Act:
    """What a line does: ``valence`` of the feeling it answers, 0 for small talk or for any;
    ``strategy``, None for small talk; ``narrow``: it hurts where the opposite is felt; ``hurts``:
    it is no friend's."""

    valence: float = 0.0
    strategy: Strategy | None = None
    narrow: bool = True
    hurts: bool = False


CARDS: Mapping[Topic, Act] = {
    "comfort": Act(-1.0, "companionship", narrow=False),
    "celebrate": Act(1.0, "companionship"),
    "tease": Act(0.0, "teasing"),
    "advice": Act(0.0, "suggestions"),
    "curiosity": Act(0.0, "question"),
}


class Rules:
    """Knows the bank's replies by their vectors."""

    def __init__(
        self, seeds: Seeds, judge_bank: Path, encode: Encode, cards: Sequence[Character] = ()
    ) -> None:
        self._encode, self._emotions = encode, seeds.life.emotions
        self._suits: dict[str, frozenset[Strategy]] = {}
        acts: dict[str, Act] = {
            line: CARDS.get(topic, Act())
            for character in cards
            for topic, lines in character.lines.items()
            for line in lines
        }
        for bank in (seeds.life.smalltalk, seeds.life.courtesies):
            acts |= {exchange.reply: Act() for exchange in (*bank.train, *bank.test)}
        for text in (*seeds.glue.nods, *seeds.life.abstain, grounded.LISTENING, grounded.HONEST):
            acts[text] = Act()
        cold = Bank.load(judge_bank).dismissive
        acts |= {text: Act(hurts=True) for text in (*cold.train, *cold.test)}
        for name, emotion in self._emotions.items():
            known = {strategy_of(reply.strategy) for reply in emotion.replies}
            self._suits[name] = frozenset(s for s in known if s)
            for reply in emotion.replies:
                way = strategy_of(reply.strategy)
                acts[reply.text] = Act(emotion.valence, way, narrow=way not in GENERAL)
        self._texts, self._acts = list(acts), list(acts.values())
        self._lines_ND = encode(self._texts)

    def acts(self, replies: Sequence[str]) -> list[Act]:
        """What each reply does."""
        if not replies:
            return []
        likeness_RN = self._encode([reply or "." for reply in replies]) @ self._lines_ND.T
        best_R = likeness_RN.argmax(1)
        return [
            self._acts[place] if row[place] >= LEAST else Act()
            for place, row in zip(best_R, likeness_RN, strict=True)
        ]

    def change(self, feeling: Feeling, act: Act) -> float:
        """1 if it eases what hurts or shares what pleases, -1 if it makes it worse, else 0."""
        valence = self._emotions[feeling.name].valence
        if act.hurts:
            return -1.0
        if act.strategy in PLAYFUL and valence < LOW and feeling.intensity >= PAIN:
            return -1.0
        if act.valence * valence < 0:
            return -1.0 if act.narrow else 0.0
        return float(self.fits(feeling, act))

    def fits(self, feeling: Feeling, act: Act) -> bool:
        """Whether simulated friends meet this feeling in this way."""
        return act.strategy is not None and act.strategy in self._suits[feeling.name]
