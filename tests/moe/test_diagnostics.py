"""What is counted of routing, watched in training, and added to its loss."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from moe_tiny import documents, packed, tiny_dense, tiny_moe
from torch import Tensor

from oldfriend.lm.fit import Run
from oldfriend.lm.lit import PackedLM
from oldfriend.lm.settings import FitParams
from oldfriend.moe.diagnostics.probe import Probe, feed_forwards, norm_gains
from oldfriend.moe.diagnostics.routing_stats import RoutingStats
from oldfriend.moe.diagnostics.watch import Watch, area, moments, tokens_to
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.router.distil import Anchor, DonorTeacher, distilled, router_kl
from oldfriend.moe.router.start import router_start
from oldfriend.moe.router.views import donor_of, start_routers, view
from oldfriend.moe.training import (
    active_parameters,
    after_every_step,
    also_learning,
    fit_experts,
    training_flops,
)
from oldfriend.moe.upcycling.dense import upcycle
from oldfriend.moe.upcycling.plan import UpcyclePlan

ROUTED: list[dict[str, Any]] = [
    {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
] * 2


def fit(**changes: Any) -> FitParams:
    base: dict[str, Any] = {
        "steps": 6, "rows": 2, "row_tokens": 32, "lr": 1e-2, "precision": "32-true",
        "accelerator": "cpu", "checkpoint_every": 100,
    }  # fmt: skip
    return FitParams(**(base | changes))


def probe(rows: int = 4, **changes: Any) -> Probe:
    texts = {"one": documents([20, 9, 30, 17], 1), "two": documents([12, 31, 8], 2)}
    return Probe(texts, fit(**changes), 0, rows=rows)


# Counts


def test_even_loads_and_a_collapse() -> None:
    even = RoutingStats(4)
    even.update(torch.zeros(8, 4), torch.tensor([[0, 1], [2, 3]]).repeat(4, 1))
    found = even.summary()
    assert (found.load_cv, found.max_vio, found.dead_experts) == (0, 0, 0)
    assert (found.entropy, found.margin) == pytest.approx((1, 0))
    sure = torch.tensor([[9.0, 8.0, -50.0, -50.0]]).repeat(8, 1)
    collapsed = RoutingStats(4)
    collapsed.update(sure, sure.topk(2).indices)
    found = collapsed.summary()
    assert (found.load_cv, found.max_vio, found.dead_experts) == (1, 1, 2)
    odds = 1 / (1 + math.exp(-1))
    assert found.margin == pytest.approx(2 * odds - 1, abs=1e-6)


def test_batches_add_up_to_the_whole() -> None:
    logits = torch.randn(100, 6)
    chosen, domains = logits.topk(2).indices, torch.arange(100) % 3
    whole, parts = RoutingStats(6, 3), RoutingStats(6, 3)
    whole.update(logits, chosen, domains)
    for piece in torch.arange(100).split(17):
        parts.update(logits[piece], chosen[piece], domains[piece])
    assert vars(parts.summary()) == pytest.approx(vars(whole.summary()))
    assert parts.domain_ME.equal(whole.domain_ME) and parts.pairs_EE.equal(whole.pairs_EE)


def test_coactivation_is_conditional() -> None:
    stats = RoutingStats(3)
    stats.update(torch.zeros(4, 3), torch.tensor([[0, 1], [0, 1], [0, 2], [0, 2]]))
    assert stats.coactivation()[0].tolist() == [1, 0.5, 0.5]
    assert stats.coactivation()[1].tolist() == [1, 1, 0]


def test_nothing_counted_is_no_summary() -> None:
    with pytest.raises(ValueError, match="no token"):
        RoutingStats(4).summary()


# Probe


@pytest.mark.parametrize("family", ["lfm2", "llama"])
def test_labels_fit_what_is_recorded_and_losses_are_those_of_the_trainer(family: str) -> None:
    model, text = tiny_moe(family, ROUTED), probe()
    model.train()
    look = text.look(model)
    assert model.training
    for routing in look.routings.values():
        assert len(routing.chosen) == len(text.domains_T) == len(text.documents_T)
    docs = documents([20, 9, 30, 17], 1)
    batch = packed(docs)
    lit = PackedLM(model.eval(), fit())
    with torch.no_grad():
        expected = float(lit.loss(batch)) / sum(len(d) - 1 for d in docs)
    assert look.losses["one"] == pytest.approx(expected, rel=1e-5)
    assert look.loss == pytest.approx((look.losses["one"] + look.losses["two"]) / 2)


def test_inputs_are_what_routers_see_and_dense_ffns_too() -> None:
    model, text = tiny_moe("llama", ROUTED), probe()
    seen = text.inputs(model)
    look = text.look(model, inputs=True)
    for layer, routing in look.routings.items():
        assert routing.inputs is not None
        torch.testing.assert_close(seen[layer], routing.inputs)
    dense = tiny_dense("llama")
    assert [len(x) for x in text.inputs(dense)] == [len(text.domains_T)] * 3
    assert not text.look(dense).routings
    assert len(feed_forwards(dense)) == len(norm_gains(dense)) == 3


def test_in_order_undoes_packing() -> None:
    """Another row length packs otherwise; the documents' own order stays."""
    docs = documents([20, 9, 30, 17, 25, 4], 1)
    model = tiny_dense("lfm2")
    views = [
        view(model, Probe({"": docs}, fit(row_tokens=length), 0, rows=9)) for length in (32, 64)
    ]
    for one, other in zip(views[0].inputs, views[1].inputs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


# Training


def test_the_auxiliary_loss_reaches_routers_of_equal_experts() -> None:
    """A MoE of equal experts gets no router gradient from its output; the z-loss alone moves it."""
    dense = tiny_dense("llama")
    moved = {}
    for weight in (0.0, 1.0):
        plan = UpcyclePlan(
            method="copy", experts=4, z_weight=weight, balance_weight=0, score="softmax"
        )
        model = upcycle(dense, plan, seed=1)
        for ff in model.feed_forwards:
            assert ff.experts is not None
            ff.experts.requires_grad_(False)
        extra = model.auxiliary_loss
        with also_learning(model.model, lambda _, extra=extra: extra()):  # type: ignore[misc]
            batch = packed(documents([30, 20, 25]))
            PackedLM(model, fit()).train().loss(batch).backward()  # type: ignore[no-untyped-call]
        moved[weight] = max(float(r.weight.grad.abs().max()) for r in model.routers())
    assert moved[0.0] < 1e-6 < 1e-3 < moved[1.0]


def test_added_gradients_are_those_of_the_sum() -> None:
    docs = documents([30, 20, 25, 11])

    def gradients(added: bool) -> dict[str, Tensor]:
        model = tiny_moe("lfm2", ROUTED, balance_weight=0.5, z_weight=0.5).train()
        lit = PackedLM(model, fit()).train()
        if added:
            with also_learning(model.model, lambda _: model.auxiliary_loss(), 0.25):
                lit.loss(packed(docs)).backward()  # type: ignore[no-untyped-call]
        else:
            (lit.loss(packed(docs)) + 0.25 * model.auxiliary_loss()).backward()  # type: ignore[no-untyped-call]
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    one, other = gradients(True), gradients(False)
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name])


