"""What routers of a model see of some text: the ground on which they are started.

Shapes: T tokens, D features, L layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from oldfriend.lm.packing import Document
from oldfriend.lm.settings import FitParams
from oldfriend.moe.diagnostics.probe import Probe, norm_gains
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.router.donor import Donor, Spans


@dataclass(frozen=True)
class View:
    """Router inputs by layer [T, D], documents in order; the tokens' ends in characters."""

    inputs: list[Tensor]
    gains: list[Tensor]
    domains: Tensor
    spans: Spans = ()


def view(model: Any, probe: Probe) -> View:
    """What every FFN of a dense model or a MoE sees of the probe."""
    inputs = [probe.in_order(x_TD) for x_TD in probe.inputs(model)]
    return View(inputs, norm_gains(model), probe.in_order(probe.domains_T))


def view_texts(
    model: Any, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], fit: FitParams
) -> View:
    """What every FFN sees of ``texts``, with the place in them at which each token ends.

    For models with different tokenizers: cut the texts with ``short_texts`` first.
    """
    coded = tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True)
    documents = [Document(tuple(ids)) for ids in coded["input_ids"]]
    probe = Probe({"": documents}, fit, tokenizer.pad_token_id, rows=len(documents))
    seen = view(model, probe)
    spans = [[end for _, end in offsets] for offsets in coded["offset_mapping"]]
    return View(seen.inputs, seen.gains, seen.domains, spans)


def short_texts(texts: Sequence[str], characters: int, count: int) -> list[str]:
    """At most ``count`` pieces of ``characters`` ASCII characters, taken in turns from the texts.

    A piece has no more tokens than characters in any byte-level tokenizer, so it fits a row of as
    many tokens.
    """
    plain = [text.encode("ascii", "ignore").decode() for text in texts]
    longest = max((len(text) for text in plain), default=0)
    return [
        piece
        for start in range(0, longest, characters)
        for text in plain
        if len(piece := text[start : start + characters]) > 1
    ][:count]


def donor_of(model: OFMoeForCausalLM, seen: View) -> Donor:
    """A trained MoE's routers with its view of the text; layers without a router are left out."""
    routed = [i for i, ff in enumerate(model.feed_forwards) if ff.router is not None]
    routers = model.routers()
    return Donor(
        weights=[router.weight.detach().float().cpu() for router in routers],
        inputs=[seen.inputs[layer] for layer in routed],
        gains=[seen.gains[layer] for layer in routed],
        spans=seen.spans,
        top_k=routers[0].top_k,
    )


@torch.no_grad()
def start_routers(model: OFMoeForCausalLM, weights: Sequence[Tensor]) -> None:
    """Write a router start into a model, one weight [E, D] for every layer that has a router."""
    for router, weight in zip(model.routers(), weights, strict=True):
        router.weight.copy_(weight)
