"""Balance and z-loss against their definitions; loss-free balancing once a step, never twice."""

import copy
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from moe_tiny import documents, packed, tiny_moe, tokens
from torch import Tensor
from torch.multiprocessing.spawn import start_processes

from oldfriend.lm.packing import isolate_convolutions, packed_hidden
from oldfriend.moe.losses import (
    balance_bias,
    balance_loss,
    expert_counts,
    max_violation,
    z_loss,
)
from oldfriend.moe.modeling import OFMoeForCausalLM, train_experts_only

ROUTED = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}


def chosen_of(logits: Tensor, top_k: int) -> Tensor:
    return logits.topk(top_k).indices


@settings(max_examples=30, deadline=None)
@given(experts=st.integers(2, 8), seed=st.integers(0, 999), data=st.data())
def test_balance_is_its_formula(experts: int, seed: int, data: st.DataObject) -> None:
    """E * sum f_i P_i, counted by hand over the tokens that are real."""
    top_k = data.draw(st.integers(1, experts))
    logits = torch.randn(20, experts, generator=torch.Generator().manual_seed(seed))
    real = torch.rand(20, generator=torch.Generator().manual_seed(seed + 1)) < 0.7
    real[0] = True
    chosen, p = chosen_of(logits, top_k), logits.softmax(-1)
    expected = 0.0
    for expert in range(experts):
        hits = sum(int(expert in chosen[t].tolist()) for t in range(20) if real[t])
        share = hits / (top_k * int(real.sum()))
        expected += experts * share * float(p[real, expert].mean())
    assert float(balance_loss(logits, chosen, real)) == pytest.approx(expected, rel=1e-5)


def test_balance_is_one_at_balance_and_the_share_of_the_chosen_at_collapse() -> None:
    even = torch.eye(8).repeat(4, 1) * 50  # every expert first for one token in eight
    assert float(balance_loss(even, chosen_of(even, 1))) == pytest.approx(1.0, abs=1e-5)
    collapsed = torch.zeros(32, 8)
    collapsed[:, :2] = 50.0
    loss = float(balance_loss(collapsed, chosen_of(collapsed, 2)))
    assert loss == pytest.approx(8 / 2, rel=1e-4)


def test_two_collapsed_layers_are_not_balanced_together() -> None:
    """Pooling layers first, as transformers does, would call this balanced."""
    low, high = torch.zeros(16, 4), torch.zeros(16, 4)
    low[:, :2], high[:, 2:] = 50, 50
    losses = [float(balance_loss(z, chosen_of(z, 2))) for z in (low, high)]
    assert min(losses) == pytest.approx(2.0, rel=1e-4)
    pooled = torch.cat([low, high])
    assert float(balance_loss(pooled, chosen_of(pooled, 2))) == pytest.approx(1.0, rel=1e-4)


def test_sigmoid_scores_are_normalised() -> None:
    even = torch.zeros(8, 4)
    chosen = torch.arange(8)[:, None] % 4
    assert float(balance_loss(even, chosen, score="sigmoid")) == pytest.approx(1.0)


def test_z_loss_is_the_squared_logsumexp() -> None:
    logits = torch.randn(10, 5)
    real = torch.arange(10) < 6
    expected = sum(math.log(float(z.exp().sum())) ** 2 for z in logits[:6]) / 6
    assert float(z_loss(logits, real)) == pytest.approx(expected, rel=1e-5)


def test_bias_moves_towards_the_idle_and_keeps_its_mean() -> None:
    bias = torch.tensor([0.5, 0.0, -0.5, 0.0])
    balance_bias(bias, torch.tensor([10.0, 2.0, 2.0, 2.0]), 0.1)
    assert bias.mean() == pytest.approx(0.0, abs=1e-7)
    assert bias[0] < 0.5 and bias[1] > 0.0 and bias[2] > -0.5


def test_loss_free_balancing_balances() -> None:
    """Fixed scores that favour one expert: the bias alone evens the load out."""
    generator = torch.Generator().manual_seed(0)
    scores = (torch.randn(512, 4, generator=generator) + torch.tensor([2.0, 0, 0, 0])).softmax(-1)
    bias = torch.zeros(4)
    before = max_violation(expert_counts((scores + bias).topk(1).indices, 4))
    for _ in range(400):
        balance_bias(bias, expert_counts((scores + bias).topk(1).indices, 4), 0.01)
    after = max_violation(expert_counts((scores + bias).topk(1).indices, 4))
    assert before > 1.0 and after < 0.1


def learning(layers: list[dict[str, object]], **fields: float) -> OFMoeForCausalLM:
    model = tiny_moe("lfm2", layers, **fields)
    isolate_convolutions(model)
    model.train()
    return model


