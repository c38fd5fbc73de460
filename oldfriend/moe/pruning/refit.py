"""Closed-form repair: output weights by ridge regression onto what the layer said before.

Shape suffixes: N sample tokens, D hidden size, F width of an expert.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from oldfriend.errors import CheckpointError
from oldfriend.moe.layer import Expert, Layer

PENALTIES = (1e-3, 1e-2, 1e-1)  # shares of the mean square of a feature
HELD_OUT = 5  # every fifth token decides which penalty, if any


@dataclass(frozen=True)
class Refit:
    """A mended layer, and what share of the old output's energy it misses on held-out tokens."""

    layer: Layer
    before: float
    after: float
    penalty: float  # inf: the layer is best left as it was


def damped(gram_FF: Tensor, penalty: float) -> tuple[Tensor, float]:
    """Cholesky factor of G + lam I, and lam; raised tenfold until the matrix is definite.

    Raises CheckpointError if G is not finite: the model it was observed in overflows.
    """
    gram = gram_FF.double()
    if not bool(gram.isfinite().all()):
        raise CheckpointError("hidden states of this model are not finite; it cannot be refitted")
    mean = float(gram.diagonal().abs().mean()) or 1.0
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    lam = max(penalty, 1e-9) * mean
    while True:
        factor, failed = torch.linalg.cholesky_ex(gram + lam * eye)
        if not int(failed):
            return factor, lam
        lam *= 10


def missed(layer: Layer, x_ND: Tensor, target_ND: Tensor) -> float:
    """Share of the energy of ``target_ND`` that the layer's output misses: 0 perfect, 1 silence."""
    return float((target_ND - layer(x_ND)).square().sum() / target_ND.square().sum().clamp(1e-12))


def refit_down(
    layer: Layer,
    x_ND: Tensor,
    target_ND: Tensor,
    *,
    penalties: Sequence[float] = PENALTIES,
    sweeps: int = 2,
) -> Refit:
    """New output weights for all experts, with routing and hidden neurons as they are.

    Minimises |Y - sum_e g_e h_e W_e^T|^2 + sum_e lam_e |W_e - W_e before|^2 expert by expert
    (Gauss-Seidel), which converges to the joint solution without its (E F)^2 matrix. The penalty
    is the one with the least error on held-out tokens, and nothing changes if none helps there.
    """
    parts = torch.arange(len(x_ND)) % HELD_OUT == 0
    seen, held = ~parts, parts
    before = missed(layer, x_ND[held], target_ND[held])
    best = Refit(layer, before, before, float("inf"))
    if not layer.experts or int(seen.sum()) < 2:
        return best
    features = _features(layer, x_ND[seen])
    residual_ND = target_ND[seen] - layer(x_ND[seen])
    for penalty in penalties:
        tried = _with_down(layer, _sweep(features, residual_ND, penalty, sweeps))
        after = missed(tried, x_ND[held], target_ND[held])
        if after < best.after:
            best = Refit(tried, before, after, penalty)
    return best


@dataclass(frozen=True)
class _Features:
    """What one expert adds up to: its tokens, g h [tokens, F], and the second moment of that."""

    tokens: Tensor
    hidden: Tensor
    gram: Tensor


def _features(layer: Layer, x_ND: Tensor) -> list[_Features]:
    gates_NE = layer.gates(x_ND)
    found = []
    for number, expert in enumerate(layer.experts):
        tokens = torch.nonzero(gates_NE[:, number])[:, 0]
        hidden = expert.hidden(x_ND[tokens]) * gates_NE[tokens, number, None]
        found.append(_Features(tokens, hidden, hidden.T @ hidden))
    return found


def _sweep(
    features: Sequence[_Features], residual_ND: Tensor, penalty: float, sweeps: int
) -> list[Tensor]:
    """Changes [D, F] of every expert's output weights after ``sweeps`` rounds."""
    left_ND = residual_ND.clone()
    changes = [one.hidden.new_zeros(left_ND.shape[1], one.hidden.shape[1]) for one in features]
    busy = [(number, one) for number, one in enumerate(features) if len(one.tokens)]
    solved = {number: damped(one.gram, penalty) for number, one in busy}
    for _ in range(sweeps if len(busy) > 1 else 1):
        for number, one in busy:
            factor, lam = solved[number]
            change = changes[number]
            pull = (one.hidden.T @ left_ND[one.tokens]).double() - lam * change.T.double()
            step = torch.cholesky_solve(pull, factor).T.to(change.dtype)
            changes[number] = change + step
            left_ND[one.tokens] -= one.hidden @ step.T
    return changes


def _with_down(layer: Layer, changes: Sequence[Tensor]) -> Layer:
    experts = tuple(
        Expert(expert.gate_up, expert.down + change)
        for expert, change in zip(layer.experts, changes, strict=True)
    )
    return replace(layer, experts=experts)
