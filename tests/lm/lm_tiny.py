"""Tiny real models, a tokenizer and made-up talk: what every test of oldfriend.lm starts from."""

import random
from collections.abc import Sequence
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from oldfriend.lm.packing import Document, PackedRows, plan_rows
from oldfriend.lm.settings import FitParams

SLIDING = 5  # tokens that a windowed layer sees
_KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "lfm2": (Lfm2Config, {"block_auto_adjust_ff_dim": False}),
    "llama": (LlamaConfig, {}),
    "qwen2": (Qwen2Config, {}),
    "qwen3": (Qwen3Config, {"head_dim": 8}),
    "mistral": (MistralConfig, {"head_dim": 8, "sliding_window": None}),
}
_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "lfm2-biased": ("lfm2", {"conv_bias": True, "conv_L_cache": 4}),
    "lfm2-attention": ("lfm2", {"layer_types": ["full_attention"] * 3}),
    "mistral-window": ("mistral", {"sliding_window": SLIDING}),
    "qwen2-window": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": SLIDING, "max_window_layers": 1},
    ),
    "qwen3-window": (
        "qwen3",
        {"use_sliding_window": True, "sliding_window": SLIDING, "max_window_layers": 0},
    ),
}
FAMILIES = tuple(_KINDS)
VARIANTS = (*_KINDS, *_VARIANTS)


def tiny_model(name: str, *, vocab: int = 300, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A random model of a family or variant, with weights large enough for sharp answers."""
    family, more = _VARIANTS.get(name, (name, {}))
    config_class, fixed = _KINDS[family]
    shared: dict[str, Any] = {
        "vocab_size": vocab,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 48,
        "initializer_range": 0.15,
        "tie_word_embeddings": True,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if family == "lfm2":
        layers = changes.get("num_hidden_layers", 3)
        shared["layer_types"] = [("conv", "full_attention")[i % 2] for i in range(layers)]
    torch.manual_seed(seed)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(
        config_class(**{**shared, **fixed, **more, **changes})
    )
    return model.eval()


def random_documents(lengths: Sequence[int], vocab: int = 300, seed: int = 0) -> list[Document]:
    """Documents of random ids, special ones (0-9) left out."""
    rng = random.Random(seed)
    return [Document(tuple(rng.randrange(10, vocab) for _ in range(n))) for n in lengths]


def sentences(count: int = 200, seed: int = 0) -> list[str]:
    """Made-up small talk."""
    rng = random.Random(seed)
    who = ["My sister", "Our dog Bramble", "The neighbour", "Anna", "Uncle Tobias", "I"]
    did = ["baked", "lost", "found", "painted", "dreamt of", "sold", "couldn't stand"]
    what = ["a blue bicycle", "three pears", "the old piano", "42 letters", "a café table"]
    when = ["yesterday", "in 1987", "on Sunday", "before lunch", "again, of course"]
    return [
        f"{rng.choice(who)} {rng.choice(did)} {rng.choice(what)} {rng.choice(when)}."
        for _ in range(count)
    ]


def tiny_fit(**changes: Any) -> FitParams:
    """Six short fp32 steps on the CPU."""
    settings: dict[str, Any] = {
        "steps": 6,
        "rows": 4,
        "row_tokens": 48,
        "lr": 3e-3,
        "precision": "32-true",
        "accelerator": "cpu",
        "checkpoint_every": 2,
    }
    return FitParams(**{**settings, **changes})


def packed_batch(documents: Sequence[Document], row_tokens: int) -> dict[str, torch.Tensor]:
    """All rows of ``documents`` as one batch."""
    rows = PackedRows(documents, plan_rows(documents, row_tokens, 0), row_tokens, pad_id=0)
    items = [rows[i] for i in range(len(rows))]
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}


def same_weights(one: torch.nn.Module, other: torch.nn.Module, atol: float = 0.0) -> bool:
    """Whether two models hold the same weights, within ``atol``."""
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(
        torch.allclose(left[name], right[name], rtol=0, atol=atol) for name in left
    )
