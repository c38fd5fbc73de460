"""What a text feels like: labels with probabilities, valence and intensity."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from oldfriend.empathy.encoder import SIZE, Array, Encoder
from oldfriend.empathy.labels import LABELS, NEUTRAL
from oldfriend.errors import CheckpointError
from oldfriend.files import write_json

FIGURES, HEAD, WEIGHTS = "emotion.json", "emotion.safetensors", "encoder.safetensors"
SEEN = SIZE + len(LABELS)  # what valence and intensity are read from
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


@dataclass(frozen=True)
class Head:
    """What stands beside the tuned encoder.

    ``affect`` [2, SEEN + 1]: valence and intensity as linear maps, bias last; ``thresholds``
    [labels]: the probability from which a label stands.
    """

    affect: Array
    thresholds: Array


class Emotion:
    """Reads feelings from texts. Nothing is loaded before the first text."""

    def __init__(self, encoder: Encoder, head: Head) -> None:
        self.encoder, self.head = encoder, head

    @classmethod
    def load(cls, folder: Path, precision: str = "auto") -> Self:
        """What training wrote. Raises CheckpointError if it is broken."""
        return cls(Encoder(folder / WEIGHTS, precision), load_head(folder))

    def read(self, texts: Sequence[str]) -> list[Feelings]:
        """The feelings in each text, all of them in as few batches as fit."""
        if not texts:
            return []
        probabilities, affect = self.measure(texts)
        return [
            feelings(row, float(valence), float(intensity), self.head.thresholds)
            for row, (valence, intensity) in zip(probabilities, affect, strict=True)
        ]

    def measure(self, texts: Sequence[str]) -> tuple[Array, Array]:
        """Probabilities [texts, labels]; valence and intensity [texts, 2]."""
        probabilities, vectors = self.encoder.read(texts)
        return probabilities, affect_of(self.head.affect, probabilities, vectors)

    def cause(self, text: str) -> str:
        """The sentence of ``text`` that is felt most: what it is over, in the person's words."""
        sentences = [found.group().strip() for found in _SENTENCE.finditer(text)]
        sentences = [sentence for sentence in sentences if len(sentence.split()) > 2]
        if len(sentences) < 2:
            return text.strip()
        felt = self.read(sentences)
        strongest = max(range(len(felt)), key=lambda place: felt[place].intensity)
        return sentences[strongest]


def affect_of(weights: Array, probabilities: Array, vectors: Array) -> Array:
    """Valence -1 to 1 and intensity 0 to 1, [n, 2]."""
    seen = np.concatenate((vectors, probabilities), axis=1)
    return np.asarray(
        np.clip(seen @ weights[:, :-1].T + weights[:, -1], (-1.0, 0.0), (1.0, 1.0)), np.float32
    )


def feelings(probabilities: Array, valence: float, intensity: float, least: Array) -> Feelings:
    """One text's row in words. Without any label above its threshold the likeliest stands."""
    order = np.argsort(-probabilities / least, kind="stable")
    standing = [int(place) for place in order if probabilities[place] >= least[place]]
    if len(standing) > 1:  # something is felt, so it is not neutral
        standing = [place for place in standing if place != NEUTRAL]
    top = tuple(LABELS[place] for place in standing or [int(probabilities.argmax())])
    named = {label: float(p) for label, p in zip(LABELS, probabilities, strict=True)}
    return Feelings(named, top, valence, intensity)


def save_head(folder: Path, head: Head, meta: Mapping[str, object]) -> None:
    """Write the head into ``folder``: arrays as safetensors, the rest as JSON."""
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(array, np.float32) for name, array in vars(head).items()}
    save_file(arrays, folder / HEAD)
    write_json(folder / FIGURES, {**meta, "labels": list(LABELS)})


def load_head(folder: Path) -> Head:
    """What ``save_head`` wrote. Raises CheckpointError if it is missing or of another make."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        told = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
        arrays = load_file(folder / HEAD)
        head = Head(arrays["affect"], arrays["thresholds"])
        if tuple(told["labels"]) != LABELS:
            raise ValueError("made for other labels")
        if (head.affect.shape, head.thresholds.shape) != ((2, SEEN + 1), (len(LABELS),)):
            raise ValueError("arrays of another shape")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("numbers that are none")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder}: broken emotion head ({error}); train it again") from None
    return head
