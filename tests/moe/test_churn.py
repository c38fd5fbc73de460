"""Change of routing and of parameters where the truth is known."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from oldfriend.moe.diagnostics.change import Track, effective_rank, unmoved_share
from oldfriend.moe.diagnostics.churn import (
    churn,
    js_drift,
    kappa,
    load,
    overlap,
    saturation,
    steps_to,
)
from oldfriend.moe.diagnostics.matching import coupling, matched_agreement


def dice(tokens: int, experts: int, k: int, seed: int = 0) -> Tensor:
    """Choices that mean nothing."""
    noise = torch.rand(tokens, experts, generator=torch.Generator().manual_seed(seed))
    return noise.topk(k, dim=1).indices


# Agreement beyond chance


@pytest.mark.parametrize(("experts", "k"), [(2, 1), (4, 2), (8, 2), (16, 4)])
def test_dice_agree_by_chance_alone(experts: int, k: int) -> None:
    """Uncorrected, 4 experts look twice as stable as 8; corrected, neither is stable at all."""
    one, other = dice(20_000, experts, k, 1), dice(20_000, experts, k, 2)
    assert overlap(one, other) == pytest.approx(k / experts, abs=0.01)
    assert kappa(one, other, experts) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("moved", [0.0, 0.25, 1.0])
def test_kappa_is_the_share_that_stayed(moved: float) -> None:
    one = dice(20_000, 8, 2, 1)
    other = torch.where(torch.rand(len(one), 1) < moved, dice(20_000, 8, 2, 2), one)
    assert kappa(one, other, 8) == pytest.approx(1 - moved, abs=0.02)


def test_order_within_a_choice_does_not_matter() -> None:
    one = dice(100, 8, 3)
    assert kappa(one, one.flip(1), 8) == 1.0


def test_no_choice_is_no_change() -> None:
    assert kappa(dice(50, 4, 4, 1), dice(50, 4, 4, 2), 4) == 1.0


def test_uneven_loads_agree_by_chance_too() -> None:
    """Nine in ten tokens go to expert 0, whichever they are: even-load chance calls that stable."""

    def lazy(seed: int) -> Tensor:
        rare = torch.rand(20_000, generator=torch.Generator().manual_seed(seed)) < 0.1
        return rare.long()[:, None]

    assert kappa(lazy(1), lazy(2), 8) > 0.7
    assert kappa(lazy(1), lazy(2), 8, by_load=True) == pytest.approx(0, abs=0.03)
    assert kappa(lazy(1), lazy(1), 8, by_load=True) == pytest.approx(1)


def test_loads_sum_to_one() -> None:
    assert load(torch.tensor([[0, 1], [0, 2]]), 4).tolist() == [0.5, 0.25, 0.25, 0.0]


@given(st.integers(2, 12), st.data())
@settings(max_examples=30, deadline=None)
def test_kappa_is_symmetric_and_at_most_one(experts: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, experts))
    one, other = dice(60, experts, k, 1), dice(60, experts, k, 2)
    value = kappa(one, other, experts)
    assert value == pytest.approx(kappa(other, one, experts))
    assert value <= 1 + 1e-9
    assert kappa(one, one, experts) == pytest.approx(1)


# Over time


def test_churn_and_saturation_of_a_router_that_settles() -> None:
    final = dice(30_000, 8, 2, 9)
    shots = []
    for i, settled in enumerate((0.0, 0.5, 1.0, 1.0)):
        stays = torch.rand(len(final), 1) < settled
        shots.append(torch.where(stays, final, dice(30_000, 8, 2, i)))
    assert saturation(shots, 8) == pytest.approx([0, 0.5, 1, 1], abs=0.02)
    assert churn(shots, 8) == pytest.approx([1, 0.5, 0], abs=0.02)


@pytest.mark.parametrize(
    ("curve", "expected"),
    [([0.0, 0.5, 1.0], 15.0), ([0.9, 0.2, 1.0], 10 + 10 * 0.55 / 0.8), ([0.8, 0.9, 1.0], 0.0),
     ([0.1, 0.2, 0.3], math.inf), ([], math.inf)],
)  # fmt: skip
def test_steps_to_a_share_for_good(curve: list[float], expected: float) -> None:
    assert steps_to(0.75, [0, 10, 20], curve) == pytest.approx(expected)


def test_js_drift_of_same_near_and_opposite_routers() -> None:
    same = torch.randn(50, 4)
    sure = torch.tensor([[40.0, 0.0]]).repeat(10, 1)
    assert js_drift(same, same) == pytest.approx(0, abs=1e-12)
    assert js_drift(same, same + 3) == pytest.approx(0, abs=1e-6)  # softmax does not see it
    assert js_drift(sure, sure.flip(1)) == pytest.approx(1, abs=1e-6)
    assert 0 < js_drift(same, same + 0.1 * torch.randn(50, 4)) < 0.05


# Between seeds


def test_renamed_experts_are_recognised() -> None:
    one = dice(5000, 8, 2)
    names = torch.randperm(8, generator=torch.Generator().manual_seed(3))
    found = matched_agreement(one, names[one], 8)
    assert found.kappa == 1.0
    assert list(found.names) == names.tolist()
    assert found.null < 0.1


def test_strangers_agree_no_more_than_the_null() -> None:
    """Matching finds agreement in noise: with few tokens far above zero. The null does, too."""
    found = matched_agreement(dice(60, 8, 2, 1), dice(60, 8, 2, 2), 8, shuffles=20)
    assert found.null > 0.05
    assert found.kappa == pytest.approx(found.null, abs=0.1)


def test_coupling_knows_whether_a_row_lies_in_its_experts_ear() -> None:
    generator = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(32, 32, generator=generator))[0][:8]
    gates = torch.stack(
        [10 * torch.outer(torch.randn(12, generator=generator), axes[e]) for e in range(8)]
    ) + 0.01 * torch.randn(8, 12, 32, generator=generator)
    own, others = coupling(axes, gates, rank=1)
    assert own > 0.9 and others < 0.2
    own, others = coupling(axes.roll(1, 0), gates, rank=1)
    assert own < 0.2


# Parameters


def test_path_and_net_of_a_walk_there_and_back() -> None:
    track, start = Track(), torch.full((4, 4), 2.0)
    for time, offset in enumerate((0.0, 1.0, 0.0)):
        track.see(time * 10, {"w": start + offset, "still": start})
    moved, still = track.changes()["w"], track.changes()["still"]
    assert (moved.path, moved.net) == pytest.approx((1.0, 0.0))
    assert (moved.t50, moved.t90) == pytest.approx((0.5, 0.9))
    assert (still.path, still.sparsity, still.effective_rank, still.t50) == (0, 1, 0, 0)


def test_early_and_late_changes_have_their_times() -> None:
    track = Track()
    for time in range(11):
        early, late = min(time, 2) / 2, max(time - 8, 0) / 2
        track.see(time, {"early": torch.tensor([1 + early]), "late": torch.tensor([1 + late])})
    changes = track.changes()
    assert changes["early"].t50 == pytest.approx(0.1)
    assert changes["late"].t50 == pytest.approx(0.9)
    assert changes["late"].t90 == pytest.approx(0.98)


def test_low_rank_and_sparse_changes_are_told_from_full_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    full = torch.randn(32, 32, generator=generator)
    thin = torch.outer(full[0], full[1])
    assert effective_rank(thin) == pytest.approx(1 / 32, rel=1e-3)
    assert effective_rank(torch.eye(32)) == pytest.approx(1)
    assert effective_rank(full) > 0.7
    one = torch.zeros(10, 10)
    one[3, 4] = 5
    assert unmoved_share(one) == pytest.approx(0.99)
    assert unmoved_share(torch.ones(10, 10)) == 0


def test_moments_must_come_in_order_and_with_the_same_names() -> None:
    track = Track()
    with pytest.raises(ValueError, match="two moments"):
        track.changes()
    track.see(0, {"w": torch.zeros(2)})
    with pytest.raises(ValueError, match="not after 0"):
        track.see(0, {"w": torch.zeros(2)})
    with pytest.raises(ValueError, match="other parameters than before: v, w"):
        track.see(1, {"v": torch.zeros(2)})
