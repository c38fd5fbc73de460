"""Cutting a whole model: splicing is exact, measured plans hold, the stage does what it says."""

from pathlib import Path

import pytest
import torch
from moe_tiny import FAMILIES, VOCAB, tiny_config
from torch import Tensor

from oldfriend.errors import InputError
from oldfriend.lm.packing import Document
from oldfriend.lm.settings import FitParams
from oldfriend.moe.config import make_config
from oldfriend.moe.layer import Layer
from oldfriend.moe.modeling import OFMoeForCausalLM, record_routing
from oldfriend.moe.pruning.calibration import batches, drawn, inputs_of, mean_loss, observe
from oldfriend.moe.pruning.compress import compress, refit_in_order
from oldfriend.moe.pruning.refit import missed
from oldfriend.moe.pruning.settings import ActionGrid, PruneParams, RecoverParams
from oldfriend.moe.pruning.speed import compare, dense_like
from oldfriend.moe.splice import read_layers, rebuilt, tried
from oldfriend.moe.training import active_parameters

IDS = torch.randint(3, VOCAB, (2, 20), generator=torch.Generator().manual_seed(0))
FIT = FitParams(steps=2, rows=2, row_tokens=32, lr=1e-3, precision="32-true", accelerator="cpu")


def mixture(family: str = "lfm2", seed: int = 0, **changes: object) -> OFMoeForCausalLM:
    """Three layers: eight experts, four with a shared one, six; all with an expert bias."""
    fields = {"num_experts_per_tok": 2, "moe_intermediate_size": 48, "expert_bias": True}
    layers = [
        fields | {"num_experts": 8},
        fields | {"num_experts": 4, "shared_expert_intermediate_size": 16,
                  "shared_expert_gate": True},
        fields | {"num_experts": 6, "moe_intermediate_size": [48, 16, 32, 8, 48, 24]},
    ]  # fmt: skip
    torch.manual_seed(seed)
    model = OFMoeForCausalLM(make_config(tiny_config(family), [one | changes for one in layers]))
    with torch.no_grad():
        for router in model.routers():
            assert router.expert_bias is not None
            router.expert_bias.normal_(std=0.1)
            router.weight.mul_(5)
    return model.eval()


def documents(count: int = 60, seed: int = 0) -> list[Document]:
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(5, 30, (count,), generator=random).tolist()
    return [
        Document(tuple(torch.randint(3, VOCAB, (n,), generator=random).tolist())) for n in lengths
    ]


TEXT = batches(documents(), 32, 4, 0)


def logits(model: OFMoeForCausalLM) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=IDS).logits
    return found


