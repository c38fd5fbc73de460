"""What a router does, counted batch by batch: nothing of the size of the text is kept.

Shapes: T tokens, E experts, k chosen, M domains.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from oldfriend.moe.losses import max_violation

DEAD = 0.1  # an expert with less than this share of its fair load counts as dead


@dataclass(frozen=True)
class RoutingSummary:
    """One layer's routing. Entropy and margin are of softmax over all experts."""

    load_cv: float  # standard deviation over mean of the loads; 0: even
    max_vio: float  # (largest load - mean) / mean
    dead_experts: int
    entropy: float  # of a token's distribution over ln E; 1: undecided
    margin: float  # mean of the first probability less the second
    logit_std: float  # of centred logits


class RoutingStats:
    """Running counts of one layer: loads, pairs, and loads by domain."""

    def __init__(self, experts: int, domains: int = 0) -> None:
        self.experts = experts
        self.tokens = 0
        self.choices = 0
        self.pairs_EE = torch.zeros(experts, experts, dtype=torch.float64)
        self.domain_ME = torch.zeros(domains, experts, dtype=torch.float64)
        self._entropy = self._margin = self._squares = 0.0

    def update(self, logits_TE: Tensor, chosen_Tk: Tensor, domains_T: Tensor | None = None) -> None:
        """Count a batch; leave padding out before. ``domains_T`` are labels from 0 on."""
        logits = logits_TE.detach().double()
        member = torch.zeros_like(logits).scatter_(1, chosen_Tk, 1.0)
        self.tokens += len(logits)
        self.choices += chosen_Tk.numel()
        self.pairs_EE += member.T @ member
        log_p = logits.log_softmax(dim=1)
        p = log_p.exp()
        self._entropy += float(-(p * log_p).sum())
        best = p.topk(min(2, self.experts), dim=1).values
        self._margin += float((best[:, 0] - best[:, -1]).sum())
        self._squares += float((logits - logits.mean(dim=1, keepdim=True)).square().sum())
        if domains_T is not None:
            self.domain_ME.index_add_(0, domains_T, member)

    @property
    def counts(self) -> Tensor:
        """Tokens that each expert served [E]."""
        return self.pairs_EE.diagonal()

    def coactivation(self) -> Tensor:
        """P(j | i): share of expert i's tokens that j served, too [E, E]; all pairs, not ranks."""
        return self.pairs_EE / self.counts.clamp(min=1)[:, None]

    def summary(self) -> RoutingSummary:
        """The counts so far in a few figures. Raises ValueError before the first token."""
        if not self.tokens:
            raise ValueError("no token has been counted")
        counts, mean = self.counts, float(self.counts.mean())
        largest_entropy = math.log(self.experts) if self.experts > 1 else 1.0
        return RoutingSummary(
            load_cv=float(counts.std(correction=0)) / mean,
            max_vio=max_violation(counts),
            dead_experts=int((counts < DEAD * mean).sum()),
            entropy=self._entropy / self.tokens / largest_entropy,
            margin=self._margin / self.tokens,
            logit_std=math.sqrt(self._squares / (self.tokens * self.experts)),
        )
