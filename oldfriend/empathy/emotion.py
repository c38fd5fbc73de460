"""What a text feels like: labels with probabilities, valence and intensity."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from oldfriend.empathy.encoder import Array, Encoder
from oldfriend.empathy.labels import AROUSAL, LABELS, NEUTRAL, VALENCE
from oldfriend.errors import CheckpointError
from oldfriend.files import write_json

FIGURES, WEIGHTS = "emotion.json", "emotion.safetensors"
AFFECT = np.array([VALENCE, AROUSAL], np.float32)  # [2, labels]
_SENTENCE = re.compile(r"[^.!?]+[.!?]*")


@dataclass(frozen=True)
class Feelings:
    """What one text says of its writer's feelings.

    ``probabilities``: of each of ``labels.LABELS``, together 1; several may stand. ``top``: those
    that do, strongest first, never empty. ``valence`` from -1 (awful) to 1 (wonderful);
    ``intensity`` from 0 (calm) to 1.
    """

    probabilities: Mapping[str, float]
    top: tuple[str, ...]
    valence: float
    intensity: float


class Emotion:
    """Reads feelings from texts. ``least`` [labels]: the probability from which a label stands."""

    def __init__(self, encoder: Encoder, least: Array) -> None:
        self.encoder, self.least = encoder, least

    @classmethod
    def load(cls, folder: Path, precision: str = "auto") -> Self:
        """What training wrote. CheckpointError if it is broken."""
        return cls(Encoder(folder / WEIGHTS, precision), load_thresholds(folder))

    def read(self, texts: Sequence[str]) -> list[Feelings]:
        """The feelings in each text, all of them in as few batches as fit."""
        if not texts:
            return []
        probabilities, affect = self.measure(texts)
        return [
            feelings(row, float(valence), float(intensity), self.least)
            for row, (valence, intensity) in zip(probabilities, affect, strict=True)
        ]

    def measure(self, texts: Sequence[str]) -> tuple[Array, Array]:
        """Probabilities [texts, labels]; valence and intensity [texts, 2]: what ``labels.AFFECT``
        says of each label, as far as it is likely."""
        probabilities, _ = self.encoder.read(texts)
        return probabilities, np.asarray(probabilities @ AFFECT.T, np.float32)

    def cause(self, text: str) -> str:
        """The sentence of ``text`` that is felt most: what it is over, in the person's words."""
        sentences = [found.group().strip() for found in _SENTENCE.finditer(text)]
        sentences = [sentence for sentence in sentences if len(sentence.split()) > 2]
        if len(sentences) < 2:
            return text.strip()
        felt = self.read(sentences)
        strongest = max(range(len(felt)), key=lambda place: felt[place].intensity)
        return sentences[strongest]


def feelings(probabilities: Array, valence: float, intensity: float, least: Array) -> Feelings:
    """One text's row in words. Without any label above its threshold the likeliest stands."""
    order = np.argsort(-probabilities / least, kind="stable")
    standing = [int(place) for place in order if probabilities[place] >= least[place]]
    if len(standing) > 1:  # something is felt, so it is not neutral
        standing = [place for place in standing if place != NEUTRAL]
    top = tuple(LABELS[place] for place in standing or [int(probabilities.argmax())])
    named = {label: float(p) for label, p in zip(LABELS, probabilities, strict=True)}
    return Feelings(named, top, valence, intensity)


def save_thresholds(folder: Path, least: Array, meta: Mapping[str, object]) -> None:
    """Write them into a ``folder`` that holds the tuned WEIGHTS."""
    told = dict(zip(LABELS, least.tolist(), strict=True))
    write_json(folder / FIGURES, {**meta, "thresholds": told})


def load_thresholds(folder: Path) -> Array:
    """What ``save_thresholds`` wrote. CheckpointError if it is missing or of another make."""
    try:
        told = json.loads((folder / FIGURES).read_text(encoding="utf-8"))["thresholds"]
        if set(told) != set(LABELS):
            raise ValueError("made for other labels")
        least = np.array([float(told[label]) for label in LABELS], np.float32)
        if not (0 < least.min() <= least.max() < 1):  # false for what is no number, too
            raise ValueError("thresholds out of range")
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder}: broken emotion head ({error}); train it again") from None
    return least
