"""Adapters: on token mixers only, harmless at birth, portable, refused where they do not fit."""

from pathlib import Path

import pytest
import torch
from lm_tiny import FAMILIES, random_documents, same_weights, tiny_fit, tiny_model
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from oldfriend.errors import CheckpointError
from oldfriend.lm import lora
from oldfriend.lm.fit import Run, fit_model
from oldfriend.lm.settings import LoraParams

PARAMS = LoraParams(rank=4, alpha=8)
IDS = torch.tensor([doc.ids for doc in random_documents([20, 20])])
FFN = {"mlp", "feed_forward"}
MIXERS = {"self_attn", "conv"}


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=IDS).logits
    return found


def taught(model: PreTrainedModel, tmp_path: Path, name: str = "default") -> PeftModel:
    """An adapter that three training steps have moved away from nothing."""
    adapted = lora.attach(model, PARAMS, name=name)
    fit = tiny_fit(steps=3, lr=0.05)
    fit_model(adapted, random_documents([30] * 12), fit, Run(tmp_path / "ckpt", 0), pad_id=0)
    return adapted


@pytest.mark.parametrize("layers", [2, 8])  # peft shortens the list of targets above 20 names
@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_touches_every_token_mixer_and_no_ffn(family: str, layers: int) -> None:
    model = tiny_model(family, num_hidden_layers=layers)
    linear = {n for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    mixers = {n for n in linear if MIXERS & set(n.split("."))}
    assert {n for n in linear if FFN & set(n.split("."))} == linear - mixers - {"lm_head"}
    adapted = lora.attach(model, PARAMS)
    touched = {n.removesuffix(".lora_A.default") for n, _ in adapted.named_modules()
               if n.endswith(".lora_A.default")}  # fmt: skip
    assert touched == {f"base_model.model.{name}" for name in mixers}
    trained = [n for n, p in adapted.named_parameters() if p.requires_grad]
    assert trained and all(".lora_" in name and MIXERS & set(name.split(".")) for name in trained)


def test_a_model_without_mixers_is_refused() -> None:
    with pytest.raises(CheckpointError, match="no token mixer"):
        lora.mixer_projections(nn.Sequential(nn.Linear(3, 3)))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fresh_adapter_changes_nothing(family: str) -> None:
    before = logits(tiny_model(family))
    assert logits(lora.attach(tiny_model(family), PARAMS)).equal(before)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["default", "anna"])
def test_training_moves_the_adapter_only_and_it_survives_disk_and_merging(
    family: str, name: str, tmp_path: Path
) -> None:
    adapted = taught(tiny_model(family), tmp_path, name)
    after = logits(adapted)
    assert (after - logits(tiny_model(family))).abs().max() > 1e-3
    with adapted.disable_adapter():
        torch.testing.assert_close(logits(adapted), logits(tiny_model(family)))

    lora.save(adapted, tmp_path / "adapter", name=name)
    assert {path.name for path in (tmp_path / "adapter").iterdir()} >= {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    again = lora.load(tiny_model(family), tmp_path / "adapter", name=name)
    assert logits(again).equal(after)
    assert not any(p.requires_grad for p in again.parameters())
    going_on = lora.load(tiny_model(family), tmp_path / "adapter", trainable=True)
    assert sum(p.requires_grad for p in going_on.parameters()) > 0

    merged = again.merge_and_unload()
    torch.testing.assert_close(logits(merged), after, atol=1e-4, rtol=1e-4)
    names = tiny_model(family).state_dict().keys()
    assert merged.state_dict().keys() == names


def test_unloading_gives_the_model_back(tmp_path: Path) -> None:
    adapted = taught(tiny_model("lfm2"), tmp_path)
    assert same_weights(adapted.unload(), tiny_model("lfm2"))


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {"hidden_size": 64}),
        ("llama", {"num_hidden_layers": 4}),
        ("llama", {"num_hidden_layers": 8}),
        ("lfm2", {}),
    ],
    ids=["wider", "shallower", "deeper", "another family"],
)
def test_an_adapter_of_another_model_is_refused(
    family: str, changes: dict[str, int], tmp_path: Path
) -> None:
    lora.save(lora.attach(tiny_model("llama", num_hidden_layers=6), PARAMS), tmp_path)
    changes = {"num_hidden_layers": 6, **changes}
    with pytest.raises(CheckpointError, match="not an adapter for this model"):
        lora.load(tiny_model(family, **changes), tmp_path)


def test_a_broken_or_absent_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere is not an adapter"):
        lora.load(tiny_model("llama"), tmp_path / "nowhere")
    lora.save(lora.attach(tiny_model("llama"), PARAMS), tmp_path)
    weights = tmp_path / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="not an adapter for this model"):
        lora.load(tiny_model("llama"), tmp_path)
