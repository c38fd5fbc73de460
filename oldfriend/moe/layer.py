"""One feed-forward layer as plain tensors: what pruning measures, cuts and mends.

Shape suffixes: T tokens, E experts, K chosen a token, D hidden size, F width of an expert.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Expert:
    """A SwiGLU feed-forward network: down(silu(gate x) * up x)."""

    gate_up: Tensor  # [2F, D]: the gate's rows, then the up rows
    down: Tensor  # [D, F]

    @property
    def width(self) -> int:
        """Hidden neurons F."""
        return self.down.shape[1]

    @property
    def parameters(self) -> int:
        """Weights."""
        return self.gate_up.numel() + self.down.numel()

    def hidden(self, x_TD: Tensor) -> Tensor:
        """What its neurons say [T, F]."""
        gate_TF, up_TF = (x_TD @ self.gate_up.T).chunk(2, dim=-1)
        return F.silu(gate_TF) * up_TF

    def __call__(self, x_TD: Tensor) -> Tensor:
        """Its output [T, D]."""
        return self.hidden(x_TD) @ self.down.T

    def narrowed(self, keep_N: Tensor) -> "Expert":
        """Only the neurons at ``keep_N``."""
        rows = torch.cat([keep_N, keep_N + self.width])
        return Expert(self.gate_up[rows], self.down[:, keep_N])


@dataclass(frozen=True)
class Layer:
    """Experts and their router; one expert without router is a plain MLP, none is a gap.

    A token goes to the ``top_k`` experts of largest score + bias; their weights are the scores
    without bias, which sum to one if ``renormalise``, times ``scale``.
    """

    experts: tuple[Expert, ...] = ()
    router: Tensor | None = None  # [E, D]
    bias: Tensor | None = None  # [E], for choosing only (loss-free balancing)
    top_k: int = 1
    score: Literal["softmax", "sigmoid"] = "softmax"
    renormalise: bool = True
    scale: float = 1.0
    shared: Expert | None = None  # sees every token
    shared_gate: Tensor | None = None  # [1, D], of the shared expert's sigmoid gate

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of every expert."""
        return tuple(expert.width for expert in self.experts)

    @property
    def parameters(self) -> int:
        """Weights of all experts, the shared one among them; the router's are not counted."""
        always = 0 if self.shared is None else self.shared.parameters
        return always + sum(expert.parameters for expert in self.experts)

    @property
    def active(self) -> float:
        """Weights of experts that a token meets, if experts are equally busy."""
        always = 0 if self.shared is None else self.shared.parameters
        share = 1.0 if self.router is None else self.top_k / len(self.experts)
        return always + (self.parameters - always) * share

    def logits(self, x_TD: Tensor) -> Tensor:
        """What the router says [T, E]."""
        if self.router is None:
            return x_TD.new_zeros(len(x_TD), len(self.experts))
        with torch.autocast(x_TD.device.type, enabled=False):  # routing is decided in fp32
            return x_TD.float() @ self.router.float().T

    def gates(self, x_TD: Tensor) -> Tensor:
        """Weight of every expert for every token [T, E], zero where it was not chosen."""
        logits_TE = self.logits(x_TD)
        if self.router is None:
            return torch.ones_like(logits_TE)
        scores_TE = logits_TE.softmax(-1) if self.score == "softmax" else logits_TE.sigmoid()
        wanted_TE = scores_TE if self.bias is None else scores_TE + self.bias
        chosen_TK = wanted_TE.topk(self.top_k, dim=-1).indices
        weights_TK = scores_TE.gather(1, chosen_TK)
        if self.renormalise:
            weights_TK = weights_TK / weights_TK.sum(dim=-1, keepdim=True).clamp(min=1e-20)
        return torch.zeros_like(logits_TE).scatter(1, chosen_TK, weights_TK * self.scale)

    def routed(self, x_TD: Tensor, gates_TE: Tensor | None = None) -> Tensor:
        """Output [T, D] of the routed experts alone."""
        gates_TE = self.gates(x_TD) if gates_TE is None else gates_TE
        out_TD = torch.zeros_like(x_TD)
        for number, expert in enumerate(self.experts):
            tokens = torch.nonzero(gates_TE[:, number])[:, 0]
            own = expert(x_TD[tokens]) * gates_TE[tokens, number, None]
            out_TD.index_add_(0, tokens, own.to(out_TD.dtype))
        return out_TD

    def always(self, x_TD: Tensor) -> Tensor:
        """Output [T, D] of the shared expert."""
        if self.shared is None:
            return torch.zeros_like(x_TD)
        out_TD = self.shared(x_TD)
        gate = self.shared_gate
        return out_TD if gate is None else out_TD * (x_TD @ gate.T).sigmoid()

    def __call__(self, x_TD: Tensor) -> Tensor:
        """Output [T, D] of the whole layer."""
        return self.routed(x_TD) + self.always(x_TD)

    def keeping(self, kept: Sequence[int]) -> "Layer":
        """Only the experts numbered ``kept``; one that is left alone needs no router."""
        experts = tuple(self.experts[number] for number in kept)
        if len(experts) <= 1 or self.router is None:
            return replace(self, experts=experts, router=None, bias=None, top_k=1)
        index = torch.tensor(list(kept))
        bias = None if self.bias is None else self.bias[index]
        top_k = min(self.top_k, len(experts))
        return replace(self, experts=experts, router=self.router[index], bias=bias, top_k=top_k)
