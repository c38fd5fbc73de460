"""Which way to answer: a head over the talk so far, the persona's leaning, then the hard rules.

Two linear maps share the features. ``support`` learned from people who were paid to console
(ESConv: the first eight strategies); ``life`` from simulated friends (all thirteen). The more
something hurts, the more ``support`` has to say.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from oldfriend.empathy.context import COURSE, Choice, StrategyContext, course, texts
from oldfriend.empathy.encoder import SIZE, Array, Encoder
from oldfriend.empathy.rules import NEGATIVE, rule
from oldfriend.empathy.settings import RuleParams
from oldfriend.empathy.strategies import ESCONV, STRATEGIES, Strategy
from oldfriend.errors import CheckpointError
from oldfriend.files import write_json

FIGURES, MAPS = "strategy.json", "strategy.safetensors"
VECTORS = 3 * SIZE  # what was said, what the friend said before it, the talk
FEATURES = COURSE + VECTORS
SUPPORT = len(ESCONV)
MOST_SUPPORT = 0.8  # share of the support head at full pain; the rest is how friends talk


@dataclass(frozen=True)
class Maps:
    """``life`` [STRATEGIES, COURSE + 1]; ``support`` [SUPPORT, FEATURES + 1], empty without
    ESConv. The last column is the bias."""

    life: Array
    support: Array


class Strategist:
    """Chooses how to answer. ``encoder`` is needed only by the support head."""

    def __init__(
        self,
        maps: Maps,
        encoder: Encoder | None = None,
        rules: RuleParams | None = None,
        persona: float = 1.0,
    ) -> None:
        self._maps, self._encoder = maps, encoder or Encoder()
        self._rules, self._persona = rules or RuleParams(), persona

    @classmethod
    def load(
        cls, folder: Path, encoder: Encoder | None = None, rules: RuleParams | None = None
    ) -> Self:
        """What ``save_maps`` wrote. CheckpointError if it is broken."""
        maps, persona = load_maps(folder)
        return cls(maps, encoder, rules, persona)

    def choose(self, context: StrategyContext) -> Choice:
        """The strategy for the next reply, and why not another."""
        return rule(context, self.probabilities(context), self._rules)

    def probabilities(self, context: StrategyContext) -> dict[Strategy, float]:
        """What the heads and the persona think, before any rule."""
        told = course(context)
        odds = softmax(_linear(told[None], self._maps.life))[0]
        if len(self._maps.support):
            own = np.concatenate((told, vectors([context], self._encoder)[0]))
            support = np.zeros(len(STRATEGIES), np.float32)
            support[:SUPPORT] = softmax(_linear(own[None], self._maps.support))[0]
            share = MOST_SUPPORT * _pain(context)
            odds = share * support + (1 - share) * odds
        odds = odds * np.exp(self._persona * _leaning(context))
        odds = odds / odds.sum()
        return {name: float(p) for name, p in zip(STRATEGIES, odds, strict=True)}


def vectors(contexts: Sequence[StrategyContext], encoder: Encoder) -> Array:
    """Unit vectors [contexts, VECTORS] of their three texts, each text read once."""
    rows = [texts(context) for context in contexts]
    unique = list(dict.fromkeys(text for row in rows for text in row))
    table = encoder.encode([text or "." for text in unique])
    place = {text: number for number, text in enumerate(unique)}
    return np.stack([table[[place[text] for text in row]].reshape(-1) for row in rows])


def softmax(logits: Array) -> Array:
    """Over the last axis."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True), np.float32)


def save_maps(folder: Path, maps: Maps, persona: float, meta: Mapping[str, object]) -> None:
    """Write the maps into ``folder``: arrays as safetensors, the rest as JSON."""
    from safetensors.numpy import save_file

    arrays = {"life": maps.life, "support": maps.support}
    save_file({k: np.ascontiguousarray(v, np.float32) for k, v in arrays.items()}, folder / MAPS)
    write_json(folder / FIGURES, {**meta, "persona": persona, "strategies": list(STRATEGIES)})


def load_maps(folder: Path) -> tuple[Maps, float]:
    """What ``save_maps`` wrote, and how far a card moves the odds.

    CheckpointError if it is missing or of another make.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        told = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
        arrays = load_file(folder / MAPS)
        maps, persona = Maps(arrays["life"], arrays["support"]), float(told["persona"])
        if tuple(told["strategies"]) != STRATEGIES:
            raise ValueError("made for other strategies")
        wide = (SUPPORT, FEATURES + 1)
        if maps.life.shape != (len(STRATEGIES), COURSE + 1) or (
            maps.support.shape != wide and len(maps.support)
        ):
            raise ValueError("arrays of another shape")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("numbers that are none")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder}: broken strategy head ({error}); train it again") from None
    return maps, persona


def _linear(rows: Array, weights: Array) -> Array:
    return np.asarray(rows @ weights[:, :-1].T + weights[:, -1], np.float32)


def _pain(context: StrategyContext) -> float:
    """0 to 1: the message's or the mood's, whichever hurts more."""
    felt = [(context.feelings.valence, context.feelings.intensity)]
    if context.mood:
        felt.append((context.mood.valence, context.mood.intensity))
    return max(min(1.0, 1.5 * strong) if low < NEGATIVE else 0.0 for low, strong in felt)


def _leaning(context: StrategyContext) -> Array:
    """Log odds a card adds: a wit jokes more, a sharp tongue teases more and flatters less."""
    wit, edge = 2 * context.humour - 1, 2 * context.sharpness - 1
    lean = dict.fromkeys(STRATEGIES, 0.0)
    lean |= {
        "humour": wit,
        "teasing": wit / 2 + edge,
        "praise": -edge / 2,
        "affirmation": -edge / 4,
    }
    return np.array([lean[name] for name in STRATEGIES], np.float32)
