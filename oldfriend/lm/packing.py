"""Sequence packing: many short documents in one row, each blind to its neighbours.

Shape suffixes: B rows, L tokens a row. A row never lets one document see another: attention gets
a block-diagonal causal mask, positions restart at every document, and LFM2's short convolution
drops the taps that reach over a document's start (Mamba's ``seq_idx`` convention).
"""

import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from oldfriend.errors import InputError

log = logging.getLogger(__name__)

IGNORE = -100  # label of a token that carries no loss (torch's cross_entropy default)


@dataclass(frozen=True)
class Document:
    """Token ids of one training example; the loss falls on the ``learn`` spans of positions.

    No spans means that every token is learnt (the first has nothing before it to learn from).
    """

    ids: tuple[int, ...]
    learn: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def labels(self) -> list[int]:
        """Next-token labels: ``labels[t]`` is the token after position t, or IGNORE."""
        labels = [IGNORE] * len(self.ids)
        for start, end in self.learn or ((0, len(self.ids)),):
            first = max(start, 1)
            labels[first - 1 : end - 1] = self.ids[first:end]
        return labels

    def learnt(self) -> int:
        """How many tokens carry loss."""
        spans = self.learn or ((0, len(self.ids)),)
        return sum(max(end - max(start, 1), 0) for start, end in spans)


def pack(lengths: Sequence[int], row_tokens: int) -> list[list[int]]:
    """First-fit-decreasing bin packing: lists of document indices, each list fits one row.

    Raises InputError for a document longer than a row.
    """
    rows: list[list[int]] = []
    space: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        length = lengths[index]
        if length > row_tokens:
            raise InputError(
                f"document {index} has {length} tokens, a row holds {row_tokens}; "
                "raise row_tokens or shorten the example"
            )
        place = next((r for r, left in enumerate(space) if left >= length), None)
        if place is None:
            rows.append([index])
            space.append(row_tokens - length)
        else:
            rows[place].append(index)
            space[place] -= length
    return rows


def fitting(documents: Sequence[Document], row_tokens: int) -> list[Document]:
    """The documents that fit a row; how many do not is logged. InputError if none does."""
    kept = [document for document in documents if len(document) <= row_tokens]
    if documents and not kept:
        raise InputError(
            f"none of {len(documents)} documents fits {row_tokens} tokens; raise fit.row_tokens"
        )
    if left_out := len(documents) - len(kept):
        share = left_out / len(documents)
        log.warning(
            "%d documents (%.1f%%) exceed %d tokens and are left out",
            left_out, 100 * share, row_tokens,
        )  # fmt: skip
    return kept


def plan_rows(
    documents: Sequence[Document], row_tokens: int, seed: int, *, window: int = 768
) -> list[list[int]]:
    """Pack documents into rows window by window, so that a curriculum's order survives packing.

    Within a window the rows are shuffled. Same documents and seed, same plan.
    """
    rng = random.Random(seed)
    rows: list[list[int]] = []
    for start in range(0, len(documents), window):
        chunk = range(start, min(start + window, len(documents)))
        packed = pack([len(documents[i]) for i in chunk], row_tokens)
        rng.shuffle(packed)
        rows += [[start + i for i in row] for row in packed]
    return rows


