"""Training a mixture of experts with the trainer of all stages, and what a token of it costs.

``fit_model`` knows next-token loss only. Whatever else a MoE learns from (balance, z-loss, a
teacher of its routers) enters the backward pass at the last hidden states, as in Megatron's
MoEAuxLossAutoScaler, so that accumulation, resumption and clipping stay those of every stage.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from oldfriend.lm.fit import FitResult, Run, fit_model
from oldfriend.lm.packing import Document
from oldfriend.lm.settings import FitParams
from oldfriend.moe.feedforward import MoeFeedForward
from oldfriend.moe.modeling import OFMoeForCausalLM, train_experts_only

AfterStep = Callable[[int], None]  # gets the number of optimizer steps taken
MoreLoss = Callable[[dict[str, Any]], Tensor]  # gets what a training pass was given


class _Also(torch.autograd.Function):
    """Passes a tensor on; in the backward pass ``loss`` is learnt from, too."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, loss: Tensor, weight: float) -> Tensor:
        ctx.weight, ctx.like = weight, loss.detach()
        return hidden.view_as(hidden)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        return gradients[0], torch.full_like(ctx.like, ctx.weight), None


def _also(hidden: Tensor, loss: Tensor, weight: float) -> Tensor:
    passed: Tensor = _Also.apply(hidden, loss, weight)  # type: ignore[no-untyped-call]
    return passed


@contextmanager
def also_learning(backbone: nn.Module, loss: MoreLoss, weight: float = 1.0) -> Iterator[None]:
    """Add ``weight`` times ``loss(...)`` to what is minimised of ``backbone``'s training passes.

    The gradient is added as it is, not scaled with the loss of the pass: give 1 / accumulate.
    """

    def add(_: nn.Module, __: Any, given: dict[str, Any], output: Any) -> Any:
        if backbone.training and torch.is_grad_enabled():
            extra = loss(given)
            if extra.requires_grad:
                output.last_hidden_state = _also(output.last_hidden_state, extra, weight)
        return output

    handle = backbone.register_forward_hook(add, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def after_every_step(act: AfterStep) -> Iterator[None]:
    """Call ``act(steps taken)`` after every optimizer step inside the block.

    Steps are those of the optimizer's own state, so a resumed run goes on counting.
    """

    def hook(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        states = (s["step"] for s in optimizer.state.values() if "step" in s)
        act(int(next(states, 0)))

    handle = register_optimizer_step_post_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def fit_experts(
    model: Any,
    documents: Sequence[Document],
    fit: FitParams,
    run: Run,
    *,
    pad_id: int,
    validation: Sequence[Document] = (),
    watch: AfterStep | None = None,
    teacher: MoreLoss | None = None,
    mixers: bool = False,
) -> FitResult:
    """Train FFNs (and routers) of a dense model or a MoE in place; mixers are frozen.

    ``watch`` is called before the first and after every step. ``teacher`` is one more loss of a
    micro-batch, e.g. ``distil.Lesson``. ``mixers`` trains all weights.
    """
    if mixers:
        model.requires_grad_(True)
    else:
        train_experts_only(model)
    with ExitStack() as stack:
        weight = 1 / fit.accumulate
        if teacher:  # before the auxiliary loss, which lets the pass go
            stack.enter_context(also_learning(model.model, teacher, weight))
        if isinstance(model, OFMoeForCausalLM):
            stack.enter_context(
                also_learning(model.model, lambda _: model.auxiliary_loss(), weight)
            )
            stack.enter_context(after_every_step(lambda _: model.after_step()))
        if watch:
            watch(0)
            stack.enter_context(after_every_step(watch))
        return fit_model(model, documents, fit, run, pad_id=pad_id, validation=validation)


def active_parameters(model: Any) -> tuple[int, int]:
    """Weights that a token is multiplied with, and those among them in FFNs and routers.

    Embeddings are looked up and cost nothing; a tied head counts once.
    """
    experts = sum(_active(m) for m in model.modules() if isinstance(m, MoeFeedForward))
    counted = {
        id(p) for m in model.modules() if isinstance(m, MoeFeedForward) for p in m.parameters()
    }
    rest = ffn = 0
    for name, parameter in model.named_parameters():
        if id(parameter) in counted or parameter.ndim < 2:
            continue
        tied = parameter is model.get_output_embeddings().weight
        if "embed" in name and not tied:
            continue
        if ".feed_forward." in name or ".mlp." in name:
            ffn += parameter.numel()
        else:
            rest += parameter.numel()
    return rest + ffn + experts, ffn + experts


def training_flops(model: Any, *, mixers: bool = False) -> float:
    """FLOPs a training token: 2 forward and 2 for gradients of inputs a weight, 2 if it is trained.

    Attention scores are left out: they are the same for every FFN.
    """
    active, ffn = active_parameters(model)
    return 4.0 * active + 2.0 * (active if mixers else ffn)


def _active(feed_forward: MoeFeedForward) -> int:
    total = 0
    if feed_forward.experts is not None:
        whole = feed_forward.experts.gate_up[0].numel() + feed_forward.experts.down[0].numel()
        mean_width = sum(feed_forward.experts.widths) / len(feed_forward.experts.widths)
        used = feed_forward.router.top_k if feed_forward.router is not None else 1
        total += round(whole * mean_width / feed_forward.experts.width * used)
    if feed_forward.router is not None:
        total += feed_forward.router.weight.numel()
    if feed_forward.shared is not None:
        total += sum(p.numel() for p in feed_forward.shared.parameters())
    return total
