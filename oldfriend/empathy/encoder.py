"""MiniLM as the ear of every empathy head: sentence vectors, or labels that it was tuned to give.

Tuned, every word piece says which label its text has, having seen all of the text; what the text
is, is their mean. So one loss and one loop serve single labels, several labels and long texts.
"""

import random
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from oldfriend.errors import CheckpointError

if TYPE_CHECKING:
    import torch

    from oldfriend.lm.fit import FitResult, Run
    from oldfriend.lm.settings import FitParams

Array = NDArray[np.float32]
Lesson = tuple[str, Sequence[int]]  # a text and the places of its labels, one or more

SIZE = 384  # width of a vector
MAX_PIECES = 128  # a longer text keeps its end, where a chat turn comes to the point
BATCH_PIECES = 2048  # rows times the longest row: keeps a batch within the processor's cache
STEP = 8
FROZEN = "model.bert.embeddings."  # never tuned, so never written
PAD = 0


class Encoder:
    """all-MiniLM-L6-v2, with its own layers or with those that ``tune`` wrote into ``weights``.

    Nothing is loaded before the first text. Runs in bfloat16 where the processor multiplies it
    natively, unless ``precision`` is ``float32``.
    """

    def __init__(self, weights: Path | None = None, precision: str = "auto") -> None:
        self._weights, self._precision = weights, precision

    def encode(self, texts: Sequence[str]) -> Array:
        """Unit sentence vectors [len(texts), SIZE]."""
        found = self.read(texts)[1]
        norms = np.linalg.norm(found, axis=1, keepdims=True)
        return np.asarray(found / np.maximum(norms, 1e-9), np.float32)

    def read(self, texts: Sequence[str]) -> tuple[Array, Array]:
        """Probabilities [texts, labels], of no label if untuned; vectors [texts, SIZE]: the mean
        over a text's word pieces of both."""
        import torch

        network, rows = self._network, pieces(texts)
        labels = network.lm_head.out_features if self._weights else 0
        odds = np.zeros((len(texts), labels), np.float32)
        vectors = np.zeros((len(texts), SIZE), np.float32)
        for places in batches([len(row) for row in rows]):
            ids_BL, mask_BL = padded([rows[place] for place in places])
            share_BL1 = (mask_BL / mask_BL.sum(1, keepdim=True)).unsqueeze(-1)
            with torch.inference_mode():
                hidden_BLD = network.model(ids_BL, mask_BL).last_hidden_state
                vectors[places] = (hidden_BLD.float() * share_BL1).sum(1).numpy()
                if labels:
                    said_BLT = network.lm_head(hidden_BLD).float().softmax(-1)
                    odds[places] = (said_BLT * share_BL1).sum(1).numpy()
        return odds, vectors

    @cached_property
    def _network(self) -> Any:
        return _load(self._weights).to(_dtype(self._precision)).eval()


def tune(
    lessons: Sequence[Lesson], labels: int, fit: "FitParams", run: "Run", out: Path
) -> "FitResult":
    """Teach MiniLM's layers and a head the labels of texts, into the file ``out``.

    Several labels of a text take turns over its word pieces. A killed run goes on from its last
    checkpoint below ``run.checkpoints``.
    """
    from oldfriend.lm.encoder import LabelledDocument, TokenClassifier, load_minilm
    from oldfriend.lm.fit import fit_model
    from oldfriend.lm.steady import settle_vector_math

    settle_vector_math()
    network = TokenClassifier(load_minilm(), labels, run.seed)
    shuffled = random.Random(f"lessons {run.seed}").sample(list(lessons), len(lessons))
    rows = pieces([text for text, _ in shuffled])
    documents = [
        LabelledDocument(tuple(ids), tags=tuple(own[(n + i) % len(own)] for i in range(len(ids))))
        for n, (ids, (_, own)) in enumerate(zip(rows, shuffled, strict=True))
    ]
    result = fit_model(network, documents, fit, run, pad_id=PAD)
    save(network, out)
    return result


def save(network: Any, out: Path) -> None:
    """Write what a TokenClassifier does not share with MiniLM, in half precision."""
    from safetensors.torch import save_file

    state = network.to("cpu").half().state_dict()
    save_file({n: w.contiguous() for n, w in state.items() if not n.startswith(FROZEN)}, out)


def pieces(texts: Sequence[str]) -> list[list[int]]:
    """Word-piece ids of each text with [CLS] and [SEP], MAX_PIECES at most."""
    return [row.ids for row in _tokenizer().encode_batch(list(texts))]


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    from oldfriend.lm.encoder import word_pieces

    tokenizer = word_pieces()
    tokenizer.enable_truncation(MAX_PIECES, direction="left")
    return tokenizer


def padded(rows: Sequence[Sequence[int]]) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Ids and mask [B, L] of rows of word pieces; L is a multiple of STEP, so that the processor
    needs kernels for few different shapes."""
    import torch

    longest = -(-max(map(len, rows)) // STEP) * STEP
    ids = torch.full((len(rows), longest), PAD, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for line, row in enumerate(rows):
        ids[line, : len(row)] = torch.tensor(row)
        mask[line, : len(row)] = 1
    return ids, mask


def batches(lengths: Sequence[int], most: int = BATCH_PIECES) -> Iterator[list[int]]:
    """Places of rows of similar length, each group within ``most`` pieces with padding."""
    group: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if group and (len(group) + 1) * lengths[place] > most:
            yield group
            group = []
        group.append(place)
    if group:
        yield group


def _load(weights: Path | None) -> Any:
    """A TokenClassifier in float32. CheckpointError if ``weights`` are not what ``save`` wrote."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from oldfriend.lm.encoder import TokenClassifier, load_minilm

    if weights is None:
        return TokenClassifier(load_minilm(), 1)
    try:
        state = load_file(weights)
        network = TokenClassifier(load_minilm(), len(state["lm_head.bias"]))
        odd = network.load_state_dict(state, strict=False)
        wrong = [n for n in odd.missing_keys if not n.startswith(FROZEN)] + odd.unexpected_keys
        if wrong:
            raise ValueError(f"{wrong[0]} has no partner")
        if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
            raise ValueError("numbers that are none")
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{weights} is not a tuned MiniLM of ours: {reason}") from None
    return network


def _dtype(precision: str) -> "torch.dtype":
    import torch

    if precision == "float32":
        return torch.float32
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32
