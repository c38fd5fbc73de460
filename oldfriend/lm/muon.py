"""Muon for hidden matrices, AdamW for everything else, in one optimizer.

Muon (Jordan 2024, kellerjordan.github.io/posts/muon) orthogonalizes the momentum of each matrix by
a Newton-Schulz iteration. ``torch.optim.Muon`` does so matrix by matrix in sequence, which on a CPU
takes longer than the forward and backward pass of a small model; here matrices of one shape go
through the iteration as one batch in bfloat16. Updates are scaled to AdamW's usual size (Liu et al.
2025, arXiv:2502.16982), so both parts share one learning rate.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
MOMENTUM = 0.95
BETAS = (0.9, 0.95)
EPS = 1e-7


class MuonAdamW(torch.optim.Optimizer):
    """``matrices`` (2-d) by Muon at ``lr``; ``others`` by fused AdamW at ``others_lr``.

    Weight decay is decoupled and spares vectors.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        others: Iterable[Tensor],
        *,
        lr: float,
        others_lr: float,
        weight_decay: float,
    ) -> None:
        shapes: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
        for matrix in matrices:
            small, large = sorted(matrix.shape)
            shapes[small, large].append(matrix)
        rest = list(others)
        groups: list[dict[str, Any]] = [
            {"params": alike, "lr": lr, "weight_decay": weight_decay, "muon": True}
            for alike in shapes.values()
        ]
        for params, decay in (
            ([p for p in rest if p.ndim > 1], weight_decay),
            ([p for p in rest if p.ndim <= 1], 0.0),
        ):
            if params:
                group = {"params": params, "lr": others_lr, "weight_decay": decay, "muon": False}
                # "fused" makes torch load the step count onto the parameter's device
                groups.append(group | {"fused": True})
        super().__init__(groups, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params and group["muon"]:
                self._muon(params, group["lr"], group["weight_decay"])
            elif params:
                self._adamw(params, group["lr"], group["weight_decay"])
        return loss

    def _muon(self, params: list[Tensor], lr: float, weight_decay: float) -> None:
        updates = []
        for param in params:
            state = self.state[param]
            if not state:
                state["momentum"] = torch.zeros_like(param)
            gradient = param.grad
            assert gradient is not None
            state["momentum"].lerp_(gradient, 1 - MOMENTUM)
            update = gradient.lerp(state["momentum"], MOMENTUM)  # Nesterov
            updates.append(update.T if _tall(param) else update)
        flat = orthogonalized(torch.stack(updates)).to(params[0].dtype)
        scale = 0.2 * math.sqrt(max(params[0].shape))
        for param, update in zip(params, flat, strict=True):
            param.mul_(1 - lr * weight_decay)
            param.add_(update.T if _tall(param) else update, alpha=-lr * scale)

    def _adamw(self, params: list[Tensor], lr: float, weight_decay: float) -> None:
        for param in params:
            state = self.state[param]
            if not state:
                state["step"] = torch.tensor(0.0, device=param.device)
                state["mean"], state["square"] = torch.zeros_like(param), torch.zeros_like(param)
        states = [self.state[param] for param in params]
        adamw(
            params,
            [param.grad for param in params if param.grad is not None],
            [state["mean"] for state in states],
            [state["square"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            maximize=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=lr,
            weight_decay=weight_decay,
            eps=1e-8,
        )


def orthogonalized(matrices_NRC: Tensor) -> Tensor:
    """Nearest (nearly) orthogonal matrices to a batch [N, R, C] with R <= C, in bfloat16."""
    a, b, c = NEWTON_SCHULZ
    x: Tensor = matrices_NRC.bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=EPS)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x


def _tall(matrix: Tensor) -> bool:
    return matrix.shape[0] > matrix.shape[1]
