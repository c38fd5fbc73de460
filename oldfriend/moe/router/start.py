"""The first weights of every router, by whatever is known before training.

Shapes: L layers, T tokens, D features, E experts. A router has no bias, so a start that should
favour no expert at the mean input has its rows made orthogonal to that mean.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from oldfriend.moe.router.donor import (
    Donor,
    align,
    copied,
    layers_by_cka,
    layers_by_depth,
    logit_std,
    procrustes,
    ridge,
)
from oldfriend.moe.router.folding import expanded_logits, fold_groups, folded_logits
from oldfriend.moe.router.kmeans import spherical_kmeans
from oldfriend.moe.upcycling.settings import RouterKind

KINDS: tuple[RouterKind, ...] = get_args(RouterKind)
FROM_DONOR: tuple[RouterKind, ...] = ("copy", "ridge", "procrustes", "distil")
FROM_DOMAINS: tuple[RouterKind, ...] = ("domains", "whitened")
INIT_STD = 0.02  # of a random router's weights
Match = Literal["depth", "cka"]


def router_start(
    kind: RouterKind,
    *,
    inputs: Sequence[Tensor],
    experts: int | Sequence[int],
    seed: int,
    scale: float | None = None,
    donor: Donor | None = None,
    domains: Tensor | None = None,
    gains: Sequence[Tensor] = (),
    spans: Sequence[Sequence[int]] = (),
    match: Match = "depth",
    penalty: float = 1e-2,
) -> list[Tensor]:
    """Router weights, per layer [E, D], where routers see ``inputs`` (per layer [T, D]).

    random: N(0, 0.02). scaled: random, at the logit scale of the others; the control that every
    other start must beat. kmeans: spherical k-means of centred inputs. domains / whitened: means of
    the tokens of each domain (labels ``domains`` [T]), or linear discriminants; split by k-means
    where experts outnumber domains. copy / ridge / procrustes: from ``donor``.
    distil: the start of ridge; its training goes on with ``distil.distilled``.

    ``scale`` is the standard deviation of the logits, by default the donor's in each layer, or 1
    without a donor; "random" is never scaled. ``gains`` [D] are the norms before our routers
    (copy), ``spans`` the ends of our tokens where the donor has another tokenizer. Raises
    ValueError for a start that lacks what it needs.
    """
    counts = [experts] * len(inputs) if isinstance(experts, int) else list(experts)
    if len(counts) != len(inputs):
        raise ValueError(f"{len(counts)} expert counts for {len(inputs)} layers")
    if kind in FROM_DONOR and donor is None:
        raise ValueError(f"router start '{kind}' needs a donor")
    if kind in FROM_DOMAINS and domains is None:
        raise ValueError(f"router start '{kind}' needs the tokens' domains")
    sources = _layers(inputs, donor, spans, match) if donor else []
    weights = []
    for layer, (x_TD, count) in enumerate(zip(inputs, counts, strict=True)):
        layer_seed = seed * 131 + layer
        if kind in ("random", "scaled"):
            weight = random_rows(count, x_TD.shape[1], layer_seed)
        elif kind == "kmeans":
            weight = cluster_rows(x_TD, count, layer_seed)
        elif kind in FROM_DOMAINS:
            assert domains is not None
            weight = domain_rows(
                x_TD, domains, count, layer_seed, penalty if kind == "whitened" else None
            )
        else:
            assert donor is not None
            gain = gains[layer] if gains else None
            weight = donor_rows(
                kind, x_TD, count, donor, sources[layer],
                gain=gain, spans=spans, seed=layer_seed, penalty=penalty,
            )  # fmt: skip
        if kind != "random":
            wanted = scale
            if wanted is None:
                wanted = donor_std(donor, sources[layer]) if donor else 1.0
            weight = scaled(weight, x_TD, wanted)
        weights.append(weight)
    return weights


def random_rows(experts: int, features: int, seed: int) -> Tensor:
    """Rows [E, D] from N(0, 0.02)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(experts, features, generator=generator) * INIT_STD


def cluster_rows(inputs_TD: Tensor, experts: int, seed: int) -> Tensor:
    """Rows [E, D]: directions in which the tokens cluster, blind to the mean input."""
    mean_D = inputs_TD.float().mean(dim=0)
    centroids = spherical_kmeans(inputs_TD.float() - mean_D, experts, seed=seed).centroids
    return without(centroids, mean_D)


