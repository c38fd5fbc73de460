"""How personal a message is: about the life of the speaker, or about the world.

A logistic model on the sentence vector of the message, trained by oldfriend.bench.decisions on
questions and talk of simulated lives against questions of general knowledge
(data/seeds/general_questions.yaml). It belongs to one embedder; of another's vectors it says
nothing.
"""

from base64 import b64decode
from dataclasses import dataclass
from functools import cache
from math import exp

import numpy as np
from numpy.typing import NDArray

from oldfriend.memory.store import topic_weights
from oldfriend.memory.store.embed import Embedder


@dataclass(frozen=True)
class Topic:
    """A logistic model on vectors of the embedder whose id is ``embedder``."""

    embedder: str
    bias: float
    weights: NDArray[np.float32]

    def __call__(self, vector: NDArray[np.float32]) -> float:
        """Probability that the text of this unit vector is about the speaker's life."""
        score = self.bias + float(self.weights @ vector)
        return 1 / (1 + exp(-max(-30.0, min(30.0, score))))


def personal(embedder: Embedder, message: str) -> float | None:
    """How probably ``message`` is about the speaker's life; None with another embedder than the
    one that was trained on."""
    topic = trained()
    return topic(embedder.encode([message])[0]) if embedder.id == topic.embedder else None


@cache
def trained() -> Topic:
    """The model that was trained."""
    weights = np.frombuffer(b64decode("".join(topic_weights.WEIGHTS)), "<f2").astype(np.float32)
    return Topic(topic_weights.EMBEDDER, topic_weights.BIAS, weights)