class PackedRows(Dataset[dict[str, Tensor]]):
    """Rows of packed documents as tensors [L]: input_ids, labels, position_ids, seq_idx.

    Padding at a row's end forms a document of its own (its labels are IGNORE).
    """

    def __init__(
        self,
        documents: Sequence[Document],
        rows: Sequence[Sequence[int]],
        row_tokens: int,
        pad_id: int,
    ) -> None:
        self.documents, self.rows = documents, rows
        self.row_tokens, self.pad_id = row_tokens, pad_id
        self.tokens = [sum(len(documents[i]) for i in row) for row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def supervised(self, row: int) -> int:
        """How many tokens of this row carry loss."""
        return sum(self.documents[i].learnt() for i in self.rows[row])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        ids = np.full(self.row_tokens, self.pad_id, dtype=np.int64)
        labels = np.full(self.row_tokens, IGNORE, dtype=np.int64)
        positions = np.zeros(self.row_tokens, dtype=np.int64)
        seq_idx = np.zeros(self.row_tokens, dtype=np.int64)
        start = number = 0
        for number, i in enumerate(self.rows[index]):
            document = self.documents[i]
            end = start + len(document)
            ids[start:end] = document.ids
            labels[start:end] = document.labels()
            positions[start:end] = np.arange(end - start)
            seq_idx[start:end] = number
            start = end
        positions[start:] = np.arange(self.row_tokens - start)
        seq_idx[start:] = number + 1
        names = ("input_ids", "labels", "position_ids", "seq_idx")
        arrays = (ids, labels, positions, seq_idx)
        return {n: torch.from_numpy(a) for n, a in zip(names, arrays, strict=True)}


def attention_mask(seq_idx_BL: Tensor, window: int | None = None) -> Tensor:
    """Block-diagonal causal mask [B, 1, L, L], True where a query may look.

    ``window`` is how many tokens a sliding-window layer sees, the query's own among them.
    """
    length = seq_idx_BL.shape[1]
    causal_LL = torch.ones(length, length, dtype=torch.bool, device=seq_idx_BL.device).tril()
    if window:
        causal_LL = causal_LL.triu(1 - window)
    same_BLL = seq_idx_BL[:, :, None] == seq_idx_BL[:, None, :]
    return (same_BLL & causal_LL)[:, None]


def packed_hidden(backbone: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Last hidden states [B, L, D] of a packed batch through a transformers backbone.

    The backbone must have been through ``isolate_convolutions`` if it has short convolutions.
    """
    config = backbone.config
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    mask: Tensor | dict[str, Tensor | None]
    if kinds:
        masks = {"full_attention": None, "sliding_attention": window}
        mask = {
            kind: attention_mask(batch["seq_idx"], masks[kind]) if kind in masks else None
            for kind in set(kinds)
        }
    else:  # Mistral's window holds in every layer
        mask = attention_mask(batch["seq_idx"], window)
    result: Tensor = backbone(
        input_ids=batch["input_ids"],
        attention_mask=mask,
        position_ids=batch["position_ids"],
        seq_idx=batch["seq_idx"],
        use_cache=False,
    ).last_hidden_state
    return result


def isolate_convolutions(model: nn.Module) -> None:
    """Teach every LFM2 short convolution in ``model`` to honour ``seq_idx``.

    Without ``seq_idx``, or with a cache (generation), a module behaves as before. The packed path
    is a sum over kernel taps, which on the CPU is also faster than a depthwise ``conv1d``.
    """
    for module in short_convolutions(model):
        if not hasattr(module, "unpacked_forward"):
            module.unpacked_forward = module.forward
            module.forward = _PackedShortConv(module)


def short_convolutions(model: nn.Module) -> Iterator[Any]:
    """The LFM2 short-convolution modules of a model, in layer order."""
    return (m for m in model.modules() if type(m).__name__ == "Lfm2ShortConv")


class _PackedShortConv:
    """``forward`` of one Lfm2ShortConv: y = out_proj(C * conv(B * x)), taps cut at documents."""

    def __init__(self, module: Any) -> None:  # an Lfm2ShortConv, whose parts torch leaves untyped
        self.module = module

    def __call__(
        self,
        hidden_states: Tensor,
        past_key_values: object | None = None,
        attention_mask: Tensor | None = None,
        seq_idx: Tensor | None = None,
        **kwargs: object,
    ) -> Tensor:
        module = self.module
        if seq_idx is None or past_key_values is not None:
            result: Tensor = module.unpacked_forward(
                hidden_states, past_key_values, attention_mask, **kwargs
            )
            return result
        gate_in, gate_out, x_BLD = module.in_proj(hidden_states).chunk(3, dim=-1)
        x_BLD = gate_in * x_BLD
        kernel_DK = module.conv.weight.squeeze(1).to(x_BLD.dtype)
        taps = kernel_DK.shape[1]
        mixed = x_BLD * kernel_DK[:, taps - 1]
        for back in range(1, taps):
            same_BL = F.pad(seq_idx[:, back:] == seq_idx[:, :-back], (back, 0))
            earlier_BLD = F.pad(x_BLD[:, :-back], (0, 0, back, 0))
            mixed = mixed + earlier_BLD * same_BL[..., None] * kernel_DK[:, taps - 1 - back]
        if module.conv.bias is not None:
            mixed = mixed + module.conv.bias.to(mixed.dtype)
        output: Tensor = module.out_proj(gate_out * mixed)
        return output
