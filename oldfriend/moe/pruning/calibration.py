"""Text for pruning: packed batches, what layers see of them, and the loss on them.

Shape suffixes: B rows, L tokens a row, T tokens, D hidden size, V vocabulary.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oldfriend.lm.fit import stack_rows
from oldfriend.lm.lit import supervised
from oldfriend.lm.packing import (
    IGNORE,
    Document,
    PackedRows,
    isolate_convolutions,
    packed_hidden,
    plan_rows,
)
from oldfriend.moe.layer import Layer
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.pruning.importance import Evidence, Observer
from oldfriend.moe.splice import read_layers

Batch = dict[str, Tensor]


def drawn(
    documents: Mapping[str, Sequence[Document]], tokens: int, seed: int, domains: Sequence[str] = ()
) -> list[Document]:
    """Documents of ``tokens`` tokens, as many of each domain, in mixed order.

    ``domains`` narrows it down; a domain that is short gives what it has.
    """
    rng = random.Random(f"calibration-{seed}")
    names = [name for name in documents if not domains or name in domains]
    chosen: list[Document] = []
    for name in names:
        left = tokens // len(names)
        for document in rng.sample(list(documents[name]), len(documents[name])):
            if left <= 0:
                break
            chosen.append(document)
            left -= len(document)
    rng.shuffle(chosen)
    return chosen


def batches(documents: Sequence[Document], row_tokens: int, rows: int, pad_id: int) -> list[Batch]:
    """Packed batches of at most ``rows`` rows."""
    packed = PackedRows(documents, plan_rows(documents, row_tokens, 0), row_tokens, pad_id)
    starts = range(0, len(packed), rows)
    return [stack_rows(packed, range(s, min(s + rows, len(packed)))) for s in starts]


def logits(model: OFMoeForCausalLM, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits [M, V] of a batch's supervised tokens and their labels [M] (some IGNORE)."""
    hidden_BLD = packed_hidden(model.model, batch)
    labels_M, place_M = supervised(batch["labels"])
    return model.lm_head(hidden_BLD.flatten(0, 1)[place_M]), labels_M


@torch.no_grad()
def mean_loss(model: OFMoeForCausalLM, text: Sequence[Batch]) -> float:
    """Cross entropy (nats a token) over all supervised tokens."""
    model.eval()
    isolate_convolutions(model)
    total, count = 0.0, 0
    for batch in text:
        logits_MV, labels_M = logits(model, batch)
        total += float(
            F.cross_entropy(logits_MV.float(), labels_M, ignore_index=IGNORE, reduction="sum")
        )
        count += int((labels_M != IGNORE).sum())
    return total / max(count, 1)


@contextmanager
def _listening(
    modules: Sequence[nn.Module], ears: Sequence[Observer], real_T: Tensor
) -> Iterator[None]:
    """Feed what the modules are given at real tokens to their observers."""
    with ExitStack() as stack:
        for module, ear in zip(modules, ears, strict=True):

            def hear(_: nn.Module, args: tuple[Tensor, ...], ear: Observer = ear) -> None:
                ear.add(args[0].flatten(0, -2)[real_T])

            stack.callback(module.register_forward_pre_hook(hear).remove)
        yield


@torch.no_grad()
def observe(
    model: OFMoeForCausalLM, text: Sequence[Batch], *, keep: int, seed: int = 0
) -> list[Evidence]:
    """Every layer's statistics over the supervised tokens of ``text``, and ``keep`` inputs."""
    model.eval()
    isolate_convolutions(model)
    layers, hidden = read_layers(model), model.config.hidden_size
    ears = [Observer(one, hidden, keep=keep, seed=seed + i) for i, one in enumerate(layers)]
    for batch in text:
        real_T = batch["labels"].flatten() != IGNORE
        with _listening(model.feed_forwards, ears, real_T):
            packed_hidden(model.model, batch)
    return [ear.evidence for ear in ears]


class _Enough(Exception):
    """Raised inside a forward pass once its wanted layer has been reached."""


@torch.no_grad()
def inputs_of(
    model: OFMoeForCausalLM, text: Sequence[Batch], index: int, *, keep: int, seed: int = 0
) -> Tensor:
    """A uniform sample [keep, D] of what layer ``index`` is given at supervised tokens."""
    model.eval()
    isolate_convolutions(model)
    ear = Observer(Layer(), model.config.hidden_size, keep=keep, seed=seed)
    for batch in text:
        real_T = batch["labels"].flatten() != IGNORE

        def hear(_: nn.Module, args: tuple[Tensor, ...], real_T: Tensor = real_T) -> None:
            ear.add(args[0].flatten(0, -2)[real_T])
            raise _Enough

        handle = model.feed_forwards[index].register_forward_pre_hook(hear)
        with suppress(_Enough):
            packed_hidden(model.model, batch)
        handle.remove()
    return ear.sample_ND
