"""Spherical k-means: clusters of directions, as a router sees its tokens.

Shapes: T points, D features, E clusters.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Clusters:
    """Unit centroids [E, D], the cluster of each point [T], and the mean cosine to one's own."""

    centroids: Tensor
    labels: Tensor
    cosine: float


def spherical_kmeans(
    points_TD: Tensor,
    clusters: int,
    *,
    seed: int,
    iterations: int = 30,
    restarts: int = 2,
    balanced: bool = False,
) -> Clusters:
    """Clusters of ``points_TD`` by cosine (Dhillon & Modha 2001), k-means++ starts, the best kept.

    ``balanced`` lets sizes differ by one at most: the surest points choose first.
    An empty cluster is given the points that fit their own cluster worst. Raises ValueError if
    there are fewer points than clusters.
    """
    if len(points_TD) < clusters:
        raise ValueError(f"{len(points_TD)} points cannot form {clusters} clusters")
    unit_TD = F.normalize(points_TD.float(), dim=-1)
    found = []
    for restart in range(restarts):
        generator = torch.Generator().manual_seed(seed * 1009 + restart)
        centroids = _spread_out(unit_TD, clusters, generator)
        found.append(_lloyd(unit_TD, centroids, iterations, balanced))
    return max(found, key=lambda result: result.cosine)


def _spread_out(unit_TD: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """k-means++ on the sphere: the next seed is likely one that is far from all so far."""
    first = int(torch.randint(len(unit_TD), (1,), generator=generator))
    chosen = [first]
    distance_T = (1 - unit_TD @ unit_TD[first]).clamp(min=0)
    while len(chosen) < clusters:
        weight = distance_T if float(distance_T.sum()) > 0 else torch.ones_like(distance_T)
        chosen.append(int(torch.multinomial(weight, 1, generator=generator)))
        distance_T = torch.minimum(distance_T, (1 - unit_TD @ unit_TD[chosen[-1]]).clamp(min=0))
    return unit_TD[chosen].clone()


def _lloyd(unit_TD: Tensor, centroids_ED: Tensor, iterations: int, balanced: bool) -> Clusters:
    assign = balanced_assignment if balanced else lambda scores: scores.argmax(dim=1)
    labels_T = assign(unit_TD @ centroids_ED.T)
    for _ in range(iterations):
        labels_T = _without_empty(labels_T, unit_TD, centroids_ED)
        sums = torch.zeros_like(centroids_ED).index_add_(0, labels_T, unit_TD)
        centroids_ED = F.normalize(sums, dim=-1)
        new_T = assign(unit_TD @ centroids_ED.T)
        if new_T.equal(labels_T):
            break
        labels_T = new_T
    cosine = (unit_TD * centroids_ED[labels_T]).sum(dim=1).mean()
    return Clusters(centroids_ED, labels_T, float(cosine))


def _without_empty(labels_T: Tensor, unit_TD: Tensor, centroids_ED: Tensor) -> Tensor:
    counts = labels_T.bincount(minlength=len(centroids_ED))
    empty = torch.nonzero(counts == 0)[:, 0]
    if not len(empty):
        return labels_T
    own_T = (unit_TD * centroids_ED[labels_T]).sum(dim=1)
    worst = own_T.argsort(stable=True)
    labels_T = labels_T.clone()
    moved = 0
    for point in worst.tolist():
        if moved == len(empty):
            break
        if int(counts[labels_T[point]]) > 1:
            counts[labels_T[point]] -= 1
            labels_T[point] = empty[moved]
            moved += 1
    return labels_T


def balanced_assignment(scores_TE: Tensor) -> Tensor:
    """Cluster of each point [T], sizes differing by one at most.

    Points choose in the order of the gap between their best and second best score.
    """
    points, clusters = scores_TE.shape
    ranked = scores_TE.sort(dim=1, descending=True, stable=True)
    gap_T = ranked.values[:, 0] - ranked.values[:, min(1, clusters - 1)]
    wishes = ranked.indices.tolist()
    room, spare = [points // clusters] * clusters, points % clusters  # spare: one more each
    labels = [0] * points
    for point in gap_T.argsort(descending=True, stable=True).tolist():
        place = next(c for c in wishes[point] if room[c] > 0 or (room[c] == 0 and spare))
        spare -= room[place] == 0
        room[place] -= 1
        labels[point] = place
    return torch.tensor(labels)
