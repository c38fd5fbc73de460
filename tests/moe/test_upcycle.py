"""Dense to MoE: the same function at step 0 wherever theory allows, and what is drawn is right."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from moe_tiny import FAMILIES, HIDDEN, WIDTH, documents, logits, packed, tiny_dense, tokens
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from oldfriend.errors import InputError
from oldfriend.lm.fit import Run
from oldfriend.lm.packing import packed_hidden
from oldfriend.lm.settings import FitParams
from oldfriend.moe.layer import Expert
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.upcycling.branches import averaged, mix_branches, train_branches
from oldfriend.moe.upcycling.dense import dropped, noisy, scaled, upcycle
from oldfriend.moe.upcycling.grow import ASLEEP, copies, expert_utility, grow, wake
from oldfriend.moe.upcycling.plan import UpcyclePlan
from oldfriend.moe.upcycling.split import coactivation, embedding, partition

PRESERVING = {
    "copy": UpcyclePlan(method="copy", experts=4),
    "copy of one": UpcyclePlan(method="copy", experts=3, top_k=1),
    "copy, bias": UpcyclePlan(method="copy", experts=4, expert_bias=True),
    "copy by sequence": UpcyclePlan(method="copy", experts=4, routing_level="sequence"),
    "sigmoid copy": UpcyclePlan(method="copy", experts=4, score="sigmoid"),
    "softmax copy": UpcyclePlan(method="copy", experts=4, score="softmax"),
    "per layer": UpcyclePlan(method="copy", experts=[4, 1, 8]),
    "no noise": UpcyclePlan(method="noise", experts=4, noise=0),
    "no drop": UpcyclePlan(method="drop", experts=4, drop=0),
    "split, all on": UpcyclePlan(method="split", experts=4, top_k=4),
    "k-means split": UpcyclePlan(method="split", experts=5, top_k=5, partition="kmeans"),
    "split, shared": UpcyclePlan(method="split", experts=4, top_k=4, shared=0.25),
    "virtual": UpcyclePlan(method="virtual", experts=8, segments=2),
    "virtual, two groups": UpcyclePlan(method="virtual", experts=16, segments=4, top_k=8),
    "virtual, up and down": UpcyclePlan(
        method="virtual", experts=8, segments=4, top_k=4, scaled="up_down"
    ),
    "virtual, shared": UpcyclePlan(method="virtual", experts=9, segments=3, top_k=3, shared=0.5),
}
CHANGING = {
    "noise": UpcyclePlan(method="noise", experts=4),
    "drop": UpcyclePlan(method="drop", experts=4),
    "split, half on": UpcyclePlan(method="split", experts=4, top_k=2),
    "segments": UpcyclePlan(method="segments", experts=8, segments=4, top_k=4),
}
IDS = tokens(3, 20)


def loss(model: Any) -> float:
    """Mean next-token loss (nats)."""
    found = logits(model, IDS)[:, :-1].flatten(0, 1)
    return float(F.cross_entropy(found, IDS[:, 1:].flatten()))


def gap(model: Any, dense: PreTrainedModel) -> float:
    """Relative difference of the loss at step 0."""
    return abs(loss(model) / loss(dense) - 1)


def routers(plan: UpcyclePlan) -> list[Tensor]:
    """Strong routers, so that nothing is preserved by indifference."""
    counts = plan.experts if isinstance(plan.experts, list) else [plan.experts] * 3
    groups = plan.segments if plan.method == "virtual" else 1
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(count // groups, HIDDEN, generator=generator) for count in counts]


@pytest.mark.parametrize("name", PRESERVING)
@pytest.mark.parametrize("family", FAMILIES)
def test_step_0_is_the_dense_model(family: str, name: str) -> None:
    plan, dense = PRESERVING[name], tiny_dense(family)
    counts = plan.experts if isinstance(plan.experts, list) else [plan.experts] * 3
    assert all(plan.preserves(count) for count in counts if count > 1)
    strong = None if plan.method == "split" else routers(plan)
    moe = upcycle(dense, plan, router=strong, seed=3)
    assert gap(moe, dense) <= 1e-4
    assert torch.allclose(logits(moe, IDS), logits(dense, IDS), atol=1e-3)
    for count, ff in zip(counts, moe.feed_forwards, strict=True):
        assert ff.experts is not None and len(ff.experts.widths) == count
        assert (ff.router is None) == (count == 1)


@pytest.mark.parametrize("name", CHANGING)
def test_the_other_methods_change_it_and_say_so(name: str) -> None:
    plan, dense = CHANGING[name], tiny_dense("lfm2")
    assert not plan.preserves(int(str(plan.experts)))
    assert 1e-4 < gap(upcycle(dense, plan, router=routers(plan)), dense) < 3


def test_an_unscaled_virtual_group_would_not_preserve() -> None:
    """The control: without its factor the same construction is far from the dense model."""
    dense = tiny_dense("llama")
    moe = upcycle(dense, PRESERVING["virtual"])
    for ff in moe.feed_forwards:
        assert ff.experts is not None
        ff.experts.down.data /= 2
    assert (logits(moe, IDS) - logits(dense, IDS)).abs().max() > 0.1


def test_the_dense_model_is_left_alone() -> None:
    dense = tiny_dense("qwen2")
    before = {name: weight.clone() for name, weight in dense.state_dict().items()}
    moe = upcycle(dense, UpcyclePlan(method="drop", experts=4))
    with torch.no_grad():
        for parameter in moe.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(before[name], weight) for name, weight in dense.state_dict().items())


def test_a_seed_decides_everything() -> None:
    dense, plan = tiny_dense("lfm2"), UpcyclePlan(method="drop", experts=3)
    one, same, other = (upcycle(dense, plan, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def random_expert(width: int = WIDTH, seed: int = 0) -> Expert:
    generator = torch.Generator().manual_seed(seed)
    return Expert(
        torch.randn(2 * width, HIDDEN, generator=generator),
        torch.randn(HIDDEN, width, generator=generator),
    )


@settings(max_examples=20, deadline=None)
@given(share=st.floats(0, 1), seed=st.integers(0, 99))
def test_drop_draws_the_same_neurons_in_all_matrices(share: float, seed: int) -> None:
    expert = random_expert()
    new = dropped(expert, share, torch.Generator().manual_seed(seed))
    (gate, up), (new_gate, new_up) = expert.gate_up.chunk(2), new.gate_up.chunk(2)
    moved = [(new_gate != gate).any(1), (new_up != up).any(1), (new.down != expert.down).any(0)]
    assert torch.equal(moved[0], moved[1]) and torch.equal(moved[0], moved[2])
    assert int(moved[0].sum()) == math.floor(share * WIDTH)


def test_drop_draws_from_the_dropped_neurons_statistics() -> None:
    expert = Expert(torch.randn(4000, 64) * 0.3 + 2.0, torch.randn(64, 2000) * 5 - 1)
    new = dropped(expert, 0.5, torch.Generator().manual_seed(0))
    moved = (new.down != expert.down).any(0)
    assert float(new.down[:, moved].mean()) == pytest.approx(-1, abs=0.1)
    assert float(new.down[:, moved].std()) == pytest.approx(5, rel=0.02)
    assert float(new.gate_up.mean()) == pytest.approx(2, abs=0.01)


def test_noise_hits_half_of_the_weights_at_their_own_scale() -> None:
    expert = random_expert(400)
    new = noisy(expert, 0.1, torch.Generator().manual_seed(0))
    change = new.down - expert.down
    assert float((change != 0).float().mean()) == pytest.approx(0.5, abs=0.02)
    assert float(change[change != 0].std()) == pytest.approx(
        0.1 * float(expert.down.std()), rel=0.05
    )


@settings(max_examples=10, deadline=None)
@given(factor=st.floats(0.1, 50), seed=st.integers(0, 99))
def test_scaling_linear_factors_is_exact(factor: float, seed: int) -> None:
    expert, x = random_expert(seed=seed), torch.randn(5, HIDDEN)
    for where in ("down", "up_down"):
        assert torch.allclose(
            scaled(expert, factor, where)(x), factor * expert(x), rtol=1e-3, atol=1e-3
        )


@pytest.mark.parametrize("how", ["random", "kmeans", "coactivation"])
@settings(max_examples=15, deadline=None)
@given(width=st.integers(4, 40), seed=st.integers(0, 99), data=st.data())
def test_a_partition_holds_every_neuron_once_in_even_parts(
    how: Any, width: int, seed: int, data: st.DataObject
) -> None:
    parts = data.draw(st.integers(1, width))
    expert, x = random_expert(width, seed), torch.randn(30, HIDDEN)
    found = partition(expert, parts, how, seed, x)
    assert torch.cat(found).sort().values.tolist() == list(range(width))
    assert {len(part) for part in found} <= {width // parts, -(-width // parts)}
    whole = sum(expert.narrowed(part)(x) for part in found)
    assert torch.allclose(whole, expert(x), atol=1e-3)  # type: ignore[arg-type]


def test_clusters_are_found() -> None:
    """Two kinds of neurons, shuffled: k-means on rows and co-activation both part them."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randint(0, 2, (40,), generator=generator)
    kinds[kinds.argsort()[:20]], kinds[kinds.argsort()[20:]] = 0, 1
    axes = torch.eye(HIDDEN)[:2] * 4
    rows = axes[kinds] + 0.1 * torch.randn(40, HIDDEN, generator=generator)
    expert = Expert(torch.cat([rows, rows.abs() + 1]), torch.randn(HIDDEN, 40))
    x = axes[torch.randint(0, 2, (300,), generator=generator)]
    x = x + 0.3 * torch.randn(300, HIDDEN, generator=generator)
    for how in ("kmeans", "coactivation"):
        for part in partition(expert, 2, how, 1, x):  # type: ignore[arg-type]
            assert len(set(kinds[part].tolist())) == 1, how


