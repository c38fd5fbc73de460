"""Our models as stock transformers architectures, for any inference server.

A uniform mixture becomes its family's own MoE class. One whose layers differ is padded: experts
that no token can choose (expert bias -1e4), neurons of weight zero, and FFNs without a router cut
into as many experts as a token takes. Padding costs memory, not function.

Shape suffixes: E experts, D hidden, F neurons.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    Ernie4_5_MoeConfig,
    Lfm2MoeConfig,
    MixtralConfig,
    OlmoeConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2MoeConfig,
    Qwen3MoeConfig,
)

from oldfriend.errors import InputError
from oldfriend.files import atomic_folder
from oldfriend.lm.model import write_meta
from oldfriend.moe.importing import converted
from oldfriend.moe.layer import Expert, Layer
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.splice import read_layers
from oldfriend.moe.stock.padding import Shape, as_one, padded_layers
from oldfriend.moe.stock.state import (
    dense_state,
    interleaved,
    nothing,
    outside,
    qwen2_shared_state,
    routed_state,
)

_FAMILY = {
    "lfm2": Lfm2MoeConfig, "llama": MixtralConfig, "mistral": MixtralConfig,
    "qwen2": Qwen2MoeConfig, "qwen3": Qwen3MoeConfig, "olmoe": OlmoeConfig,
}  # fmt: skip


def export(
    model: OFMoeForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    meta: dict[str, Any] | None = None,
) -> str:
    """Write ``model`` as a stock checkpoint with tokenizer and meta.json; its class name."""
    stock = to_stock(model)
    name = type(stock).__name__
    with atomic_folder(folder) as draft:
        stock.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        write_meta(draft, {"exported_as": name, **(meta or {})})
    return name


def to_stock(model: OFMoeForCausalLM) -> PreTrainedModel:
    """``model`` as its family's MoE class, padded if its layers differ.

    Raises InputError, which says what to change, where no stock class computes the same.
    """
    layers = [_unscaled(layer) for layer in read_layers(model)]
    family = model.config.family
    shape = _shape(layers, family)
    if _is_uniform(layers, family):
        return _uniform(model, layers, shape)
    if family in ("llama", "mistral"):
        return _as_ernie(model, layers, shape)
    if family == "lfm2":
        return _as_lfm2_moe(model, layers, shape)
    raise InputError(
        f"layers differ and no stock class has {family} mixers with an expert bias; "
        "upcycle with the same experts, width and top_k in every layer to export"
    )


def _unscaled(layer: Layer) -> Layer:
    """The factor on the weights moved into the experts, which is exact."""
    if layer.router is None or layer.scale == 1:
        return layer
    experts = tuple(Expert(e.gate_up, e.down * layer.scale) for e in layer.experts)
    return replace(layer, experts=experts, scale=1.0)


def _shape(layers: Sequence[Layer], family: str) -> Shape:
    routed = [layer for layer in layers if layer.router is not None]
    if not routed:
        raise InputError("a model without a router is dense: nothing to export as a MoE")
    for what, values in (
        ("experts a token", {layer.top_k for layer in routed}),
        ("score", {layer.score for layer in routed}),
        ("renormalising", {layer.renormalise for layer in routed}),
    ):
        if len(values) > 1:
            raise InputError(f"stock classes have one {what} for all layers, here {values}")
    first = routed[0]
    wanted = "sigmoid" if family == "lfm2" else "softmax"
    if first.score != wanted:
        raise InputError(f"{_FAMILY[family].__name__} routes by {wanted}, this model {first.score}")
    widths = [width for layer in routed for width in layer.widths]
    most = max(len(layer.experts) for layer in routed)
    return Shape(most, first.top_k, max(widths), first.score, first.renormalise)


def _is_uniform(layers: Sequence[Layer], family: str) -> bool:
    """Whether the family's class needs no padding experts; widths it can always pad."""
    routed = [layer for layer in layers if layer.router is not None]
    same = len({len(layer.experts) for layer in routed}) == 1
    biased = any(layer.bias is not None and bool(layer.bias.any()) for layer in routed)
    if family == "lfm2":  # dense layers come first
        dense = [layer.router is None for layer in layers]
        return same and dense == sorted(dense, reverse=True) and not _any_shared(layers)
    if family in ("qwen2", "qwen3"):  # dense layers anywhere
        return same and not biased and (family == "qwen2" or not _any_shared(layers))
    plain = len(routed) == len(layers) and not _any_shared(layers)
    return same and plain and not biased and (family == "olmoe" or routed[0].renormalise)


def _any_shared(layers: Sequence[Layer]) -> bool:
    return any(layer.shared is not None for layer in layers)


