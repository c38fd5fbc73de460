"""A trained mixture of experts as a larger one (Expert Upcycling, arXiv:2604.19835)."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from oldfriend.errors import InputError
from oldfriend.lm.packing import IGNORE, isolate_convolutions, packed_hidden
from oldfriend.moe.layer import Layer
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.splice import read_layers, rebuilt

_JITTER = 1e-3  # of a copied router row, relative to its length
ASLEEP = -2.0  # added to scores in [0, 1]: such an expert is never chosen


def grow(
    model: OFMoeForCausalLM,
    experts: int | Sequence[int],
    *,
    utility: Sequence[Tensor | None] | None = None,
    top_k: int | None = None,
    cap: int = 3,
    asleep: bool = False,
    seed: int = 0,
) -> OFMoeForCausalLM:
    """``model`` with more experts in its routed layers, copies of the most useful ones.

    ``experts``: number in all routed layers, or in every layer (dense ones keep theirs).
    ``utility`` [E] a layer, by default equal; ``cap`` copies of one expert at most (itself among
    them), unless that leaves too few. ``top_k``: experts a token from now on.

    The function stays what it was if every expert gets m copies and ``top_k`` grows m-fold, if one
    expert a token was used with renormalised weights, or with ``asleep``: then copies are switched
    off by the expert bias and ``wake`` lets them in. Otherwise copies crowd out the second choice.
    """
    layers = read_layers(model)
    counts = [experts] * len(layers) if isinstance(experts, int) else list(experts)
    if len(counts) != len(layers):
        raise InputError(f"{len(counts)} expert counts for {len(layers)} layers")
    grown = []
    for index, (layer, count) in enumerate(zip(layers, counts, strict=True)):
        if layer.router is None:
            grown.append(layer)
            continue
        known = utility[index] if utility else None
        sources = copies(known if known is not None else torch.ones(len(layer.experts)), count, cap)
        k = top_k or layer.top_k
        grown.append(grown_layer(layer, sources, k, asleep=asleep, seed=seed * 1009 + index))
    return rebuilt(model, grown)


def grown_layer(
    layer: Layer, sources: Sequence[int], top_k: int, *, asleep: bool = False, seed: int = 0
) -> Layer:
    """``layer`` with experts copied from ``sources`` behind its own."""
    if layer.router is None:
        raise InputError("a layer without router has no experts to copy")
    if asleep and layer.score == "softmax" and not layer.renormalise:
        raise InputError("copies take their share of a softmax that is not renormalised")
    index = torch.tensor(sources, dtype=torch.long)
    rows = layer.router[index]
    if top_k == layer.top_k and not asleep:  # copies of equal score would always go together
        noise = torch.randn(rows.shape, generator=torch.Generator().manual_seed(seed))
        length = rows.float().norm(dim=1, keepdim=True)
        rows = rows + (_JITTER * length * noise / rows.shape[1] ** 0.5).to(rows)
    bias = layer.bias
    if bias is not None or asleep:
        own = torch.zeros(len(layer.experts)) if bias is None else bias
        bias = torch.cat([own, torch.full((len(sources),), ASLEEP) if asleep else own[index]])
    return replace(
        layer,
        experts=layer.experts + tuple(layer.experts[source] for source in sources),
        router=torch.cat([layer.router, rows]),
        bias=bias,
        top_k=top_k,
    )


def wake(model: OFMoeForCausalLM, margin: float = 0.0) -> None:
    """Let sleeping experts take part: their bias becomes the least of the others' minus margin."""
    for router in model.routers():
        if router.expert_bias is not None:
            sleeping = router.expert_bias < ASLEEP / 2
            if sleeping.any() and not sleeping.all():
                router.expert_bias[sleeping] = router.expert_bias[~sleeping].min() - margin


def copies(utility_E: Tensor, experts: int, cap: int) -> list[int]:
    """Which experts to copy to have ``experts``: each time the one of most utility a copy."""
    held = [1] * len(utility_E)
    if experts < len(held):
        raise InputError(f"{experts} experts are fewer than the {len(held)} there are")
    values = utility_E.double().clamp(min=1e-30).tolist()
    sources = []
    for _ in range(experts - len(held)):
        open_ = [e for e in range(len(held)) if held[e] < cap] or list(range(len(held)))
        best = max(open_, key=lambda e: (values[e] / held[e], -e))
        held[best] += 1
        sources.append(best)
    return sources


def expert_utility(
    model: OFMoeForCausalLM, batches: Sequence[dict[str, Tensor]]
) -> list[Tensor | None]:
    """Squared gradient norm [E] of every expert of every routed layer, summed over ``batches``.

    Batches are packed rows. The model's own gradients are left as they were.
    """
    isolate_convolutions(model)
    mode = model.training
    model.eval()
    routed = [ff for ff in model.feed_forwards if ff.router is not None and ff.experts is not None]
    weights = [w for ff in routed for w in (ff.experts.gate_up, ff.experts.down)]  # type: ignore[union-attr]
    frozen = [w.requires_grad for w in weights]
    sums: list[Tensor | None] = [None] * len(model.feed_forwards)
    for weight in weights:
        weight.requires_grad_(True)
    for batch in batches:
        logits = model.lm_head(packed_hidden(model.model, batch)).flatten(0, 1)
        labels = batch["labels"].flatten()
        loss = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE)
        gradients = torch.autograd.grad(loss, weights)
        for place, ff in enumerate(routed):
            pair = gradients[2 * place : 2 * place + 2]
            here = sum((g.float() ** 2).sum((1, 2)) for g in pair)
            before = sums[ff.index]
            sums[ff.index] = here if before is None else before + here  # type: ignore[assignment]
    for weight, state in zip(weights, frozen, strict=True):
        weight.requires_grad_(state)
    model.train(mode)
    return sums
