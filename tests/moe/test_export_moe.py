"""Out to stock architectures and in again: the same logits, or a refusal that says why."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from moe_tiny import FAMILIES, HIDDEN, VOCAB, logits, tiny_dense, tiny_moe, tokens
from tokenizers import Tokenizer, models
from transformers import (
    AutoModelForCausalLM,
    Lfm2MoeConfig,
    MixtralConfig,
    OlmoeConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2MoeConfig,
    Qwen3MoeConfig,
)

from oldfriend.errors import CheckpointError, InputError, MissingDataError
from oldfriend.lm import model as dense_models
from oldfriend.moe.importing import from_dense, from_stock, load
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.stock.export import export, to_stock

IDS = tokens(2, 14)
CLASS = {
    "lfm2": "Lfm2MoeForCausalLM", "llama": "MixtralForCausalLM", "mistral": "MixtralForCausalLM",
    "qwen2": "Qwen2MoeForCausalLM", "qwen3": "Qwen3MoeForCausalLM",
}  # fmt: skip


def routed(family: str, **changes: Any) -> dict[str, Any]:
    """A routed layer that the family's stock class can have."""
    score = "sigmoid" if family == "lfm2" else "softmax"
    return {
        "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
        "router_score": score, **changes,
    }  # fmt: skip


def same(model: Any, other: Any) -> bool:
    return float((logits(model, IDS) - logits(other, IDS)).abs().max()) <= 1e-4


def reloaded(stock: PreTrainedModel, folder: Path) -> PreTrainedModel:
    stock.save_pretrained(folder)
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder)
    return model


UNIFORM: dict[str, list[dict[str, Any]]] = {
    "plain": [{}, {}, {}],
    "widths": [{"moe_intermediate_size": 16}, {"moe_intermediate_size": [8, 24, 8, 16]}, {}],
    "scaled": [{"routed_scale": 2.5}, {}, {"routed_scale": 0.5}],
}


@pytest.mark.parametrize("kind", UNIFORM)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_uniform_mixture_becomes_its_familys_class(
    family: str, kind: str, tmp_path: Path
) -> None:
    moe = tiny_moe(family, [routed(family, **changes) for changes in UNIFORM[kind]])
    stock = to_stock(moe)
    assert type(stock).__name__ == CLASS[family]
    assert same(moe, stock)
    again = reloaded(stock, tmp_path)
    assert type(again) is type(stock) and same(moe, again)


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_dense_and_missing_ffns_of_qwen_stay_dense(family: str) -> None:
    plain = {"num_experts": 1, "moe_intermediate_size": 40}
    moe = tiny_moe(family, [routed(family), plain, {"num_experts": 0}])
    stock = to_stock(moe)
    assert stock.config.mlp_only_layers == [1, 2] and same(moe, stock)


def test_dense_layers_of_lfm2_may_come_first() -> None:
    plain = {"num_experts": 1, "moe_intermediate_size": 40}
    moe = tiny_moe("lfm2", [plain, routed("lfm2"), routed("lfm2", expert_bias=True)])
    moe.routers()[1].expert_bias.copy_(torch.tensor([0.5, 0.0, 0.1, -0.5]))  # type: ignore[union-attr]
    stock = to_stock(moe)
    assert stock.config.num_dense_layers == 1 and stock.config.moe_intermediate_size == 24
    assert same(moe, stock)


@pytest.mark.parametrize("gated", [False, True])
def test_shared_experts_of_qwen2(gated: bool) -> None:
    shared = {"shared_expert_intermediate_size": 16, "shared_expert_gate": gated}
    moe = tiny_moe("qwen2", [routed("qwen2", **shared), routed("qwen2")])
    assert same(moe, to_stock(moe))


MIXED: list[dict[str, Any]] = [
    {"num_experts": 6, "moe_intermediate_size": [8, 24, 16, 8, 8, 24], "expert_bias": True},
    {"num_experts": 1, "moe_intermediate_size": 41},
    {"num_experts": 3, "moe_intermediate_size": 16},
    {"num_experts": 0},
]


@pytest.mark.parametrize("family", ["lfm2", "llama", "mistral"])
def test_layers_that_differ_are_padded(family: str, tmp_path: Path) -> None:
    shared = {"shared_expert_intermediate_size": 20}
    changes = [MIXED[0] | (shared if family == "llama" else {}), *MIXED[1:]]
    moe = tiny_moe(family, [routed(family, **change) for change in changes])
    bias = torch.tensor([0.3, 0.0, 0.1, -0.3, 0.0, 0.2])
    moe.routers()[0].expert_bias.copy_(bias)  # type: ignore[union-attr]
    stock = to_stock(moe)
    expected = "Lfm2MoeForCausalLM" if family == "lfm2" else "Ernie4_5_MoeForCausalLM"
    assert type(stock).__name__ == expected
    assert same(moe, stock)
    assert same(moe, reloaded(stock, tmp_path))


def test_what_no_stock_class_computes_is_refused() -> None:
    for family, layers, message in (
        ("lfm2", [routed("llama")], "sigmoid"),
        ("llama", [routed("lfm2")], "softmax"),
        ("llama", [routed("llama"), routed("llama", num_experts_per_tok=1)], "experts a token"),
        ("llama", [routed("llama"), routed("llama", renormalise=False)], "renormalising"),
        ("llama", [routed("llama", renormalise=False)], "sum to one"),
        ("qwen3", [routed("qwen3"), routed("qwen3", num_experts=5)], "same experts"),
        ("lfm2", [routed("lfm2", shared_expert_intermediate_size=8)], "shared"),
        ("llama", [routed("llama", num_experts=1)], "dense"),
        ("llama", [routed("llama", routing_level="sequence")], "sequence"),
    ):
        with pytest.raises(InputError, match=message):
            to_stock(tiny_moe(family, layers))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_dense_model_is_taken_in_as_it_is(family: str) -> None:
    dense = tiny_dense(family)
    moe = from_dense(dense)
    assert not moe.routers() and torch.allclose(logits(moe, IDS), logits(dense, IDS), atol=1e-6)


