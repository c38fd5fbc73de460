"""The judge of drafts: would this help, does it fit, is it true, is it us, is it the moment?

``moves``, ``appropriate`` and the learned share of ``moment`` come from heads over MiniLM's
vectors (``judge_train``); ``supported``, ``character`` and the rest of ``moment`` are checks
without a model (``judge_rules``). Without trained heads the checks remain, the learned parts stand
at 0.5, and ``notice`` says so.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from oldfriend.corpus.schema import Turn
from oldfriend.empathy import judge_rules as rules
from oldfriend.empathy.emotion import Feelings
from oldfriend.empathy.encoder import Array
from oldfriend.empathy.judge_features import (
    AXES,
    FIGURES,
    SPREAD,
    Features,
    Place,
    Vectors,
    figures,
    pair_features,
    turns_of,
)
from oldfriend.empathy.settings import Weights
from oldfriend.empathy.strategies import STRATEGIES, strategy_of
from oldfriend.errors import CheckpointError

PARTS = ("moves", "appropriate", "supported", "character", "moment")
LEAST = 0.01  # no part counts as less, so that the total still ranks what is hopeless
POOR = 0.5  # a part below this is worth a word
ARRAYS = ("moves", "fits", "suits", "tone", "axes")


@dataclass(frozen=True)
class Character:
    """What the judge needs of a persona card."""

    name: str = ""
    grounds: str = ""  # the card's own text: what it says of itself it may speak of
    banned: tuple[str, ...] = ()  # what this character never says
    teases: bool = True
    most_words: int = 80


@dataclass(frozen=True)
class Situation:
    """The talk up to the person's last turn, how they feel, and what may be spoken of.

    ``memories``: everything recalled that a reply may stand on, as text with its value.
    """

    talk: tuple[Turn, ...]
    feelings: Feelings | None = None
    memories: tuple[str, ...] = ()
    character: Character = Character()


@dataclass(frozen=True)
class Draft:
    """A reply not yet given; ``memories``: those that it claims to stand on."""

    text: str
    strategy: str = ""
    memories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """``parts``: a score from 0 to 1 for each of PARTS; ``whys``: a plain reason for each;
    ``reasons``: those of the parts that are poor, the worst first."""

    total: float
    parts: Mapping[str, float]
    reasons: tuple[str, ...]
    whys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Heads:
    """Linear maps with a bias in their last place.

    ``moves`` [FIGURES + 1], ``fits`` [3 D + 1], ``suits`` [STRATEGIES, D + 1], ``tone`` [D + 1];
    ``axes`` [1 + AXES, D]: the mean of talk and its principal axes;
    ``lexicon``: words seen in lower case, by which a name at the start of a sentence is told.
    """

    moves: Array
    fits: Array
    suits: Array
    tone: Array
    axes: Array
    lexicon: frozenset[str] = frozenset()


class Judge:
    """Judges drafts for one situation; all texts go through the encoder in one call."""

    def __init__(
        self,
        features: Features | None = None,
        heads: Heads | None = None,
        weights: Weights | None = None,
    ) -> None:
        self._features = features
        self._heads = heads if features else None
        self._weights = weights or Weights()
        self.notice = "" if self._heads else "no judge model: drafts are checked by rules alone"

    @classmethod
    def load(
        cls, folder: Path | None, features: Features | None = None, weights: Weights | None = None
    ) -> Self:
        """With the heads in ``folder``, if there are any. CheckpointError if they are broken."""
        if folder is None or features is None or not (folder / "judge.json").is_file():
            return cls(features, None, weights)
        return cls(features, load_heads(folder), weights)

    def score(self, situation: Situation, drafts: Sequence[Draft]) -> list[Verdict]:
        """A verdict for each draft, in their order."""
        said, own, earlier = turns_of(situation.talk)
        places = [
            Place(said, draft.text, own, earlier, strategy_of(draft.strategy)) for draft in drafts
        ]
        learned = self._learned(places, situation.feelings)
        return [
            self._verdict(situation, draft, place, odds)
            for draft, place, odds in zip(drafts, places, learned, strict=True)
        ]

    def _learned(
        self, places: Sequence[Place], feelings: Feelings | None
    ) -> list[tuple[float, float, float, float, float]]:
        """moves, fits, suits, and the person's valence and intensity, for each place."""
        felt = (feelings.valence, feelings.intensity) if feelings else (0.0, 0.0)
        if self._heads is None or self._features is None or not places:
            return [(0.5, 0.5, 0.5, *felt) for _ in places]
        vectors = Vectors(self._features, (text for place in places for text in place.texts))
        found = outcome(self._heads, places, vectors)
        return [
            (float(moves), float(fits), float(suits),
             *(felt if feelings else (float(row[0]), float(row[1]))))
            for moves, fits, suits, row in zip(*found, strict=True)
        ]  # fmt: skip

    def _verdict(
        self,
        situation: Situation,
        draft: Draft,
        place: Place,
        learned: tuple[float, float, float, float, float],
    ) -> Verdict:
        moves, fits, suits, valence, intensity = learned
        who, strategy = situation.character, place.strategy
        whys = {
            "moves": "likely to do them good" if moves >= POOR else "unlikely to do them good",
            "appropriate": "answers what they said" if fits >= POOR else
                           "does not take up what they said",
            "supported": "claims nothing that was not told",
            "character": "sounds like us",
            "moment": "the moment is right",
        }  # fmt: skip
        parts = {"moves": moves, "appropriate": fits, "supported": 1.0, "character": 1.0,
                 "moment": 1.0}  # fmt: skip
        if again := rules.repeats(draft.text, place.own, place.said):
            parts["appropriate"] = min(parts["appropriate"], 0.1)
            whys["appropriate"] = again
        if not draft.text.strip():
            parts["appropriate"], whys["appropriate"] = 0.0, "says nothing"
        if bad := self._unsupported(situation, draft):
            parts["supported"] = 0.2 ** len(bad)
            whys["supported"] = f"claims a memory that is not there: '{bad[0]}'"
        faults = rules.out_of_character(draft.text, who.name, who.banned, who.most_words)
        if strategy == "teasing" and not who.teases:
            faults.append(rules.Check(0.2, f"{who.name or 'this character'} does not tease"))
        _take("character", faults, parts, whys)
        faults = rules.moment_faults(
            draft.text, strategy, place.own, place.said, valence, intensity
        )
        if strategy and suits < POOR / 2:
            shown = strategy.replace("_", " ")
            faults.append(rules.Check(2 * suits, f"{shown} is not what they need now"))
        _take("moment", faults, parts, whys)
        weights = self._weights.model_dump()
        total = math.prod(max(parts[part], LEAST) ** weights[part] for part in PARTS)
        total **= 1 / (sum(weights.values()) or 1)
        poor = sorted((part for part in PARTS if parts[part] < POOR), key=parts.__getitem__)
        return Verdict(total, parts, tuple(whys[part] for part in poor), whys)

    def _unsupported(self, situation: Situation, draft: Draft) -> list[str]:
        who = situation.character
        grounds = [*(turn.text for turn in situation.talk), *situation.memories,
                   who.name, who.grounds]  # fmt: skip
        lexicon = self._heads.lexicon if self._heads else frozenset[str]()
        return rules.unsupported(draft.text, grounds, draft.memories, situation.memories, lexicon)


