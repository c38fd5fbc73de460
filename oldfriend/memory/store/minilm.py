"""all-MiniLM-L6-v2 out of a pinned package: sentence vectors and word-piece vectors.

One thread of a busy machine with bfloat16 instructions, 192 chat turns: float32 36 to 63 texts/s
and 16 to 37 ms for one, bfloat16 130 to 217 texts/s and 12 to 30 ms; cosine between the two at
least 0.9999. ONNX Runtime would need an exported model, and a package to export it with.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from oldfriend.errors import CheckpointError
from oldfriend.lm.minilm import SHA256, minilm_folder
from oldfriend.memory.store.embed import Tokens, Vectors
from oldfriend.memory.store.function_words import FUNCTION_WORDS

if TYPE_CHECKING:
    import torch

MAX_PIECES = 256  # what the model was trained on; longer texts are cut
BATCH_PIECES = 2048  # rows times the longest row: keeps a batch within the processor's cache


class MiniLM:
    """all-MiniLM-L6-v2 (Apache-2.0): mean of the last layer's token vectors, made unit length.

    The weights are refused unless their SHA-256 is the one we measured with. ``precision`` is
    ``auto`` (bfloat16 where the processor multiplies it natively, else float32), ``float32`` or
    ``bfloat16``.
    """

    size = 384

    def __init__(self, precision: str = "auto") -> None:
        self._precision = precision

    @property
    def id(self) -> str:
        return f"all-minilm-l6-v2@{SHA256[:12]}"

    @property
    def vocabulary(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors [len(texts), 384]."""
        found = np.zeros((len(texts), self.size), np.float32)
        for place, _, hidden in self._run(texts):
            total = hidden.sum(0)  # the norm takes the division by length with it
            found[place] = total / np.linalg.norm(total)
        return found

    def read(self, texts: Sequence[str], *, content: bool = False) -> list[Tokens]:
        """The word pieces of each text with vectors, without the marks around a sentence."""
        found: dict[int, Tokens] = {}
        for place, marked, states in self._run(texts):
            ids, hidden = marked[1:-1], states[1:-1]
            full = ~self._empty[ids]
            if content and full.any():
                ids, hidden = ids[full], hidden[full]
            unit = hidden / np.linalg.norm(hidden, axis=1, keepdims=True)
            found[place] = Tokens(ids, unit.astype(np.float16))
        return [found[place] for place in range(len(texts))]

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        rows = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [row.ids for row in rows]

    def _run(self, texts: Sequence[str]) -> Iterator[tuple[int, NDArray[np.int64], Vectors]]:
        """Place, piece ids and last hidden states [pieces, 384] of each text, shortest first."""
        import torch

        rows = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        for batch in _batches([len(row) for row in rows]):
            ids = torch.zeros(len(batch), max(len(rows[i]) for i in batch), dtype=torch.long)
            mask = torch.zeros_like(ids)
            for line, i in enumerate(batch):
                ids[line, : len(rows[i])] = torch.tensor(rows[i])
                mask[line, : len(rows[i])] = 1
            with torch.inference_mode():
                hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
            for line, i in enumerate(batch):
                yield i, np.array(rows[i]), hidden[line, : len(rows[i])].float().numpy()

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_PIECES)
        return tokenizer

    @cached_property
    def _empty(self) -> NDArray[np.bool_]:
        """Which word pieces are function words, punctuation or marks."""
        empty = np.zeros(self.vocabulary, np.bool_)
        for piece, id in self._tokenizer.get_vocab().items():
            empty[id] = piece in FUNCTION_WORDS or not any(map(str.isalnum, piece))
        return empty

    @cached_property
    def _model(self) -> Any:
        from safetensors.torch import load_file
        from transformers import BertConfig, BertModel

        folder = minilm_folder()
        model = BertModel(BertConfig.from_pretrained(folder), add_pooling_layer=False)
        weights = load_file(folder / "model.safetensors")
        used = {name: w for name, w in weights.items() if not name.startswith("pooler.")}
        missing, _ = model.load_state_dict(used, strict=False)
        if missing:
            raise CheckpointError(f"{folder} lacks the weights {', '.join(missing)}")
        return model.to(_dtype(self._precision)).eval()


def _dtype(precision: str) -> "torch.dtype":
    """``auto`` is bfloat16 only where the processor has instructions for it."""
    import torch

    if precision == "auto":
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if native else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Places in groups of similar length, each within BATCH_PIECES with padding."""
    batches: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batches and (len(batches[-1]) + 1) * lengths[place] <= BATCH_PIECES:
            batches[-1].append(place)
        else:
            batches.append([place])
    return batches