def step(model: OFMoeForCausalLM, batches: list[dict[str, Tensor]], count: int) -> None:
    """Forward and backward of an optimizer step in ``len(batches)`` micro-batches."""
    for batch in batches:
        hidden = packed_hidden(model.model, batch)
        (hidden.square().mean() + model.auxiliary_loss() / count).backward()


BALANCED = ROUTED | {"expert_bias": True}


def test_load_counts_real_tokens_once_even_when_layers_are_recomputed() -> None:
    batch = packed(documents([20, 17, 9, 30]))
    real = sum([20, 17, 9, 30])
    plain = learning([BALANCED, BALANCED, BALANCED])
    saved = copy.deepcopy(plain)
    saved.activation_checkpointing_enable()
    found = []
    for model in (plain, saved):
        step(model, [batch], 1)
        found.append({layer: load.clone() for layer, load in model.step_load().items()})
        assert all(float(load.sum()) == real * 2 for load in model.step_load().values())
    for layer, load in found[0].items():
        assert torch.equal(load, found[1][layer])
    for (name, one), (_, other) in zip(
        plain.named_parameters(), saved.named_parameters(), strict=True
    ):
        if one.grad is not None:
            assert other.grad is not None
            assert torch.allclose(one.grad, other.grad, atol=1e-5), name


def test_accumulated_load_is_that_of_the_whole_step() -> None:
    docs = documents([20, 17, 9, 30])
    whole, parts = packed(docs), [packed(docs[:2]), packed(docs[2:])]
    one, many = (learning([BALANCED] * 3) for _ in range(2))
    step(one, [whole], 1)
    step(many, parts, 2)
    for layer, load in one.step_load().items():
        assert torch.equal(load, many.step_load()[layer])
    one.after_step(), many.after_step()
    for ours, theirs in zip(one.routers(), many.routers(), strict=True):
        assert ours.expert_bias is not None and theirs.expert_bias is not None
        assert torch.equal(ours.expert_bias, theirs.expert_bias)
        assert ours.expert_bias.abs().max() > 0
    assert not one.step_load()


def test_evaluation_counts_nothing() -> None:
    model = learning([BALANCED])
    batch = packed(documents([20, 12]))
    model.eval()
    packed_hidden(model.model, batch)
    with torch.no_grad():
        model.train()
        packed_hidden(model.model, batch)
    assert not model.step_load()
    assert float(model.auxiliary_loss()) == 0


def test_auxiliary_loss_is_the_mean_over_layers_and_reaches_routers_only() -> None:
    model = learning([ROUTED, ROUTED | {"num_experts": 1}, ROUTED | {"num_experts": 6}])
    batch = packed(documents([20, 12]))
    packed_hidden(model.model, batch)
    last = model.scratch.last
    assert last is not None and last.real_BL is not None
    real = last.real_BL.flatten()
    expected = 0.0
    for layer in (0, 2):
        routing = last.routings[layer]
        z = routing.logits.detach()
        expected += 0.5 * 0.01 * float(balance_loss(z, routing.chosen, real))
        expected += 0.5 * 0.001 * float(z_loss(z, real))
    loss = model.auxiliary_loss()
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert all(router.weight.grad is not None for router in model.routers())
    assert model.feed_forwards[2].experts is not None
    assert model.feed_forwards[2].experts.down.grad is None  # nothing after its own router


def test_the_models_own_loss_has_the_auxiliary_one_in_training_only() -> None:
    model = tiny_moe("llama", [ROUTED, ROUTED], balance_weight=10.0)
    ids = tokens()
    plain = float(model(input_ids=ids, labels=ids).loss)
    model.train()
    assert float(model(input_ids=ids, labels=ids).loss) > plain + 5


def test_frozen_mixers_get_no_gradient() -> None:
    model = learning([ROUTED, ROUTED])
    train_experts_only(model)
    step(model, [packed(documents([20]))], 1)
    moved = {name for name, p in model.named_parameters() if p.grad is not None}
    assert moved and all(".feed_forward." in name for name in moved)


def test_the_load_of_all_processes_moves_the_bias_of_each(tmp_path: Path) -> None:
    """Two processes see half of the step each: equal load, so equal bias."""
    start_processes(
        _in_a_group, (str(tmp_path / "meet"), str(tmp_path)), nprocs=2, start_method="fork"
    )
    one = learning([BALANCED] * 2)
    step(one, [packed(HALVES[0]), packed(HALVES[1])], 2)
    one.after_step()
    for rank in range(2):
        theirs = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for router, bias in zip(one.routers(), theirs, strict=True):
            assert router.expert_bias is not None and torch.equal(router.expert_bias, bias)


HALVES = [documents([20, 12], seed=1), documents([25], seed=2)]


def _in_a_group(rank: int, meeting: str, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=2
    )
    model = learning([BALANCED] * 2)
    step(model, [packed(HALVES[rank])], 1)
    model.after_step()
    torch.save([router.expert_bias for router in model.routers()], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()
