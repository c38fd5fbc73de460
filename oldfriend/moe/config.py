"""Configuration of a Mixture of Experts whose layers may all differ."""

from typing import Any, ClassVar, Literal

from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from oldfriend.errors import InputError

DENSE = ("lfm2", "llama", "qwen2", "qwen3", "mistral")  # families that can be upcycled
FAMILIES = (*DENSE, "olmoe")  # of the mixers
MODEL_TYPE = "oldfriend_moe"


class OFMoeConfig(PreTrainedConfig):  # type: ignore[misc]
    """A dense family's token mixers (``text_config``) with another FFN in every layer.

    The fields from ``num_experts`` to ``domain_experts`` may differ by layer through the native
    ``per_layer_config={layer: {field: value}}``; read them with ``config.layer(i)``.
    Raises InputError for a layer that cannot be built.
    """

    model_type = MODEL_TYPE
    sub_configs_defaults: ClassVar[dict[str, Any]] = {
        "text_config": SubConfigSpec(AutoConfig, model_type="lfm2")
    }
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]

    text_config: Any = None  # config of the dense family, or its dictionary

    num_experts: int = 8  # 1: a plain FFN without router; 0: no FFN (shared expert aside)
    num_experts_per_tok: int = 2
    moe_intermediate_size: int | list[int] = 512  # neurons an expert, or of each expert
    shared_expert_intermediate_size: int = 0  # 0: no shared expert
    shared_expert_gate: bool = False  # a learnt sigmoid gate on the shared expert (Qwen2-MoE)
    router_score: Literal["softmax", "sigmoid"] = "softmax"
    renormalise: bool = True  # weights of the chosen experts sum to one
    routed_scale: float = 1.0  # factor on the weights, after renormalising
    expert_bias: bool = False  # added to the scores when choosing, never to the weights
    routing_level: Literal["token", "sequence", "domain"] = "token"
    domain_experts: list[list[int]] | None = None  # experts that each declared domain may use

    balance_weight: float = 0.01  # of the balance loss (1 at balance), mean over layers
    z_weight: float = 0.001  # of the router z-loss, mean over layers
    bias_rate: float = 0.001  # step of loss-free balancing, for layers with expert_bias
    experts_path: Literal["auto", "grouped_mm", "sorted_loop", "eager"] = "auto"
    tie_word_embeddings: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.family not in FAMILIES:
            raise InputError(f"mixers of '{self.family}' are not known; use {', '.join(FAMILIES)}")
        self.tie_word_embeddings = bool(self.text_config.tie_word_embeddings)
        for index in range(self.num_hidden_layers):
            check_layer(self.layer(index), index)

    @property
    def family(self) -> str:
        """Model type of the dense family that the mixers come from."""
        return str(self.text_config.model_type)

    @property
    def num_hidden_layers(self) -> int:
        """Number of decoder layers."""
        return int(self.text_config.num_hidden_layers)

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return int(self.text_config.vocab_size)

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream."""
        return int(self.text_config.hidden_size)

    def layer(self, index: int) -> Any:
        """The config as layer ``index`` sees it."""
        return self.per_layer_config[index]

    def layers(self) -> list[Any]:
        """The config as each layer sees it, in order."""
        return [self.layer(index) for index in range(self.num_hidden_layers)]


LAYER_FIELDS = (
    "num_experts", "num_experts_per_tok", "moe_intermediate_size",
    "shared_expert_intermediate_size", "shared_expert_gate", "router_score", "renormalise",
    "routed_scale", "expert_bias", "routing_level", "domain_experts",
)  # fmt: skip


def expert_widths(layer: Any) -> list[int]:
    """Neurons of every expert of one layer."""
    width = layer.moe_intermediate_size
    return list(width) if isinstance(width, list | tuple) else [width] * layer.num_experts


def layer_fields(layer: Any) -> dict[str, Any]:
    """The fields of one layer's config that may differ by layer."""
    return {name: getattr(layer, name) for name in LAYER_FIELDS}


def make_config(text_config: PreTrainedConfig, layers: list[dict[str, Any]], **fields: Any) -> Any:
    """Config from one dictionary of layer fields a layer; what all share is stored once."""
    names = dict.fromkeys(name for layer in layers for name in layer)
    defaults = {name: getattr(OFMoeConfig, name) for name in LAYER_FIELDS}
    whole = [{**{name: defaults[name] for name in names}, **layer} for layer in layers]
    common = {n: whole[0][n] for n in names if all(layer[n] == whole[0][n] for layer in whole)}
    own = {
        index: {name: value for name, value in layer.items() if name not in common}
        for index, layer in enumerate(whole)
    }
    per_layer = {index: layer for index, layer in own.items() if layer}
    return OFMoeConfig(
        text_config=text_config,
        **common,
        **fields,
        **({"per_layer_config": per_layer} if per_layer else {}),
    )


def check_layer(layer: Any, index: int) -> None:
    """Raise InputError if layer ``index`` cannot be built from these fields."""

    def fail(field: str, message: str) -> None:
        raise InputError(f"layer {index}: {message}", field=field)

    if layer.num_experts < 0:
        fail("num_experts", f"{layer.num_experts} experts; 0 cancels the FFN")
    if layer.num_experts > 1 and not 1 <= layer.num_experts_per_tok <= layer.num_experts:
        fail(
            "num_experts_per_tok",
            f"{layer.num_experts_per_tok} of {layer.num_experts} experts a token",
        )
    widths = expert_widths(layer)
    if len(widths) != layer.num_experts:
        fail("moe_intermediate_size", f"{len(widths)} widths for {layer.num_experts} experts")
    if any(width < 1 for width in widths):
        fail("moe_intermediate_size", "an expert needs at least one neuron")
    if layer.shared_expert_intermediate_size < 0:
        fail("shared_expert_intermediate_size", "must not be negative")
    for name, known in (
        ("router_score", ("softmax", "sigmoid")),
        ("routing_level", ("token", "sequence", "domain")),
    ):
        if getattr(layer, name) not in known:
            fail(name, f"'{getattr(layer, name)}' is none of {', '.join(known)}")
    if layer.num_experts > 1 and layer.routing_level == "domain":
        if not layer.domain_experts:
            fail("domain_experts", "routing by domain needs the experts of every domain")
        for allowed in layer.domain_experts:
            real = {e for e in allowed if 0 <= e < layer.num_experts}
            if len(real) != len(allowed) or len(real) < layer.num_experts_per_tok:
                fail("domain_experts", f"{allowed} must name enough different experts")
