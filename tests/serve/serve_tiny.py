"""A tiny random model with a tokenizer, for tests that are not about what it says."""

from functools import cache
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Lfm2Config, LlamaConfig, MistralConfig, Qwen2Config

from oldfriend.lm.tokenizer import train_tokenizer

TALK = [
    "My sister baked a blue cake yesterday.", "Our dog Bramble lost three pears on Sunday.",
    "Anna found the old piano again, of course.", "Uncle Tobias painted a table in 1987.",
]  # fmt: skip
_KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "lfm2": (Lfm2Config, {"block_auto_adjust_ff_dim": False}),
    "lfm2-biased": (
        Lfm2Config,
        {"block_auto_adjust_ff_dim": False, "conv_bias": True, "conv_L_cache": 4},
    ),
    "llama": (LlamaConfig, {}),
    "mistral-window": (MistralConfig, {"head_dim": 8, "sliding_window": 5}),
    "qwen2-window": (
        Qwen2Config,
        {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    ),
}


@cache
def tiny(name: str) -> tuple[Any, Any]:
    """A random model with weights large enough for sharp answers, and its tokenizer."""
    tokenizer = train_tokenizer(TALK, 400)
    kind, more = _KINDS[name]
    if kind is Lfm2Config:
        more = {**more, "layer_types": ["conv", "full_attention", "conv"]}
    config = kind(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=48, initializer_range=0.15,
        tie_word_embeddings=True, max_position_embeddings=512, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, **more,
    )  # fmt: skip
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval(), tokenizer
