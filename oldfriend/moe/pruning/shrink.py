"""A smaller expert: which neurons to keep, or which rank, when the rest makes up for the loss.

Neurons: one problem behind narrowing an expert, merging several and folding all into a plain MLP:
out of P neurons with second moment H = sum h h^T, keep those whose best output weights explain a
target with cross moment C = sum h y^T. Optimal-brain-surgeon elimination (Hassibi & Stork 1993; by
whole neurons as in ZipLM, arXiv:2302.04089) removes the neuron of least error |w_q|^2 / [H^-1]_qq
and updates all other weights in closed form.

Shape suffixes: T tokens, D hidden size, P neurons to choose from, F width, O rows and I columns of
a matrix.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from oldfriend.moe.layer import Expert
from oldfriend.moe.pruning.refit import damped

ROUNDS = 64  # at most: where more neurons must go, several go at a time
RIDGE = 1e-3  # of H's mean diagonal


@dataclass(frozen=True)
class Chosen:
    """Neurons that stay [F], in their old order, and their new output weights [D, F]."""

    keep: Tensor
    down: Tensor


def eliminate(
    gram_PP: Tensor,
    cross_PD: Tensor,
    width: int,
    *,
    ridge: float = RIDGE,
    start_DP: Tensor | None = None,
) -> Chosen:
    """Keep ``width`` of P neurons. Raises ValueError unless 1 <= width <= P.

    ``start_DP``: output weights that the ridge pulls towards (and from which the rest follows).
    """
    count = len(gram_PP)
    if not 1 <= width <= count:
        raise ValueError(f"{count} neurons cannot be cut to {width}")
    factor, lam = damped(gram_PP, ridge)
    inverse = torch.cholesky_inverse(factor)
    pull = cross_PD.double()
    if start_DP is not None:
        pull = pull + lam * start_DP.T.double()
    weights = inverse @ pull  # [P, D]
    alive = torch.arange(count)
    while len(alive) > width:
        at_once = min(max(1, (count - width) // ROUNDS), len(alive) - width)
        error = weights.square().sum(dim=1) / inverse.diagonal()
        gone = error.topk(at_once, largest=False).indices
        cut = torch.linalg.solve(inverse[gone][:, gone], inverse[gone])  # [gone, P]
        stay = torch.ones(len(alive), dtype=torch.bool)
        stay[gone] = False
        weights = (weights - cut.T @ weights[gone])[stay]
        inverse = (inverse - inverse[:, gone] @ cut)[stay][:, stay]
        alive = alive[stay]
    return Chosen(alive, weights.T.to(cross_PD.dtype))


def narrowed(expert: Expert, gram_FF: Tensor, width: int, *, ridge: float = RIDGE) -> Expert:
    """``expert`` with ``width`` neurons, refitted to its old output on its own tokens."""
    if width >= expert.width:
        return expert
    cross = gram_FF @ expert.down.T.to(gram_FF.dtype)
    chosen = eliminate(gram_FF, cross, width, ridge=ridge, start_DP=expert.down)
    return Expert(expert.narrowed(chosen.keep).gate_up, chosen.down.to(expert.down.dtype))


def truncated(weight_OI: Tensor, gram_II: Tensor, rank: int) -> Tensor:
    """The matrix of ``rank`` whose outputs are nearest on inputs of second moment ``gram_II``.

    With gram = S S^T, truncating the singular values of W S is optimal in |(W - W') x|^2, unlike
    truncating W's own (SVD-LLM, arXiv:2403.07378).
    """
    root_II, _ = damped(gram_II, RIDGE)
    left, values, right = torch.linalg.svd(weight_OI.double() @ root_II, full_matrices=False)
    kept = (left[:, :rank] * values[:rank]) @ right[:rank]
    # kept = W' S, so W' = kept S^-1
    whole: Tensor = torch.linalg.solve_triangular(root_II, kept, upper=False, left=False)
    return whole.to(weight_OI.dtype)


def factored(expert: Expert, x_TD: Tensor, rank: int) -> Expert:
    """``expert`` with both matrices of ``rank``, seen by the tokens that are routed to it."""
    if not len(x_TD):
        return expert
    gate_up = truncated(expert.gate_up, x_TD.T @ x_TD, rank)
    hidden_TF = Expert(gate_up, expert.down).hidden(x_TD)
    return Expert(gate_up, truncated(expert.down, hidden_TF.T @ hidden_TF, rank))


def rank_for(expert: Expert, width: int) -> int:
    """The rank at which factors take as many weights as an expert of ``width`` neurons would.

    Factors of [2F, D] and [D, F] have r (2F + D) and r (D + F) weights, neurons 3 D each.
    """
    hidden = expert.down.shape[0]
    return max(1, 3 * hidden * width // (3 * expert.width + 2 * hidden))
