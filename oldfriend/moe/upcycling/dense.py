"""A mixture of experts out of a trained dense model.

Shape suffixes: T tokens, E experts, D hidden, F neurons, G parts of a copy.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from oldfriend.errors import InputError
from oldfriend.moe.importing import from_dense
from oldfriend.moe.layer import Expert, Layer
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.splice import read_layers, rebuilt
from oldfriend.moe.upcycling.plan import UpcyclePlan
from oldfriend.moe.upcycling.split import partition

_ROUTER_STD = 0.02


def upcycle(
    dense: PreTrainedModel,
    plan: UpcyclePlan,
    *,
    router: Sequence[Tensor | None] | None = None,
    calibration: Sequence[Tensor] | None = None,
    seed: int = 0,
) -> OFMoeForCausalLM:
    """A MoE whose mixers are those of ``dense`` and whose experts come from its FFNs.

    ``router``: start of every layer's router, [E, D], or [E / G, D] for virtual groups; layers
    without a router are passed over. By default N(0, 0.02), or zero where every token meets every
    expert. ``calibration``: inputs [T, D] of every layer's FFN, for splits by co-activation.

    At step 0 the MoE computes what ``dense`` does where ``plan.preserves`` says so. Raises
    InputError if routers or calibration do not fit the plan.
    """
    base = as_base(dense, plan)
    return rebuilt(base, planned_layers(read_layers(base), plan, router, calibration, seed))


def as_base(dense: PreTrainedModel, plan: UpcyclePlan) -> OFMoeForCausalLM:
    """``dense`` as our model with one expert a layer and the plan's routing options."""
    return from_dense(
        dense,
        router_score=plan.score_of(str(dense.config.model_type)),
        renormalise=plan.renormalise,
        routing_level=plan.routing_level,
        domain_experts=plan.domain_experts,
        balance_weight=plan.balance_weight,
        z_weight=plan.z_weight,
        bias_rate=plan.bias_rate,
    )


def planned_layers(
    layers: Sequence[Layer],
    plan: UpcyclePlan,
    router: Sequence[Tensor | None] | None,
    calibration: Sequence[Tensor] | None,
    seed: int,
) -> list[Layer]:
    """Every dense layer as the plan has it."""
    counts = plan.experts if isinstance(plan.experts, list) else [plan.experts] * len(layers)
    for given, what in ((counts, "expert counts"), (router, "routers"), (calibration, "inputs")):
        if given is not None and len(given) != len(layers):
            raise InputError(f"{len(given)} {what} for {len(layers)} layers")
    return [
        upcycled_layer(
            layer,
            plan,
            count,
            router=router[index] if router else None,
            inputs_TD=calibration[index] if calibration else None,
            seed=seed * 1009 + index,
        )
        for index, (layer, count) in enumerate(zip(layers, counts, strict=True))
    ]


def upcycled_layer(
    dense: Layer,
    plan: UpcyclePlan,
    experts: int,
    *,
    router: Tensor | None = None,
    inputs_TD: Tensor | None = None,
    seed: int = 0,
) -> Layer:
    """One dense FFN (a layer of one expert) as ``experts`` experts."""
    if experts == 1:
        return dense
    if experts == 0:
        return replace(dense, experts=())
    if plan.top_k > experts:
        raise InputError(f"{plan.top_k} of {experts} experts a token")
    generator = torch.Generator().manual_seed(seed)
    whole = dense.experts[0]
    made, shared = _experts(whole, plan, experts, inputs_TD, seed, generator)
    features = whole.down.shape[0]
    return replace(
        dense,
        experts=tuple(made),
        shared=shared,
        router=router_rows(router, plan, experts, features, generator).to(whole.down),
        bias=torch.zeros(experts) if plan.expert_bias else None,
        top_k=plan.top_k,
    )


