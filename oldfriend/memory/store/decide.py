"""Three decisions before a reply: is memory needed, which memories, and say them or not.

Each is a logistic model over a few features that can be named, so that each comes with a reason in
words. A calibration holds the coefficients; ``oldfriend.bench.decisions`` fits it on simulated
lives, and the default one was made there.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import Literal

from oldfriend.memory.store.retrieve import Hit

_ASKS = re.compile(
    r"\?|^\W*(?:what|when|where|who|whom|whose|which|why|how|remind|tell)\b|\bremind me\b", re.I
)
_RECALLS = re.compile(
    r"\b(?:remember|remind|recall|told|mentioned|said|know|back then|used to)\b", re.I
)
_OWN = re.compile(r"\b(?:i|me|my|mine|myself|we|us|our|ours)\b", re.I)

FEATURES = ("asks", "recalls", "own", "match", "gap", "theirs")
Features = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Logit:
    """A logistic model: bias, and one weight per feature in the order of FEATURES."""

    bias: float
    weights: Features

    def __call__(self, features: Features) -> float:
        """Probability of yes."""
        score = self.bias + sum(w * f for w, f in zip(self.weights, features, strict=True))
        return 1 / (1 + exp(-max(-30.0, min(30.0, score))))


@dataclass(frozen=True)
class Calibration:
    """The three models and from which probability on their answer is yes."""

    need: Logit
    support: Logit
    say: Logit
    threshold: float = 0.5


@dataclass(frozen=True)
class Choice:
    """A memory to use. ``probability``: that it bears on the message."""

    hit: Hit
    probability: float
    how: Literal["say", "colour"]


@dataclass(frozen=True)
class Decision:
    """``needed``: memory was asked for or would help; with no ``choices`` the honest reply is that
    it is not known. ``say``: the probability that it should be said rather than colour the tone."""

    needed: bool
    need: float
    say: float
    choices: tuple[Choice, ...]
    reason: str


def features(message: str, hits: Sequence[Hit], place: int = 0) -> Features:
    """What is seen of a message and the hit at ``place`` (best first), each about 0 to 1.

    asks: it is a question. recalls: it speaks of remembering. own: it speaks of the speaker.
    match: how well the hit and its neighbours meet its words. gap: how far that is above the mean
    of all others. theirs: the hit is of the one asked about (1), of another (-1), or nobody is (0).
    """
    words = (float(bool(pattern.search(message))) for pattern in (_ASKS, _RECALLS, _OWN))
    asks, recalls, own = words
    if not hits:
        return asks, recalls, own, 0.0, 0.0, 0.0
    others = [hit.match for number, hit in enumerate(hits) if number != place]
    mean = sum(others) / len(others) if others else hits[place].match
    whose = hits[place].parts.get("speaker", 0.0)
    theirs = float((whose > 0) - (whose < 0))
    return asks, recalls, own, hits[place].match, hits[place].match - mean, theirs


def decide(
    message: str, hits: Sequence[Hit], calibration: Calibration | None = None, most: int = 4
) -> Decision:
    """Decide for ``message`` over the ``hits`` that retrieval brought, best first.

    At most ``most`` memories are chosen, in the order of their probability.
    """
    models = calibration or DEFAULT
    seen = features(message, hits)
    # Whether to say it is for the message to tell: a memory that fits well is no invitation.
    need, say = models.need(seen), models.say(features(message, []))
    needed = need >= models.threshold
    rated = sorted(
        ((models.support(features(message, hits, n)), -n) for n in range(len(hits))), reverse=True
    )
    how: Literal["say", "colour"] = "say" if say >= models.threshold else "colour"
    choices = tuple(
        Choice(hits[-n], probability, how)
        for probability, n in rated[:most]
        if needed and probability >= models.threshold
    )
    return Decision(needed, need, say, choices, _reason(models, seen, need, choices))


def _reason(models: Calibration, seen: Features, need: float, choices: Sequence[Choice]) -> str:
    """One line that names what weighed most and what follows."""
    shares = {n: w * f for n, w, f in zip(FEATURES, models.need.weights, seen, strict=True)}
    towards = need >= models.threshold
    name = max(shares, key=lambda n: shares[n] if towards else -shares[n])
    why = _WORDS[name] if shares[name] * (1 if towards else -1) > 0 else "nothing speaks against it"
    if not towards:
        return f"no memory needed (p = {need:.2f}): {why if shares[name] < 0 else 'small talk'}"
    if not choices:
        return f"memory needed (p = {need:.2f}, {why}), but nothing known bears on it"
    best = choices[0]
    return (
        f"memory needed (p = {need:.2f}, {why}); {best.how} {len(choices)} of them, "
        f"the best with p = {best.probability:.2f}"
    )


_WORDS = {
    "asks": "it is a question",
    "recalls": "it speaks of remembering",
    "own": "it speaks of the speaker",
    "match": "its words are met in memory",
    "gap": "one memory stands out",
    "theirs": "a memory is of the one it asks about",
}

# Made by oldfriend.bench.decisions on 600 examples of data/curated/ground/train.jsonl, seed 0.
DEFAULT = Calibration(
    need=Logit(-5.4145, (3.3784, 0.1654, 3.6491, 4.9443, 5.3335, 1.4551)),
    support=Logit(-4.4117, (-0.5692, 0.3287, 0.3942, -3.1379, 25.2868, 2.8555)),
    say=Logit(-3.2705, (8.1098, -0.053, 0.9732, 0.0, 0.0, 0.0)),
)
