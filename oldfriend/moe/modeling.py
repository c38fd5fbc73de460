"""A causal LM with a dense family's token mixers and a mixture of experts for FFNs.

The backbone is the family's stock transformers model, whose FFNs are replaced: mixers keep their
code, their names and so their adapters, and every layer's FFN is ``layers[i].feed_forward``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.modeling_utils import slice_logits_to_keep
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from oldfriend.errors import InputError
from oldfriend.lm import model as dense_models
from oldfriend.moe.config import MODEL_TYPE, OFMoeConfig
from oldfriend.moe.feedforward import MoeFeedForward, Router
from oldfriend.moe.losses import balance_bias, balance_loss, z_loss
from oldfriend.moe.recording import Pass, Records, Scratch, real_tokens, record_routing

__all__ = ["OFMoeConfig", "OFMoeForCausalLM", "Records", "record_routing", "train_experts_only"]


class OFMoeForCausalLM(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """Causal LM over ``OFMoeConfig``; ``auxiliary_loss`` and ``after_step`` serve its training."""

    config_class = OFMoeConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _tied_weights_keys: ClassVar[Any] = {"lm_head.weight": "model.embed_tokens.weight"}
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = True
    _supports_attention_backend = True
    _keep_in_fp32_modules_strict: ClassVar[Any] = ["router"]
    _skip_keys_device_placement: ClassVar[Any] = ["past_key_values"]

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        text = config.text_config
        self.scratch = Scratch()
        self.model = _backbone(text)
        for index, layer in enumerate(self.model.layers):
            _replace_feed_forward(layer, MoeFeedForward(config, index, self.scratch))
        self.model.register_forward_pre_hook(self._open_pass, with_kwargs=True)
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self._no_split_modules = self.model._no_split_modules
        self.post_init()

    @property
    def feed_forwards(self) -> list[MoeFeedForward]:
        """The FFN of every layer, in order."""
        return [layer.feed_forward for layer in self.model.layers]

    def forward(
        self,
        input_ids: Tensor | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Logits [B, L, V] and, with ``labels``, the mean loss (auxiliary losses included).

        ``domain_ids`` ([B] or [B, L], -1 unknown) declares domains for routing by domain. The
        other arguments are those of the family's stock model.
        """
        outputs = self.model(input_ids=input_ids, **kwargs)
        hidden = outputs.last_hidden_state
        logits = self.lm_head(slice_logits_to_keep(hidden, logits_to_keep))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, self.config.vocab_size)
            if self.training:
                loss = loss + self.auxiliary_loss()
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """As transformers; beams are refused where a layer routes by sequence."""
        beams = kwargs.get("num_beams") or getattr(self.generation_config, "num_beams", 1) or 1
        if beams > 1 and any(r.level == "sequence" for r in self.routers()):
            raise InputError("routing by sequence keeps one state a row: use num_beams=1")
        return super().generate(*args, **kwargs)

    def routers(self) -> list[Router]:
        """The routers, in order of their layers."""
        return [ff.router for ff in self.feed_forwards if ff.router is not None]

    def auxiliary_loss(self) -> Tensor:
        """Balance and z-loss of the last forward pass in training, each a mean over layers.

        Add it to the mean token loss of every micro-batch. f of the balance loss is taken over
        all micro-batches and processes of the optimizer step so far. Zero if nothing was routed.
        """
        config, last = self.config, self.scratch.last
        total = torch.zeros((), device=self.lm_head.weight.device)
        routed = [ff for ff in self.feed_forwards if last and ff.index in last.routings]
        for ff in routed:
            assert last is not None and ff.router is not None
            routing = last.routings[ff.index]
            if not routing.logits.requires_grad:
                continue
            real_T = None if last.real_BL is None else last.real_BL.flatten()
            if config.balance_weight and ff.router.level != "domain":
                load_E = self.scratch.load[ff.index]
                balance = balance_loss(
                    routing.logits, routing.chosen, real_T, score=ff.router.score, load_E=load_E
                )
                total = total + config.balance_weight * balance / len(routed)
            if config.z_weight:
                total = total + config.z_weight * z_loss(routing.logits, real_T) / len(routed)
        self.scratch.last = None  # frees the graph
        return total

    @torch.no_grad()
    def after_step(self) -> None:
        """Call once after every optimizer step: moves expert biases, forgets the step's load."""
        for ff in self.feed_forwards:
            load_E = self.scratch.load.get(ff.index)
            if load_E is not None and ff.router is not None and ff.router.expert_bias is not None:
                balance_bias(ff.router.expert_bias, load_E, self.config.bias_rate)
        self.scratch.load.clear()

    def step_load(self) -> dict[int, Tensor]:
        """Assignments [E] by layer since the last optimizer step."""
        return dict(self.scratch.load)

    def _open_pass(
        self, backbone: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Begin a pass: tell the routers which tokens are real and where documents start."""
        ids = args[0] if args else kwargs.get("input_ids")
        embeds = kwargs.get("inputs_embeds")
        shaped = ids if ids is not None else embeds
        domains = kwargs.pop("domain_ids", self.scratch.domains)
        assert shaped is not None
        rows, length = shaped.shape[:2]
        packed = kwargs.get("seq_idx") is not None
        starts = torch.zeros(rows, length, dtype=torch.long, device=shaped.device)
        if packed:
            starts = torch.arange(length, device=shaped.device) - kwargs["position_ids"]
        pad = self.config.text_config.pad_token_id
        past = kwargs.get("past_key_values")
        self.scratch.last = Pass(
            real_BL=real_tokens(ids, kwargs.get("attention_mask"), packed, starts, pad),
            starts_BL=starts if packed else None,
            domains=domains,
            sums=self._sums_of(past),
            records=self.scratch.records,
        )
        return args, {**kwargs, "routing_pass": self.scratch.last}

    def _sums_of(self, past: Any) -> dict[int, tuple[Tensor, Tensor]] | None:
        """Where a generation cache keeps the state of sequence routing; empty for a new text."""
        if past is None or all(router.level != "sequence" for router in self.routers()):
            return None
        if past.get_seq_length() == 0:
            past.routing_sums = {}
        elif not hasattr(past, "routing_sums"):
            raise InputError("routing by sequence must see a cache from its first token on")
        sums: dict[int, tuple[Tensor, Tensor]] = past.routing_sums
        return sums


def train_experts_only(model: nn.Module) -> None:
    """Freeze all but FFNs, so that adapters of the mixers stay valid."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad = ".feed_forward." in name or ".mlp." in name


def _backbone(text_config: Any) -> Any:
    """The family's stock model; its FFNs, soon replaced, are built as narrow as can be."""
    with _slim(text_config):
        return MODEL_MAPPING[type(text_config)](text_config)


@contextmanager
def _slim(text_config: Any) -> Iterator[None]:
    slim = {"intermediate_size": 1, "block_auto_adjust_ff_dim": False, "num_experts": 1,
            "num_experts_per_tok": 1}  # fmt: skip
    before = {name: getattr(text_config, name) for name in slim if hasattr(text_config, name)}
    for name in before:
        setattr(text_config, name, slim[name])
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(text_config, name, value)


def _replace_feed_forward(layer: Any, feed_forward: MoeFeedForward) -> None:
    """Give a stock decoder layer our FFN under one name for every family."""
    layer.__class__ = _layer_class(type(layer))  # type: ignore[arg-type]
    layer._modules.pop("mlp", None)
    layer.feed_forward = feed_forward


@cache
def _layer_class(stock: type) -> type:
    return type(stock.__name__, (_MoeLayer, stock), {})


class _MoeLayer:
    """Adds to a stock decoder layer: the pass reaches the FFN, and ``mlp`` is ``feed_forward``."""

    feed_forward: Any

    @property
    def mlp(self) -> nn.Module:
        """The name by which most stock forwards call the FFN."""
        module: nn.Module = self.feed_forward
        return module

    def forward(self, *args: Any, routing_pass: Pass | None = None, **kwargs: Any) -> Any:
        """The stock forward, with the FFN in the know."""
        self.feed_forward.now = routing_pass
        try:
            return super().forward(*args, **kwargs)  # type: ignore[misc]
        finally:
            self.feed_forward.now = None


AutoConfig.register(MODEL_TYPE, OFMoeConfig, exist_ok=True)
AutoModelForCausalLM.register(OFMoeConfig, OFMoeForCausalLM, exist_ok=True)
dense_models.FAMILIES += (MODEL_TYPE,)  # type: ignore[assignment]  # so that load opens ours