def router_rows(
    given: Tensor | None, plan: UpcyclePlan, experts: int, features: int, generator: torch.Generator
) -> Tensor:
    """Router weights [E, D]: the given ones, or small random ones; tied within virtual groups."""
    repeat = plan.segments if plan.method == "virtual" else 1
    rows = experts // repeat
    if given is None:
        if plan.method == "split" and plan.top_k == experts:
            return torch.zeros(experts, features)
        given = torch.randn(rows, features, generator=generator) * _ROUTER_STD
    if given.shape == (rows, features):
        return given.repeat_interleave(repeat, 0)
    if given.shape != (experts, features):
        raise InputError(
            f"router of shape {tuple(given.shape)} for {experts} experts and {features} features"
        )
    return given


def _experts(
    whole: Expert,
    plan: UpcyclePlan,
    experts: int,
    inputs_TD: Tensor | None,
    seed: int,
    generator: torch.Generator,
) -> tuple[list[Expert], Expert | None]:
    """Routed experts and the shared one, if the plan has one."""
    if plan.method == "copy":
        return [whole] * experts, None
    if plan.method == "noise":
        return [noisy(whole, plan.noise, generator) for _ in range(experts)], None
    if plan.method == "drop":
        return [dropped(whole, plan.drop, generator) for _ in range(experts)], None
    shared, routed = _shared(whole, plan.shared, generator)
    cuts = plan.cuts(experts)
    parts = partition(routed, cuts, plan.partition, seed, inputs_TD)
    copy = [scaled(routed.narrowed(part), float(cuts), plan.scaled) for part in parts]
    return copy * (experts // cuts), shared


def noisy(expert: Expert, noise: float, generator: torch.Generator) -> Expert:
    """Half of the weights (at random) get N(0, (noise * std)^2), std of their matrix (OLMoE)."""

    def perturbed(weight: Tensor) -> Tensor:
        chosen = torch.rand(weight.shape, generator=generator) < 0.5
        drawn = torch.randn(weight.shape, generator=generator) * (noise * weight.std().item())
        return weight + (chosen * drawn).to(weight)

    gate, up = expert.gate_up.chunk(2)
    return Expert(torch.cat([perturbed(gate), perturbed(up)]), perturbed(expert.down))


def dropped(expert: Expert, share: float, generator: torch.Generator) -> Expert:
    """Drop-upcycling (arXiv:2502.19261): ``share`` of the neurons are drawn anew.

    The same neurons in gate, up and down; each matrix from the mean and deviation that it has
    there.
    """
    width = expert.width
    chosen = torch.randperm(width, generator=generator)[: math.floor(share * width)]
    if not len(chosen):
        return expert

    def redrawn(weight: Tensor) -> Tensor:
        """``weight`` has neurons in its rows."""
        here, weight = weight[chosen], weight.clone()
        drawn = torch.randn(here.shape, generator=generator)
        weight[chosen] = (drawn * here.std().item() + here.mean().item()).to(weight)
        return weight

    gate, up = expert.gate_up.chunk(2)
    return Expert(torch.cat([redrawn(gate), redrawn(up)]), redrawn(expert.down.T).T.contiguous())


def scaled(expert: Expert, factor: float, where: str = "down") -> Expert:
    """``factor`` times the expert's output, exactly: only linear factors of SwiGLU are touched."""
    if where == "down":
        return Expert(expert.gate_up, expert.down * factor)
    gate, up = expert.gate_up.chunk(2)
    root = math.sqrt(factor)
    return Expert(torch.cat([gate, up * root]), expert.down * root)


def _shared(
    whole: Expert, share: float, generator: torch.Generator
) -> tuple[Expert | None, Expert]:
    """A random ``share`` of the neurons for every token, the others for routing."""
    count = round(share * whole.width)
    if count == 0:
        return None, whole
    order = torch.randperm(whole.width, generator=generator)
    return whole.narrowed(order[:count].sort().values), whole.narrowed(order[count:].sort().values)
