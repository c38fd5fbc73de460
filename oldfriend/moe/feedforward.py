"""The FFN of a decoder layer: routed experts, one plain expert, or nothing; perhaps a shared one.

Shape suffixes: B rows, L tokens a row, T = B * L tokens, E experts, K chosen a token, D hidden,
F neurons.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

from oldfriend.moe.config import expert_widths
from oldfriend.moe.experts import Experts
from oldfriend.moe.losses import expert_counts
from oldfriend.moe.recording import Pass, Routing, Scratch

_OFF = -1e4  # score of an expert that a domain must not use


class Router(nn.Linear):
    """Linear router, computed in fp32 whatever the model's or autocast's dtype.

    ``expert_bias`` [E] (fp32 buffer, or None) helps to choose and never weighs: loss-free
    balancing (arXiv:2408.15664) moves it.
    """

    def __init__(self, layer: Any, hidden: int) -> None:
        super().__init__(hidden, layer.num_experts, bias=False)
        self.top_k = int(layer.num_experts_per_tok)
        self.score = layer.router_score
        self.renormalise = layer.renormalise
        self.scale = layer.routed_scale
        self.level = layer.routing_level
        bias = torch.zeros(layer.num_experts) if layer.expert_bias else None
        self.expert_bias: Tensor | None
        self.register_buffer("expert_bias", bias)
        self.domain_experts = layer.domain_experts

    def logits(self, x_TD: Tensor) -> Tensor:
        """What the router says of each token [T, E], fp32."""
        with torch.autocast(x_TD.device.type, enabled=False):
            return F.linear(x_TD.float(), self.weight.float())

    def decide(self, logits_TE: Tensor, allowed_TE: Tensor | None = None) -> Routing:
        """Chosen experts and their weights from (possibly averaged) logits."""
        masked = logits_TE if allowed_TE is None else logits_TE.masked_fill(~allowed_TE, _OFF)
        scores_TE = masked.softmax(-1) if self.score == "softmax" else masked.sigmoid()
        ranks_TE = scores_TE
        if self.expert_bias is not None:
            ranks_TE = scores_TE.detach() + self.expert_bias
            if allowed_TE is not None:
                ranks_TE = ranks_TE.masked_fill(~allowed_TE, _OFF)
        chosen_TK = ranks_TE.topk(self.top_k, dim=-1).indices
        weights_TK = scores_TE.gather(1, chosen_TK)
        if self.renormalise:
            weights_TK = weights_TK / weights_TK.sum(-1, keepdim=True).clamp(min=1e-20)
        return Routing(logits_TE, chosen_TK, weights_TK * self.scale)

    def forward(  # type: ignore[override]
        self, x_TD: Tensor, shape: tuple[int, int] | None = None, now: Pass | None = None
    ) -> Routing:
        """Route ``x_TD``, rows of ``shape`` (B, L), within the pass ``now``."""
        logits_TE = self.logits(x_TD)
        shape = shape or (1, len(x_TD))
        now = now or Pass()
        if self.level == "sequence":
            logits_BLE = logits_TE.view(*shape, -1)
            logits_TE = running_mean(logits_BLE, now, id(self)).flatten(0, 1)
        return self.decide(logits_TE, self._allowed(shape, now))

    def _allowed(self, shape: tuple[int, int], now: Pass) -> Tensor | None:
        if self.level != "domain" or now.domains is None or not self.domain_experts:
            return None
        device = now.domains.device
        table = torch.zeros(len(self.domain_experts) + 1, self.out_features, dtype=torch.bool)
        for number, experts in enumerate(self.domain_experts):
            table[number, experts] = True
        table[-1] = True  # -1: not declared, every expert allowed
        domains = now.domains if now.domains.ndim == 2 else now.domains[:, None]
        return table.to(device)[domains.expand(shape).flatten()]


def running_mean(logits_BLE: Tensor, now: Pass, key: int) -> Tensor:
    """Mean logits of a document up to each token: sequence-level routing that sees no future.

    With a cache, sums of the tokens before are kept in ``now.sums`` under ``key``.
    """
    real_BL1 = torch.ones_like(logits_BLE[..., :1])
    if now.real_BL is not None:
        real_BL1 = now.real_BL[..., None].to(logits_BLE.dtype)
    sums = (logits_BLE * real_BL1).cumsum(1)
    counts = real_BL1.cumsum(1)
    if now.starts_BL is not None and now.sums is None:  # packed documents
        before = (now.starts_BL - 1).clamp(min=0)[..., None]
        first = (now.starts_BL > 0)[..., None]
        sums = sums - sums.gather(1, before.expand_as(sums)) * first
        counts = counts - counts.gather(1, before) * first
    if now.sums is not None:
        if key in now.sums:
            past_sum, past_count = now.sums[key]
            sums, counts = sums + past_sum[:, None], counts + past_count[:, None]
        now.sums[key] = (sums[:, -1].detach(), counts[:, -1].detach())
    return sums / counts.clamp(min=1)


class SharedExpert(nn.Module):
    """A gated FFN that every token passes; with ``gated``, times sigmoid(gate x) (Qwen2-MoE)."""

    def __init__(self, hidden: int, width: int, activation: Any, *, gated: bool = False) -> None:
        super().__init__()
        self.gate_up = nn.Linear(hidden, 2 * width, bias=False)
        self.down = nn.Linear(width, hidden, bias=False)
        self.gate = nn.Linear(hidden, 1, bias=False) if gated else None
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Output, of the shape of ``x``."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        y: Tensor = self.down(self.activation(gate) * up)
        return y if self.gate is None else y * self.gate(x).sigmoid()


class MoeFeedForward(nn.Module):
    """One layer's FFN: ``router`` (None without routing), ``experts``, ``shared`` (or None).

    ``layer`` is the config as this layer sees it; one expert is a plain FFN, none is no FFN.
    """

    def __init__(self, config: Any, index: int, scratch: Scratch) -> None:
        super().__init__()
        layer, text = config.layer(index), config.text_config
        hidden = text.hidden_size
        activation = ACT2FN[getattr(text, "hidden_act", "silu")]
        self.index, self.path, self.scratch = index, config.experts_path, scratch
        self.now: Pass | None = None  # set by the decoder layer before each forward
        self.router = Router(layer, hidden) if layer.num_experts > 1 else None
        self.experts: Experts | None = None
        if layer.num_experts:
            self.experts = Experts(hidden, expert_widths(layer), activation)
            self.experts.reset(text.initializer_range)
        self.shared: SharedExpert | None = None
        if width := layer.shared_expert_intermediate_size:
            self.shared = SharedExpert(hidden, width, activation, gated=layer.shared_expert_gate)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Output [B, L, D]."""
        x_TD = hidden_states.flatten(0, -2)
        if self.experts is None:
            y_TD = torch.zeros_like(x_TD) if self.shared is None else None
        elif self.router is None:
            y_TD = self.experts(x_TD)
        else:
            length = hidden_states.shape[-2]
            y_TD = self._routed(x_TD, (len(x_TD) // length, length))
        if self.shared is not None:
            shared_TD = self.shared(x_TD)
            y_TD = shared_TD if y_TD is None else y_TD + shared_TD
        assert y_TD is not None
        return y_TD.view_as(hidden_states)

    def _routed(self, x_TD: Tensor, shape: tuple[int, int]) -> Tensor:
        assert self.router is not None and self.experts is not None
        now = self.now or Pass()
        routing: Routing = self.router(x_TD, shape, now)
        self._report(routing, x_TD, now)
        y_TD: Tensor = self.experts(x_TD, routing.chosen, routing.weights, self.path)
        return y_TD

    def _report(self, routing: Routing, x_TD: Tensor, now: Pass) -> None:
        """Hand decisions to whoever records, and to the losses; once a pass."""
        if self.index in now.routings:  # recomputed under gradient checkpointing
            return
        learning = self.training and torch.is_grad_enabled()
        now.routings[self.index] = routing if learning else routing.detach()
        real_T = None if now.real_BL is None else now.real_BL.flatten()
        if now.records is not None:
            now.records.add(self.index, routing, x_TD, real_T)
        if learning:
            self._count(routing, real_T)

    def _count(self, routing: Routing, real_T: Tensor | None) -> None:
        """Add this pass to the assignments since the last optimizer step, over all processes."""
        assert self.router is not None
        count_E = expert_counts(routing.chosen, self.router.out_features, real_T)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(count_E)
        load = self.scratch.load
        load[self.index] = load[self.index] + count_E if self.index in load else count_E
