"""Weights of our layers under the names of the stock MoE classes.

Shape suffixes: E experts, D hidden, F neurons.
"""

from typing import Any

import torch
from torch import Tensor

from oldfriend.moe.layer import Expert, Layer

State = dict[str, Tensor]


def outside(model: Any) -> State:
    """All weights of our model but those of the FFNs."""
    state = model.state_dict()
    return {name: w.detach() for name, w in state.items() if ".feed_forward." not in name}


def routed_state(prefix: str, layer: Layer, width: int) -> State:
    """Router and stacked experts, padded to ``width`` neurons each."""
    assert layer.router is not None
    experts = [widened(expert, width) for expert in layer.experts]
    return {
        f"{prefix}gate.weight": layer.router,
        f"{prefix}experts.gate_up_proj": torch.stack([expert.gate_up for expert in experts]),
        f"{prefix}experts.down_proj": torch.stack([expert.down for expert in experts]),
    }


def dense_state(prefix: str, expert: Expert, width: int, *, lfm2: bool = False) -> State:
    """One FFN, padded to ``width`` neurons."""
    names = ("w1", "w3", "w2") if lfm2 else ("gate_proj", "up_proj", "down_proj")
    wide = widened(expert, width)
    matrices = (*wide.gate_up.chunk(2), wide.down)
    pairs = zip(names, matrices, strict=True)
    return {f"{prefix}{name}.weight": matrix.contiguous() for name, matrix in pairs}


def qwen2_shared_state(prefix: str, layer: Layer, width: int, hidden: int) -> State:
    """Qwen2-MoE's gated shared expert; one without a gate is doubled, as sigmoid(0) is a half."""
    expert, gate = layer.shared or nothing(hidden), layer.shared_gate
    if gate is None:
        expert = Expert(expert.gate_up, expert.down * 2)
        gate = torch.zeros(1, hidden)
    return dense_state(f"{prefix}shared_expert.", expert, width) | {
        f"{prefix}shared_expert_gate.weight": gate
    }


def widened(expert: Expert, width: int) -> Expert:
    """The same function with zero neurons added."""
    more = width - expert.width
    if not more:
        return expert
    gate, up = expert.gate_up.chunk(2)
    pad = gate.new_zeros(more, gate.shape[1])
    down = torch.cat([expert.down, expert.down.new_zeros(len(expert.down), more)], dim=1)
    return Expert(torch.cat([gate, pad, up, pad]), down)


def nothing(hidden: int) -> Expert:
    """An FFN of one neuron that says nothing."""
    return Expert(torch.zeros(2, hidden), torch.zeros(hidden, 1))


def interleaved(weight: Tensor, head: int) -> Tensor:
    """Rows of a query or key projection for a rotary embedding that pairs neighbours.

    ``weight`` pairs row i of a head (of ``head`` rows) with row i + head / 2.
    """
    halves = weight.view(-1, 2, head // 2, weight.shape[-1])
    return halves.transpose(1, 2).reshape(weight.shape).contiguous()
