"""Routers carried from one model to another, where the right answer is known."""

from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from oldfriend.moe.diagnostics.churn import kappa
from oldfriend.moe.router.donor import (
    Donor,
    agreement,
    align,
    copied,
    layers_by_cka,
    layers_by_depth,
    linear_cka,
    procrustes,
    ridge,
)
from oldfriend.moe.router.folding import coactivation, expanded_logits, fold_groups, folded_logits
from oldfriend.moe.router.start import router_start


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Copy


def test_a_copy_is_corrected_for_the_gain_of_the_norm() -> None:
    state, donor_gain, gain = randn(50, 8), randn(8, seed=1).exp(), randn(8, seed=2).exp()
    weight = randn(4, 8, seed=3)
    moved = copied(weight, donor_gain, gain)
    torch.testing.assert_close((state * gain) @ moved.T, (state * donor_gain) @ weight.T)
    assert not torch.allclose((state * gain) @ weight.T, (state * donor_gain) @ weight.T)


def test_a_dead_feature_gives_no_infinity() -> None:
    gain = torch.tensor([1.0, 0.0])
    assert copied(torch.ones(3, 2), torch.ones(2), gain).isfinite().all()


def test_a_copy_across_sizes_is_refused() -> None:
    donor = Donor([randn(4, 6)], [randn(30, 6)])
    with pytest.raises(ValueError, match="6 features cannot be copied to 8"):
        router_start("copy", inputs=[randn(30, 8)], experts=4, seed=0, donor=donor)


# Ridge and Procrustes


def test_ridge_finds_a_linear_map_across_hidden_sizes() -> None:
    """The donor's state is a linear view of ours: its routing is ours to have, exactly."""
    inputs = randn(400, 12)
    view, donor_weight = randn(12, 20, seed=1), randn(6, 20, seed=2)
    donor_inputs = inputs @ view
    weight = ridge(inputs, donor_inputs @ donor_weight.T, penalty=1e-9)
    assert agreement(inputs @ weight.T, donor_inputs @ donor_weight.T) > 0.9999


def test_ridge_of_noise_is_small() -> None:
    weight = ridge(randn(4000, 8), randn(4000, 5, seed=1), penalty=0.01)
    assert float(weight.norm()) < 0.2


def test_procrustes_undoes_a_rotation_and_scale() -> None:
    inputs = randn(300, 10) * torch.linspace(0.5, 2, 10)
    turn = torch.linalg.qr(randn(10, 10, seed=1))[0]
    donor_inputs, donor_weight = 3 * inputs @ turn, randn(6, 10, seed=2)
    weight = procrustes(inputs, donor_inputs, donor_weight)
    torch.testing.assert_close(
        inputs @ weight.T, donor_inputs @ donor_weight.T, atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize("kind", ["ridge", "procrustes"])
def test_transfer_across_size_beats_a_scaled_random_start(kind: str) -> None:
    signal = randn(600, 5)
    inputs = signal @ randn(5, 16, seed=1) + 0.1 * randn(600, 16, seed=2)
    donor_inputs = signal @ randn(5, 9, seed=3) + 0.1 * randn(600, 9, seed=4)
    donor = Donor([randn(8, 9, seed=5)], [donor_inputs])
    theirs = donor.logits(0).topk(2).indices

    def agreed(start: str) -> float:
        (weight,) = router_start(start, inputs=[inputs], experts=8, seed=0, donor=donor)  # type: ignore[arg-type]
        return kappa((inputs @ weight.T).topk(2).indices, theirs, 8)

    assert agreed("scaled") < 0.25
    assert agreed(kind) > (0.8 if kind == "ridge" else 0.3)


# Alignment


def test_tokens_meet_where_they_have_read_the_same_characters() -> None:
    """ "ab|c|de" against "a|bc|d|e": the donor never knows more than the recipient."""
    mine, theirs = align([[2, 3, 5]], [[1, 3, 4, 5]])
    assert mine.tolist() == [0, 1, 2]
    assert theirs.tolist() == [0, 1, 3]


def test_a_token_before_the_donors_first_end_has_no_partner() -> None:
    mine, theirs = align([[1, 4], [2]], [[3, 4], [1, 2]])
    assert (mine.tolist(), theirs.tolist()) == ([1, 2], [1, 3])


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=9), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_alignment_never_looks_ahead_and_is_the_identity_on_itself(steps: list[list[int]]) -> None:
    ends = [torch.tensor(one).cumsum(0).tolist() for one in steps]
    mine, theirs = align(ends, ends)
    assert mine.equal(theirs) and len(mine) == sum(map(len, ends))
    coarse = [one[1::2] or one[-1:] for one in ends]
    mine, theirs = align(ends, coarse)
    flat, flat_coarse = list(chain(*ends)), list(chain(*coarse))
    assert all(flat_coarse[t] <= flat[m] for m, t in zip(mine, theirs, strict=True))


def test_documents_must_be_the_same() -> None:
    with pytest.raises(ValueError, match="1 documents here, 2 of the donor"):
        align([[1]], [[1], [1]])


