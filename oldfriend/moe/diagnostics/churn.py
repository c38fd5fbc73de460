"""How much routing changes: between two moments, towards the end, and beyond chance.

Shapes: L layers, T probe tokens, E experts, k chosen. A router that draws k of E experts by dice
agrees with itself on k/E of them, so fewer experts look stabler than they are: every figure here
is corrected, kappa = (RS - k/E) / (1 - k/E), 1 for the same choice and 0 for chance.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


def overlap(one_Tk: Tensor, other_Tk: Tensor) -> float:
    """Mean share of a token's experts that both choices have (OLMoE's router saturation RS)."""
    same = one_Tk[:, :, None] == other_Tk[:, None, :]
    return float(same.any(dim=2).float().mean())


def kappa(one_Tk: Tensor, other_Tk: Tensor, experts: int, *, by_load: bool = False) -> float:
    """Agreement beyond chance; 1 if there is no choice to make (k = E).

    ``by_load`` counts as chance what two routers of these very loads would share (Cohen's), not
    what routers of even loads would.
    """
    k = one_Tk.shape[1]
    chance = k / experts
    if by_load:
        chance = float((load(one_Tk, experts) * load(other_Tk, experts)).sum()) * k
    if chance >= 1 - 1e-9:
        return 1.0
    return (overlap(one_Tk, other_Tk) - chance) / (1 - chance)


def load(chosen_Tk: Tensor, experts: int) -> Tensor:
    """Share of the choices that fall on each expert [E]; sums to 1."""
    counts = chosen_Tk.flatten().bincount(minlength=experts)
    return counts / max(int(counts.sum()), 1)


def churn(snapshots: Sequence[Tensor], experts: int) -> list[float]:
    """1 - kappa between each snapshot [T, k] of one layer's choices and the next."""
    return [1 - kappa(one, other, experts) for one, other in pairwise(snapshots)]


def saturation(snapshots: Sequence[Tensor], experts: int) -> list[float]:
    """kappa of every snapshot with the last: how much of the final routing stands already."""
    return [kappa(snapshot, snapshots[-1], experts) for snapshot in snapshots]


def steps_to(share: float, steps: Sequence[int], curve: Sequence[float]) -> float:
    """The step, interpolated, from which ``curve`` stays at or above ``share``; inf if never."""
    if not curve or curve[-1] < share:
        return float("inf")
    last = max((i for i, value in enumerate(curve) if value < share), default=-1)
    if last < 0:
        return float(steps[0])
    low, high = curve[last], curve[last + 1]
    part = (share - low) / (high - low)
    return steps[last] + part * (steps[last + 1] - steps[last])


def js_drift(logits_TE: Tensor, other_TE: Tensor) -> float:
    """Mean Jensen-Shannon divergence (bits, 0 to 1) of two routers' distributions.

    Sees drift that has not changed a choice yet, and none where near ties change choices.
    """
    p, q = logits_TE.double().softmax(dim=1), other_TE.double().softmax(dim=1)
    middle = (p + q) / 2

    def divergence(a: Tensor) -> Tensor:
        log = torch.where(a > 0, a.clamp(min=1e-300).log2() - middle.clamp(min=1e-300).log2(), 0)
        return (a * log).sum(dim=1)

    return float((divergence(p) + divergence(q)).mean() / 2)
