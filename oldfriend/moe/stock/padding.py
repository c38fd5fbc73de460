"""Layers that differ made alike by padding that no token can choose.

Shape suffixes: E experts, D hidden, F neurons.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from oldfriend.errors import InputError
from oldfriend.moe.layer import Expert, Layer
from oldfriend.moe.stock.state import nothing

NEVER = -1e4  # expert bias of padding


@dataclass(frozen=True)
class Shape:
    """What all routed layers of a stock model share."""

    experts: int
    top_k: int
    width: int
    score: str
    renormalise: bool


def padded_layers(layers: Sequence[Layer], shape: Shape, hidden: int) -> tuple[Shape, list[Layer]]:
    """Every layer with the same number of experts and a bias that keeps padding out."""
    wholes = [as_one(one, hidden) for one in layers if one.router is None]
    cut = max([math.ceil(whole.width / shape.top_k) for whole in wholes] or [0])
    shape = replace(shape, experts=max(shape.experts, shape.top_k), width=max(shape.width, cut))
    padded = []
    for layer in layers:
        if layer.router is None:
            layer = cut_layer(layer, shape.top_k, hidden, renormalise=shape.renormalise)
        assert layer.router is not None
        missing = shape.experts - len(layer.experts)
        bias = torch.zeros(len(layer.experts)) if layer.bias is None else layer.bias
        padded.append(
            replace(
                layer,
                experts=layer.experts + (nothing(hidden),) * missing,
                router=torch.cat([layer.router, layer.router.new_zeros(missing, hidden)]),
                bias=torch.cat([bias.cpu(), torch.full((missing,), NEVER)]),
            )
        )
    return shape, padded


def cut_layer(layer: Layer, parts: int, hidden: int, *, renormalise: bool) -> Layer:
    """An FFN without router as ``parts`` experts that every token takes, each with equal weight.

    A silent router weighs 1 / parts each when renormalised, else sigmoid(0) = 1/2.
    """
    whole = as_one(layer, hidden)
    pieces = torch.arange(whole.width).tensor_split(parts)
    factor = parts if renormalise else 2.0
    experts = [whole.narrowed(piece) for piece in pieces]
    return Layer(
        experts=tuple(Expert(e.gate_up, e.down * factor) for e in experts),
        router=whole.down.new_zeros(parts, hidden),
        top_k=parts,
    )


def as_one(layer: Layer, hidden: int) -> Expert:
    """A layer without router as one FFN: its only expert and its shared one side by side."""
    if layer.shared is not None and layer.shared_gate is not None:
        raise InputError("a gated shared expert without routed ones has no stock form")
    parts = [*layer.experts, *([layer.shared] if layer.shared else [])] or [nothing(hidden)]
    halves = [part.gate_up.chunk(2) for part in parts]
    gates, ups = torch.cat([g for g, _ in halves]), torch.cat([u for _, u in halves])
    return Expert(torch.cat([gates, ups]), torch.cat([part.down for part in parts], dim=1))
