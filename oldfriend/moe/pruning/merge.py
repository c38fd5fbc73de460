"""Several experts made one: who belongs together, and what the common expert is.

Shape suffixes: N sample tokens, E experts, G groups, D hidden size, F width, P pooled neurons.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import squareform
from torch import Tensor

from oldfriend.moe.layer import Expert, Layer
from oldfriend.moe.pruning.importance import Sums, mean_outputs, merge_weights, output_distances
from oldfriend.moe.pruning.shrink import eliminate
from oldfriend.moe.router.donor import ridge
from oldfriend.moe.router.folding import folded_logits

Groups = list[list[int]]
POOL = 1536  # neurons at most that one elimination starts from; its cost grows with the cube


def groups_by_distance(distance_EE: Tensor, wanted: int) -> Groups:
    """Average-linkage clusters: the nearest two groups join until ``wanted`` are left.

    Raises ValueError unless 1 <= wanted <= E.
    """
    count = len(distance_EE)
    if not 1 <= wanted <= count:
        raise ValueError(f"{count} experts cannot be merged into {wanted}")
    if wanted == count:
        return [[number] for number in range(count)]
    near = ((distance_EE + distance_EE.T) / 2).double().fill_diagonal_(0).numpy()
    tree = linkage(squareform(near, checks=False), method="average")
    labels = fcluster(tree, wanted, criterion="maxclust")
    found = [np.flatnonzero(labels == label).tolist() for label in sorted(set(labels))]
    return _split_to(found, wanted)


def _split_to(groups: Groups, wanted: int) -> Groups:
    """Ties can leave too few groups; the largest gives up members until there are enough."""
    while len(groups) < wanted:
        groups.sort(key=len)
        groups.append([groups[-1].pop()])
    return sorted(groups)


def merge_distances(layer: Layer, sums: Sums, x_ND: Tensor) -> Tensor:
    """Squared output error [E, E] that stays when two experts become one.

    The spread of their gate ratio (see ``merge_weights``) times how far their outputs lie apart:
    experts that are always mixed alike, or that say the same, cost nothing.
    """
    return merge_weights(sums)[1] * output_distances(layer, x_ND)


def hcsmoe_distances(layer: Layer, x_ND: Tensor) -> Tensor:
    """Euclidean distance [E, E] of the experts' mean outputs over all tokens (arXiv:2410.08589)."""
    means_ED = mean_outputs(layer, x_ND)
    return torch.cdist(means_ED, means_ED)


def matched(expert: Expert, reference: Expert, x_ND: Tensor) -> Expert:
    """``expert`` with its neurons renumbered to those of ``reference`` that act most alike.

    Hungarian assignment on correlations of activations; both must be equally wide. The function
    stays the same.
    """
    ours, theirs = (_standard(e.hidden(x_ND)) for e in (expert, reference))
    rows, order = linear_sum_assignment((theirs.T @ ours).numpy(), maximize=True)
    assert (rows == np.arange(len(rows))).all()
    return expert.narrowed(torch.as_tensor(order))


def _standard(hidden_NF: Tensor) -> Tensor:
    centred = hidden_NF - hidden_NF.mean(dim=0)
    standard: Tensor = centred / centred.norm(dim=0).clamp(min=1e-12)
    return standard


def averaged(layer: Layer, group: Sequence[int], shares: Tensor, x_ND: Tensor) -> Expert:
    """Mean of the group's weights by ``shares`` [len(group)], neurons matched to its largest."""
    if len({layer.experts[number].width for number in group}) > 1:
        raise ValueError("experts of different width cannot be averaged")
    shares = shares / shares.sum()
    reference = layer.experts[group[int(shares.argmax())]]
    aligned = [matched(layer.experts[number], reference, x_ND) for number in group]
    pairs = list(zip(shares.to(x_ND.dtype), aligned, strict=True))
    gate_up = sum((share * e.gate_up for share, e in pairs), torch.zeros_like(reference.gate_up))
    down = sum((share * e.down for share, e in pairs), torch.zeros_like(reference.down))
    return Expert(gate_up, down)


