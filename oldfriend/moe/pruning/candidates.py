"""What can be done to one layer, each done in closed form from a sample of its inputs.

Shape suffixes: N sample tokens, E experts, D hidden size, F width of an expert.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from oldfriend.moe.layer import Expert, Layer
from oldfriend.moe.pruning.importance import Evidence, scores
from oldfriend.moe.pruning.merge import folded, groups_by_distance, merge_distances, pooled
from oldfriend.moe.pruning.refit import missed, refit_down
from oldfriend.moe.pruning.settings import ActionGrid
from oldfriend.moe.pruning.shrink import eliminate, factored, narrowed, rank_for

Kind = Literal["keep", "drop", "merge", "narrow", "share", "dense", "cancel", "lowrank"]
TRIED = 4  # experts of least energy that compete to be dropped next
STEP = 8  # widths are multiples of this, which bf16 kernels need


@dataclass(frozen=True)
class Action:
    """``kind`` with the numbers that say how far it goes."""

    kind: Kind
    experts: int = 0  # left, routed
    width: int = 0  # of each routed expert (of the one MLP for dense)
    shared: int = 0  # width of a shared expert

    def __str__(self) -> str:
        """Short name for tables."""
        if self.kind == "cancel":
            return "cancel"
        extra = f"+{self.shared}" if self.shared else ""
        return f"{self.kind} {self.experts}x{self.width}{extra}"

    @property
    def deployable(self) -> bool:
        """Whether a model can be saved with it; factored weights have no class that stores them."""
        return self.kind != "lowrank"

    def parameters(self, hidden: int) -> int:
        """Expert weights that it leaves."""
        if self.kind == "lowrank":  # width stands for the rank-equivalent width
            return 3 * hidden * self.experts * self.width
        return 3 * hidden * (self.experts * self.width + self.shared)


def actions(layer: Layer, grid: ActionGrid) -> list[Action]:
    """Everything that ``grid`` allows for this layer; the first is to keep it as it is."""
    always = 0 if layer.shared is None else layer.shared.width
    if not layer.experts:
        return [Action("keep", shared=always)]
    count, width = len(layer.experts), max(layer.widths)
    found = [Action("keep", count, width, always)]
    if layer.router is None:  # a plain MLP can be narrowed or left out
        found += [Action("narrow", 1, _wide(width, part), always) for part in grid.widths]
    else:
        fewer = sorted({max(1, round(part * count)) for part in grid.experts} - {1, count})
        found += [Action("drop", left, width, always) for left in fewer]
        found += [Action("merge", left, width, always) for left in fewer]
        found += [Action("narrow", count, _wide(width, part), always) for part in grid.widths]
        found += [
            Action("merge", left, _wide(width, part), always)
            for left in fewer
            for part in grid.widths
            if grid.both
        ]
        found += [Action("dense", 1, _wide(width, part), always) for part in grid.dense]
        if not always:
            found += [
                Action("share", count, _wide(width, part), _wide(width, common))
                for common, part in grid.share
            ]
        found += [Action("lowrank", count, _wide(width, part), always) for part in grid.lowrank]
    if grid.cancel:
        found.append(Action("cancel"))
    return list(dict.fromkeys(found))


def _wide(width: int, part: float) -> int:
    return max(STEP, round(part * width / STEP) * STEP)


def apply(action: Action, evidence: Evidence) -> Layer:
    """The layer after ``action``, output weights refitted to what it said before."""
    layer, x_ND = evidence.layer, evidence.sample
    if action.kind == "keep":
        return layer
    if action.kind == "cancel":
        return Layer()
    if action.kind == "drop":
        made = layer.keeping(kept_experts(evidence, action.experts))
    elif action.kind == "narrow":
        made = _narrowed(evidence, action.width)
    elif action.kind == "merge":
        made = _merged(evidence, action.experts, action.width)
    elif action.kind == "dense":
        made = _dense(evidence, action.width)
    elif action.kind == "share":
        made = _shared(evidence, action.shared, action.width)
    else:
        made = _factored(evidence, action.width)
    return refit_down(made, x_ND, evidence.target).layer


def kept_experts(evidence: Evidence, left: int) -> list[int]:
    """The ``left`` experts to keep: one after the other goes whose loss the sample feels least.

    Before each removal the ``TRIED`` experts of least energy are left out in turn, with all tokens
    routed anew, and the output error decides.
    """
    layer, x_ND, target_ND = evidence.layer, evidence.sample, evidence.target
    energy = scores(evidence.sums)["energy"]
    kept = list(range(len(layer.experts)))
    while len(kept) > left:
        weakest = sorted(kept, key=lambda number: float(energy[number]))[:TRIED]
        errors = {
            gone: missed(layer.keeping([e for e in kept if e != gone]), x_ND, target_ND)
            for gone in weakest
        }
        kept.remove(min(weakest, key=errors.__getitem__))
    return kept


def _narrowed(evidence: Evidence, width: int) -> Layer:
    pairs = zip(evidence.layer.experts, evidence.sums.hidden_FF, strict=True)
    experts = tuple(narrowed(expert, gram, min(width, expert.width)) for expert, gram in pairs)
    return replace(evidence.layer, experts=experts)


def _merged(evidence: Evidence, left: int, width: int) -> Layer:
    layer, x_ND = evidence.layer, evidence.sample
    groups = groups_by_distance(merge_distances(layer, evidence.sums, x_ND), left)
    experts = [
        layer.experts[group[0]]
        if len(group) == 1 and layer.widths[group[0]] <= width
        else pooled(layer, group, x_ND, width)
        for group in groups
    ]
    return folded(layer, groups, experts, x_ND)


def _dense(evidence: Evidence, width: int) -> Layer:
    layer, everyone = evidence.layer, range(len(evidence.layer.experts))
    mlp = pooled(layer, everyone, evidence.sample, width, always=True)
    return Layer(experts=(mlp,), shared=layer.shared, shared_gate=layer.shared_gate)


def _shared(evidence: Evidence, common: int, width: int) -> Layer:
    """What all experts have in common in one shared expert, what is left in narrow routed ones."""
    layer, x_ND = evidence.layer, evidence.sample
    shared = pooled(layer, range(len(layer.experts)), x_ND, common, always=True)
    gates_NE = layer.gates(x_ND)
    experts = []
    for number, expert in enumerate(layer.experts):
        tokens = torch.nonzero(gates_NE[:, number])[:, 0]
        gates = gates_NE[tokens, number, None]
        x = x_ND[tokens]
        hidden = expert.hidden(x) * gates
        rest = (expert(x) - shared(x)) * gates
        chosen = eliminate(hidden.T @ hidden, hidden.T @ rest, min(width, expert.width))
        experts.append(Expert(expert.narrowed(chosen.keep).gate_up, chosen.down))
    return replace(layer, experts=tuple(experts), shared=shared, shared_gate=None)


def _factored(evidence: Evidence, width: int) -> Layer:
    layer, x_ND = evidence.layer, evidence.sample
    gates_NE = layer.gates(x_ND)
    experts: Sequence[Expert] = [
        factored(expert, x_ND[gates_NE[:, number] > 0], rank_for(expert, width))
        for number, expert in enumerate(layer.experts)
    ]
    return replace(layer, experts=tuple(experts))