def test_fit_experts_moves_ffns_and_routers_only_and_learns(tmp_path: Path) -> None:
    model = tiny_moe("lfm2", ROUTED)
    start = {n: w.clone() for n, w in model.state_dict().items()}
    text = documents([24] * 8)
    watch = Watch(model, Probe({"a": text}, fit(), 0), [0, 30], track=True)
    fit_experts(model, text, fit(steps=30), Run(tmp_path, 0), pad_id=0, watch=watch)
    moved = {n for n, w in model.state_dict().items() if not w.equal(start[n])}
    assert moved == {n for n in start if ".feed_forward." in n and "bias" not in n}
    assert watch.steps == [0, 30]
    assert watch.looks[1].loss < 0.9 * watch.looks[0].loss


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_steps_are_counted_and_loads_forgotten_after_each(tmp_path: Path, optimizer: str) -> None:
    model, seen = tiny_moe("llama", ROUTED), list[int]()
    settings = fit(steps=4, accumulate=2, rows=1, optimizer=optimizer)
    with after_every_step(lambda step: seen.append(step)):
        fit_experts(model, documents([24] * 20), settings, Run(tmp_path, 0), pad_id=0)
    assert seen == [1, 2, 3, 4]
    assert not model.step_load()


def test_accumulation_does_not_change_the_routers_losses(tmp_path: Path) -> None:
    """z-loss only: a mean over micro-batches of equal size is the mean over the batch."""
    text, trained = documents([32] * 16), []
    for rows, accumulate in ((4, 1), (1, 4)):
        model = tiny_moe("llama", ROUTED, balance_weight=0.0, z_weight=1.0)
        settings = fit(steps=3, rows=rows, accumulate=accumulate)
        fit_experts(model, text, settings, Run(tmp_path, 0), pad_id=0)
        trained.append(model.state_dict())
    for name, weight in trained[0].items():
        torch.testing.assert_close(weight, trained[1][name], atol=2e-4, rtol=1e-3)


