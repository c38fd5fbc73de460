"""Base models: built from scratch or loaded from a hub id or folder; never unpickled."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen3Config,
)
from transformers.utils import logging as transformers_logging

from oldfriend.errors import CheckpointError, MissingDataError
from oldfriend.lm.settings import BaseParams
from oldfriend.lm.steady import settle_vector_math
from oldfriend.lm.tokenizer import ensure_chat

FAMILIES = ("lfm2", "llama", "qwen2", "qwen3", "mistral")
META = "meta.json"


def build(params: BaseParams, tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    """A dense causal LM with random weights; LFM2 alternates short convolution and attention.

    Why LFM2 for nano: a convolution hands each position its predecessor, so induction heads
    (in-context copying, arXiv:2209.11895) form after 0.3 M tokens instead of not at all.
    """
    shared: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": params.hidden,
        "num_hidden_layers": params.layers,
        "num_attention_heads": params.heads,
        "num_key_value_heads": params.heads,
        "intermediate_size": params.ffn,
        "initializer_range": params.init_std,
        "tie_word_embeddings": True,
        "max_position_embeddings": max(2048, params.fit.row_tokens),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    if params.family == "lfm2":
        kinds = [("conv", "full_attention")[i % 2] for i in range(params.layers)]
        config: Any = Lfm2Config(**shared, layer_types=kinds, block_auto_adjust_ff_dim=False)
    else:
        kind = {"llama": LlamaConfig, "qwen3": Qwen3Config, "mistral": MistralConfig}
        config = kind[params.family](**shared, head_dim=params.hidden // params.heads)
    settle_vector_math()
    torch.manual_seed(seed)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model


def load(source: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model (fp32 weights) and tokenizer from a folder or hub id; safetensors only.

    Raises MissingDataError if there is nothing at ``source`` and CheckpointError if what is there
    is broken, pickled, or of a family whose packing and adapters we have not proven.
    """
    settle_vector_math()
    transformers_logging.disable_progress_bar()
    if isinstance(source, Path) and not source.is_dir():  # never ask a hub for a folder of ours
        raise MissingDataError(f"no model at '{source}'; run the stage that makes it: dvc repro")
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # transformers and huggingface_hub raise many kinds
        raise _not_loaded(source, error) from None
    if config.model_type not in FAMILIES:
        raise CheckpointError(
            f"{source} is a '{config.model_type}' model; supported: {', '.join(FAMILIES)}"
        )
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # transformers and safetensors raise many kinds
        raise _not_loaded(source, error) from None
    if missing := sorted(report["missing_keys"]):  # transformers would leave them random
        raise CheckpointError(f"{source} lacks weights: {', '.join(missing[:3])}")
    ensure_chat(tokenizer)
    return model, tokenizer


def save(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, meta: dict[str, Any]
) -> None:
    """Write weights (safetensors), tokenizer and ``meta.json`` into ``folder``."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_meta(folder, meta)


def write_meta(folder: Path, meta: dict[str, Any]) -> None:
    """Write what made this folder: base model, params, data hash."""
    text = json.dumps(meta, indent=2, sort_keys=True, default=str)
    (folder / META).write_text(text + "\n", encoding="utf-8")


def read_meta(folder: Path) -> dict[str, Any]:
    """Read ``meta.json``; CheckpointError if the folder was not made by one of our stages."""
    path = folder / META
    if not path.is_file():
        raise MissingDataError(f"{path} is not there; run the stage that makes it: dvc repro")
    try:
        meta: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} is not JSON ({error}); run dvc repro") from None
    return meta


def parameter_count(model: torch.nn.Module) -> int:
    """Parameters, tied weights counted once."""
    return sum(p.numel() for p in model.parameters())


def _not_loaded(source: str | Path, error: Exception) -> Exception:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if Path(source).exists():
        return CheckpointError(f"{source} is not a usable model folder: {reason}")
    return MissingDataError(
        f"no model at '{source}': {reason} Give a folder with config.json and safetensors weights, "
        "or a hub id that this machine can reach (set params base.source)."
    )
