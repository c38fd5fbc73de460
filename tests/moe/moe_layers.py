"""Layers of a mixture as plain tensors, with known structure, for the tests of pruning."""

import torch
from torch import Tensor

from oldfriend.moe.layer import Expert, Layer
from oldfriend.moe.pruning.importance import Evidence, Observer

HIDDEN, WIDTH = 16, 24


def expert(seed: int, width: int = WIDTH, hidden: int = HIDDEN) -> Expert:
    """A random expert with outputs of about the size of its inputs."""
    random = torch.Generator().manual_seed(seed)
    gate_up = torch.randn(2 * width, hidden, generator=random) / hidden**0.5
    return Expert(gate_up, torch.randn(hidden, width, generator=random) / width**0.5)


def random_layer(count: int = 4, seed: int = 0, **changes: object) -> Layer:
    """Random experts and a router that is sure of itself."""
    router = torch.randn(count, HIDDEN, generator=torch.Generator().manual_seed(seed + 99))
    made = tuple(expert(seed * 100 + number) for number in range(count))
    return Layer(**{"experts": made, "router": router, "top_k": 2, **changes})  # type: ignore[arg-type]


def inputs(tokens: int = 600, seed: int = 0) -> Tensor:
    """Correlated inputs [tokens, HIDDEN]: real activations are never white."""
    random = torch.Generator().manual_seed(seed)
    mix = torch.randn(HIDDEN, HIDDEN, generator=random) / HIDDEN**0.5
    return torch.randn(tokens, HIDDEN, generator=random) @ (mix + torch.eye(HIDDEN))


def seen(layer: Layer, x_TD: Tensor | None = None) -> Evidence:
    """What observing ``layer`` on these inputs tells."""
    x_TD = inputs() if x_TD is None else x_TD
    observer = Observer(layer, HIDDEN, keep=len(x_TD))
    observer.add(x_TD)
    return observer.evidence
