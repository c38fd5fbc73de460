"""Statistics of routed tokens: against a plain computation, over pieces, passes and edge cases."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from moe_layers import HIDDEN, expert, inputs, random_layer, seen
from torch import Tensor

from oldfriend.moe.layer import Layer
from oldfriend.moe.pruning.importance import (
    PIECE,
    Observer,
    entropy,
    load_variation,
    mean_outputs,
    merge_weights,
    output_distances,
    scores,
)


def outputs(layer: Layer, x_TD: Tensor) -> Tensor:
    """Every expert on every token [E, T, D]: what the library never builds."""
    return torch.stack([one(x_TD) for one in layer.experts]).double()


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_scores_equal_their_definitions(top_k: int) -> None:
    layer, x_TD = random_layer(4, top_k=top_k), inputs(400)
    found = scores(seen(layer, x_TD).sums)
    gates_TE = layer.gates(x_TD).double()
    norm_ET = outputs(layer, x_TD).norm(dim=2)
    routed_ET = (gates_TE.T > 0).double()
    count = routed_ET.sum(dim=1)
    expected = {
        "frequency": count / 400,
        "ean": (norm_ET * routed_ET).sum(dim=1),
        "reap": (norm_ET * gates_TE.T).sum(dim=1) / count,
        "man": (norm_ET * routed_ET).sum(dim=1) / count,
        "msan": (norm_ET.square() * routed_ET).sum(dim=1) / count,
        "energy": (norm_ET * gates_TE.T).square().sum(dim=1),
    }
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_measures_disagree_so_each_says_something_of_its_own() -> None:
    """A loud expert that few choose: first by MAN, last by frequency."""
    layer = random_layer(4, seed=3)
    loud = layer.experts[0]
    rare = layer.router * torch.tensor([0.1, 1, 1, 1])[:, None]  # type: ignore[operator]
    experts = (type(loud)(loud.gate_up, loud.down * 20), *layer.experts[1:])
    found = scores(seen(Layer(experts, rare, top_k=1)).sums)
    assert int(found["man"].argmax()) == 0
    assert int(found["frequency"].argmin()) == 0


def test_sums_do_not_depend_on_how_the_text_is_cut() -> None:
    layer, x_TD = random_layer(5), inputs(PIECE + 300)
    whole, parts = Observer(layer, HIDDEN), Observer(layer, HIDDEN)
    whole.add(x_TD)
    for part in x_TD.split(97):
        parts.add(part)
    for name, value in scores(whole.sums).items():
        torch.testing.assert_close(scores(parts.sums)[name], value, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(parts.sums.shares_EE, whole.sums.shares_EE, rtol=1e-4, atol=1e-6)


def test_the_second_moment_of_shares_is_the_layers_own_energy() -> None:
    """Summing <g_i f_i, g_j f_j> over all pairs gives |layer output|^2."""
    layer, x_TD = random_layer(4, top_k=3), inputs(300)
    energy = layer(x_TD).double().square().sum()
    torch.testing.assert_close(seen(layer, x_TD).sums.shares_EE.sum(), energy, rtol=1e-4, atol=0)


def test_hidden_moments_are_those_of_gated_neurons() -> None:
    layer, x_TD = random_layer(3), inputs(300)
    gates_TE = layer.gates(x_TD)
    for number, one in enumerate(layer.experts):
        gated = one.hidden(x_TD) * gates_TE[:, number, None]
        found = seen(layer, x_TD).sums.hidden_FF[number]
        torch.testing.assert_close(found, gated.T @ gated, rtol=1e-4, atol=1e-4)


def test_a_sample_is_uniform_and_never_larger_than_asked() -> None:
    """Each half of the stream gives half of the sample, whatever the order of the pieces."""
    layer = Layer(experts=(expert(0),))
    observer = Observer(layer, HIDDEN, keep=400, seed=1)
    marks = torch.zeros(4000, HIDDEN)
    marks[:, 0] = torch.arange(4000)
    for part in marks.split(333):
        observer.add(part)
    taken = observer.sample_ND[:, 0]
    assert len(taken) == 400 == len(taken.unique())
    assert 160 < int((taken < 2000).sum()) < 240


def test_a_plain_mlp_and_a_gap_have_statistics_too() -> None:
    mlp = seen(Layer(experts=(expert(0),)))
    assert float(scores(mlp.sums)["frequency"]) == 1.0
    gap = seen(Layer())
    assert len(scores(gap.sums)["reap"]) == 0
    assert int(gap.sums.tokens) == 600


def test_an_expert_that_nobody_chooses_scores_nothing() -> None:
    layer = random_layer(3, bias=torch.tensor([0.0, 0.0, -10.0]))
    found = scores(seen(layer).sums)
    assert all(float(score[2]) == 0 for score in found.values())
    assert load_variation(seen(layer).sums) > 0.4


def test_entropy_tells_an_undecided_router_from_a_certain_one() -> None:
    undecided = random_layer(4, router=torch.zeros(4, HIDDEN))
    certain = random_layer(4, router=50 * torch.randn(4, HIDDEN))
    assert entropy(seen(undecided).sums) == pytest.approx(1.0, abs=1e-5)
    assert entropy(seen(certain).sums) < 0.1


def test_the_error_of_merging_is_the_least_over_all_common_experts() -> None:
    """Against brute force over the share a: sum over tokens of (g_i (1 - a) - g_j a)^2."""
    layer, x_TD = random_layer(4, top_k=2), inputs(500)
    share, error = merge_weights(seen(layer, x_TD).sums)
    gates = layer.gates(x_TD).double()
    grid = torch.linspace(0, 1, 2001, dtype=torch.float64)
    for i, j in [(0, 1), (1, 3), (2, 0)]:
        tried = torch.stack(
            [(gates[:, i] * (1 - a) - gates[:, j] * a).square().sum() for a in grid]
        )
        assert float(share[i, j]) == pytest.approx(float(grid[tried.argmin()]), abs=1e-3)
        assert float(error[i, j]) == pytest.approx(float(tried.min()), rel=1e-4)


def test_experts_that_are_always_mixed_alike_merge_without_loss() -> None:
    row = torch.randn(1, HIDDEN, generator=torch.Generator().manual_seed(0))
    alike = random_layer(2, router=row.repeat(2, 1))
    assert float(merge_weights(seen(alike).sums)[1][0, 1]) == pytest.approx(0, abs=1e-6)
    apart = random_layer(2, top_k=1, router=torch.cat([row, -row]))
    assert float(merge_weights(seen(apart).sums)[1][0, 1]) > 100  # of 600 tokens


@given(st.integers(0, 50), st.integers(2, 5), st.integers(1, 40))
@settings(max_examples=20, deadline=None)
def test_output_distances_are_means_of_squares(seed: int, count: int, tokens: int) -> None:
    layer, x_TD = random_layer(count, seed), inputs(tokens, seed)
    out = outputs(layer, x_TD)
    expected = torch.stack([(out - one).square().sum(dim=2).mean(dim=1) for one in out])
    torch.testing.assert_close(output_distances(layer, x_TD), expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        mean_outputs(layer, x_TD).double(), out.mean(dim=1), atol=1e-5, rtol=1e-4
    )