def test_coactivation_is_the_cosine_of_activity() -> None:
    expert = random_expert(20)
    x = torch.randn(50, HIDDEN)
    together = coactivation(expert, x, chunk=16)
    active = expert.hidden(x).abs()
    expected = F.cosine_similarity(active.T[:, None], active.T[None], dim=-1)
    assert torch.allclose(together, expected, atol=1e-5)
    assert embedding(together, 3).shape == (20, 3)


def test_a_balanced_split_of_like_neurons_is_even() -> None:
    whole = Expert(torch.ones(18, 4), torch.ones(4, 9))
    parts = partition(whole, 4, "kmeans", 0)
    assert sorted(len(part) for part in parts) == [2, 2, 2, 3]
    assert sorted(torch.cat(parts).tolist()) == list(range(9))


def test_a_split_by_coactivation_needs_its_inputs() -> None:
    plan = UpcyclePlan(method="split", experts=4, top_k=4, partition="coactivation")
    with pytest.raises(InputError, match="calibration"):
        upcycle(tiny_dense("llama"), plan)
    inputs = [torch.randn(60, HIDDEN) for _ in range(3)]
    dense = tiny_dense("llama")
    assert gap(upcycle(dense, plan, calibration=inputs), dense) <= 1e-4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": "virtual", "experts": 9, "segments": 2}, "whole copies"),
        ({"method": "virtual", "experts": 8, "segments": 4, "top_k": 2}, "multiple"),
        ({"method": "copy", "segments": 2}, "no segments"),
        ({"method": "drop", "shared": 0.5}, "shared"),
        ({"experts": [4, -1]}, "negative"),
        ({"top_k": 0}, "top_k"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        UpcyclePlan(**fields)


def test_what_does_not_fit_the_model_is_refused() -> None:
    dense = tiny_dense("llama")
    with pytest.raises(InputError, match="2 expert counts for 3 layers"):
        upcycle(dense, UpcyclePlan(experts=[4, 4]))
    with pytest.raises(InputError, match="router of shape"):
        upcycle(dense, UpcyclePlan(experts=4), router=[torch.zeros(3, HIDDEN)] * 3)
    with pytest.raises(InputError, match="3 of 2 experts"):
        upcycle(dense, UpcyclePlan(experts=2, top_k=3))
    with pytest.raises(InputError, match="cannot be split"):
        upcycle(dense, UpcyclePlan(method="split", experts=WIDTH + 1, top_k=1))


# --- branches -----------------------------------------------------------------------------------


def test_a_mix_of_equal_branches_is_the_parent() -> None:
    dense = tiny_dense("lfm2")
    moe = mix_branches([dense] * 3, UpcyclePlan(experts=3), router=routers(UpcyclePlan(experts=3)))
    assert gap(moe, dense) <= 1e-4


def test_branches_learn_their_domain_and_become_its_experts(tmp_path: Path) -> None:
    dense = tiny_dense("lfm2")
    domains = {"one": documents([30] * 8, seed=1), "two": documents([30] * 8, seed=2)}
    fit = FitParams(
        steps=15, rows=4, row_tokens=32, lr=0.01, precision="32-true", accelerator="cpu"
    )
    branches = train_branches(dense, domains, fit, Run(tmp_path, 0), pad_id=0)
    before, after = dense.state_dict(), branches["one"].state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(".feed_forward." in name for name in changed)

    def on(model: Any, name: str) -> float:
        batch = packed(domains[name])
        found = torch.stack([logits(model, torch.tensor([d.ids]))[0, :-1] for d in domains[name]])
        labels = torch.tensor([d.ids[1:] for d in domains[name]])
        assert batch["labels"].ne(-100).sum() == labels.numel()
        return float(F.cross_entropy(found.flatten(0, 1), labels.flatten()))

    assert on(branches["one"], "one") < on(dense, "one") - 0.2
    assert on(branches["one"], "one") < on(branches["two"], "one") - 0.2
    plan = UpcyclePlan(experts=2, top_k=1)
    first = torch.zeros(2, HIDDEN)
    moe = mix_branches(list(branches.values()), plan, router=[first] * 3)
    for ff, name in ((moe.feed_forwards[0], "one"), (moe.feed_forwards[2], "two")):
        own = branches[name].model.layers[ff.index].feed_forward  # type: ignore[union-attr,index]
        place = list(branches).index(name)
        assert ff.experts is not None
        assert torch.equal(ff.experts.down[place], own.w2.weight)


def test_mixers_are_averaged_and_strangers_refused() -> None:
    one, two = tiny_dense("llama", seed=0), tiny_dense("llama", seed=1)
    mean = averaged([one, two]).state_dict()
    for name, weight in mean.items():
        expected = (one.state_dict()[name] + two.state_dict()[name]) / 2
        assert torch.allclose(weight, expected, atol=1e-6)
    with pytest.raises(InputError, match="one parent"):
        averaged([one, tiny_dense("llama", intermediate_size=40)])
    with pytest.raises(InputError, match="two branches"):
        mix_branches([one], UpcyclePlan(experts=1, top_k=1))


# --- growing ------------------------------------------------------------------------------------


def grown_from(top_k: int = 2, **fields: Any) -> OFMoeForCausalLM:
    plan = UpcyclePlan(method="drop", experts=4, top_k=top_k, **fields)
    return upcycle(tiny_dense("lfm2"), plan, router=routers(plan))


def test_twice_the_experts_and_twice_the_choice_is_the_same_function() -> None:
    moe = grown_from()
    assert gap(grow(moe, 8, top_k=4), moe) <= 1e-4


def test_one_choice_survives_growing() -> None:
    moe = grown_from(top_k=1)
    bigger = grow(moe, 7, utility=[torch.arange(4.0)] * 3)
    assert gap(bigger, moe) <= 1e-4


def test_sleeping_copies_change_nothing_until_they_wake() -> None:
    moe = grown_from()
    bigger = grow(moe, 8, asleep=True)
    assert gap(bigger, moe) <= 1e-4
    assert all((r.expert_bias[4:] == ASLEEP).all() for r in bigger.routers())  # type: ignore[index]
    wake(bigger)
    assert gap(bigger, moe) > 1e-4
    assert all(r.expert_bias.abs().max() == 0 for r in bigger.routers())  # type: ignore[union-attr]


def test_plain_growing_crowds_out_the_second_choice() -> None:
    moe = grown_from()
    assert gap(grow(moe, 8), moe) > 1e-4


def test_dense_layers_stay_dense_when_growing() -> None:
    plan = UpcyclePlan(method="drop", experts=[4, 1, 0])
    bigger = grow(upcycle(tiny_dense("lfm2"), plan), 6)
    assert [layer.num_experts for layer in bigger.config.layers()] == [6, 1, 0]


def test_copies_go_to_the_useful_and_stop_at_the_cap() -> None:
    assert copies(torch.tensor([8.0, 4.0, 1.0]), 5, cap=3) == [0, 0]
    assert copies(torch.tensor([8.0, 4.0, 1.0]), 6, cap=3) == [0, 0, 1]
    assert copies(torch.tensor([1.0, 1.0]), 6, cap=2) == [0, 1, 0, 1]  # room for all comes first
    with pytest.raises(InputError, match="fewer"):
        copies(torch.ones(4), 3, cap=3)


def test_utility_is_the_squared_gradient() -> None:
    moe = grown_from()
    moe.requires_grad_(False)
    batch = packed(documents([20, 12]))
    found = expert_utility(moe, [batch])
    assert not any(p.requires_grad for p in moe.parameters())
    moe.feed_forwards[1].experts.requires_grad_(True)  # type: ignore[union-attr]
    hidden = packed_hidden(moe.model, batch)
    found_logits, labels = moe.lm_head(hidden).flatten(0, 1), batch["labels"].flatten()
    F.cross_entropy(found_logits, labels, ignore_index=-100).backward()
    grads = [p.grad for p in moe.feed_forwards[1].experts.parameters()]  # type: ignore[union-attr]
    by_hand = [sum(float((g[e] ** 2).sum()) for g in grads if g is not None) for e in range(4)]
    assert found[1] is not None and found[1].tolist() == pytest.approx(by_hand, rel=1e-4)
    twice = expert_utility(moe, [batch, batch])
    for one, two in zip(found, twice, strict=True):
        assert one is not None and two is not None
        assert torch.allclose(2 * one, two, rtol=1e-4)
