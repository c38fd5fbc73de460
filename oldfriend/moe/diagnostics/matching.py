"""Are two routers the same up to the experts' names?

Shapes: T tokens, E experts, k chosen. Two trainings number their experts differently; the
Hungarian method finds the renaming under which they agree most. Because it looks for agreement it
finds some in noise, too, so the null (one side's tokens shuffled) stands beside every figure.
"""

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from oldfriend.moe.diagnostics.churn import kappa


@dataclass(frozen=True)
class Matched:
    """Kappa under the best renaming, the same for shuffled tokens, and the renaming itself."""

    kappa: float
    null: float
    names: tuple[int, ...]  # names[i]: what the other calls our expert i


def matched_agreement(
    one_Tk: Tensor, other_Tk: Tensor, experts: int, *, seed: int = 0, shuffles: int = 3
) -> Matched:
    """Agreement of two routers of as many experts on the same tokens, beyond names."""
    value, names = _match(one_Tk, other_Tk, experts)
    generator = torch.Generator().manual_seed(seed)
    nulls = [
        _match(one_Tk, other_Tk[torch.randperm(len(other_Tk), generator=generator)], experts)[0]
        for _ in range(shuffles)
    ]
    return Matched(value, sum(nulls) / max(len(nulls), 1), tuple(names))


def _match(one_Tk: Tensor, other_Tk: Tensor, experts: int) -> tuple[float, list[int]]:
    shared = members(one_Tk, experts).T @ members(other_Tk, experts)
    _, names = linear_sum_assignment(shared.numpy(), maximize=True)
    renamed = torch.as_tensor(names)[one_Tk]
    return kappa(renamed, other_Tk, experts), [int(name) for name in names]


def members(chosen_Tk: Tensor, experts: int) -> Tensor:
    """Indicator [T, E] of who serves whom."""
    return torch.zeros(len(chosen_Tk), experts).scatter_(1, chosen_Tk, 1.0)


def coupling(router_ED: Tensor, gates_EHD: Tensor, rank: int = 4) -> tuple[float, float]:
    """How far a router's row lies in what its expert listens to, and in what others listen to.

    Mean length of the unit row's projection on the ``rank`` top right singular vectors of each
    expert's gate matrix [H, D]: own expert, other experts. Equal figures: router and experts know
    nothing of each other. Rows are taken relative to their mean, which softmax does not see.
    """
    rows = F.normalize(router_ED.float() - router_ED.float().mean(dim=0), dim=1)
    _, _, right_EHD = torch.linalg.svd(gates_EHD.float(), full_matrices=False)
    basis_ErD = right_EHD[:, :rank]
    length_EE = torch.einsum("erd,fd->efr", basis_ErD, rows).norm(dim=2)
    experts = len(rows)
    own = float(length_EE.diagonal().mean())
    if experts == 1:
        return own, own
    others = float(length_EE.sum() - length_EE.diagonal().sum()) / (experts * (experts - 1))
    return own, others
