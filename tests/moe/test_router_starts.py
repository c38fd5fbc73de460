"""Router starts on inputs whose structure is known."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from oldfriend.moe.diagnostics.churn import kappa
from oldfriend.moe.router.donor import Donor, centred, logit_std
from oldfriend.moe.router.kmeans import balanced_assignment, spherical_kmeans
from oldfriend.moe.router.start import KINDS, router_start, without


def blobs(clusters: int, each: int, features: int = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points around ``clusters`` far directions, shifted by a common mean; their true cluster."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.linalg.qr(torch.randn(features, features, generator=generator))[0][:clusters]
    labels = torch.arange(clusters).repeat_interleave(each)
    noise = torch.randn(len(labels), features, generator=generator) * 0.1
    return 3 * centres[labels] + noise + 5 * torch.ones(features), labels


def same_partition(one: Tensor, other: Tensor) -> bool:
    pairs = set(zip(one.tolist(), other.tolist(), strict=True))
    return len(pairs) == len(set(one.tolist())) == len(set(other.tolist()))


# k-means


def test_kmeans_finds_the_clusters_that_are_there() -> None:
    points, labels = blobs(5, 40)
    found = spherical_kmeans(points - points.mean(dim=0), 5, seed=0)
    assert same_partition(found.labels, labels)
    assert found.cosine > 0.95
    torch.testing.assert_close(found.centroids.norm(dim=1), torch.ones(5))


@given(st.integers(1, 9), st.integers(9, 40), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_no_cluster_is_empty_and_balance_holds(clusters: int, points: int, seed: int) -> None:
    data = torch.randn(points, 6, generator=torch.Generator().manual_seed(seed))
    data[: points // 2] = data[0]  # many alike, so that clusters run empty
    free = spherical_kmeans(data, clusters, seed=seed)
    assert free.centroids.isfinite().all()
    even = spherical_kmeans(data, clusters, seed=seed, balanced=True)
    assert int(even.labels.bincount(minlength=clusters).max()) <= -(-points // clusters)


def test_balanced_assignment_serves_the_surest_first() -> None:
    scores = torch.tensor([[1.0, 0.9], [1.0, 0.0], [0.8, 0.7], [0.9, 0.1]])
    assert balanced_assignment(scores).tolist() == [1, 0, 1, 0]


def test_kmeans_refuses_more_clusters_than_points() -> None:
    with pytest.raises(ValueError, match="2 points cannot form 3"):
        spherical_kmeans(torch.randn(2, 4), 3, seed=0)


# Starts


def test_kmeans_rows_send_each_cluster_to_its_own_expert() -> None:
    points, labels = blobs(6, 50)
    (weight,) = router_start("kmeans", inputs=[points], experts=6, seed=0)
    assert same_partition((points @ weight.T).argmax(dim=1), labels)


def test_domain_rows_send_each_domain_to_an_expert_whitened_or_not() -> None:
    points, domains = blobs(4, 60)
    for kind in ("domains", "whitened"):
        (weight,) = router_start(kind, inputs=[points], experts=4, seed=0, domains=domains)
        assert same_partition((points @ weight.T).argmax(dim=1), domains)


def test_whitening_sees_domains_that_lie_along_a_quiet_direction() -> None:
    """One loud feature says nothing of the domain, one quiet feature says it all."""
    generator = torch.Generator().manual_seed(0)
    domains = torch.arange(2).repeat_interleave(500)
    points = torch.randn(1000, 8, generator=generator)
    points[:, 0] *= 30
    points[:, 0] += domains * 3
    points[:, 1] = (2 * domains - 1) * 0.5 + 0.1 * points[:, 1]

    def told(kind: str) -> float:
        (weight,) = router_start(kind, inputs=[points], experts=2, seed=0, domains=domains)  # type: ignore[arg-type]
        right = ((points @ weight.T).argmax(dim=1) == domains).float().mean()
        return float(max(right, 1 - right))

    assert told("whitened") > 0.95 > told("domains")


@pytest.mark.parametrize("experts", [3, 4, 7, 16])
def test_domains_share_or_split_experts(experts: int) -> None:
    points, domains = blobs(4, 60)
    (weight,) = router_start("domains", inputs=[points], experts=experts, seed=0, domains=domains)
    assert weight.shape == (experts, 16)
    chosen = (points @ weight.T).argmax(dim=1)
    homes = [set(chosen[domains == d].tolist()) for d in range(4)]
    if experts >= 4:
        assert sum(len(home) for home in homes) == len(set.union(*homes))  # no expert for two


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "random"])
@pytest.mark.parametrize("scale", [0.3, 2.0])
def test_every_start_has_the_wanted_logit_scale(kind: str, scale: float) -> None:
    points, domains = blobs(4, 40)
    donor = Donor([torch.randn(5, 16)], [points], [torch.ones(16)])
    weights = router_start(
        kind, inputs=[points, points * 2], experts=[5, 6], seed=1, scale=scale,  # type: ignore[arg-type]
        donor=donor, domains=domains,
    )  # fmt: skip
    assert [w.shape[0] for w in weights] == [5, 6]
    assert logit_std(points, weights[0]) == pytest.approx(scale, rel=1e-4)
    assert logit_std(points * 2, weights[1]) == pytest.approx(scale, rel=1e-4)


def test_the_control_takes_the_donors_scale_and_random_does_not() -> None:
    points, _ = blobs(4, 40)
    donor = Donor([3 * torch.randn(8, 16)], [points])
    wanted = logit_std(points, donor.weights[0])
    (control,) = router_start("scaled", inputs=[points], experts=8, seed=0, donor=donor)
    (plain,) = router_start("random", inputs=[points], experts=8, seed=0, donor=donor)
    assert logit_std(points, control) == pytest.approx(wanted, rel=1e-4)
    assert logit_std(points, plain) != pytest.approx(wanted, rel=0.5)
    assert float(F.cosine_similarity(control, plain, dim=1).min()) > 1 - 1e-6


def test_seeds_matter_and_are_all_that_matters() -> None:
    points, _ = blobs(4, 40)
    one, same, other = (
        router_start("scaled", inputs=[points, points], experts=8, seed=s) for s in (0, 0, 1)
    )
    assert one[0].equal(same[0]) and not one[0].equal(other[0])
    assert not one[0].equal(one[1])  # layers differ


def test_clusters_favour_no_expert_at_the_mean_input() -> None:
    points, _ = blobs(6, 50)
    (weight,) = router_start("kmeans", inputs=[points], experts=6, seed=0)
    logits = weight @ points.mean(dim=0)
    assert float(logits.abs().max()) < 1e-3 * logit_std(points, weight)


def test_without_removes_a_direction_and_nothing_else() -> None:
    rows, mean = torch.randn(4, 8), torch.randn(8)
    left = without(rows, mean)
    torch.testing.assert_close(left @ mean, torch.zeros(4), atol=1e-5, rtol=0)
    along = rows - left
    torch.testing.assert_close(along, (rows @ mean / (mean @ mean))[:, None] * mean)
    assert without(rows, torch.zeros(8)).equal(rows)


def test_a_start_names_what_it_lacks() -> None:
    points, _ = blobs(2, 20)
    with pytest.raises(ValueError, match="'ridge' needs a donor"):
        router_start("ridge", inputs=[points], experts=4, seed=0)
    with pytest.raises(ValueError, match="'domains' needs the tokens' domains"):
        router_start("domains", inputs=[points], experts=4, seed=0)
    with pytest.raises(ValueError, match="2 expert counts for 1 layers"):
        router_start("random", inputs=[points], experts=[4, 4], seed=0)
    with pytest.raises(ValueError, match="spans of both"):
        router_start(
            "ridge", inputs=[points], experts=4, seed=0,
            donor=Donor([torch.randn(4, 16)], [points[:-1]]),
        )  # fmt: skip


def test_a_copied_router_routes_as_the_donor_does() -> None:
    points, _ = blobs(4, 40)
    donor = Donor([torch.randn(8, 16)], [points])
    (weight,) = router_start("copy", inputs=[points], experts=8, seed=0, donor=donor)
    theirs = donor.logits(0)
    torch.testing.assert_close(centred(points @ weight.T), centred(theirs), atol=1e-3, rtol=1e-3)
    assert kappa((points @ weight.T).topk(2).indices, theirs.topk(2).indices, 8) == 1.0