def test_untied_heads_and_biased_mixers_come_along() -> None:
    for family, changes in (
        ("llama", {"tie_word_embeddings": False}),
        ("lfm2", {"conv_bias": True, "block_auto_adjust_ff_dim": True, "block_multiple_of": 8}),
        ("mistral", {"sliding_window": 5}),
    ):
        dense = tiny_dense(family, **changes)
        assert torch.allclose(logits(from_dense(dense), IDS), logits(dense, IDS), atol=1e-6)


def test_ffns_with_biases_are_refused() -> None:
    with pytest.raises(CheckpointError, match="bias"):
        from_dense(tiny_dense("llama", mlp_bias=True))


SMALL: dict[str, Any] = {
    "vocab_size": VOCAB, "hidden_size": HIDDEN, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "initializer_range": 0.15, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "max_position_embeddings": 256, "num_experts_per_tok": 2,
}  # fmt: skip
STOCK: dict[str, Any] = {
    "mixtral": lambda: MixtralConfig(**SMALL, intermediate_size=24, num_local_experts=5),
    "mixtral, window": lambda: MixtralConfig(
        **SMALL, intermediate_size=24, num_local_experts=5, sliding_window=6, head_dim=16
    ),
    "qwen2-moe": lambda: Qwen2MoeConfig(
        **SMALL, num_experts=5, moe_intermediate_size=16, shared_expert_intermediate_size=24,
        intermediate_size=40, mlp_only_layers=[1],
    ),
    "qwen3-moe": lambda: Qwen3MoeConfig(
        **SMALL, num_experts=5, moe_intermediate_size=16, norm_topk_prob=True, head_dim=16,
        decoder_sparse_step=2, intermediate_size=40,
    ),
    "olmoe": lambda: OlmoeConfig(**SMALL, num_experts=5, intermediate_size=24),
    "olmoe, clipped": lambda: OlmoeConfig(
        **SMALL, num_experts=5, intermediate_size=24, clip_qkv=0.5, norm_topk_prob=True
    ),
    "lfm2-moe": lambda: Lfm2MoeConfig(
        **SMALL, num_experts=5, moe_intermediate_size=16, intermediate_size=40,
        num_dense_layers=1, layer_types=["conv", "full_attention", "conv"],
        routed_scaling_factor=1.5,
    ),
}  # fmt: skip


def stock_model(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(STOCK[name]())
    with torch.no_grad():
        for key, weight in model.state_dict().items():
            if "expert_bias" in key:
                weight.copy_(torch.linspace(-0.5, 0.5, 5))
            elif key.endswith("gate.weight"):
                weight.normal_()
    return model.eval()


@pytest.mark.parametrize("name", STOCK)
def test_a_stock_mixture_is_taken_in_as_it_is(name: str) -> None:
    stock = stock_model(name)
    moe = from_stock(stock)
    assert moe.routers() and same(stock, moe)


@pytest.mark.parametrize("name", ["mixtral", "qwen2-moe", "qwen3-moe", "olmoe", "lfm2-moe"])
def test_in_and_out_again_is_the_same_checkpoint(name: str) -> None:
    stock = stock_model(name)
    again = to_stock(from_stock(stock))
    assert type(again) is type(stock)
    ours = again.state_dict()
    if name == "lfm2-moe":  # its factor is moved into the experts
        assert same(stock, again)
        return
    for key, weight in stock.state_dict().items():
        assert torch.allclose(ours[key], weight, atol=1e-6), key


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    words = {"<pad>": 0, "<s>": 1, "</s>": 2} | {f"w{i}": i for i in range(3, VOCAB)}
    core = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def test_folders_of_all_kinds_are_loaded(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    sources: dict[str, Any] = {
        "ours": tiny_moe("qwen2"), "dense": tiny_dense("llama"), "stock": stock_model("mixtral")
    }  # fmt: skip
    for name, model in sources.items():
        dense_models.save(model, tokenizer, tmp_path / name, {})
        loaded, words = load(tmp_path / name)
        assert isinstance(loaded, OFMoeForCausalLM) and words.chat_template
        assert same(model, loaded)


def test_an_exported_folder_says_what_it_is(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    moe = tiny_moe("lfm2", [routed("lfm2"), routed("lfm2")])
    name = export(moe, tokenizer, tmp_path / "out", {"seed": 3})
    meta = dense_models.read_meta(tmp_path / "out")
    assert meta == {"exported_as": name, "seed": 3} and name == "Lfm2MoeForCausalLM"
    assert same(moe, load(tmp_path / "out")[0])


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"x": torch.zeros(1)}, folder / "pytorch_model.bin")


def _cut_short(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-200])


def _other_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def _weight_missing(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    state.pop("model.layers.0.feed_forward.experts.down")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    "damage",
    [
        _pickled,
        _cut_short,
        _weight_missing,
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: _other_config(folder, model_type="bert"),
        lambda folder: _other_config(folder, num_experts=-3),
        lambda folder: _other_config(folder, moe_intermediate_size=999),
    ],
)
def test_a_broken_folder_is_refused(
    damage: Any, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    layers = [routed("lfm2", num_experts=3, moe_intermediate_size=16)] * 2
    dense_models.save(tiny_moe("lfm2", layers), tokenizer, tmp_path / "moe", {})
    damage(tmp_path / "moe")
    with pytest.raises(CheckpointError):
        load(tmp_path / "moe")


def test_nothing_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError):
        load(tmp_path / "nowhere")
