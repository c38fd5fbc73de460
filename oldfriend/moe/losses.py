"""Losses that keep experts in use, layer by layer, and balancing without a loss.

Shape suffixes: T tokens, E experts, K chosen a token.
"""

import torch
from torch import Tensor

SCORES = ("softmax", "sigmoid")


def probabilities(logits_TE: Tensor, score: str = "softmax") -> Tensor:
    """Router probabilities [T, E]; sigmoid scores are normalised over the experts."""
    if score == "softmax":
        return logits_TE.softmax(-1)
    scores = logits_TE.sigmoid()
    return scores / scores.sum(-1, keepdim=True).clamp(min=1e-20)


def expert_counts(chosen_TK: Tensor, experts: int, real_T: Tensor | None = None) -> Tensor:
    """Assignments of real tokens to each expert [E], fp32."""
    ones_TK = torch.ones(chosen_TK.shape, device=chosen_TK.device)
    if real_T is not None:
        ones_TK = ones_TK * real_T[:, None]
    counts = torch.zeros(experts, device=chosen_TK.device)
    return counts.index_add(0, chosen_TK.flatten(), ones_TK.flatten())


def balance_loss(
    logits_TE: Tensor,
    chosen_TK: Tensor,
    real_T: Tensor | None = None,
    *,
    score: str = "softmax",
    load_E: Tensor | None = None,
) -> Tensor:
    """E * sum_i f_i P_i of one layer: 1 at balance, E / K when K experts take everything.

    f_i is the share of assignments, P_i the mean probability of expert i over real tokens
    (Switch, arXiv:2101.03961, divided by K as in Megatron). ``load_E`` takes f from more tokens
    than these: those of the whole optimizer step (arXiv:2501.11873).
    """
    experts = logits_TE.shape[1]
    if load_E is None:
        load_E = expert_counts(chosen_TK, experts, real_T)
    share_E = load_E / load_E.sum().clamp(min=1)
    return experts * (share_E * _mean(probabilities(logits_TE, score), real_T)).sum()


def z_loss(logits_TE: Tensor, real_T: Tensor | None = None) -> Tensor:
    """Mean squared logsumexp of the logits (ST-MoE, arXiv:2202.08906): keeps them small."""
    return _mean(logits_TE.logsumexp(-1, keepdim=True) ** 2, real_T).sum()


@torch.no_grad()
def balance_bias(bias_E: Tensor, load_E: Tensor, rate: float) -> None:
    """Loss-free balancing (arXiv:2408.15664): lift the idle, lower the busy, in place.

    The mean of the bias stays what it was.
    """
    step_E = torch.sign(load_E.mean() - load_E) * rate
    bias_E += (step_E - step_E.mean()).to(bias_E)


def max_violation(load_E: Tensor) -> float:
    """MaxVio: how far the busiest expert is above the mean load, relative (0 at balance)."""
    mean = load_E.float().mean().clamp(min=1e-9)
    return float((load_E.max() - mean) / mean)


def _mean(values_TX: Tensor, real_T: Tensor | None) -> Tensor:
    """Mean over real tokens."""
    if real_T is None:
        return values_TX.mean(0)
    real_T1 = real_T[:, None].to(values_TX.dtype)
    return (values_TX * real_T1).sum(0) / real_T1.sum().clamp(min=1)
