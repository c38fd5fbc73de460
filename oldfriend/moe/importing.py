"""Models from elsewhere as ours: dense ones ready for upcycling, stock MoEs for analysis.

Every import computes the same function as its source.
"""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    Lfm2Config,
    MistralConfig,
    OlmoeConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen3Config,
)

from oldfriend.errors import CheckpointError, MissingDataError
from oldfriend.lm import model as dense_models
from oldfriend.lm.tokenizer import ensure_chat
from oldfriend.moe.config import DENSE, MODEL_TYPE, make_config
from oldfriend.moe.layer import Expert, Layer
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.splice import rebuilt

STOCK = ("mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "lfm2_moe")
_NOT_SHARED = {"architectures", "transformers_version", "per_layer_config"}
_DENSE_NAMES = (("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2"))


def load(source: str | Path) -> tuple[OFMoeForCausalLM, PreTrainedTokenizerBase]:
    """A mixture of experts (fp32) and its tokenizer from a folder or hub id; safetensors only.

    Takes our own models, dense LFM2, Llama, Qwen2, Qwen3 and Mistral (one expert a layer), and
    stock Mixtral, Qwen2-MoE, Qwen3-MoE, OLMoE and Lfm2Moe. Raises MissingDataError if there is
    nothing at ``source`` and CheckpointError if it is broken, pickled or of another family.
    """
    if isinstance(source, Path) and not source.is_dir():
        raise MissingDataError(f"no model at '{source}'; run the stage that makes it: dvc repro")
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # transformers and huggingface_hub raise many kinds
        raise _not_loaded(source, error) from None
    if config.model_type in DENSE:
        dense, tokenizer = dense_models.load(source)
        return from_dense(dense), tokenizer
    if config.model_type not in (MODEL_TYPE, *STOCK):
        known = ", ".join((MODEL_TYPE, *DENSE, *STOCK))
        raise CheckpointError(f"{source} is a '{config.model_type}' model; supported: {known}")
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            source, config=config, dtype=torch.float32, use_safetensors=True,
            trust_remote_code=False, output_loading_info=True,
        )  # fmt: skip
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # transformers and safetensors raise many kinds
        raise _not_loaded(source, error) from None
    for what in ("missing_keys", "unexpected_keys"):
        if odd := sorted(report[what]):
            raise CheckpointError(f"{source} has {what.replace('_', ' ')}: {', '.join(odd[:3])}")
    ensure_chat(tokenizer)
    return model if config.model_type == MODEL_TYPE else from_stock(model), tokenizer


def from_dense(dense: PreTrainedModel, **fields: Any) -> OFMoeForCausalLM:
    """A copy of a dense model with one expert a layer, that is, the same FFNs without routers.

    ``fields`` of OFMoeConfig are kept for the experts to come. CheckpointError for a model whose
    FFNs are not bias-free gated ones.
    """
    config: Any = dense.config
    if config.model_type not in DENSE:
        known = ", ".join(DENSE)
        raise CheckpointError(f"'{config.model_type}' is no dense family that we know: {known}")
    layers = [_dense_layer(_ffn_state(dense, i)) for i in range(config.num_hidden_layers)]
    return _made(dense, copy.deepcopy(config), layers, **fields)


def from_stock(model: PreTrainedModel) -> OFMoeForCausalLM:
    """A copy of a stock Mixtral, Qwen2-MoE, Qwen3-MoE, OLMoE or Lfm2Moe model.

    Raises CheckpointError for another kind, or for attention that its dense family lacks.
    """
    config: Any = model.config
    if config.model_type not in STOCK:
        raise CheckpointError(f"'{config.model_type}' is none of {', '.join(STOCK)}")
    layers = [_any_layer(model, index) for index in range(config.num_hidden_layers)]
    return _made(model, _mixers(config), layers)


def converted(config: Any, kind: type, **fields: Any) -> Any:
    """A config of class ``kind`` with all that ``config`` has under the same names."""
    names = {field.name for field in dataclasses.fields(kind)} - _NOT_SHARED
    shared = {name: getattr(config, name) for name in names if hasattr(config, name)}
    if getattr(config, "head_dim", None):  # some MoE configs know it without declaring it
        shared["head_dim"] = config.head_dim
    return kind(**(copy.deepcopy(shared) | fields))


