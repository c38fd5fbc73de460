"""Tiny dense models of every family, mixtures made of them, and packed batches."""

import random
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from oldfriend.lm.fit import stack_rows
from oldfriend.lm.packing import Document, PackedRows, plan_rows
from oldfriend.moe.config import OFMoeConfig, make_config
from oldfriend.moe.modeling import OFMoeForCausalLM

KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "lfm2": (Lfm2Config, {"block_auto_adjust_ff_dim": False}),
    "llama": (LlamaConfig, {}),
    "qwen2": (Qwen2Config, {}),
    "qwen3": (Qwen3Config, {"head_dim": 8}),
    "mistral": (MistralConfig, {"head_dim": 8, "sliding_window": None}),
}
FAMILIES = tuple(KINDS)
VOCAB, HIDDEN, WIDTH = 61, 32, 48


def tiny_config(family: str, **changes: Any) -> Any:
    """Config of a dense model of three layers."""
    kind, fixed = KINDS[family]
    layers = changes.get("num_hidden_layers", 3)
    shared: dict[str, Any] = {
        "vocab_size": VOCAB,
        "hidden_size": HIDDEN,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": WIDTH,
        "initializer_range": 0.15,
        "tie_word_embeddings": True,
        "max_position_embeddings": 256,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if family == "lfm2":
        shared["layer_types"] = [("conv", "full_attention")[i % 2] for i in range(layers)]
    return kind(**{**shared, **fixed, **changes})


def tiny_dense(family: str, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A random dense model with weights large enough for sharp answers."""
    torch.manual_seed(seed)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(tiny_config(family, **changes))
    return model.eval()


MIXED: list[dict[str, Any]] = [  # a routed, a plain and an odd layer
    {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24},
    {"num_experts": 1, "moe_intermediate_size": 40},
    {
        "num_experts": 3,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": [8, 24, 16],
        "shared_expert_intermediate_size": 16,
        "expert_bias": True,
        "router_score": "sigmoid",
    },
]


def tiny_moe(
    family: str, layers: list[dict[str, Any]] | None = None, seed: int = 0, **fields: Any
) -> OFMoeForCausalLM:
    """A random mixture, by default one whose three layers all differ."""
    torch.manual_seed(seed)
    layers = MIXED if layers is None else layers
    text = tiny_config(family, num_hidden_layers=len(layers))
    config: OFMoeConfig = make_config(text, layers, **fields)
    return OFMoeForCausalLM(config).eval()


def tokens(rows: int = 2, length: int = 12, seed: int = 0) -> Tensor:
    """Random ids [rows, length], special ones left out."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(5, VOCAB, (rows, length), generator=generator)


def documents(lengths: list[int], seed: int = 0) -> list[Document]:
    """Documents of random ids."""
    rng = random.Random(seed)
    return [Document(tuple(rng.randrange(5, VOCAB) for _ in range(n))) for n in lengths]


def packed(docs: list[Document], row_tokens: int = 32) -> dict[str, Tensor]:
    """All documents in one batch of packed rows."""
    rows = PackedRows(docs, plan_rows(docs, row_tokens, 0), row_tokens, 0)
    return stack_rows(rows, range(len(rows)))


@torch.no_grad()
def logits(model: Any, ids: Tensor) -> Tensor:
    """Logits [B, L, V] in evaluation mode."""
    found: Tensor = model.eval()(input_ids=ids).logits
    return found