def domain_rows(
    inputs_TD: Tensor, domains_T: Tensor, experts: int, seed: int, penalty: float | None = None
) -> Tensor:
    """Rows [E, D]: where the tokens of each domain lie, relative to the mean of the domains.

    With ``penalty``, the difference is whitened by the covariance within domains (linear
    discriminants); without, it is a plain mean. More experts than domains: the domains take turns,
    each split into clusters. Fewer: the domains that are nearest share an expert.
    """
    x_TD = inputs_TD.float()
    labels = sorted(set(domains_T.tolist()))
    means_MD = torch.stack([x_TD[domains_T == d].mean(dim=0) for d in labels])
    centre_D = means_MD.mean(dim=0)
    if experts < len(labels):
        shared = spherical_kmeans(means_MD - centre_D, experts, seed=seed)
        rows = shared.centroids
    else:
        pieces = []
        for place, domain in enumerate(labels):
            count = experts // len(labels) + (place < experts % len(labels))
            own = x_TD[domains_T == domain]
            if count == 1:
                pieces.append(means_MD[place, None] - centre_D)
            else:
                inner = spherical_kmeans(own - own.mean(dim=0), count, seed=seed).labels
                means = [own[inner == i].mean(dim=0) for i in range(count)]
                pieces.append(torch.stack(means) - centre_D)
        rows = torch.cat(pieces)
    if penalty is not None:
        place_T = torch.tensor([labels.index(d) for d in domains_T.tolist()])
        within = x_TD - means_MD[place_T]
        cov = (within.T @ within / len(within)).double()
        cov = cov + penalty * float(cov.diagonal().mean()) * torch.eye(len(cov)).double()
        rows = torch.linalg.solve(cov, rows.double().T).T.float()
    return without(F.normalize(rows, dim=-1), centre_D)


def donor_rows(
    kind: RouterKind,
    inputs_TD: Tensor,
    experts: int,
    donor: Donor,
    source: int,
    *,
    gain: Tensor | None,
    spans: Sequence[Sequence[int]],
    seed: int,
    penalty: float,
) -> Tensor:
    """Rows [E, D] from layer ``source`` of a donor, folded or expanded to ``experts``."""
    mine, theirs = _pairs(inputs_TD, donor, source, spans)
    x_ND, z_Nd = inputs_TD[mine].float(), donor.inputs[source][theirs].float()
    weight_Ed = donor.weights[source].float()
    logits = z_Nd @ weight_Ed.T
    same = weight_Ed.shape[0] == experts
    if kind == "copy" and weight_Ed.shape[1] != x_ND.shape[1]:
        raise ValueError(
            f"a router of {weight_Ed.shape[1]} features cannot be copied to {x_ND.shape[1]}; "
            "use ridge or procrustes"
        )
    if kind == "copy" and same:
        donor_gain = donor.gains[source] if donor.gains else torch.ones(weight_Ed.shape[1])
        return copied(weight_Ed, donor_gain, donor_gain if gain is None else gain)
    if kind == "procrustes" and same:
        return procrustes(x_ND, z_Nd, weight_Ed)
    if experts < weight_Ed.shape[0]:
        chosen = logits.topk(min(donor.top_k, logits.shape[1]), dim=1).indices
        logits = folded_logits(logits, fold_groups(chosen, logits.shape[1], experts))
    elif not same:
        logits, _ = expanded_logits(logits, z_Nd, experts, seed=seed)
    return ridge(x_ND, logits, penalty)


def without(rows_ED: Tensor, direction_D: Tensor) -> Tensor:
    """Rows less their part along ``direction_D``; unchanged if that is nothing."""
    length = float(direction_D.norm())
    if length < 1e-9:
        return rows_ED
    unit = direction_D / length
    return rows_ED - (rows_ED @ unit)[:, None] * unit


def scaled(weight_ED: Tensor, inputs_TD: Tensor, std: float) -> Tensor:
    """The same router, as sure of itself as ``std`` says."""
    return weight_ED * (std / max(logit_std(inputs_TD, weight_ED), 1e-12))


def donor_std(donor: Donor, source: int) -> float:
    """The donor's logit standard deviation in its layer ``source``."""
    return logit_std(donor.inputs[source], donor.weights[source])


def _layers(
    inputs: Sequence[Tensor], donor: Donor, spans: Sequence[Sequence[int]], match: Match
) -> list[int]:
    if match == "depth":
        return layers_by_depth(len(inputs), len(donor.weights))
    mine, theirs = _pairs(inputs[0], donor, 0, spans)
    return layers_by_cka([x[mine] for x in inputs], [z[theirs] for z in donor.inputs])


def _pairs(
    inputs_TD: Tensor, donor: Donor, source: int, spans: Sequence[Sequence[int]]
) -> tuple[Tensor, Tensor]:
    """Which of our tokens goes with which of the donor's."""
    if spans and donor.spans:
        return align(spans, donor.spans)
    if len(inputs_TD) != len(donor.inputs[source]):
        raise ValueError(
            f"{len(inputs_TD)} tokens here, {len(donor.inputs[source])} of the donor: "
            "another tokenizer needs the spans of both"
        )
    same = torch.arange(len(inputs_TD))
    return same, same
