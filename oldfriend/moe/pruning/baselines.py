"""Published ways to halve a mixture of experts, as controls at the same budget.

All keep whole experts and change nothing else, as published; recovery is the caller's.
"""

from collections.abc import Callable, Sequence

import torch

from oldfriend.errors import InputError
from oldfriend.moe.layer import Layer
from oldfriend.moe.pruning.importance import Evidence, scores
from oldfriend.moe.pruning.merge import averaged, folded, groups_by_distance, hcsmoe_distances
from oldfriend.moe.pruning.refit import refit_down

Baseline = Callable[[Sequence[Evidence], float], list[Layer]]


def _top(one: Evidence, score: str, left: int) -> Layer:
    """The ``left`` experts of largest score."""
    kept = scores(one.sums)[score].topk(left).indices.sort().values
    return one.layer.keeping(kept.tolist())


def _left(one: Evidence, keep: float) -> int:
    return max(1, int(keep * len(one.layer.experts)))


def uniform(score: str) -> Baseline:
    """The same share of experts in every layer, those of largest score."""
    return lambda evidence, keep: [_top(one, score, _left(one, keep)) for one in evidence]


def everywhere(score: str) -> Baseline:
    """One threshold for all layers: the experts of largest score in the whole model.

    Every layer keeps at least as many as a token needs. Scores are compared as they are.
    """

    def cut(evidence: Sequence[Evidence], keep: float) -> list[Layer]:
        values = [scores(one.sums)[score] for one in evidence]
        room = sum(_left(one, keep) for one in evidence)
        least = [min(one.layer.top_k, len(v)) for one, v in zip(evidence, values, strict=True)]
        sure = {
            (i, int(e)) for i, v in enumerate(values) for e in v.topk(least[i]).indices.tolist()
        }
        ranked = sorted(
            ((i, e) for i, v in enumerate(values) for e in range(len(v)) if (i, e) not in sure),
            key=lambda place: -float(values[place[0]][place[1]]),
        )
        kept = sure | set(ranked[: max(0, room - len(sure))])
        return [
            one.layer.keeping(sorted(e for layer, e in kept if layer == i))
            for i, one in enumerate(evidence)
        ]

    return cut


def pyramid(evidence: Sequence[Evidence], keep: float) -> list[Layer]:
    """REAP's choice with fewer experts in low layers (PR-MoE), counts rising linearly."""
    total = sum(len(one.layer.experts) for one in evidence)
    layers, room = len(evidence), int(keep * total)
    floor = [min(one.layer.top_k, len(one.layer.experts)) for one in evidence]
    counts = list(floor)
    while sum(counts) < room:
        open_ = [i for i, one in enumerate(evidence) if counts[i] < len(one.layer.experts)]
        # the layer furthest below its place on the slope from 1/2 to 3/2 of the mean
        slope = [room / layers * (0.5 + i / max(layers - 1, 1)) for i in range(layers)]
        counts[max(open_, key=lambda i: slope[i] - counts[i])] += 1
    return [_top(one, "reap", left) for one, left in zip(evidence, counts, strict=True)]


def hcsmoe(evidence: Sequence[Evidence], keep: float) -> list[Layer]:
    """Average-linkage groups of mean outputs, weights averaged by frequency (arXiv:2410.08589).

    The original leaves all router rows and lets them share experts, for which no stock class has
    room; here the router is folded to the groups' summed probability. Neurons are matched first,
    which the original does not do.
    """
    layers = []
    for one in evidence:
        layer, x_ND = one.layer, one.sample
        groups = groups_by_distance(hcsmoe_distances(layer, x_ND), _left(one, keep))
        load = one.sums.load_E + 1e-6
        experts = [averaged(layer, group, load[group], x_ND) for group in groups]
        layers.append(folded(layer, groups, experts, x_ND))
    return layers


def refitted(baseline: Baseline) -> Baseline:
    """``baseline`` with our closed-form repair: what the repair alone is worth."""

    def cut(evidence: Sequence[Evidence], keep: float) -> list[Layer]:
        made = baseline(evidence, keep)
        return [
            refit_down(layer, one.sample, one.target).layer
            for layer, one in zip(made, evidence, strict=True)
        ]

    return cut


def at_random(seed: int) -> Baseline:
    """Experts by lot, the same share in every layer."""

    def cut(evidence: Sequence[Evidence], keep: float) -> list[Layer]:
        generator = torch.Generator().manual_seed(seed)
        layers = []
        for one in evidence:
            order = torch.randperm(len(one.layer.experts), generator=generator)
            layers.append(one.layer.keeping(sorted(order[: _left(one, keep)].tolist())))
        return layers

    return cut


BASELINES: dict[str, Baseline] = {
    "random": at_random(0),
    "frequency": uniform("frequency"),
    "ean": uniform("ean"),
    "reap": uniform("reap"),
    "reap global": everywhere("reap"),
    "hc-smoe": hcsmoe,
    "pyramid": pyramid,
    "reap + refit": refitted(uniform("reap")),
    "pyramid + refit": refitted(pyramid),
}


def cut(name: str, evidence: Sequence[Evidence], keep: float) -> list[Layer]:
    """Layers after the baseline ``name``. Raises InputError for an unknown one."""
    if name not in BASELINES:
        raise InputError(f"unknown baseline '{name}'; there are: {', '.join(BASELINES)}")
    return BASELINES[name](evidence, keep)
