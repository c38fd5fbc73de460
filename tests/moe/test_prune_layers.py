"""Cutting one layer: merging, folding, every action; each against its control."""

import pytest
import torch
from moe_layers import HIDDEN, WIDTH, expert, inputs, random_layer, seen
from torch import Tensor

from oldfriend.errors import InputError
from oldfriend.moe.layer import Expert, Layer
from oldfriend.moe.pruning.baselines import BASELINES, cut
from oldfriend.moe.pruning.candidates import Action, actions, apply, kept_experts
from oldfriend.moe.pruning.importance import scores
from oldfriend.moe.pruning.merge import (
    averaged,
    folded,
    groups_by_distance,
    hcsmoe_distances,
    matched,
    merge_distances,
    nearest_probabilities,
    pooled,
)
from oldfriend.moe.pruning.refit import missed
from oldfriend.moe.pruning.settings import ActionGrid


def shuffled(one: Expert, seed: int) -> Expert:
    """The same function with its neurons in another order."""
    order = torch.randperm(one.width, generator=torch.Generator().manual_seed(seed))
    return one.narrowed(order)


def near(one: Expert, seed: int, size: float = 0.02) -> Expert:
    """Almost the same function."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(one.down.shape, generator=random) * size
    return Expert(one.gate_up, one.down + noise)


def twins(**changes: object) -> Layer:
    """Four experts, 0 like 2 and 1 like 3, neurons shuffled."""
    a, b = expert(1), expert(2)
    pair = (a, b, shuffled(near(a, 3), 5), shuffled(near(b, 4), 6))
    return random_layer(4, experts=pair, **changes)


def test_average_linkage_joins_the_nearest_not_the_farthest() -> None:
    points = torch.tensor([0.0, 0.1, 5.0, 5.2, 9.0])
    distance = (points[:, None] - points[None, :]).abs()
    assert groups_by_distance(distance, 3) == [[0, 1], [2, 3], [4]]
    assert groups_by_distance(distance, 2) == [[0, 1], [2, 3, 4]]
    assert groups_by_distance(distance, 5) == [[0], [1], [2], [3], [4]]


def test_ties_still_give_as_many_groups_as_asked() -> None:
    for wanted in range(1, 7):
        groups = groups_by_distance(torch.zeros(6, 6), wanted)
        assert len(groups) == wanted and sorted(e for g in groups for e in g) == [*range(6)]


@pytest.mark.parametrize("wanted", [0, 5])
def test_impossible_merges_are_refused(wanted: int) -> None:
    with pytest.raises(ValueError, match="4 experts cannot be merged"):
        groups_by_distance(torch.zeros(4, 4), wanted)


@pytest.mark.parametrize("measure", ["ours", "hc-smoe"])
def test_experts_that_say_the_same_belong_together(measure: str) -> None:
    evidence = seen(twins())
    if measure == "ours":
        distance = merge_distances(evidence.layer, evidence.sums, evidence.sample)
    else:
        distance = hcsmoe_distances(evidence.layer, evidence.sample)
    assert groups_by_distance(distance, 2) == [[0, 2], [1, 3]]


def test_matching_neurons_undoes_a_shuffle_and_changes_no_function() -> None:
    one, x = expert(7), inputs()
    found = matched(shuffled(one, 8), one, x)
    torch.testing.assert_close(found.down, one.down)
    other = expert(9)
    torch.testing.assert_close(matched(other, one, x)(x), other(x), rtol=1e-4, atol=1e-4)


def test_averaging_without_matching_would_destroy_shuffled_twins() -> None:
    evidence = seen(twins())
    layer, x = evidence.layer, evidence.sample
    ours = averaged(layer, [0, 2], torch.ones(2), x)
    a, b = layer.experts[0], layer.experts[2]
    blind = Expert((a.gate_up + b.gate_up) / 2, (a.down + b.down) / 2)
    wanted = a(x)
    good, bad = (float((e(x) - wanted).norm() / wanted.norm()) for e in (ours, blind))
    assert good < 0.1 < 0.4 < bad


def test_pooling_neurons_beats_averaging_weights() -> None:
    """Two different experts into one of the same width, on the tokens of either."""
    for seed in range(3):
        evidence = seen(random_layer(2, seed, top_k=1), inputs(1500, seed))
        layer, x = evidence.layer, evidence.sample
        said = layer(x)
        mean = averaged(layer, [0, 1], evidence.sums.load_E, x)
        picked = pooled(layer, [0, 1], x, WIDTH)
        errors = [float((one(x) - said).square().sum()) for one in (picked, mean)]
        assert errors[0] < 0.9 * errors[1]


def test_a_group_of_one_at_full_width_is_pooled_into_itself() -> None:
    evidence = seen(random_layer(3))
    layer, x = evidence.layer, evidence.sample
    again = pooled(layer, [1], x, WIDTH)
    tokens = layer.gates(x)[:, 1] > 0
    torch.testing.assert_close(again(x[tokens]), layer.experts[1](x[tokens]), rtol=2e-2, atol=2e-2)


def divergence(wanted: Tensor, x: Tensor, rows: Tensor) -> float:
    """KL of a router's probabilities from the ones wanted, a mean over tokens."""
    said = (x @ rows.T).log_softmax(-1)
    return float((wanted * (wanted.clamp(min=1e-9).log() - said)).sum(dim=1).mean())


