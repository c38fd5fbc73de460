"""Replies that were right before, for a message like it: retrieve, then let the judge choose.

A small language model has few words of its own for what it never heard. Beside its drafts stand
replies to the likest messages of the training talk (retrieve and refine, Weston et al. 2018,
arXiv:1808.04776); alike is what is said alike and what feels alike.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Self

import numpy as np

from oldfriend.corpus.schema import Precedent, read_rows, write_rows
from oldfriend.empathy.emotion import Feelings
from oldfriend.empathy.encoder import Array
from oldfriend.empathy.labels import label_of
from oldfriend.empathy.strategies import Strategy, strategy_of
from oldfriend.errors import CheckpointError, InputError, MissingDataError

VECTORS, ROWS = "repertoire.safetensors", "repertoire.jsonl"
SAME_FEELING = 0.6  # a cosine that sharing the feeling for certain is worth
SAME_WAY = 0.3  # and one that the likeliest strategy is worth
LEAST = 0.45  # likeness from which a reply is worth a try
ANY_TALK = 0.5  # likeness of replies that answer any plain talk

Encode = Callable[[Sequence[str]], Array]


@dataclass(frozen=True)
class Known:
    """A reply, its strategy ("": none), and how like its message the present one is, 0 to 1."""

    text: str
    strategy: str
    likeness: float


class Repertoire:
    """Answered messages with their vectors [messages, D]."""

    def __init__(self, rows: Sequence[Precedent], vectors_ND: Array, encode: Encode) -> None:
        self._rows, self._vectors_ND, self._encode = rows, vectors_ND, encode
        self._labels = [label_of(row.emotion or "") or "" for row in rows]

    @classmethod
    def build(cls, rows: Sequence[Precedent], encode: Encode) -> Self:
        """Read the messages once."""
        return cls(rows, encode([row.message for row in rows]), encode)

    def save(self, folder: Path) -> None:
        """Write the rows and, in half precision, their vectors."""
        from safetensors.numpy import save_file

        write_rows(folder / ROWS, self._rows)
        save_file({"messages": self._vectors_ND.astype(np.float16)}, folder / VECTORS)

    @classmethod
    def load(cls, folder: Path, encode: Encode) -> Self:
        """MissingDataError if ``folder`` has none, CheckpointError if it is broken."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        if not (folder / ROWS).is_file():
            raise MissingDataError(f"{folder} has no repertoire; run: dvc repro empathy")
        try:
            rows = list(read_rows(folder / ROWS, Precedent))
            vectors_ND = load_file(folder / VECTORS)["messages"].astype(np.float32)
        except (OSError, SafetensorError, KeyError, InputError) as error:
            raise CheckpointError(f"{folder / ROWS} is broken ({error}); train it again") from None
        if len(rows) != len(vectors_ND):
            message = f"{folder / ROWS} and {VECTORS} do not belong together; train it again"
            raise CheckpointError(message)
        return cls(rows, vectors_ND, encode)

    def near(
        self,
        text: str,
        feelings: Feelings | None,
        ways: Mapping[Strategy, float],
        *,
        count: int,
        said: Collection[str] = (),
        rng: Random,
    ) -> list[Known]:
        """Up to ``count`` replies to what is likest ``text`` in words and feeling.

        ``ways``: probabilities of strategies; of the replies to one message, those in a likelier
        way come first. What was ``said`` lately is not said again.
        """
        likeness_N = self._likeness(text, feelings)
        found: dict[str, tuple[float, Known]] = {}
        for place in np.argsort(-likeness_N, kind="stable")[: 8 * count]:
            likeness = min(float(likeness_N[place]), 1.0)
            if likeness < LEAST:
                break
            for reply in self._rows[place].replies:
                if reply.text not in said and reply.text not in found:
                    way = strategy_of(reply.strategy)
                    wanted = ways.get(way, 0.0) if way else 0.0
                    rank = likeness + SAME_WAY * wanted + 1e-3 * rng.random()
                    found[reply.text] = rank, Known(reply.text, way or "", likeness)
        ranked = sorted(found.values(), key=lambda one: -one[0])
        return [known for _, known in ranked[:count]]

    def _likeness(self, text: str, feelings: Feelings | None) -> Array:
        """Cosines, and for messages with a feeling how likely ``text`` has it too [messages]."""
        likeness_N = self._vectors_ND @ self._encode([text])[0]
        if feelings is not None:
            felt = [feelings.probabilities.get(label, 0.0) for label in self._labels]
            likeness_N = likeness_N + SAME_FEELING * np.array(felt, np.float32)
        anything = np.array([not row.message for row in self._rows])
        return np.asarray(np.where(anything, ANY_TALK, likeness_N), np.float32)
