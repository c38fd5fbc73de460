"""Fewer or more experts than a donor has: what its logits become, per token.

Shapes: T tokens, E experts of the donor, G experts wanted, k chosen.
A group of experts gets the probability that its members had together, so logits combine by
logsumexp; summing the router's rows (as Grouter does) multiplies odds instead.
"""

import math

import torch
from torch import Tensor

from oldfriend.moe.router.kmeans import spherical_kmeans


def coactivation(chosen_Tk: Tensor, experts: int) -> Tensor:
    """How often two experts serve the same token [E, E], over all pairs; loads on the diagonal."""
    member_TE = torch.zeros(len(chosen_Tk), experts).scatter_(1, chosen_Tk, 1.0)
    return member_TE.T @ member_TE


def affinity(together_EE: Tensor) -> Tensor:
    """Co-activation over what independent experts of these loads would show, 0 on the diagonal."""
    load = together_EE.diagonal()
    expected = load[:, None] * load[None, :]
    result = together_EE / expected.clamp(min=1e-9)
    return result.fill_diagonal_(0.0)


def fold_groups(chosen_Tk: Tensor, experts: int, wanted: int) -> list[list[int]]:
    """Experts in ``wanted`` groups of those that serve the same tokens.

    Average linkage on ``affinity``; no group grows beyond ceil(experts / wanted) unless it must.
    Raises ValueError unless 1 <= wanted <= experts.
    """
    if not 1 <= wanted <= experts:
        raise ValueError(f"{experts} experts cannot be folded into {wanted}")
    close = affinity(coactivation(chosen_Tk, experts))
    groups = [[e] for e in range(experts)]
    most = -(-experts // wanted)
    while len(groups) > wanted:
        pairs = [(i, j) for i in range(len(groups)) for j in range(i + 1, len(groups))]
        allowed = [(i, j) for i, j in pairs if len(groups[i]) + len(groups[j]) <= most]
        i, j = max(
            allowed or pairs,
            key=lambda p: float(close[groups[p[0]]][:, groups[p[1]]].mean()),
        )
        groups[i] = sorted(groups[i] + groups.pop(j))
    return sorted(groups)


def folded_logits(logits_TE: Tensor, groups: list[list[int]]) -> Tensor:
    """Logits [T, G] of groups of experts: softmax of them is the groups' summed probability."""
    return torch.stack([logits_TE[:, group].logsumexp(dim=1) for group in groups], dim=1)


def expanded_logits(
    logits_TE: Tensor, inputs_TD: Tensor, wanted: int, *, seed: int, sharpness: float = 1.0
) -> tuple[Tensor, list[int]]:
    """Logits [T, G] of more experts than there are, and the parent of each.

    The busiest experts are split in turn; siblings share their parent's probability (their
    logsumexp is the parent's logit exactly) by which cluster of the parent's tokens is nearer:
    ``sharpness`` is the standard deviation of the siblings' log-odds, 0 splits evenly.
    Raises ValueError if ``wanted`` is below the number of experts.
    """
    experts = logits_TE.shape[1]
    if wanted < experts:
        raise ValueError(f"{experts} experts cannot be expanded to {wanted}")
    load = logits_TE.softmax(dim=1).mean(dim=0)
    copies = [1] * experts
    for _ in range(wanted - experts):
        busiest = max(range(experts), key=lambda e: float(load[e]) / copies[e])
        copies[busiest] += 1
    owner_T = logits_TE.argmax(dim=1)
    columns, parents = [], []
    for expert, count in enumerate(copies):
        share_Tc = _shares(inputs_TD, owner_T == expert, count, seed + expert, sharpness)
        columns.append(logits_TE[:, expert, None] + share_Tc)
        parents += [expert] * count
    return torch.cat(columns, dim=1), parents


def _shares(inputs_TD: Tensor, own_T: Tensor, count: int, seed: int, sharpness: float) -> Tensor:
    """Log-shares [T, count] of siblings; they sum to one in probability for every token."""
    even = torch.full((len(inputs_TD), count), -math.log(count))
    own = inputs_TD[own_T] if int(own_T.sum()) >= 4 * count else inputs_TD
    if count == 1 or sharpness == 0 or len(own) < count:
        return even
    mean_D = own.mean(dim=0)
    centroids = spherical_kmeans(own - mean_D, count, seed=seed).centroids
    near_Tc = (inputs_TD - mean_D) @ centroids.T
    near_Tc = near_Tc - near_Tc.mean(dim=1, keepdim=True)
    spread = float(near_Tc.std()) or 1.0
    return (near_Tc * sharpness / spread).log_softmax(dim=1)