@pytest.mark.parametrize("offset", [0.0, 1.0])  # states have a mean, seldom none
def test_folding_gives_a_group_what_its_members_had_together(offset: float) -> None:
    layer = random_layer(4)
    x = inputs(2500) + offset * torch.randn(HIDDEN, generator=torch.Generator().manual_seed(3))
    groups = [[0, 2], [1], [3]]
    made = folded(layer, groups, [layer.experts[g[0]] for g in groups], x[:2000])
    assert layer.router is not None and made.router is not None
    whole = layer.logits(x[2000:]).softmax(-1)
    wanted = torch.stack([whole[:, g].sum(dim=1) for g in groups], dim=1)
    controls = [
        torch.stack([layer.router[g].sum(dim=0) for g in groups]),  # multiplies odds
        torch.stack([layer.router[g].mean(dim=0) for g in groups]),
        torch.stack([layer.router[g[0]] for g in groups]),
    ]
    ours = divergence(wanted, x[2000:], made.router)
    assert ours < 0.75 * min(divergence(wanted, x[2000:], rows) for rows in controls)


def test_probabilities_that_a_router_can_give_are_found() -> None:
    rows, x = torch.randn(3, HIDDEN, generator=torch.Generator().manual_seed(0)), inputs(2000)
    wanted = (x @ rows.T).softmax(-1)
    assert divergence(wanted, x, torch.zeros(3, HIDDEN)) > 0.1
    found = nearest_probabilities(x, wanted, torch.zeros(3, HIDDEN), steps=100)
    assert divergence(wanted, x, found) < 1e-3


def test_one_group_needs_no_router() -> None:
    layer = random_layer(3)
    made = folded(layer, [[0, 1, 2]], [layer.experts[0]], inputs())
    assert made.router is None and made.top_k == 1


ALL = ActionGrid(both=True, lowrank=(0.5,))


@pytest.mark.parametrize("score", ["softmax", "sigmoid"])
def test_every_action_leaves_what_it_promises(score: str) -> None:
    evidence = seen(random_layer(8, score=score, bias=torch.zeros(8)), inputs(400))
    found = actions(evidence.layer, ALL)
    assert {a.kind for a in found} == {
        "keep", "drop", "merge", "narrow", "dense", "share", "lowrank", "cancel"
    }  # fmt: skip
    assert found[0].kind == "keep" and len(found) == len(set(map(str, found)))
    for action in found:
        made = apply(action, evidence)
        out = made(evidence.sample)
        assert out.shape == evidence.sample.shape and bool(out.isfinite().all()), str(action)
        if action.kind == "cancel":
            assert made == Layer()
        elif action.deployable:
            assert made.parameters == action.parameters(HIDDEN), str(action)
            assert len(made.experts) == action.experts and set(made.widths) == {action.width}
            assert (made.router is None) == (action.experts == 1)


def test_actions_on_a_plain_mlp_and_on_a_gap() -> None:
    mlp = seen(Layer(experts=(expert(0, width=32),)))
    kinds = [a.kind for a in actions(mlp.layer, ActionGrid())]
    assert kinds == ["keep", "narrow", "narrow", "narrow", "cancel"]
    half = apply(Action("narrow", 1, 16), mlp)
    assert half.widths == (16,) and missed(half, mlp.sample, mlp.target) < 1
    assert [a.kind for a in actions(Layer(), ActionGrid())] == ["keep"]