def test_active_parameters_count_the_chosen_experts() -> None:
    dense = tiny_dense("llama")
    rest, ffn = active_parameters(dense)
    assert ffn == 3 * 3 * 32 * 48
    plan = UpcyclePlan(method="copy", experts=8, top_k=2)
    total, active = active_parameters(upcycle(dense, plan))
    assert active == 2 * ffn + 3 * 8 * 32
    assert total - active == rest - ffn
    half = UpcyclePlan(method="virtual", experts=8, top_k=2, segments=2)
    same, _ = active_parameters(upcycle(dense, half))
    assert same == rest + 3 * 8 * 32
    assert training_flops(dense) == 4 * rest + 2 * ffn


# Distillation


def test_router_kl_is_zero_for_the_same_and_ignores_padding() -> None:
    logits = torch.randn(6, 4)
    assert float(router_kl(logits + 2, logits)) == pytest.approx(0, abs=1e-6)
    other = logits.clone()
    other[3:] = 50 * torch.randn(3, 4)
    real = torch.tensor([1, 1, 1, 0, 0, 0]).bool()
    assert float(router_kl(logits, other, real)) == pytest.approx(0, abs=1e-6)
    assert float(router_kl(logits, other)) > 0.1


def test_a_teacher_holds_routers_for_as_long_as_it_teaches(tmp_path: Path) -> None:
    def drift(weight: float, steps: int) -> float:
        model = tiny_moe("llama", ROUTED, balance_weight=2.0)
        weights = {i: ff.router.weight for i, ff in enumerate(model.feed_forwards) if ff.router}
        start = [w.detach().clone() for w in weights.values()]
        with distilled(model, Anchor(weights), weight=weight, steps=steps) as lesson:
            run = Run(tmp_path, 0)
            fit_experts(model, documents([30] * 12), fit(steps=12), run, pad_id=0, teacher=lesson)
        return sum(
            float((w.detach() - s).norm()) for w, s in zip(weights.values(), start, strict=True)
        )

    free, held, let_go = drift(0.0, 12), drift(50.0, 12), drift(50.0, 6)
    assert held < 0.7 * free
    assert held < let_go


def test_a_donor_teaches_its_own_routing(tmp_path: Path) -> None:
    """A MoE with strange routers learns those of the MoE it is a copy of."""
    donor = tiny_moe("lfm2", ROUTED)
    pupil = tiny_moe("lfm2", ROUTED)
    start_routers(pupil, [torch.randn(4, 32) * 0.3 for _ in range(2)])
    text = documents([30] * 12)
    place = Probe({"": text}, fit(), 0)

    def apart() -> float:
        mine, theirs = place.look(pupil).routings, place.look(donor).routings
        return float(sum(router_kl(mine[i].logits, theirs[i].logits) for i in mine))

    before = apart()
    settings = fit(steps=40, lr=2e-2)
    with distilled(pupil, DonorTeacher(donor), weight=20.0, steps=40) as lesson:
        fit_experts(pupil, text, settings, Run(tmp_path, 0), pad_id=0, teacher=lesson)
    assert apart() < 0.3 * before


