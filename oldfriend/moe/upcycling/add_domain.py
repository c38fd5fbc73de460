"""One more domain for a trained MoE: new experts, and old ones that keep what they know.

Shapes: T tokens, D features, E experts before, N new experts.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from oldfriend.errors import InputError
from oldfriend.lm.fit import Run
from oldfriend.lm.packing import Document
from oldfriend.lm.settings import FitParams
from oldfriend.moe.config import layer_fields, make_config
from oldfriend.moe.diagnostics.probe import Probe
from oldfriend.moe.layer import Layer
from oldfriend.moe.lessons import even_mix
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.router.donor import ridge
from oldfriend.moe.router.kmeans import spherical_kmeans
from oldfriend.moe.splice import read_layers, rebuilt
from oldfriend.moe.training import fit_experts
from oldfriend.outcome import Row

Mode = Literal["freeze", "replay", "naive"]


def with_new_experts(
    model: OFMoeForCausalLM,
    old: Probe,
    new: Probe,
    count: int,
    *,
    margin: float = 1.0,
    seed: int = 0,
) -> OFMoeForCausalLM:
    """A larger model: ``count`` more experts a routed layer, meant for the text of ``new``.

    Each starts as a copy of the old expert that the new text uses most, so nothing is unlearnt.
    Their router rows are fitted in closed form to lead by ``margin`` on new tokens (each its own
    cluster of them) and to trail by it on old ones. Raises InputError for a model without routers.
    """
    if not model.routers():
        raise InputError("a model without routers has no place for more experts; upcycle it first")
    old_inputs, new_inputs = old.inputs(model), new.inputs(model)
    layers = [
        layer
        if layer.router is None
        else _larger(layer, old_inputs[i], new_inputs[i], count, margin, seed * 1009 + i)
        for i, layer in enumerate(read_layers(model))
    ]
    return rebuilt(model, layers)


def _larger(
    layer: Layer, old_TD: Tensor, new_TD: Tensor, count: int, margin: float, seed: int
) -> Layer:
    assert layer.router is not None
    rows_ED = layer.router.float()
    new_TE = new_TD @ rows_ED.T
    load = new_TE.topk(layer.top_k, dim=1).indices.flatten().bincount(minlength=len(rows_ED))
    source = int(load.argmax())
    own_T = spherical_kmeans(new_TD - new_TD.mean(dim=0), count, seed=seed).labels
    leads_TN = margin * (2 * F.one_hot(own_T, count).float() - 1)
    best_T1 = new_TE.max(dim=1, keepdim=True).values
    old_T1 = (old_TD @ rows_ED.T).topk(layer.top_k, dim=1).values[:, -1:]
    targets = torch.cat([best_T1 + leads_TN.clamp(min=0), (old_T1 - margin).expand(-1, count)])
    # each set counts the same, however many tokens of it were probed
    weight = torch.cat(
        [
            torch.full((len(new_TD), 1), len(new_TD) ** -0.5),
            torch.full((len(old_TD), 1), len(old_TD) ** -0.5),
        ]
    )
    made_ND = ridge(torch.cat([new_TD, old_TD]) * weight, targets * weight, 1e-3, centre=False)
    bias = layer.bias
    if bias is not None:
        bias = torch.cat([bias, bias.mean().expand(count)])
    return replace(
        layer,
        experts=(*layer.experts, *[layer.experts[source]] * count),
        router=torch.cat([rows_ED, made_ND]).to(layer.router),
        bias=bias,
    )


def by_declared_domain(model: OFMoeForCausalLM, old_experts: Sequence[int]) -> OFMoeForCausalLM:
    """The same weights, routed by declaration: domain 0 has the old experts only, domain 1 all.

    ``old_experts``: how many each routed layer had. Text declared 0 (``declared_domains``) is then
    served as before the new domain came, to the bit if old experts and rows were frozen.
    """
    counts = iter(old_experts)
    layers = []
    for fields in model.config.layers():
        table = {}
        if fields.num_experts > 1:
            old, every = range(next(counts)), range(fields.num_experts)
            table = {"routing_level": "domain", "domain_experts": [list(old), list(every)]}
        layers.append(layer_fields(fields) | table)
    kept = ("balance_weight", "z_weight", "bias_rate", "experts_path")
    text = copy.deepcopy(model.config.text_config)
    config = make_config(text, layers, **{name: getattr(model.config, name) for name in kept})
    declared = OFMoeForCausalLM(config)
    declared.load_state_dict(model.state_dict())
    declared.eval()
    return declared


@contextmanager
def only_new_learn(model: OFMoeForCausalLM, old_experts: Sequence[int]) -> Iterator[None]:
    """While the block runs, experts and router rows that were there before get no gradient.

    ``old_experts``: how many each routed layer had. Weight decay must be 0: it needs no gradient.
    """
    handles = []
    routed = [ff for ff in model.feed_forwards if ff.router is not None]
    for feed_forward, count in zip(routed, old_experts, strict=True):
        assert feed_forward.experts is not None and feed_forward.router is not None

        def mask(gradient: Tensor, count: int = count) -> Tensor:
            masked = gradient.clone()
            masked[:count] = 0
            return masked

        parts = (
            feed_forward.experts.gate_up,
            feed_forward.experts.down,
            feed_forward.router.weight,
        )
        handles += [part.register_hook(mask) for part in parts]  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def learn_domain(
    model: OFMoeForCausalLM,
    old_experts: Sequence[int],
    lessons: Sequence[Document],
    replayed: Mapping[str, Sequence[Document]],
    fit: FitParams,
    run: Run,
    *,
    mode: Mode,
    pad_id: int,
) -> None:
    """Train ``model`` on a new domain in place.

    freeze: new experts and rows alone, on new text alone; loads need not be even. replay: all
    experts, on new and old text in equal shares. naive: all experts, on new text alone (the
    control that shows what forgetting costs). FFNs without a router are old and stay under freeze.
    """
    if mode == "replay":
        documents = even_mix([lessons, *replayed.values()])
        fit_experts(model, documents, fit, run, pad_id=pad_id)
        return
    if mode == "naive":
        fit_experts(model, lessons, fit, run, pad_id=pad_id)
        return
    balance, model.config.balance_weight = model.config.balance_weight, 0.0
    kept = {
        name: weight.detach().clone()
        for i, ff in enumerate(model.feed_forwards)
        for name, weight in ff.named_parameters(prefix=str(i))
        if ff.router is None or name.split(".")[1] == "shared"
    }
    try:
        with only_new_learn(model, old_experts):
            still = fit.model_copy(update={"weight_decay": 0.0})
            fit_experts(model, lessons, still, run, pad_id=pad_id)
    finally:
        model.config.balance_weight = balance
    with torch.no_grad():
        for i, ff in enumerate(model.feed_forwards):
            for name, weight in ff.named_parameters(prefix=str(i)):
                if name in kept:
                    weight.copy_(kept[name])


def compare(before: Mapping[str, float], after: Mapping[str, float], new: str) -> Row:
    """What learning ``new`` did: its own loss, and the mean rise on the others (relative)."""
    others = [name for name in before if name != new]
    rise = [after[name] / before[name] - 1 for name in others]
    return {
        "new_before": before[new],
        "new_after": after[new],
        "old_rise": sum(rise) / max(len(rise), 1),
        "old_worst": max(rise, default=0.0),
    }