@pytest.mark.parametrize("kind", ["drop", "merge", "narrow", "dense", "share"])
def test_an_action_keeps_more_of_the_layer_than_losing_as_much_blindly(kind: str) -> None:
    """Control: as many experts by lot, or the first neurons of each, without repair."""
    worse = 0
    for seed in range(3):
        evidence = seen(random_layer(8, seed), inputs(1500, seed))
        action = next(
            a for a in actions(evidence.layer, ActionGrid(experts=(0.5,), widths=(0.5,)))
            if a.kind == kind
        )  # fmt: skip
        left = missed(apply(action, evidence), evidence.sample, evidence.target)
        layer = evidence.layer
        experts = max(1, round(8 * action.parameters(HIDDEN) / layer.parameters))
        blind = missed(layer.keeping(range(experts)), evidence.sample, evidence.target)
        worse += left >= blind
    assert worse == 0


def test_dropping_goes_by_what_the_output_feels() -> None:
    """Expert 2 has the least energy, but 0 and 1 are doubles: one of those can go, 2 cannot."""
    one = expert(1)
    quiet = Expert(expert(2).gate_up, 0.3 * expert(2).down)
    row, other = torch.randn(2, HIDDEN, generator=torch.Generator().manual_seed(1))
    rows = torch.stack([row, row + 0.05 * other, -row])
    evidence = seen(Layer((one, one, quiet), rows, top_k=1), inputs(800))
    assert int(scores(evidence.sums)["energy"].argmin()) == 2
    kept = kept_experts(evidence, 2)
    assert 2 in kept
    left, by_energy = (
        missed(evidence.layer.keeping(k), evidence.sample, evidence.target) for k in (kept, [0, 1])
    )
    assert left < 0.02 < 0.05 < by_energy


def uniform_counts(layers: list[Layer]) -> list[int]:
    return [len(layer.experts) for layer in layers]


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_keep_half_of_the_experts(name: str) -> None:
    evidence = [seen(random_layer(8, seed), inputs(300, seed)) for seed in range(3)]
    layers = cut(name, evidence, 0.5)
    counts = uniform_counts(layers)
    assert sum(counts) == 12 and min(counts) >= 2
    assert all(layer.experts[0].width == WIDTH for layer in layers)
    if name not in ("reap global", "pyramid", "pyramid + refit"):
        assert counts == [4, 4, 4]
    if name.startswith("pyramid"):
        assert counts == sorted(counts) and counts[0] < counts[2]


def test_baselines_keep_the_experts_of_largest_score() -> None:
    evidence = [seen(random_layer(6, 4))]
    best = scores(evidence[0].sums)["reap"].topk(3).indices.sort().values.tolist()
    assert cut("reap", evidence, 0.5)[0].experts == tuple(
        evidence[0].layer.experts[i] for i in best
    )
    with pytest.raises(InputError, match="unknown baseline 'magic'; there are: random"):
        cut("magic", evidence, 0.5)


def test_one_threshold_for_all_layers_cuts_the_quiet_layer_more() -> None:
    def louder(layer: Layer, factor: float) -> Layer:
        experts = tuple(Expert(e.gate_up, e.down * factor) for e in layer.experts)
        return Layer(experts, layer.router, top_k=2)

    evidence = [seen(louder(random_layer(6, s), f)) for s, f in ((0, 1.0), (1, 5.0))]
    assert uniform_counts(cut("reap global", evidence, 0.5)) == [2, 4]


def test_a_repair_never_lets_a_baseline_miss_more() -> None:
    evidence: list = [seen(random_layer(8, seed), inputs(1000, seed)) for seed in range(2)]

    def errors(name: str) -> list[float]:
        made = zip(cut(name, evidence, 0.5), evidence, strict=True)
        return [missed(layer, one.sample, one.target) for layer, one in made]

    assert all(a < b for a, b in zip(errors("reap + refit"), errors("reap"), strict=True))


def test_a_missing_expert_never_breaks_routing() -> None:
    layer = random_layer(5, bias=torch.randn(5))
    for kept in ([0], [4, 1], [0, 1, 2]):
        made = layer.keeping(kept)
        gates: Tensor = made.gates(inputs(50))
        torch.testing.assert_close(gates.sum(dim=1), torch.ones(50))
        assert int((gates > 0).sum(dim=1).max()) <= 2
