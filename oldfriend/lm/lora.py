"""LoRA on the token mixers only, so that adapters outlive any surgery on the FFNs."""

import warnings
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.utils import load_peft_weights
from torch import nn
from transformers import PreTrainedModel

from oldfriend.errors import CheckpointError
from oldfriend.lm.settings import LoraParams

# peft asks transformers for an attribute by its old name; nothing a user could mend
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)

_MIXER_BLOCKS = ("self_attn", "conv")  # attention, LFM2's gated short convolution


def mixer_projections(model: nn.Module) -> list[str]:
    """Full names of the linear layers inside the token mixers, never one of an FFN."""
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[0].split(".")[-1] in _MIXER_BLOCKS
    ]
    if not names:
        raise CheckpointError("this model has no token mixer that we know (self_attn or conv)")
    return names


def attach(
    model: PreTrainedModel, params: LoraParams, *, seed: int = 0, name: str = "default"
) -> PeftModel:
    """Wrap ``model`` with a fresh adapter; the wrapped model starts as the same function."""
    torch.manual_seed(seed)
    config = LoraConfig(
        r=params.rank,
        lora_alpha=params.alpha,
        lora_dropout=params.dropout,
        target_modules=mixer_projections(model),
        task_type="CAUSAL_LM",
    )
    wrapped = get_peft_model(model, config, adapter_name=name)
    assert isinstance(wrapped, PeftModel)
    return wrapped


def load(
    model: PreTrainedModel, folder: Path, *, name: str = "default", trainable: bool = False
) -> PeftModel:
    """Wrap ``model`` with the adapter saved in ``folder`` (safetensors).

    Raises CheckpointError unless every weight of the adapter has its place in ``model``.
    """
    try:
        wrapped = PeftModel.from_pretrained(
            model, str(folder), adapter_name=name, is_trainable=trainable
        )
        saved = load_peft_weights(str(folder), device="cpu").keys()
    except Exception as error:  # peft, torch and safetensors raise many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{folder} is not an adapter for this model: {reason}") from None
    ours = get_peft_model_state_dict(wrapped, adapter_name=name, save_embedding_layers=False).keys()
    if odd := sorted(saved ^ ours):
        raise CheckpointError(f"{folder} is not an adapter for this model: {odd[0]} has no partner")
    return wrapped


def save(model: PeftModel, folder: Path, *, name: str = "default") -> None:
    """Write one adapter in plain PEFT format straight into ``folder``."""
    model.save_pretrained(folder, selected_adapters=[name])
    if name != "default":  # peft puts named adapters one level down
        for path in (folder / name).iterdir():
            path.replace(folder / path.name)
        (folder / name).rmdir()
