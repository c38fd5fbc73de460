"""Feed-forward layers out of a model and back into one: by tensors, never in place."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from oldfriend.errors import InputError
from oldfriend.moe.config import OFMoeConfig, layer_fields, make_config
from oldfriend.moe.feedforward import MoeFeedForward
from oldfriend.moe.layer import Expert, Layer
from oldfriend.moe.modeling import OFMoeForCausalLM

_CONFIG_FIELDS = ("balance_weight", "z_weight", "bias_rate", "experts_path")


def read_layers(model: OFMoeForCausalLM) -> list[Layer]:
    """Every layer's feed-forward network as tensors that share memory with the model's.

    Raises InputError for one that is not SwiGLU or does not route token by token.
    """
    return [_read(model.config, index, ff) for index, ff in enumerate(model.feed_forwards)]


def _read(config: OFMoeConfig, index: int, ff: MoeFeedForward) -> Layer:
    fields = config.layer(index)
    activation = getattr(config.text_config, "hidden_act", "silu")
    if activation not in ("silu", "swish"):
        raise InputError(f"layer {index} uses {activation}; only SwiGLU (silu) can be taken apart")
    if ff.router is not None and fields.routing_level != "token":
        raise InputError(
            f"layer {index} routes by {fields.routing_level}; "
            "only routing by token can be taken apart"
        )
    experts: tuple[Expert, ...] = ()
    if ff.experts is not None:
        stacks = zip(ff.experts.gate_up, ff.experts.down, ff.experts.widths, strict=True)
        experts = tuple(_expert(gate_up, down, width) for gate_up, down, width in stacks)
    shared = gate = None
    if ff.shared is not None:
        shared = Expert(ff.shared.gate_up.weight.detach(), ff.shared.down.weight.detach())
        gate = None if ff.shared.gate is None else ff.shared.gate.weight.detach()
    return Layer(
        experts=experts,
        router=None if ff.router is None else ff.router.weight.detach(),
        bias=None if ff.router is None else ff.router.expert_bias,
        top_k=1 if ff.router is None else ff.router.top_k,
        score=fields.router_score,
        renormalise=fields.renormalise,
        scale=fields.routed_scale,
        shared=shared,
        shared_gate=gate,
    )


def _expert(gate_up: Tensor, down: Tensor, width: int) -> Expert:
    gate, up = gate_up.detach().chunk(2)
    return Expert(torch.cat([gate[:width], up[:width]]), down.detach()[:, :width])


def rebuilt(model: OFMoeForCausalLM, layers: Sequence[Layer]) -> OFMoeForCausalLM:
    """A new model with the mixers of ``model`` and other feed-forward layers."""
    config = model.config
    made = make_config(
        copy.deepcopy(config.text_config),
        [_fields(layer, config.layer(i)) for i, layer in enumerate(layers)],
        **{name: getattr(config, name) for name in _CONFIG_FIELDS},
    )
    new = OFMoeForCausalLM(made)
    outside = {n: w for n, w in model.state_dict().items() if ".feed_forward." not in n}
    new.load_state_dict(outside, strict=False)
    for layer, ff in zip(layers, new.feed_forwards, strict=True):
        _write(layer, ff)
    new.generation_config = copy.deepcopy(model.generation_config)
    new.to(model.device)
    new.eval()
    return new


def _fields(layer: Layer, before: Any) -> dict[str, Any]:
    widths = list(layer.widths)
    same = len(set(widths)) <= 1
    return layer_fields(before) | {
        "num_experts": len(widths),
        "num_experts_per_tok": layer.top_k,
        "moe_intermediate_size": (widths[0] if widths else 1) if same else widths,
        "shared_expert_intermediate_size": 0 if layer.shared is None else layer.shared.width,
        "shared_expert_gate": layer.shared_gate is not None,
        "expert_bias": layer.bias is not None,
    }


@torch.no_grad()
def _write(layer: Layer, ff: MoeFeedForward) -> None:
    if ff.experts is not None:
        for number, expert in enumerate(layer.experts):
            gate, up = expert.gate_up.chunk(2)
            full = ff.experts.gate_up[number]
            full[: expert.width], full[ff.experts.width :][: expert.width] = gate, up
            ff.experts.down[number, :, : expert.width] = expert.down
        ff.experts.zero_padding()
    if ff.router is not None and layer.router is not None:
        ff.router.weight.copy_(layer.router)
        if ff.router.expert_bias is not None and layer.bias is not None:
            ff.router.expert_bias.copy_(layer.bias)
    if ff.shared is not None and layer.shared is not None:
        ff.shared.gate_up.weight.copy_(layer.shared.gate_up)
        ff.shared.down.weight.copy_(layer.shared.down)
        if ff.shared.gate is not None and layer.shared_gate is not None:
            ff.shared.gate.weight.copy_(layer.shared_gate)


class _Trial(nn.Module):
    """A feed-forward layer that is only tried."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Output, of the shape of ``hidden_states``."""
        return self.layer(hidden_states.flatten(0, -2)).view_as(hidden_states)


@contextmanager
def tried(model: OFMoeForCausalLM, layers: Mapping[int, Layer]) -> Iterator[None]:
    """While the block runs, the model's layers of these numbers are ``layers``."""
    decoder = model.model.layers
    before = {index: decoder[index].feed_forward for index in layers}
    try:
        for index, layer in layers.items():
            decoder[index].feed_forward = _Trial(layer)
        yield
    finally:
        for index, feed_forward in before.items():
            decoder[index].feed_forward = feed_forward