def joined(experts: Sequence[Expert]) -> Expert:
    """One expert with the neurons of all."""
    halves = [torch.cat([e.gate_up.chunk(2)[half] for e in experts]) for half in (0, 1)]
    return Expert(torch.cat(halves), torch.cat([e.down for e in experts], dim=1))


def pooled(
    layer: Layer, group: Sequence[int], x_ND: Tensor, width: int, *, always: bool = False
) -> Expert:
    """The ``width`` neurons (or all) of a group that together say best what the group said.

    Its target is sum g_i f_i over the group, its gate the sum s of theirs (with ``always``: 1, on
    every token). Neurons are chosen from all members' by elimination, output weights by ridge.
    """
    gates_NE = layer.gates(x_ND)[:, list(group)]
    total_N = gates_NE.sum(dim=1)
    tokens = torch.arange(len(x_ND)) if always else torch.nonzero(total_N)[:, 0]
    x, gates, total = x_ND[tokens], gates_NE[tokens], total_N[tokens]
    members = [layer.experts[number] for number in group]
    target = sum(
        (expert(x) * gates[:, i, None] for i, expert in enumerate(members)), torch.zeros_like(x)
    )
    scale = torch.ones_like(total) if always else total
    energy = torch.cat(
        [
            (e.hidden(x) * gates[:, i, None]).square().sum(dim=0) * e.down.square().sum(dim=0)
            for i, e in enumerate(members)
        ]
    )
    whole = joined(members)
    most = max(POOL, width)
    if whole.width > most:
        whole = whole.narrowed(energy.topk(most).indices.sort().values)
    features = whole.hidden(x) * scale[:, None]
    width = min(width, whole.width)
    chosen = eliminate(features.T @ features, features.T @ target, width)
    return Expert(whole.narrowed(chosen.keep).gate_up, chosen.down)


def folded(layer: Layer, groups: Groups, experts: Sequence[Expert], x_ND: Tensor) -> Layer:
    """A layer of one expert a group, the router folded: groups get their members' probability.

    A group's logit is the logsumexp of its members', which is not linear in x: rows of larger
    groups start from ridge regression, rows of single experts as they are, and all are then fitted
    to the groups' probabilities.
    """
    if len(groups) == 1:
        return replace(layer, experts=tuple(experts), router=None, bias=None, top_k=1)
    assert layer.router is not None
    wanted_NG = folded_logits(layer.logits(x_ND), groups)
    rows_GD = _uncentred_ridge(x_ND, wanted_NG)
    for number, group in enumerate(groups):
        if len(group) == 1:
            rows_GD[number] = layer.router[group[0]]
    if layer.score == "softmax":
        rows_GD = nearest_probabilities(x_ND, wanted_NG.softmax(dim=-1), rows_GD)
    bias = None if layer.bias is None else torch.stack([layer.bias[g].mean() for g in groups])
    return replace(
        layer, experts=tuple(experts), router=rows_GD.to(layer.router.dtype), bias=bias,
        top_k=min(layer.top_k, len(groups)),
    )  # fmt: skip


def _uncentred_ridge(x_ND: Tensor, targets_NG: Tensor) -> Tensor:
    """Rows [G, D] that give ``targets_NG`` themselves; ``ridge`` would take their mean out."""
    both = torch.cat([targets_NG, -targets_NG], dim=1)  # the mean of these is zero
    return ridge(x_ND, both, penalty=1e-4)[: targets_NG.shape[1]]


def nearest_probabilities(
    x_ND: Tensor, wanted_NG: Tensor, rows_GD: Tensor, steps: int = 30
) -> Tensor:
    """Rows whose softmax is nearest to ``wanted_NG`` by KL divergence, from ``rows_GD`` on.

    A convex problem (multinomial regression on soft labels), solved by L-BFGS. Logits that nearly
    tie weigh as much as they matter, which they do not in a regression of logits.
    """
    rows = rows_GD.clone().requires_grad_()
    solver: Any = torch.optim.LBFGS([rows], max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        value = -(wanted_NG * (x_ND @ rows.T).log_softmax(dim=-1)).sum(dim=-1).mean()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        solver.step(loss)
    return rows.detach()
