"""What one forward pass tells its routers, and what the routers tell back.

Shape suffixes: B rows, L tokens a row, T = B * L tokens, E experts, K chosen a token, D hidden.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Routing:
    """Decisions of one router; ``logits`` are fp32 and without the expert bias."""

    logits: Tensor  # [T, E]
    chosen: Tensor  # [T, K] expert numbers
    weights: Tensor  # [T, K] fp32, as they multiply the experts' outputs
    inputs: Tensor | None = None  # [T, D], when asked for

    def detach(self) -> "Routing":
        """The same numbers without their graph."""
        return Routing(self.logits.detach(), self.chosen, self.weights.detach())


class Records:
    """Routings by layer, of real tokens only, over all forward passes since ``clear``."""

    def __init__(self, inputs: bool) -> None:
        self.wants_inputs = inputs
        self._parts: dict[int, list[Routing]] = {}

    def add(self, layer: int, routing: Routing, x_TD: Tensor, real_T: Tensor | None) -> None:
        """Keep the decisions of one pass; ``real_T`` is False at padding."""
        inputs = x_TD.detach() if self.wants_inputs else None
        kept = replace(routing.detach(), inputs=inputs)
        if real_T is not None:
            kept = Routing(*(None if t is None else t[real_T] for t in vars(kept).values()))  # type: ignore[arg-type]
        self._parts.setdefault(layer, []).append(kept)

    def __getitem__(self, layer: int) -> Routing:
        """All of one layer's decisions, in order of the tokens seen."""
        parts = self._parts[layer]
        return Routing(
            torch.cat([part.logits for part in parts]),
            torch.cat([part.chosen for part in parts]),
            torch.cat([part.weights for part in parts]),
            torch.cat([part.inputs for part in parts if part.inputs is not None])
            if self.wants_inputs
            else None,
        )

    def __iter__(self) -> Iterator[int]:
        """Numbers of the layers that have a router and were run, ascending."""
        return iter(sorted(self._parts))

    def __len__(self) -> int:
        return len(self._parts)

    def items(self) -> Iterator[tuple[int, Routing]]:
        """Layer and its decisions."""
        return ((layer, self[layer]) for layer in self)

    def clear(self) -> None:
        """Forget everything, to keep the memory of a stream small."""
        self._parts.clear()


@dataclass
class Pass:
    """One forward pass: what routers must know beyond hidden states, and what they decided.

    It travels with the layers' arguments, so that a recomputation under gradient checkpointing
    finds the pass it belongs to and counts nothing twice.
    """

    real_BL: Tensor | None = None  # bool, False at padding; None: all real
    starts_BL: Tensor | None = None  # place of the first token of each token's document
    domains: Tensor | None = None  # [B] or [B, L]; -1: not declared
    sums: dict[int, tuple[Tensor, Tensor]] | None = None  # sequence routing's state in the cache
    records: Records | None = None
    routings: dict[int, Routing] = field(default_factory=dict)  # with graph, for the losses


class Scratch:
    """State of a running training that copies and checkpoints of the model leave behind."""

    def __init__(self) -> None:
        self.records: Records | None = None
        self.domains: Tensor | None = None
        self.last: Pass | None = None
        self.load: dict[int, Tensor] = {}  # assignments [E] by layer since the last step

    def __deepcopy__(self, _: Any) -> "Scratch":
        return Scratch()


@contextmanager
def record_routing(model: nn.Module, *, inputs: bool = False) -> Iterator[Records]:
    """Collect every router's decisions (and inputs) while the block runs.

    ``model`` may be wrapped by PEFT. Decisions of padding are left out.
    """
    scratch = scratch_of(model)
    before, scratch.records = scratch.records, Records(inputs)
    try:
        yield scratch.records
    finally:
        scratch.records = before


@contextmanager
def declared_domains(model: nn.Module, domains: Tensor) -> Iterator[None]:
    """Declare the domain of every row ([B]) or token ([B, L]) for all passes inside the block."""
    scratch = scratch_of(model)
    before, scratch.domains = scratch.domains, domains
    try:
        yield
    finally:
        scratch.domains = before


def scratch_of(model: nn.Module) -> Scratch:
    """The scratch of the mixture of experts inside ``model``."""
    found = (getattr(module, "scratch", None) for module in model.modules())
    return next(one for one in found if isinstance(one, Scratch))


def real_tokens(
    input_ids: Tensor | None, attention_mask: Any, packed: bool, starts_BL: Tensor, pad: int | None
) -> Tensor | None:
    """Bool [B, L], False at padding; None if nothing tells padding apart.

    In packed rows padding is a document of its own that begins with the padding token, so that
    models whose padding token ends every text keep their ends.
    """
    if isinstance(attention_mask, Tensor) and attention_mask.ndim == 2 and starts_BL is not None:
        return attention_mask[:, -starts_BL.shape[1] :].bool()
    if input_ids is None or pad is None:
        return None
    return (input_ids.gather(1, starts_BL) if packed else input_ids) != pad
