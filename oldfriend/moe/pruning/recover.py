"""Healing a cut model: it listens to the uncut one, first with its routers, then with experts.

Shape suffixes: B rows, L tokens a row, T real tokens, D hidden size, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from oldfriend.lm.fit import FitResult, Run, fit_model
from oldfriend.lm.packing import Document, isolate_convolutions
from oldfriend.lm.settings import FitParams
from oldfriend.moe.modeling import OFMoeForCausalLM, train_experts_only
from oldfriend.moe.pruning.settings import RecoverParams
from oldfriend.moe.training import after_every_step, also_learning

CHUNK = 512  # tokens whose full vocabulary is compared at a time


def recover(
    model: OFMoeForCausalLM,
    teacher: OFMoeForCausalLM | None,
    documents: Sequence[Document],
    params: RecoverParams,
    run: Run,
    *,
    pad_id: int,
) -> FitResult | None:
    """Train ``model`` in place: the routers alone, then experts and routers.

    The loss is next-token cross entropy plus ``params.distil`` times the divergence from
    ``teacher`` (without one there is only the text: the control for the uncut model). Mixers,
    norms and embeddings stay, so adapters trained on them stay valid. None if nothing is learnt.
    """
    fit, result = params.fit.model_copy(update={"compile": False}), None  # routing is dynamic
    with ExitStack() as stack:
        if teacher is not None and params.distil:
            weight = params.distil / fit.accumulate
            stack.enter_context(listening(model, teacher, weight, params.temperature))
        stack.enter_context(
            also_learning(model.model, lambda _: model.auxiliary_loss(), 1 / fit.accumulate)
        )
        stack.enter_context(after_every_step(lambda _: model.after_step()))
        if params.router_steps and teacher is not None and model.routers():
            model.requires_grad_(False)
            for router in model.routers():
                router.weight.requires_grad = True
            changes = {"steps": params.router_steps, "lr": params.router_lr, "weight_decay": 0.0}
            alone = FitParams.model_validate(fit.model_dump() | changes)
            place = replace(run, checkpoints=run.checkpoints / "routers", logger=None)
            result = fit_model(model, documents, alone, place, pad_id=pad_id)
        train_experts_only(model)
        if any(parameter.requires_grad for parameter in model.parameters()):
            result = fit_model(model, documents, fit, run, pad_id=pad_id)
    model.requires_grad_(True)
    model.eval()
    return result


@contextmanager
def listening(
    model: OFMoeForCausalLM, teacher: OFMoeForCausalLM, weight: float, temperature: float = 1.0
) -> Iterator[None]:
    """While the block runs, training passes of ``model`` also learn ``teacher``'s distribution.

    The divergence is a mean over the real tokens of a micro-batch, prompts among them.
    """
    isolate_convolutions(teacher)
    teacher.requires_grad_(False)
    said: list[Tensor] = []  # the last hidden states of the pass under way

    def hear(backbone: Any, _: Any, __: Any, output: Any) -> None:
        said[:] = [output.last_hidden_state]

    def loss(given: dict[str, Any]) -> Tensor:
        hidden_BLD = said.pop()
        given = {name: value for name, value in given.items() if name != "routing_pass"}
        real_BL = model.scratch.last.real_BL if model.scratch.last else None
        with torch.no_grad():
            teacher.to(hidden_BLD.device).eval()
            meant_TD = _real(teacher.model(**given).last_hidden_state, real_BL)
        return _mean_divergence(model, teacher, _real(hidden_BLD, real_BL), meant_TD, temperature)

    handle = model.model.register_forward_hook(hear, with_kwargs=True)
    try:
        with also_learning(model.model, loss, weight):
            yield
    finally:
        handle.remove()


def _mean_divergence(
    model: OFMoeForCausalLM,
    teacher: OFMoeForCausalLM,
    said_TD: Tensor,
    meant_TD: Tensor,
    temperature: float,
) -> Tensor:
    total = said_TD.new_zeros((), dtype=torch.float32)
    pairs = zip(torch.split(said_TD, CHUNK), torch.split(meant_TD, CHUNK), strict=True)
    for said, meant in pairs:
        with torch.no_grad():
            theirs_TV = teacher.lm_head(meant)
        total = total + divergence(model.lm_head(said), theirs_TV, temperature)
    return total / max(len(said_TD), 1)


def _real(hidden_BLD: Tensor, real_BL: Tensor | None) -> Tensor:
    return hidden_BLD.flatten(0, 1) if real_BL is None else hidden_BLD[real_BL]


def divergence(ours_TV: Tensor, theirs_TV: Tensor, temperature: float = 1.0) -> Tensor:
    """tau^2 KL(theirs | ours) of softmax at ``temperature``, summed over tokens.

    Hinton et al. 2015, arXiv:1503.02531: tau^2 keeps the gradient's size whatever the temperature.
    """
    said = (ours_TV.float() / temperature).log_softmax(-1)
    meant = (theirs_TV.float() / temperature).log_softmax(-1)
    return F.kl_div(said, meant, reduction="sum", log_target=True) * temperature**2
