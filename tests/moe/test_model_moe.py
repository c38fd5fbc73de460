"""The mixture as a transformers model: built, saved, packed, generated from, adapted, trained."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from moe_tiny import (
    FAMILIES,
    HIDDEN,
    MIXED,
    documents,
    logits,
    packed,
    tiny_config,
    tiny_dense,
    tiny_moe,
    tokens,
)
from transformers import AutoModelForCausalLM

from oldfriend.errors import InputError
from oldfriend.lm import lora
from oldfriend.lm import model as models
from oldfriend.lm.chat import Message
from oldfriend.lm.fit import Run, fit_model
from oldfriend.lm.generate import generate
from oldfriend.lm.packing import isolate_convolutions, packed_hidden
from oldfriend.lm.settings import FitParams, LoraParams
from oldfriend.lm.tokenizer import train_tokenizer
from oldfriend.moe.config import OFMoeConfig, layer_fields, make_config
from oldfriend.moe.importing import from_dense
from oldfriend.moe.modeling import OFMoeForCausalLM, record_routing
from oldfriend.moe.recording import declared_domains
from oldfriend.moe.upcycling.dense import upcycle
from oldfriend.moe.upcycling.plan import UpcyclePlan

ROUTED = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_and_loaded_it_is_the_same_bit_by_bit(family: str, tmp_path: Path) -> None:
    model = tiny_moe(family)
    model.routers()[1].expert_bias.copy_(torch.tensor([0.1, -0.2, 0.1]))  # type: ignore[union-attr]
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert isinstance(again, OFMoeForCausalLM)
    ours, theirs = model.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert torch.equal(logits(model, tokens()), logits(again, tokens()))
    for layer, other in zip(model.config.layers(), again.config.layers(), strict=True):
        assert layer_fields(layer) == layer_fields(other)


@pytest.mark.parametrize("cache", [None, "static"])
@pytest.mark.parametrize("family", FAMILIES)
def test_generation_with_a_cache_is_reading_the_text_again(family: str, cache: str | None) -> None:
    model = tiny_moe(family)
    assert torch.equal(greedy(model, cache_implementation=cache), reread(model))


def greedy(model: OFMoeForCausalLM, **options: Any) -> torch.Tensor:
    """Six more tokens, with a cache."""
    model.generation_config.eos_token_id = None  # random models end their texts at random
    found: torch.Tensor = model.generate(
        input_ids=tokens(), max_new_tokens=6, do_sample=False, disable_compile=True, **options
    )
    return found


def reread(model: OFMoeForCausalLM) -> torch.Tensor:
    """Six more tokens, each from the whole text."""
    text = tokens()
    for _ in range(6):
        text = torch.cat([text, logits(model, text)[:, -1:].argmax(-1)], dim=1)
    return text


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_documents_do_not_see_each_other(family: str) -> None:
    model = tiny_moe(family)
    isolate_convolutions(model)
    docs = documents([14, 9])
    batch = packed(docs)
    with torch.no_grad():
        hidden = packed_hidden(model.model, batch)
        for number, doc in enumerate(sorted(docs, key=len, reverse=True)):
            alone = model.model(input_ids=torch.tensor([doc.ids])).last_hidden_state
            place = batch["seq_idx"][0] == number
            assert torch.allclose(hidden[0, place], alone[0], atol=1e-5)


def test_an_adapter_of_the_dense_model_loads_as_it_is(tmp_path: Path) -> None:
    """One plain expert a layer is the dense model, so its adapter must say the same there."""
    for family in FAMILIES:
        dense = tiny_dense(family)
        moe = from_dense(dense)
        adapted = lora.attach(dense, LoraParams(rank=2, alpha=4))
        with torch.no_grad():
            for name, weight in adapted.named_parameters():
                if "lora_B" in name:
                    weight.normal_(std=0.2)
        lora.save(adapted, tmp_path / family)
        plain = logits(moe, tokens())
        ours = logits(lora.load(moe, tmp_path / family), tokens())
        assert torch.allclose(ours, logits(adapted, tokens()), atol=1e-5)
        assert (ours - plain).abs().max() > 1e-3


def test_the_friend_and_its_adapters_run_on_a_saved_moe(tmp_path: Path) -> None:
    """Copies compute what the dense model does, so whatever stands on it must say the same."""
    tokenizer = train_tokenizer(["We got a hen today. My dog is old. " * 9], 300)
    dense = tiny_dense("lfm2", vocab_size=len(tokenizer))
    adapted = lora.attach(copy.deepcopy(dense), LoraParams(rank=2, alpha=4))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.2)
    lora.save(adapted, tmp_path / "adapter")
    (tmp_path / "moe").mkdir()
    models.save(upcycle(dense, UpcyclePlan(method="copy")), tokenizer, tmp_path / "moe", {})
    loaded, its_tokenizer = models.load(tmp_path / "moe")
    assert isinstance(loaded, OFMoeForCausalLM) and len(loaded.routers()) == 3
    prompt: list[list[Message]] = [[{"role": "user", "content": "My dog?"}]]

    def alike(ours: Any, theirs: Any) -> bool:
        said = [generate(one, its_tokenizer, prompt, max_new_tokens=6) for one in (ours, theirs)]
        gap = (logits(ours, tokens()) - logits(theirs, tokens())).abs().max()
        return bool(gap < 1e-4) and said[0] == said[1]

    assert alike(loaded, dense)
    assert alike(lora.load(loaded, tmp_path / "adapter"), adapted)


def test_adapters_name_the_same_mixers_on_dense_and_moe() -> None:
    for family in FAMILIES:
        dense = tiny_dense(family)
        assert lora.mixer_projections(tiny_moe(family)) == lora.mixer_projections(dense)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_checkpointing_changes_no_gradient(family: str) -> None:
    plain = tiny_moe(family).train()
    saved = copy.deepcopy(plain)
    saved.activation_checkpointing_enable()
    assert saved.is_activation_checkpointing
    for model in (plain, saved):
        model(input_ids=tokens(), labels=tokens()).loss.backward()
    for (name, one), other in zip(plain.named_parameters(), saved.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None, name
        assert torch.allclose(one.grad, other.grad, atol=1e-5), name


def test_the_trainer_of_all_stages_trains_it(tmp_path: Path) -> None:
    docs = documents([12] * 40)
    fit = FitParams(
        steps=25, rows=4, row_tokens=32, lr=0.01, precision="32-true", accelerator="cpu"
    )
    model = tiny_moe("lfm2", [ROUTED, ROUTED])
    idle = fit.model_copy(update={"steps": 0})
    before = fit_model(model, docs, idle, Run(tmp_path / "a", 0), pad_id=0, validation=docs)
    after = fit_model(model, docs, fit, Run(tmp_path / "b", 0), pad_id=0, validation=docs)
    assert after.val_loss < before.val_loss - 0.3


def test_records_hold_real_tokens_and_what_routers_saw() -> None:
    model = tiny_moe("lfm2")
    isolate_convolutions(model)
    lengths = [14, 9, 20]
    with torch.no_grad(), record_routing(model, inputs=True) as records:
        for _ in range(2):
            packed_hidden(model.model, packed(documents(lengths)))
    assert list(records) == [0, 2]  # layer 1 has no router
    for layer, routing in records.items():
        router = model.feed_forwards[layer].router
        assert router is not None and routing.inputs is not None
        assert routing.inputs.shape == (2 * sum(lengths), HIDDEN)
        assert routing.logits.dtype == torch.float32
        assert torch.allclose(routing.logits, routing.inputs @ router.weight.T, atol=1e-5)
        again = router.decide(routing.logits)
        assert torch.equal(again.chosen, routing.chosen)
        assert torch.allclose(again.weights, routing.weights)
    packed_hidden(model.model, packed(documents(lengths)))
    assert len(records[0].logits) == 2 * sum(lengths)  # nobody listens any more


def test_padding_on_the_left_is_no_real_token() -> None:
    model = tiny_moe("llama")
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[0, :5] = 0
    with torch.no_grad(), record_routing(model) as records:
        model(input_ids=tokens(), attention_mask=mask)
    assert len(records[0].chosen) == 24 - 5


def test_routers_decide_in_fp32_under_autocast_and_in_bf16_models(tmp_path: Path) -> None:
    model = tiny_moe("lfm2")
    half, silent = torch.autocast("cpu", torch.bfloat16), torch.no_grad()
    with half, silent, record_routing(model, inputs=True) as records:
        model(input_ids=tokens())
    routing, router = records[0], model.feed_forwards[0].router
    assert router is not None and routing.inputs is not None
    exact = routing.inputs.float() @ router.weight.T
    assert torch.allclose(routing.logits, exact, atol=1e-5)
    model.save_pretrained(tmp_path)
    small = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {r.weight.dtype for r in small.routers()} == {torch.float32}
    assert small.feed_forwards[0].experts.down.dtype == torch.bfloat16
    assert torch.isfinite(logits(small, tokens())).all()


def test_one_expert_is_a_plain_ffn_and_none_is_a_gap() -> None:
    model = tiny_moe("llama", [ROUTED | {"num_experts": 1}, ROUTED | {"num_experts": 0}])
    plain, gap = model.feed_forwards
    assert plain.router is None and gap.router is None and gap.experts is None
    x = torch.randn(2, 5, HIDDEN)
    assert gap(x).abs().max() == 0
    assert plain.experts is not None
    gate, up = (x @ plain.experts.gate_up[0].T).chunk(2, -1)
    expected = (torch.nn.functional.silu(gate) * up) @ plain.experts.down[0].T
    assert torch.allclose(plain(x), expected, atol=1e-6)


def test_expert_bias_chooses_and_never_weighs() -> None:
    model = tiny_moe("llama", [ROUTED | {"expert_bias": True}])
    router = model.routers()[0]
    x = torch.randn(6, HIDDEN)
    assert router.expert_bias is not None
    router.expert_bias.copy_(torch.tensor([0.0, 0, 5, 5]))
    routing = router(x)
    assert set(routing.chosen.flatten().tolist()) == {2, 3}
    p = routing.logits.softmax(-1).gather(1, routing.chosen)
    assert torch.allclose(routing.weights, p / p.sum(-1, keepdim=True))


SEQUENCE = ROUTED | {"routing_level": "sequence"}


@pytest.mark.parametrize("family", ["lfm2", "llama"])
def test_routing_by_sequence_averages_the_past_only(family: str) -> None:
    model = tiny_moe(family, [SEQUENCE, SEQUENCE])
    text = tokens(1, 14)
    whole = logits(model, text)
    for end in (1, 5, 9):  # what comes later changes nothing
        assert torch.allclose(logits(model, text[:, :end]), whole[:, :end], atol=1e-5)
    with torch.no_grad(), record_routing(model, inputs=True) as records:
        model(input_ids=text)
    routing, router = records[0], model.routers()[0]
    assert routing.inputs is not None
    own = routing.inputs @ router.weight.T
    mean = own.cumsum(0) / torch.arange(1, 15)[:, None]
    assert torch.allclose(routing.logits, mean, atol=1e-5)


def test_routing_by_sequence_respects_documents_and_remembers_while_generating() -> None:
    model = tiny_moe("llama", [SEQUENCE, SEQUENCE])
    docs = documents([14, 9])
    batch = packed(docs)
    with torch.no_grad():
        hidden = packed_hidden(model.model, batch)
        for number, doc in enumerate(sorted(docs, key=len, reverse=True)):
            alone = model.model(input_ids=torch.tensor([doc.ids])).last_hidden_state
            place = batch["seq_idx"][0] == number
            assert torch.allclose(hidden[0, place], alone[0], atol=1e-5)
    assert torch.equal(greedy(model), reread(model))
    with pytest.raises(InputError, match="num_beams"):
        model.generate(input_ids=tokens(), num_beams=2)


def test_routing_by_domain_keeps_to_the_domains_experts() -> None:
    layer = ROUTED | {"routing_level": "domain", "domain_experts": [[0, 1], [2, 3, 1]]}
    model = tiny_moe("llama", [layer])
    for domain, allowed in enumerate([{0, 1}, {1, 2, 3}]):
        told = declared_domains(model, torch.tensor([domain, domain]))
        with torch.no_grad(), record_routing(model) as records, told:
            model(input_ids=tokens())
        assert set(records[0].chosen.flatten().tolist()) <= allowed
    with torch.no_grad(), record_routing(model) as records:
        model(input_ids=tokens(), domain_ids=torch.tensor([0, -1]))
    first, second = records[0].chosen.view(2, -1)
    assert set(first.tolist()) == {0, 1} and len(set(second.tolist())) > 2


def test_a_layer_that_cannot_be_is_refused_by_name() -> None:
    for wrong, field in (
        ({"num_experts_per_tok": 9}, "num_experts_per_tok"),
        ({"moe_intermediate_size": [8, 8]}, "moe_intermediate_size"),
        ({"moe_intermediate_size": [8, 8, 8, 0]}, "moe_intermediate_size"),
        ({"num_experts": -1}, "num_experts"),
        ({"shared_expert_intermediate_size": -4}, "shared_expert_intermediate_size"),
        ({"routing_level": "domain"}, "domain_experts"),
        ({"routing_level": "domain", "domain_experts": [[0, 7]]}, "domain_experts"),
    ):
        with pytest.raises(InputError, match=field):
            make_config(tiny_config("llama", num_hidden_layers=2), [ROUTED, ROUTED | wrong])
    with pytest.raises(InputError, match="gpt2"):
        OFMoeConfig(text_config={"model_type": "gpt2"})


def test_what_all_layers_share_is_stored_once() -> None:
    config = make_config(tiny_config("llama"), [ROUTED, ROUTED, ROUTED])
    assert not config.is_heterogeneous and config.num_experts == 4
    mixed = make_config(tiny_config("llama"), MIXED)
    written = json.loads(mixed.to_json_string())
    assert set(written["per_layer_config"]) == {"0", "1", "2"}
    assert [layer.num_experts for layer in mixed.layers()] == [4, 1, 3]
    assert OFMoeConfig(**written).layers()[2].moe_intermediate_size == [8, 24, 16]


def test_lora_of_experts_leaves_and_returns() -> None:
    """PEFT adapts stacked experts of unequal layers, and merging keeps the function."""
    from peft import LoraConfig, get_peft_model

    model = tiny_moe("llama")
    before = logits(model, tokens())
    targets = ["feed_forward.experts.gate_up", "feed_forward.experts.down"]
    adapted: Any = get_peft_model(model, LoraConfig(r=2, target_parameters=targets))
    assert torch.allclose(logits(adapted, tokens()), before, atol=1e-6)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    moved = logits(adapted, tokens())
    assert (moved - before).abs().max() > 1e-3
    assert torch.allclose(logits(adapted.merge_and_unload(), tokens()), moved, atol=1e-4)
