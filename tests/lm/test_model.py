"""Model folders: what goes in comes out, and what is broken or unsafe is refused by name.

The checkpoints of every family are written by stock transformers, as a download would be: this is
the proof of the preset ``hub``.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_tiny import FAMILIES, VARIANTS, random_documents, same_weights, tiny_model
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from oldfriend.errors import CheckpointError, MissingDataError
from oldfriend.lm import model as models
from oldfriend.lm.settings import BaseParams, FitParams

IDS = torch.tensor([doc.ids for doc in random_documents([20, 20])])


def base_params(**changes: Any) -> BaseParams:
    settings = {"vocab": 400, "hidden": 32, "layers": 4, "heads": 4, "ffn": 48}
    return BaseParams.model_validate({**settings, "fit": FitParams(steps=1, lr=1e-3), **changes})


@pytest.fixture
def folder(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A sound Llama checkpoint."""
    tiny_model("llama", vocab=len(tokenizer)).save_pretrained(tmp_path / "llama")
    tokenizer.save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


@pytest.mark.parametrize("family", ["lfm2", "llama", "qwen3", "mistral"])
def test_a_built_model_comes_back_the_same(
    family: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    model = models.build(base_params(family=family), tokenizer, seed=3).eval()
    models.save(model, tokenizer, tmp_path, {"params": {"hidden": 32}, "where": tmp_path})
    again, its_tokenizer = models.load(tmp_path)
    with torch.no_grad():
        assert again.eval()(IDS).logits.equal(model(IDS).logits)
    text = 'On Sunday, Zoë  (42) said:\n\n"I can\'t 19876 it" \U0001f642'
    assert its_tokenizer(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert its_tokenizer.get_vocab() == tokenizer.get_vocab()
    assert its_tokenizer.chat_template == tokenizer.chat_template
    assert (its_tokenizer.pad_token_id, its_tokenizer.eos_token_id) == (
        tokenizer.pad_token_id,
        tokenizer.eos_token_id,
    )
    assert models.read_meta(tmp_path) == {"params": {"hidden": 32}, "where": str(tmp_path)}


def test_building_depends_on_the_seed_only(tokenizer: PreTrainedTokenizerFast) -> None:
    one, same, other = (models.build(base_params(), tokenizer, seed) for seed in (1, 1, 2))
    assert same_weights(one, same)
    assert not same_weights(one, other)


def test_tied_weights_are_counted_once(tokenizer: PreTrainedTokenizerFast) -> None:
    model = models.build(base_params(), tokenizer, 0)
    pointers = {p.data_ptr(): p.numel() for p in model.state_dict(keep_vars=True).values()}
    assert models.parameter_count(model) == sum(pointers.values())


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("tied", [True, False])
def test_a_stock_checkpoint_loads(
    name: str, tied: bool, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    stock = tiny_model(name, vocab=len(tokenizer), tie_word_embeddings=tied)
    stock.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, _ = models.load(str(tmp_path))
    with torch.no_grad():
        assert model.eval()(IDS).logits.equal(stock(IDS).logits)
    assert model.config.model_type in FAMILIES


def test_half_precision_and_sharded_weights_load_as_fp32(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    stock = tiny_model("qwen3", vocab=len(tokenizer)).to(torch.bfloat16)
    stock.save_pretrained(tmp_path, max_shard_size="20KB")
    tokenizer.save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    model, _ = models.load(tmp_path)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert same_weights(model, stock.float())


def test_a_loaded_tokenizer_can_always_chat(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    _, tokenizer = models.load(folder)
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert "user: Hi" in str(text)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"no model at .*nowhere"):
        models.load(tmp_path / "nowhere")
    with pytest.raises(MissingDataError, match=r"base\.source"):
        models.load("no-such-owner/no-such-model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="empty is not a usable model folder"):
        models.load(tmp_path / "empty")


def test_a_missing_folder_of_ours_is_not_looked_up_on_a_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingDataError, match="no model at 'models/friend'; run the stage"):
        models.load(Path("models/friend"))


def test_pickled_weights_are_refused_and_never_opened(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="safetensors"):
        models.load(folder)


def test_code_that_comes_with_a_model_is_not_run(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text(f"open({str(folder / 'ran')!r}, 'w').close()\n")
    with pytest.raises(CheckpointError):
        models.load(folder)
    assert not (folder / "ran").exists()


def test_an_unproven_family_is_refused(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=1, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="'gpt2' model; supported: lfm2, llama"):
        models.load(tmp_path)


@pytest.mark.parametrize("size", [0, 7, 500, -100])
def test_truncated_weights_are_refused(folder: Path, size: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="not a usable model folder"):
        models.load(folder)


def test_a_missing_weight_is_never_made_up(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks weights: model\.layers\.1\.mlp\.up_proj"):
        models.load(folder)


def test_a_weight_of_another_shape_is_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = torch.ones(7)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="not a usable model folder"):
        models.load(folder)


@pytest.mark.parametrize(
    "config",
    ["{", "[]", "{}", '{"model_type": "llama", "hidden_size": "many"}'],
)
def test_a_broken_config_is_refused(folder: Path, config: str) -> None:
    (folder / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match="not a usable model folder"):
        models.load(folder)


def test_a_model_without_its_tokenizer_is_refused(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(CheckpointError, match="not a usable model folder"):
        models.load(folder)


def test_meta_is_there_and_json(folder: Path) -> None:
    with pytest.raises(MissingDataError, match=r"meta\.json is not there"):
        models.read_meta(folder)
    (folder / "meta.json").write_text("{")
    with pytest.raises(CheckpointError, match="is not JSON"):
        models.read_meta(folder)
    shutil.rmtree(folder)
