"""Repairs in closed form: as good as least squares allows, never worse than no repair."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from moe_layers import HIDDEN, WIDTH, expert, inputs, random_layer, seen

from oldfriend.errors import CheckpointError
from oldfriend.moe.layer import Expert, Layer
from oldfriend.moe.pruning.refit import damped, missed, refit_down
from oldfriend.moe.pruning.shrink import eliminate, factored, narrowed, rank_for, truncated


def scrambled(layer: Layer, seed: int = 5) -> Layer:
    """The same layer with random output weights."""
    random = torch.Generator().manual_seed(seed)
    experts = tuple(
        Expert(one.gate_up, torch.randn(one.down.shape, generator=random)) for one in layer.experts
    )
    return Layer(experts, layer.router, layer.bias, layer.top_k)


def test_a_refit_finds_output_weights_that_were_lost() -> None:
    layer, x_ND = random_layer(4), inputs(4000)
    lost = scrambled(layer)
    assert missed(lost, x_ND, layer(x_ND)) > 1
    found = refit_down(lost, x_ND, layer(x_ND), penalties=(1e-9,), sweeps=60)
    assert found.after < 1e-4
    fresh = inputs(500, seed=9) @ torch.eye(HIDDEN)
    assert missed(found.layer, fresh, layer(fresh)) < 1e-3


def test_sweeping_experts_converges_to_the_joint_solution() -> None:
    """Gauss-Seidel against one least-squares problem over all experts' gated neurons."""
    layer, x_ND = random_layer(3), inputs(3000)
    target_ND = torch.randn(3000, HIDDEN, generator=torch.Generator().manual_seed(1))
    penalty_free = refit_down(scrambled(layer), x_ND, target_ND, penalties=(1e-9,), sweeps=200)
    seen_rows = torch.arange(3000) % 5 != 0
    gates = layer.gates(x_ND)
    features = torch.cat(
        [one.hidden(x_ND) * gates[:, i, None] for i, one in enumerate(layer.experts)], dim=1
    )[seen_rows].double()
    joint = torch.linalg.lstsq(features, target_ND[seen_rows].double()).solution
    best = (features @ joint - target_ND[seen_rows]).square().sum()
    ours = (penalty_free.layer(x_ND[seen_rows]) - target_ND[seen_rows]).square().sum()
    assert float(ours) == pytest.approx(float(best), rel=1e-3)


def test_a_refit_that_does_not_help_held_out_tokens_is_not_made() -> None:
    layer, x_ND = random_layer(4), inputs(100)
    found = refit_down(layer, x_ND, layer(x_ND))
    assert found.layer is layer and found.penalty == float("inf")
    noise = torch.randn(60, HIDDEN, generator=torch.Generator().manual_seed(3))
    silent = Layer((Expert(expert(0).gate_up, torch.zeros(HIDDEN, WIDTH)),))
    overfit = refit_down(silent, inputs(60), noise, penalties=(1e-9,))
    assert overfit.layer is silent


