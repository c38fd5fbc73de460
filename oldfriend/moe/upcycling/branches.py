"""Branch-Train-MiX (arXiv:2403.07816): one dense branch a domain, then all as experts."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from oldfriend.errors import InputError
from oldfriend.lm.fit import Run, fit_model
from oldfriend.lm.packing import Document
from oldfriend.lm.settings import FitParams
from oldfriend.moe.importing import from_dense
from oldfriend.moe.layer import Layer
from oldfriend.moe.modeling import OFMoeForCausalLM, train_experts_only
from oldfriend.moe.splice import read_layers, rebuilt
from oldfriend.moe.upcycling.dense import as_base, router_rows
from oldfriend.moe.upcycling.plan import UpcyclePlan


def train_branches(
    dense: PreTrainedModel,
    domains: Mapping[str, Sequence[Document]],
    fit: FitParams,
    run: Run,
    *,
    pad_id: int,
) -> dict[str, PreTrainedModel]:
    """A copy of ``dense`` for every domain, whose FFNs are trained on that domain alone."""
    branches: dict[str, PreTrainedModel] = {}
    for name, documents in domains.items():
        branch: PreTrainedModel = copy.deepcopy(dense)
        train_experts_only(branch)
        own = replace(run, checkpoints=run.checkpoints / name)
        fit_model(branch, documents, fit, own, pad_id=pad_id)
        branches[name] = branch.cpu().requires_grad_(True).eval()
    return branches


def mix_branches(
    branches: Sequence[PreTrainedModel],
    plan: UpcyclePlan,
    *,
    router: Sequence[Tensor | None] | None = None,
    seed: int = 0,
) -> OFMoeForCausalLM:
    """The branches' FFNs as experts, in their order; whatever else they have is averaged.

    To keep the common parent as a generalist, give it as one more branch. ``plan.experts`` is one
    a branch, or a list with 1 where a layer stays dense (its FFNs are averaged). Raises InputError
    if branches or routers do not fit.
    """
    if len(branches) < 2:
        raise InputError("a mixture needs two branches at least")
    base = as_base(averaged(branches), plan)
    dense, own = read_layers(base), [read_layers(from_dense(branch)) for branch in branches]
    counts = plan.experts if isinstance(plan.experts, list) else [plan.experts] * len(dense)
    if len(counts) != len(dense) or set(counts) - {1, len(branches)}:
        raise InputError(
            f"experts {plan.experts} for {len(branches)} branches and {len(dense)} layers"
        )
    if plan.top_k > len(branches):
        raise InputError(f"{plan.top_k} of {len(branches)} experts a token")
    generator = torch.Generator().manual_seed(seed)
    layers: list[Layer] = []
    for index, (layer, count) in enumerate(zip(dense, counts, strict=True)):
        if count == 1:
            layers.append(layer)
            continue
        rows = router_rows(
            router[index] if router else None,
            plan,
            count,
            base.config.hidden_size,
            generator,
        )
        layers.append(
            replace(
                layer,
                experts=tuple(branch[index].experts[0] for branch in own),
                router=rows.to(layer.experts[0].down),
                bias=torch.zeros(count) if plan.expert_bias else None,
                top_k=plan.top_k,
            )
        )
    return rebuilt(base, layers)


@torch.no_grad()
def averaged(models: Sequence[PreTrainedModel]) -> PreTrainedModel:
    """A new model with the mean of all weights."""
    states = [model.state_dict() for model in models]
    if any(
        {n: w.shape for n, w in state.items()} != {n: w.shape for n, w in states[0].items()}
        for state in states
    ):
        raise InputError("branches must have one parent: their weights differ in shape")
    mean: PreTrainedModel = copy.deepcopy(models[0])
    mean.load_state_dict(
        {
            name: torch.stack([state[name].float() for state in states]).mean(0).to(weight.dtype)
            for name, weight in states[0].items()
        }
    )
    return mean