def outcome(
    heads: Heads, places: Sequence[Place], vectors: Vectors
) -> tuple[Array, Array, Array, Array]:
    """P(moves), P(fits), P(suits) [n] and the figures [n, FIGURES] of places."""
    said = vectors[[place.said for place in places]]
    reply = vectors[[place.reply for place in places]]
    logits = linear(pair_features(said, reply), heads.fits)

    def mood(rows: Array) -> Array:
        return tone(heads.tone, rows)

    def about(rows: Array) -> Array:
        return content(heads.axes, rows)

    rows = (
        figures(place, vectors, float(logit), mood, about)
        for place, logit in zip(places, logits, strict=True)
    )
    seen = np.array(list(rows), np.float32).reshape(len(places), len(FIGURES))
    suits = sigmoid(said @ heads.suits[:, :-1].T + heads.suits[:, -1])
    chosen = [place.strategy for place in places]
    own = [suits[i, STRATEGIES.index(s)] if s else 0.5 for i, s in enumerate(chosen)]
    return sigmoid(linear(seen, heads.moves)), sigmoid(logits), np.array(own, np.float32), seen


def content(axes: Array, vectors: Array) -> Array:
    """Coordinates [n, AXES] of unit vectors [n, D]."""
    return np.asarray((vectors - axes[0]) @ axes[1:].T * SPREAD, np.float32)


def tone(weights: Array, vectors: Array) -> Array:
    """Valence [n], -1 to 1, of unit vectors [n, D]."""
    return np.asarray(np.tanh(linear(vectors, weights)), np.float32)


def linear(rows: Array, weights: Array) -> Array:
    """``rows`` [n, D] by ``weights`` [D + 1], whose last is the bias."""
    return np.asarray(rows @ weights[:-1] + weights[-1], np.float32)


def sigmoid(x: Array) -> Array:
    """The logistic function."""
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -40, 40))), np.float32)


def save_heads(folder: Path, heads: Heads, meta: Mapping[str, object]) -> None:
    """Write heads into an existing ``folder``: judge.safetensors and judge.json."""
    from safetensors.numpy import save_file

    from oldfriend.files import write_json

    arrays = {name: np.ascontiguousarray(getattr(heads, name), np.float32) for name in ARRAYS}
    save_file(arrays, folder / "judge.safetensors")
    told = {"figures": list(FIGURES), "strategies": list(STRATEGIES)}
    write_json(folder / "judge.json", {**meta, **told, "lexicon": sorted(heads.lexicon)})


def load_heads(folder: Path) -> Heads:
    """Read what ``save_heads`` wrote. CheckpointError says what is wrong with it."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        told = json.loads((folder / "judge.json").read_text(encoding="utf-8"))
        arrays = load_file(folder / "judge.safetensors")
        moves, fits, suits, tone_, axes = (arrays[name].astype(np.float32) for name in ARRAYS)
        heads = Heads(moves, fits, suits, tone_, axes, frozenset(map(str, told["lexicon"])))
        if tuple(told["figures"]) != FIGURES or tuple(told["strategies"]) != STRATEGIES:
            raise ValueError("made for other features")
        width = heads.tone.shape[0] - 1
        shapes = (
            (len(FIGURES) + 1,), (3 * width + 1,), (len(STRATEGIES), width + 1),
            (width + 1,), (1 + AXES, width),
        )  # fmt: skip
        if tuple(getattr(heads, name).shape for name in ARRAYS) != shapes:
            raise ValueError("arrays of another shape")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder}: broken judge ({error}); train it again") from None
    return heads


def _take(
    part: str, faults: Sequence[rules.Check], parts: dict[str, float], whys: dict[str, str]
) -> None:
    """The worst fault gives the reason; all of them lower the score."""
    if faults:
        parts[part] = math.prod((fault.left for fault in faults), start=parts[part])
        whys[part] = min(faults, key=lambda fault: fault.left).reason