def _uniform(model: OFMoeForCausalLM, layers: Sequence[Layer], shape: Shape) -> PreTrainedModel:
    """The family's own MoE class."""
    family = model.config.family
    dense = [index for index, layer in enumerate(layers) if layer.router is None]
    shared = max([layer.shared.width for layer in layers if layer.shared] or [1])
    dense_width = max([e.width for index in dense for e in layers[index].experts] or [1])
    fields: dict[str, Any] = {
        "num_experts_per_tok": shape.top_k,
        "num_local_experts" if family in ("llama", "mistral") else "num_experts": shape.experts,
    }
    if family in ("llama", "mistral", "olmoe"):
        fields["intermediate_size"] = shape.width
    else:
        fields |= {"moe_intermediate_size": shape.width, "intermediate_size": dense_width}
    if family not in ("llama", "mistral"):
        fields["norm_topk_prob"] = shape.renormalise
    if family == "lfm2":
        fields |= {"num_dense_layers": len(dense), "use_expert_bias": True}
    if family in ("qwen2", "qwen3"):
        fields["mlp_only_layers"] = dense
    if family == "qwen2":
        fields["shared_expert_intermediate_size"] = shared
    _refuse_mixers(model.config)
    state = outside(model)
    block = "feed_forward" if family == "lfm2" else "mlp"
    for index, layer in enumerate(layers):
        names = f"model.layers.{index}.{block}."
        if layer.router is None:
            whole = as_one(layer, model.config.hidden_size)
            state |= dense_state(names, whole, dense_width, lfm2=family == "lfm2")
            continue
        state |= routed_state(names, layer, shape.width)
        if family == "lfm2":
            bias = torch.zeros(shape.experts) if layer.bias is None else layer.bias
            state[names + "expert_bias"] = bias
        if family == "qwen2":
            state |= qwen2_shared_state(names, layer, shared, model.config.hidden_size)
    return _built(model, _config(model, _FAMILY[family], fields), state)


def _as_lfm2_moe(model: OFMoeForCausalLM, layers: Sequence[Layer], shape: Shape) -> PreTrainedModel:
    """Lfm2Moe with every layer padded to the same experts."""
    if any(layer.shared is not None for layer in layers if layer.router is not None):
        raise InputError("Lfm2Moe has no shared experts; upcycle with shared: 0 to export")
    shape, padded = padded_layers(layers, shape, model.config.hidden_size)
    fields = {
        "num_experts": shape.experts, "num_experts_per_tok": shape.top_k,
        "moe_intermediate_size": shape.width, "num_dense_layers": 0,
        "use_expert_bias": True, "norm_topk_prob": shape.renormalise,
    }  # fmt: skip
    state = outside(model)
    for index, layer in enumerate(padded):
        names = f"model.layers.{index}.feed_forward."
        state |= routed_state(names, layer, shape.width)
        assert layer.bias is not None
        state[names + "expert_bias"] = layer.bias
    return _built(model, _config(model, Lfm2MoeConfig, fields), state)


def _as_ernie(model: OFMoeForCausalLM, layers: Sequence[Layer], shape: Shape) -> PreTrainedModel:
    """Ernie 4.5 MoE, whose rotary embedding pairs neighbours instead of halves."""
    text = model.config.text_config
    rope = text.rope_parameters.get("rope_type", "default")
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    odd = [
        ("a sliding window", getattr(text, "sliding_window", None)),
        ("attention biases", getattr(text, "attention_bias", False)),
        (f"{rope} rotary embeddings", rope != "default"),
        ("weights that do not sum to one", not shape.renormalise),
        ("gated shared experts", any(layer.shared_gate is not None for layer in layers)),
    ]
    if found := [name for name, there in odd if there]:
        raise InputError(f"layers differ and Ernie 4.5 MoE cannot have {found[0]}")
    shape, padded = padded_layers(layers, shape, model.config.hidden_size)
    shared = max([layer.shared.width for layer in padded if layer.shared] or [0])
    parts = math.ceil(shared / shape.width)
    fields = {
        "moe_num_experts": shape.experts, "moe_k": shape.top_k,
        "moe_intermediate_size": shape.width, "moe_num_shared_experts": parts,
        "moe_layer_start_index": 0, "moe_layer_end_index": -1, "moe_layer_interval": 1,
        "use_bias": False,
    }  # fmt: skip
    state = outside(model)
    for name in [name for name in state if name.endswith(("q_proj.weight", "k_proj.weight"))]:
        state[name] = interleaved(state[name], head)
    for index, layer in enumerate(padded):
        names = f"model.layers.{index}.mlp."
        state |= routed_state(names, layer, shape.width)
        assert layer.bias is not None
        state[names + "gate.moe_statics.e_score_correction_bias"] = layer.bias[None]
        if parts:
            expert = layer.shared or nothing(model.config.hidden_size)
            state |= dense_state(f"{names}shared_experts.", expert, parts * shape.width)
    return _built(model, _config(model, Ernie4_5_MoeConfig, fields), state)


def _refuse_mixers(config: Any) -> None:
    """InputError for token mixers that the family's MoE class lacks."""
    text, family = config.text_config, config.family
    if family in ("llama", "mistral") and getattr(text, "attention_bias", False):
        raise InputError("Mixtral has no attention biases")
    if family == "qwen3" and len(set(text.layer_types)) > 1:
        raise InputError("Qwen3-MoE has one kind of attention in all layers")


def _config(model: OFMoeForCausalLM, kind: type, fields: dict[str, Any]) -> Any:
    return converted(model.config.text_config, kind, **fields)


def _built(model: OFMoeForCausalLM, config: Any, state: dict[str, torch.Tensor]) -> PreTrainedModel:
    """The stock model with exactly these weights."""
    stock: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=model.dtype)
    report = stock.load_state_dict(state, strict=False)
    if odd := sorted([*report.missing_keys, *report.unexpected_keys]):
        raise InputError(f"{type(stock).__name__} does not take {odd[0]}")
    stock.generation_config = copy.deepcopy(model.generation_config)
    return stock.eval()
