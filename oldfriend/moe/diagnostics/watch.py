"""Routing and loss across a training: looks at a probe at a few moments, then figures.

Shapes: T probe tokens, E experts, k chosen.
"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from oldfriend.moe.diagnostics.change import Track
from oldfriend.moe.diagnostics.churn import churn, js_drift, saturation, steps_to
from oldfriend.moe.diagnostics.domains import domain_information
from oldfriend.moe.diagnostics.matching import coupling
from oldfriend.moe.diagnostics.probe import Look, Probe
from oldfriend.moe.diagnostics.routing_stats import RoutingStats
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.outcome import Outcome, Row

SETTLED = 0.8  # of the final routing: when a layer counts as settled


def moments(steps: int, count: int) -> list[int]:
    """Steps at which to look: the start, then ever less often, and the end.

    Routing moves most at first, so moments lie at quadratic distances.
    """
    found = {round(steps * (i / count) ** 2) for i in range(count + 1)}
    return sorted(found | {0, steps})


class Watch:
    """Called after every step; looks at ``probe`` at the steps of ``at``.

    Keeps choices, logits and losses of every look, and follows parameters if ``track`` is set.
    """

    def __init__(self, model: Any, probe: Probe, at: Sequence[int], *, track: bool = False) -> None:
        self.model, self.probe, self.at = model, probe, frozenset(at)
        self.steps: list[int] = []
        self.looks: list[Look] = []
        self.track = Track() if track else None

    def __call__(self, step: int) -> None:
        if step not in self.at or (self.steps and step <= self.steps[-1]):
            return
        self.steps.append(step)
        self.looks.append(self.probe.look(self.model))
        if self.track:
            self.track.see(step, tracked(self.model))

    @property
    def last(self) -> Look:
        """The latest look."""
        return self.looks[-1]

    def loss_rows(self, tokens_per_step: int) -> list[Row]:
        """The validation curve: one row a look, with a column per domain."""
        return [
            {"step": step, "tokens": step * tokens_per_step, "val_loss": look.loss} | look.losses
            for step, look in zip(self.steps, self.looks, strict=True)
        ]

    def routing(self) -> Outcome:
        """Figures of the routing over all looks, means over layers; empty for a dense model."""
        if not self.last.routings:
            return Outcome()
        rows = [self._layer(layer) for layer in self.last.routings]
        names = [name for name in rows[0] if name != "layer"]
        metrics = {name: fmean(row[name] for row in rows) for name in names}
        return Outcome(metrics, {"layers": rows, "over_time": self._over_time()})

    def _layer(self, layer: int) -> Row:
        chosen = [look.routings[layer].chosen for look in self.looks]
        logits = [look.routings[layer].logits for look in self.looks]
        experts = logits[0].shape[1]
        stats = RoutingStats(experts)
        stats.update(logits[-1], chosen[-1])
        summary = stats.summary()
        first = RoutingStats(experts)
        first.update(logits[0], chosen[0])
        moved = churn(chosen, experts)
        settled = saturation(chosen, experts)
        told = domain_information(
            chosen[-1], self.probe.domains_T, experts, documents_T=self.probe.documents_T
        )
        feed_forward = self.model.feed_forwards[layer]
        gates_EFD = feed_forward.experts.gate_up.detach()[:, : feed_forward.experts.width]
        own, others = coupling(feed_forward.router.weight.detach(), gates_EFD)
        return {
            "layer": layer,
            "churn": sum(moved),
            "churn_first": moved[0] if moved else 0.0,
            "saturation_start": settled[0],
            "saturation": fmean(settled[:-1]) if len(settled) > 1 else 1.0,
            "settled_at": steps_to(SETTLED, self.steps, settled) / max(self.steps[-1], 1),
            "js_drift": sum(js_drift(a, b) for a, b in pairwise(logits)),
            "load_cv": summary.load_cv,
            "load_cv_start": first.summary().load_cv,
            "max_vio": summary.max_vio,
            "dead_experts": float(summary.dead_experts),
            "entropy": summary.entropy,
            "margin": summary.margin,
            "logit_std": summary.logit_std,
            "domain_mi": told.value,
            "domain_mi_null": told.null,
            "domain_mi_p": told.p_value,
            "coupling": own - others,
        }

    def _over_time(self) -> list[Row]:
        """One row per look and layer: churn since the look before, agreement with the end, load."""
        rows: list[Row] = []
        for layer in self.last.routings:
            chosen = [look.routings[layer].chosen for look in self.looks]
            experts = self.last.routings[layer].logits.shape[1]
            moved = [0.0, *churn(chosen, experts)]
            settled = saturation(chosen, experts)
            for place, look in enumerate(self.looks):
                stats = RoutingStats(experts)
                stats.update(look.routings[layer].logits, look.routings[layer].chosen)
                summary = stats.summary()
                rows.append(
                    {
                        "step": self.steps[place],
                        "layer": layer,
                        "churn": moved[place],
                        "saturation": settled[place],
                        "load_cv": summary.load_cv,
                        "max_vio": summary.max_vio,
                        "dead_experts": summary.dead_experts,
                        "entropy": summary.entropy,
                        "margin": summary.margin,
                    }
                )
        return rows

    def domain_rows(self) -> list[Row]:
        """Shares of every domain's choices that fall on each expert at the last look."""
        rows: list[Row] = []
        names = self.probe.names
        for layer, routing in self.last.routings.items():
            stats = RoutingStats(routing.logits.shape[1], len(names))
            stats.update(routing.logits, routing.chosen, self.probe.domains_T)
            shares = stats.domain_ME / stats.domain_ME.sum(dim=1, keepdim=True).clamp(min=1)
            rows += [
                {"layer": layer, "expert": expert}
                | {name: float(shares[m, expert]) for m, name in enumerate(names)}
                for expert in range(stats.experts)
            ]
        return rows


def tracked(model: Any) -> dict[str, Tensor]:
    """Router, and every expert's matrices, of all layers by name; a dense FFN is expert 0."""
    found: dict[str, Tensor] = {}
    if isinstance(model, OFMoeForCausalLM):
        for layer, feed_forward in enumerate(model.feed_forwards):
            if feed_forward.router is not None:
                found[f"layer{layer}.router"] = feed_forward.router.weight
            if feed_forward.experts is not None:
                stacks = zip(feed_forward.experts.gate_up, feed_forward.experts.down, strict=True)
                for expert, (gate_up, down) in enumerate(stacks):
                    found[f"layer{layer}.expert{expert}.gate_up"] = gate_up
                    found[f"layer{layer}.expert{expert}.down"] = down
        return found
    for name, parameter in model.named_parameters():
        if (".feed_forward." in name or ".mlp." in name) and parameter.ndim == 2:
            found[name] = parameter
    return found


def area(steps: Sequence[float], losses: Sequence[float]) -> float:
    """Mean loss over training: the area under the curve over its length (trapezoids)."""
    if len(steps) < 2:
        return losses[-1]
    x, y = torch.tensor(steps, dtype=torch.float64), torch.tensor(losses, dtype=torch.float64)
    return float(torch.trapezoid(y, x) / (x[-1] - x[0]))


def tokens_to(goal: float, tokens: Sequence[float], losses: Sequence[float]) -> float:
    """Tokens, interpolated, at which ``losses`` first reach ``goal``; inf if they never do."""
    for place, loss in enumerate(losses):
        if loss <= goal:
            if place == 0:
                return float(tokens[0])
            before, after = losses[place - 1], loss
            part = (before - goal) / (before - after)
            return tokens[place - 1] + part * (tokens[place] - tokens[place - 1])
    return float("inf")