@given(st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_a_refit_never_hurts_on_held_out_tokens(seed: int) -> None:
    layer, x_ND = random_layer(4, seed), inputs(300, seed)
    found = refit_down(layer.keeping([0, 2]), x_ND, layer(x_ND))
    assert found.after <= found.before


def test_an_empty_layer_and_an_idle_expert_are_left_in_peace() -> None:
    x_ND = inputs(200)
    assert refit_down(Layer(), x_ND, x_ND).layer == Layer()
    idle = random_layer(3, bias=torch.tensor([0.0, 0.0, -10.0]))
    found = refit_down(idle, x_ND, torch.randn(200, HIDDEN)).layer
    assert torch.equal(found.experts[2].down, idle.experts[2].down)


def test_a_matrix_that_is_not_definite_is_damped_until_it_is() -> None:
    factor, lam = damped(torch.zeros(4, 4), 1e-3)
    assert lam > 0 and bool(torch.isfinite(factor).all())
    _, lam = damped(-torch.eye(4), 1e-3)
    assert lam > 1  # more than the negative eigenvalue
    with pytest.raises(CheckpointError, match="not finite"):
        damped(torch.full((2, 2), torch.nan), 1e-3)


def test_elimination_finds_the_neurons_that_matter() -> None:
    """Target made of 6 of 24 neurons: those stay, with their weights."""
    one, x = expert(1), inputs(2000)
    needed = torch.tensor([2, 3, 7, 11, 19, 23])
    hidden = one.hidden(x)
    target = hidden[:, needed] @ one.down[:, needed].T
    chosen = eliminate(hidden.T @ hidden, hidden.T @ target, 6, ridge=1e-7)
    assert chosen.keep.tolist() == needed.tolist()
    torch.testing.assert_close(chosen.down, one.down[:, needed], rtol=1e-2, atol=1e-3)


def test_elimination_spends_nothing_on_duplicates() -> None:
    """Twelve neurons twice over: one of each pair carries both, and nothing is lost."""
    one, x = expert(2, width=12), inputs(1000)
    twice = Expert(
        torch.cat([part for half in one.gate_up.chunk(2) for part in (half, half)]),
        torch.cat([one.down, one.down], dim=1),
    )
    hidden = twice.hidden(x)
    cut = narrowed(twice, hidden.T @ hidden, 12, ridge=1e-8)
    assert cut.width == 12
    torch.testing.assert_close(cut(x), twice(x), rtol=1e-2, atol=1e-3)


def test_weights_left_by_elimination_are_the_least_squares_of_the_kept() -> None:
    one, x = expert(3), inputs(2000)
    hidden, target = one.hidden(x), one(x)
    chosen = eliminate(hidden.T @ hidden, hidden.T @ target, 10, ridge=1e-9)
    kept = hidden[:, chosen.keep].double()
    best = torch.linalg.lstsq(kept, target.double()).solution.T
    torch.testing.assert_close(chosen.down.double(), best, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("width", [4, 8, 16, 23])
def test_elimination_beats_keeping_the_loudest_neurons(width: int) -> None:
    worse = 0
    for seed in range(5):
        one, x = expert(seed), inputs(1000, seed)
        hidden, target = one.hidden(x), one(x)
        gram = hidden.T @ hidden
        ours = eliminate(gram, hidden.T @ target, width)
        loud = (gram.diagonal() * one.down.square().sum(dim=0)).topk(width).indices
        errors = [
            float((hidden[:, keep] @ down.T - target).square().sum())
            for keep, down in ((ours.keep, ours.down), (loud, one.down[:, loud]))
        ]
        worse += errors[0] >= errors[1]
    assert worse == 0


@pytest.mark.parametrize("width", [0, 25])
def test_impossible_widths_are_refused(width: int) -> None:
    with pytest.raises(ValueError, match="24 neurons cannot be cut"):
        eliminate(torch.eye(24), torch.zeros(24, 2), width)


def test_truncation_sees_which_inputs_occur() -> None:
    """Nothing is lost if inputs span as few directions as the rank, though W is of full rank."""
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(20, HIDDEN, generator=random)
    x = torch.randn(300, 5, generator=random) @ torch.randn(5, HIDDEN, generator=random)
    low = truncated(weight, x.T @ x, 5)
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    blind = (left[:, :5] * values[:5]) @ right[:5]
    ours, control = ((x @ (w - weight).T).norm() / (x @ weight.T).norm() for w in (low, blind))
    assert ours < 0.02 < 0.2 < control
    assert int(torch.linalg.matrix_rank(low, rtol=1e-4)) == 5


def test_factors_take_no_more_weights_than_the_narrow_expert_they_compete_with() -> None:
    one = expert(0)
    for width in (4, 8, 16):
        rank = rank_for(one, width)
        factors = rank * (2 * one.width + HIDDEN) + rank * (HIDDEN + one.width)
        assert factors <= 3 * HIDDEN * width
    assert torch.linalg.matrix_rank(factored(one, inputs(), 4).down) == 4
    evidence = seen(random_layer(2))
    assert factored(one, evidence.sample[:0], 4) is one  # nobody to ask