def test_a_folded_donor_teaches_fewer_experts() -> None:
    donor = tiny_moe("llama", ROUTED)
    teacher = DonorTeacher(donor, [[[0, 1], [2, 3]]] * 2)
    batch = packed(documents([30, 20]))
    said = teacher(batch, {0: torch.zeros(1), 1: torch.zeros(1)})
    assert [tuple(logits.shape)[1] for logits in said.values()] == [2, 2]


# Watch


@pytest.mark.parametrize(("steps", "count"), [(10, 3), (300, 8), (2, 8)])
def test_moments_begin_and_end_and_grow_apart(steps: int, count: int) -> None:
    found = moments(steps, count)
    assert (found[0], found[-1]) == (0, steps)
    assert found == sorted(set(found)) and len(found) <= count + 1


def test_a_watched_training_yields_all_figures(tmp_path: Path) -> None:
    model, text = tiny_moe("lfm2", ROUTED), probe()
    watch = Watch(model, text, [0, 2, 6], track=True)
    fit_experts(model, documents([24] * 20), fit(), Run(tmp_path, 0), pad_id=0, watch=watch)
    assert watch.steps == [0, 2, 6]
    found = watch.routing()
    assert found.metrics["churn"] >= found.metrics["churn_first"] >= 0
    assert found.metrics["saturation_start"] <= 1
    assert [row["layer"] for row in found.tables["layers"]] == [0, 1]
    assert len(found.tables["over_time"]) == 6
    assert watch.loss_rows(64)[-1]["tokens"] == 384
    shares = watch.domain_rows()
    for layer in (0, 1):
        total = sum(row["one"] for row in shares if row["layer"] == layer)
        assert total == pytest.approx(1)
    assert watch.track is not None
    names = {row["name"] for row in watch.track.rows()}
    assert {"layer0.router", "layer1.expert3.down"} <= names


def test_a_frozen_router_has_no_churn_of_its_own(tmp_path: Path) -> None:
    """Layer 0 sees frozen mixers' states only: with its router frozen its choices cannot move."""
    model, text = tiny_moe("llama", ROUTED), probe()
    watch = Watch(model, text, [0, 3, 6])
    with after_every_step(lambda _: start_routers(model, kept)):
        kept = [r.weight.detach().clone() for r in model.routers()]
        fit_experts(model, documents([24] * 20), fit(), Run(tmp_path, 0), pad_id=0, watch=watch)
    first, second = watch.routing().tables["layers"]
    assert first["churn"] == 0 and first["saturation_start"] == 1
    assert second["churn"] >= 0


def test_area_and_tokens_to_a_loss() -> None:
    assert area([0, 1, 3], [3.0, 2.0, 2.0]) == pytest.approx((2.5 + 4) / 3)
    assert tokens_to(2.5, [0, 10, 20], [3.0, 2.0, 1.0]) == pytest.approx(5)
    assert tokens_to(0.5, [0, 10], [3.0, 2.0]) == math.inf
    assert tokens_to(4, [7, 10], [3.0, 2.0]) == 7


# Starts on models


def test_every_start_keeps_the_function_of_the_dense_model() -> None:
    dense, text = tiny_dense("lfm2"), probe()
    seen = view(dense, text)
    related = tiny_moe("lfm2", [ROUTED[0]] * 3)
    donor = donor_of(related, view(related, text))
    before = text.look(dense).loss
    for kind in ("random", "scaled", "kmeans", "domains", "copy", "ridge", "procrustes"):
        weights = router_start(
            kind, inputs=seen.inputs, experts=4, seed=0, donor=donor,  # type: ignore[arg-type]
            domains=seen.domains, gains=seen.gains,
        )  # fmt: skip
        model = upcycle(dense, UpcyclePlan(method="copy", experts=4), router=weights)
        assert isinstance(model, OFMoeForCausalLM)
        for router, weight in zip(model.routers(), weights, strict=True):
            torch.testing.assert_close(router.weight.detach(), weight)
        assert text.look(model).loss == pytest.approx(before, rel=1e-4)