@pytest.mark.parametrize("score", ["softmax", "sigmoid"])
@pytest.mark.parametrize("renormalise", [True, False])
def test_a_layer_of_tensors_computes_what_the_model_does(score: str, renormalise: bool) -> None:
    model = mixture(router_score=score, renormalise=renormalise, routed_scale=1.5)
    x = torch.randn(1, 40, 32)
    for module, layer in zip(model.feed_forwards, read_layers(model), strict=True):
        with torch.no_grad():
            torch.testing.assert_close(layer(x[0]), module(x)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_taken_apart_and_put_together_is_the_same(family: str) -> None:
    model = mixture(family)
    again = rebuilt(model, read_layers(model))
    torch.testing.assert_close(logits(again), logits(model), rtol=0, atol=1e-6)
    assert again is not model
    before = logits(model)
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.zero_()
    assert logits(model).equal(before)  # nothing is shared


def test_cut_layers_survive_building_saving_and_loading(tmp_path: Path) -> None:
    model = mixture()
    layers = read_layers(model)
    cut = [
        layers[0].keeping([1, 6]),
        Layer(experts=(layers[1].experts[0].narrowed(torch.arange(24)),)),
        Layer(),
    ]
    with tried(model, dict(enumerate(cut))):
        wanted = logits(model)
    made = rebuilt(model, cut)
    torch.testing.assert_close(logits(made), wanted, rtol=0, atol=1e-5)
    made.save_pretrained(tmp_path)
    loaded = OFMoeForCausalLM.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(logits(loaded), wanted, rtol=0, atol=1e-5)
    assert [layer.widths for layer in read_layers(loaded)] == [(48, 48), (24,), ()]


def test_trying_layers_leaves_no_trace() -> None:
    model = mixture()
    before, modules = logits(model), list(model.feed_forwards)
    with pytest.raises(RuntimeError, match="stop"), tried(model, {1: Layer()}):
        assert not logits(model).equal(before)
        raise RuntimeError("stop")
    assert logits(model).equal(before) and list(model.feed_forwards) == modules


def test_routing_by_sequence_is_refused() -> None:
    with pytest.raises(InputError, match="layer 0 routes by sequence"):
        read_layers(mixture(routing_level="sequence"))


def test_observing_sees_what_the_routers_see_and_no_padding() -> None:
    model = mixture()
    evidence = observe(model, TEXT, keep=10_000)
    tokens = sum(int((batch["labels"] >= 0).sum()) for batch in TEXT)
    assert [int(one.sums.tokens) for one in evidence] == [tokens] * 3
    with record_routing(model, inputs=True) as records:
        mean_loss(model, TEXT)
    for layer, routing in records.items():
        load = torch.bincount(routing.chosen.flatten(), minlength=len(evidence[layer].sums.load_E))
        # records also hold the last token of every document, which has no label
        assert int((load - evidence[layer].sums.load_E).min()) >= 0
        assert int(load.sum()) - 2 * tokens <= 2 * len(documents())
    sample = inputs_of(model, TEXT, 1, keep=10_000)
    order = lambda x: x[x[:, 0].argsort()]  # noqa: E731
    torch.testing.assert_close(order(sample), order(evidence[1].sample))


def test_mean_loss_is_that_of_each_document_alone() -> None:
    model, texts = mixture("llama"), documents(8)
    total = count = 0.0
    with torch.no_grad():
        for text in texts:
            ids = torch.tensor([text.ids])
            total += float(model(input_ids=ids, labels=ids).loss) * (len(text) - 1)
            count += len(text) - 1
    assert mean_loss(model, batches(texts, 64, 4, 0)) == pytest.approx(total / count, rel=1e-5)


def test_drawing_is_even_over_domains_and_repeatable() -> None:
    texts = {"a": documents(200), "b": documents(200, 1), "c": documents(3, 2)}
    chosen = drawn(texts, 600, 5)
    assert chosen == drawn(texts, 600, 5) != drawn(texts, 600, 6)
    tokens = {n: sum(len(d) for d in chosen if d in docs) for n, docs in texts.items()}
    assert abs(tokens["a"] - tokens["b"]) < 40 and tokens["c"] <= 90
    assert all(d in texts["b"] for d in drawn(texts, 300, 5, ["b"]))


GRID = ActionGrid(experts=(0.5,), widths=(0.5,), dense=(1.0,), share=())


def params(**changes: object) -> PruneParams:
    return PruneParams(
        **{"domains": ("talk",), "grid": GRID, "trials": 3, "speed_rounds": 1,
           "calibration_tokens": 600, "measure_tokens": 600, "val_tokens": 600,
           "recover": RecoverParams(fit=FIT), **changes}  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(("budget", "keep"), [("params", 0.3), ("params", 0.5), ("active", 0.7)])
def test_a_plan_keeps_to_its_budget_and_measures_what_it_says(budget: str, keep: float) -> None:
    model = mixture()
    evidence = observe(model, TEXT, keep=600)
    base = mean_loss(model, TEXT)
    found = compress(model, evidence, TEXT, params(budget=budget, keep=keep))
    cost = [layer.parameters if budget == "params" else layer.active for layer in found.layers]
    whole = [e.layer.parameters if budget == "params" else e.layer.active for e in evidence]
    assert sum(cost) <= keep * sum(whole)
    assert mean_loss(rebuilt(model, found.layers), TEXT) - base == pytest.approx(
        found.settled.loss, abs=1e-4
    )
    chosen = [row for row in found.table if row["chosen"]]
    assert [row["layer"] for row in chosen] == [0, 1, 2]
    assert [row["action"] for row in chosen] == [str(action) for action in found.actions]
    kept = [row["loss_increase"] for row in found.table if str(row["action"]).startswith("keep")]
    assert kept == [0.0] * 3


def test_single_losses_in_the_table_are_those_of_that_one_change() -> None:
    model = mixture()
    evidence = observe(model, TEXT, keep=600)
    found = compress(model, evidence, TEXT, params())
    gone = next(r for r in found.table if r["layer"] == 2 and r["action"] == "cancel")
    layers = [*read_layers(model)[:2], Layer()]
    increase = mean_loss(rebuilt(model, layers), TEXT) - mean_loss(model, TEXT)
    assert gone["loss_increase"] == pytest.approx(increase, abs=1e-5)


def test_an_impossible_budget_is_an_input_error() -> None:
    model = mixture()
    evidence = observe(model, TEXT, keep=300)
    grid = GRID.model_copy(update={"cancel": False})
    with pytest.raises(InputError, match="keep more, or allow"):
        compress(model, evidence, TEXT, params(keep=0.01, grid=grid))


def test_refitting_in_order_mends_what_layers_below_have_shifted() -> None:
    """Error of the last layer on what really reaches it: after, and before, refitting in order."""
    model = mixture(seed=1)
    before = read_layers(model)
    cut = [before[0].keeping([0, 1]), before[1].keeping([0, 1]), before[2].keeping([0, 4])]
    text = batches(documents(300), 32, 8, 0)
    mended = refit_in_order(model, cut, before, text, keep=5000)
    for index in range(3):
        with tried(model, dict(enumerate(mended[:index]))):
            x = inputs_of(model, text, index, keep=5000)
        target = before[index](x)
        assert missed(mended[index], x, target) < missed(cut[index], x, target)


def test_a_dense_model_of_equal_flops() -> None:
    model = mixture()
    dense = dense_like(model)
    assert all(len(layer.experts) == 1 for layer in read_layers(dense))
    # routers and the shared expert's gate are all that a dense model saves
    routers = sum(p.numel() for n, p in model.named_parameters() if "router" in n or ".gate." in n)
    uniform = [0, 1]  # layers whose experts are equally wide
    widths = [read_layers(dense)[i].widths[0] for i in uniform]
    assert widths == [96, 112]
    assert active_parameters(dense)[0] > 0 and routers > 0


def test_speed_is_measured_for_every_model_in_turn() -> None:
    found = compare({"one": mixture(), "two": mixture()}, prompt=16, new=3, rounds=2)
    assert set(found) == {"one", "two"}
    assert all(speed.prefill > 0 and speed.decode > 0 for speed in found.values())