def test_ridge_through_another_tokenizer() -> None:
    """The donor's tokens are twice as long; at their ends both know the same state."""
    states = randn(200, 8)  # one a character
    donor = Donor(
        [randn(4, 8, seed=1)], [states[1::2] @ torch.eye(8)], spans=[list(range(2, 201, 2))]
    )
    (weight,) = router_start(
        "ridge", inputs=[states], experts=4, seed=0, donor=donor,
        spans=[list(range(1, 201))], penalty=1e-6,
    )  # fmt: skip
    at_ends = states[1::2] @ weight.T
    # half of our tokens end inside one of the donor's and are paired with its past: that is noise
    assert kappa(at_ends.topk(1).indices, donor.logits(0).topk(1).indices, 4) > 0.7


# Layers


@pytest.mark.parametrize(
    ("layers", "donor_layers", "expected"),
    [(4, 4, [0, 1, 2, 3]), (2, 4, [1, 3]), (4, 2, [0, 0, 1, 1]), (3, 1, [0, 0, 0])],
)
def test_layers_by_depth(layers: int, donor_layers: int, expected: list[int]) -> None:
    assert layers_by_depth(layers, donor_layers) == expected


def test_cka_is_blind_to_rotation_and_scale_and_sees_strangers() -> None:
    inputs = randn(500, 10)
    turn = torch.linalg.qr(randn(10, 10, seed=1))[0]
    assert linear_cka(inputs, 7 * inputs @ turn + 3) == pytest.approx(1, abs=1e-5)
    assert linear_cka(inputs, randn(500, 10, seed=2)) < 0.1


def test_layers_by_cka_finds_shuffled_layers() -> None:
    inputs = [randn(300, 8, seed=i) for i in range(3)]
    turned = [inputs[i] @ torch.linalg.qr(randn(8, 8, seed=9 + i))[0] for i in (2, 0, 1)]
    assert layers_by_cka(inputs, turned) == [1, 2, 0]


# Fewer and more experts


def test_partners_are_folded_together() -> None:
    chosen = torch.tensor([[0, 3], [1, 2]]).repeat(50, 1)
    assert fold_groups(chosen, 4, 2) == [[0, 3], [1, 2]]


@given(st.integers(2, 9), st.data())
@settings(max_examples=30, deadline=None)
def test_folding_keeps_every_expert_once_and_no_group_too_large(
    experts: int, data: st.DataObject
) -> None:
    wanted = data.draw(st.integers(1, experts))
    chosen = randn(200, experts, seed=experts).topk(2, dim=1).indices
    groups = fold_groups(chosen, experts, wanted)
    assert len(groups) == wanted
    assert sorted(chain(*groups)) == list(range(experts))
    if experts % wanted == 0 and wanted > 1 and experts // wanted <= 2:
        assert max(map(len, groups)) == experts // wanted


def test_folded_probabilities_are_sums() -> None:
    logits, groups = randn(60, 6), [[0, 2], [1], [3, 4, 5]]
    p = logits.softmax(dim=1)
    expected = torch.stack([p[:, g].sum(dim=1) for g in groups], dim=1)
    torch.testing.assert_close(folded_logits(logits, groups).softmax(dim=1), expected)


@given(st.integers(2, 5), st.integers(0, 6), st.floats(0, 3))
@settings(max_examples=25, deadline=None)
def test_siblings_share_their_parents_probability(experts: int, more: int, sharp: float) -> None:
    inputs = randn(120, 6)
    logits = inputs @ randn(experts, 6, seed=1).T
    grown, parents = expanded_logits(logits, inputs, experts + more, seed=0, sharpness=sharp)
    assert grown.shape == (120, experts + more)
    groups = [[i for i, p in enumerate(parents) if p == e] for e in range(experts)]
    torch.testing.assert_close(folded_logits(grown, groups), logits, atol=1e-4, rtol=1e-4)


def test_the_busiest_expert_is_split() -> None:
    logits = torch.tensor([[4.0, 0.0, 0.0]]).repeat(80, 1)
    _, parents = expanded_logits(logits, randn(80, 4), 5, seed=0)
    assert parents == [0, 0, 0, 1, 2]


@pytest.mark.parametrize(("experts", "most"), [(4, 0.6), (16, 0.6)])
def test_a_start_folds_or_expands_a_donor(experts: int, most: float) -> None:
    inputs = randn(500, 12)
    donor = Donor([randn(8, 12, seed=1)], [inputs])
    (weight,) = router_start("ridge", inputs=[inputs], experts=experts, seed=0, donor=donor)
    logits = donor.logits(0)
    if experts < 8:
        groups = fold_groups(logits.topk(2).indices, 8, experts)
        wanted = folded_logits(logits, groups)
    else:
        wanted, _ = expanded_logits(logits, inputs, experts, seed=0)
    assert agreement(inputs @ weight.T, wanted) > most


def test_impossible_numbers_are_named() -> None:
    with pytest.raises(ValueError, match="cannot be folded into 5"):
        fold_groups(torch.tensor([[0]]), 4, 5)
    with pytest.raises(ValueError, match="cannot be expanded to 2"):
        expanded_logits(randn(3, 4), randn(3, 2), 2, seed=0)


def test_coactivation_counts_all_pairs() -> None:
    counts = coactivation(torch.tensor([[0, 1, 2], [0, 2, 1], [3, 0, 1]]), 4)
    assert counts[0].tolist() == [3, 3, 2, 1]
    assert counts.equal(counts.T)