def _mixers(config: Any) -> Any:
    """Config of the dense family that has a stock MoE's token mixers."""
    if config.model_type == "mixtral":
        return converted(config, MistralConfig)
    if config.model_type == "olmoe":
        return converted(config, OlmoeConfig)
    if config.model_type == "lfm2_moe":
        return converted(config, Lfm2Config, block_auto_adjust_ff_dim=False)
    if config.model_type == "qwen2_moe":
        if not config.qkv_bias:
            raise CheckpointError("Qwen2-MoE without attention biases has no dense family")
        return converted(config, Qwen2Config)
    kind = "sliding_attention" if config.use_sliding_window else "full_attention"
    kinds = [kind] * config.num_hidden_layers
    return converted(config, Qwen3Config, layer_types=kinds)


def _made(
    source: PreTrainedModel, text_config: Any, layers: list[Layer], **fields: Any
) -> OFMoeForCausalLM:
    """Our model with the mixers of ``source`` and the given FFNs."""
    frame = [{"num_experts": 0} | _routing_fields(layer) for layer in layers]
    model = OFMoeForCausalLM(make_config(text_config, frame, **fields))
    outside = {name: w for name, w in source.state_dict().items() if not _of_ffn(name)}
    report = model.load_state_dict(outside, strict=False)
    if odd := sorted([*report.missing_keys, *report.unexpected_keys]):
        raise CheckpointError(f"the token mixers do not fit: {', '.join(odd[:3])}")
    model.generation_config = copy.deepcopy(source.generation_config)
    return rebuilt(model, layers)


def _routing_fields(layer: Layer) -> dict[str, Any]:
    if layer.router is None:
        return {}
    return {
        "router_score": layer.score,
        "renormalise": layer.renormalise,
        "routed_scale": layer.scale,
    }


def _of_ffn(name: str) -> bool:
    return ".mlp." in name or ".feed_forward." in name


def _ffn_state(model: PreTrainedModel, index: int) -> dict[str, Tensor]:
    """Weights of one layer's FFN by the last parts of their names."""
    layer: Any = model.model.layers[index]
    module = layer.feed_forward if hasattr(layer, "feed_forward") else layer.mlp
    return {name: weight.detach().clone() for name, weight in module.state_dict().items()}


def _expert(state: dict[str, Tensor], prefix: str = "") -> Expert:
    """A gated FFN from its three matrices, by either family of names."""
    for names in _DENSE_NAMES:
        keys = [f"{prefix}{name}.weight" for name in names]
        if all(key in state for key in keys):
            gate, up, down = (state[key] for key in keys)
            return Expert(torch.cat([gate, up]), down)
    raise CheckpointError(f"an FFN of {', '.join(sorted(state))} is not a gated one that we know")


def _dense_layer(state: dict[str, Tensor]) -> Layer:
    if odd := [name for name in state if name.endswith("bias")]:
        raise CheckpointError(f"FFNs with biases ({odd[0]}) have no place in an expert")
    return Layer(experts=(_expert(state),))


def _any_layer(model: PreTrainedModel, index: int) -> Layer:
    """One layer of a stock MoE, which may be dense."""
    config: Any = model.config
    state = _ffn_state(model, index)
    if "gate.weight" not in state:
        return _dense_layer(state)
    stacks = zip(state["experts.gate_up_proj"], state["experts.down_proj"], strict=True)
    experts = tuple(Expert(gate_up, down) for gate_up, down in stacks)
    sigmoid = config.model_type == "lfm2_moe"
    has_shared = config.model_type == "qwen2_moe"
    return Layer(
        experts=experts,
        router=state["gate.weight"],
        bias=state.get("expert_bias"),
        top_k=config.num_experts_per_tok,
        score="sigmoid" if sigmoid else "softmax",
        renormalise=getattr(config, "norm_topk_prob", True),  # Mixtral always does
        scale=getattr(config, "routed_scaling_factor", 1.0),
        shared=_expert(state, "shared_expert.") if has_shared else None,
        shared_gate=state["shared_expert_gate.weight"] if has_shared else None,
    )


def _not_loaded(source: str | Path, error: Exception) -> Exception:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if Path(source).exists():
        return CheckpointError(f"{source} is not a usable model folder: {reason}")
    return MissingDataError(f"no model at '{source}': {reason}")
