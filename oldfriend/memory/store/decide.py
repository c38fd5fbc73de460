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

# A capital letter within a sentence, but not of a word that is always written so.
_NAMES = re.compile(r"(?<=[\w,;')\u2019] )(?!I\b)[A-Z][\w-]+")
_DATES = frozenset(
    re.findall(
        r"\w+",
        "monday tuesday wednesday thursday friday saturday sunday january february march april may "
        "june july august september october november december easter christmas",
    )
)
_WORD = re.compile(r"[^\W_]+")

FEATURES = ("asks", "recalls", "own", "match", "gap", "theirs", "known", "strange", "personal")
Features = tuple[float, ...]  # in the order of FEATURES

ENOUGH, USUAL = 8, 0.15  # hits that one is compared with at least, and what one without bearing has


@dataclass(frozen=True)
class Logit:
    """A logistic model: bias, and one weight per feature in the order of FEATURES. Features
    without a weight count nothing."""

    bias: float
    weights: Features

    def __call__(self, features: Features) -> float:
        """Probability of yes."""
        score = self.bias + sum(w * f for w, f in zip(self.weights, features, strict=False))
        return 1 / (1 + exp(-max(-30.0, min(30.0, score))))


@dataclass(frozen=True)
class Calibration:
    """The three models and from which probability on their answer is yes. ``informed`` is ``need``
    for where it is known how personal a message is."""

    need: Logit
    support: Logit
    say: Logit
    threshold: float = 0.5
    informed: Logit | None = None


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


def features(message: str, hits: Sequence[Hit], place: int = 0, personal: float = 0.5) -> Features:
    """What is seen of a message and the hit at ``place`` (best first), each about -1 to 1.

    asks: it is a question. recalls: it speaks of remembering. own: it speaks of the speaker.
    match: how well the hit and its neighbours meet its words. gap: how far that is above the mean
    of all others, of which there are always thought to be ENOUGH. theirs: the hit is of the one
    asked about (1), of another (-1), or nobody is (0). known, strange: it names somebody or
    something that the hits name too, or that none of them does. personal: from -1 to 1, by
    ``personal``, the probability that it is about the life of the speaker.
    """
    words = (float(bool(pattern.search(message))) for pattern in (_ASKS, _RECALLS, _OWN))
    asks, recalls, own = words
    known, strange = _named(message, hits)
    of_life = 2 * personal - 1
    if not hits:
        return asks, recalls, own, 0.0, 0.0, 0.0, known, strange, of_life
    others = [hit.match for number, hit in enumerate(hits) if number != place]
    others += [USUAL] * (ENOUGH - len(others))
    gap = hits[place].match - sum(others) / len(others)
    whose = hits[place].parts.get("speaker", 0.0)
    theirs = float((whose > 0) - (whose < 0))
    return asks, recalls, own, hits[place].match, gap, theirs, known, strange, of_life


def decide(
    message: str,
    hits: Sequence[Hit],
    calibration: Calibration | None = None,
    most: int = 4,
    personal: float | None = None,
) -> Decision:
    """Decide for ``message`` over the ``hits`` that retrieval brought, best first.

    At most ``most`` memories are chosen, in the order of their probability. ``personal``: the
    probability that the message is about the life of the speaker (topic.py), if it is known.
    """
    models = calibration or DEFAULT
    informed = models.informed if personal is not None else None
    seen = features(message, hits, 0, 0.5 if personal is None else personal)
    # Whether to say it is for the message to tell: a memory that fits well is no invitation.
    need, say = (informed or models.need)(seen), models.say(features(message, []))
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
    reason = _reason(informed or models.need, needed, seen, need, choices)
    return Decision(needed, need, say, choices, reason)


def _named(message: str, hits: Sequence[Hit]) -> tuple[float, float]:
    """Whether the message names what the hits name, and whether it names what none of them does."""
    names = {name.casefold() for name in _NAMES.findall(message)} - _DATES
    speakers: set[str] = set()
    told: set[str] = set()
    for hit in hits:
        record = hit.record
        speaker = record.source.speaker if record.source else ""
        speakers.update(_WORD.findall(f"{speaker} {record.subject}".casefold()))
        if names:
            told.update(_WORD.findall(record.text.casefold()))
    speakers -= {"me", "user", "friend"}
    whole = set(_WORD.findall(message.casefold()))
    met = bool(names & told) or bool(whole & speakers)
    return float(met), float(bool(names) and not met)


def _reason(
    model: Logit, needed: bool, seen: Features, need: float, choices: Sequence[Choice]
) -> str:
    """One line that names what weighed most and what follows."""
    shares = {n: w * f for n, w, f in zip(FEATURES, model.weights, seen, strict=False)}
    name = max(shares, key=lambda n: shares[n] if needed else -shares[n])
    if not needed:
        why = _AGAINST.get(name, "small talk") if shares[name] < 0 else "small talk"
        return f"no memory needed (p = {need:.2f}): {why}"
    why = _WORDS[name] if shares[name] > 0 else "nothing speaks against it"
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
    "known": "it names somebody known",
    "strange": "it names somebody new",
    "personal": "it is about the speaker's life",
}
_AGAINST = {
    "strange": "it names what was never spoken of",
    "personal": "it is about the world, not about the speaker's life",
}

# Made by oldfriend.bench.decisions on 600 examples of data/curated/ground/train.jsonl and the
# training half of data/seeds/general_questions.yaml, seed 0.
DEFAULT = Calibration(
    need=Logit(-6.9594, (1.5898, 1.6985, 4.226, 16.8937, -7.2605, 0.6356, 3.5236, -1.0895, 0.0)),
    support=Logit(-6.1901, (-0.305, 0.4195, 1.2415, 2.4282, 19.6946, 3.1165, -3.046, -0.6853, 0.0)),
    say=Logit(-1.2958, (6.3849, 1.7193, -0.5078, 0.0, 0.0, 0.0, 0.0, 1.1328, 0.0)),
    informed=Logit(
        -7.5182, (1.498, 0.9098, 2.2011, 11.4441, -5.1345, 0.7312, 2.8684, -1.3872, 11.9312)
    ),
)
