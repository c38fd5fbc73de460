"""Typed settings of every training run; composed into params.yaml by ``oldfriend.params``."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Settings(BaseModel):
    """Base of every params section: immutable, unknown keys rejected by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FitParams(Settings):
    """How one training run goes; the same keys in every training stage."""

    steps: int = Field(ge=1, le=10_000_000)  # optimizer steps
    rows: int = Field(default=16, ge=1, le=4096)  # packed rows a micro-batch
    row_tokens: int = Field(default=256, ge=32, le=131_072)
    accumulate: int = Field(default=1, ge=1, le=1024)  # micro-batches an optimizer step
    lr: float = Field(gt=0, le=1)  # peak learning rate
    optimizer: Literal["adamw", "muon"] = "adamw"  # muon: hidden matrices only, AdamW for the rest
    others_lr: float = Field(default=1.0, gt=0, le=100)  # muon: AdamW's share of ``lr``
    schedule: Literal["cosine", "wsd", "constant"] = "wsd"
    warmup: float = Field(default=0.05, ge=0, le=0.5)  # share of steps with rising rate
    decay: float = Field(default=0.3, ge=0, le=1)  # share of steps with falling rate (wsd)
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    clip: float = Field(default=1.0, gt=0, le=100)  # gradient norm
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed"
    compile: bool = False  # torch.compile; pays off after about 400 nano steps
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    devices: int = Field(default=1, ge=1, le=1024)
    checkpoint_every: int = Field(default=100, ge=1)  # optimizer steps
    validate_every: int = Field(default=0, ge=0)  # optimizer steps; 0: never
    patience: int = Field(default=0, ge=0)  # validations without gain before stopping; 0: never

    @model_validator(mode="after")
    def _muon_sees_whole_matrices(self) -> "FitParams":
        if self.optimizer == "muon" and self.strategy == "fsdp":
            raise ValueError("muon needs whole matrices and fsdp cuts them up; use adamw or ddp")
        return self

    @property
    def tokens(self) -> int:
        """Tokens (with padding) of the whole run."""
        return self.steps * self.rows * self.accumulate * self.devices * self.row_tokens


class LoraParams(Settings):
    """LoRA (Hu et al. 2021, arXiv:2106.09685) on the token mixers."""

    rank: int = Field(default=16, ge=1, le=1024)
    alpha: float = Field(default=32, gt=0, le=4096)
    dropout: float = Field(default=0.0, ge=0, lt=1)


class BaseParams(Settings):
    """The dense base model: from scratch when ``source`` is empty, else a hub id or folder."""

    source: str = ""
    adapt: bool = True  # train a loaded model on the talk; false: take it as it is
    vocab: int = Field(default=4096, ge=300, le=262_144)
    hidden: int = Field(default=256, ge=32, le=16_384, multiple_of=32)
    layers: int = Field(default=4, ge=1, le=256)
    heads: int = Field(default=8, ge=1, le=256)
    ffn: int = Field(default=512, ge=32, le=65_536)
    family: Literal["lfm2", "llama", "qwen3", "mistral"] = "lfm2"  # of a model from scratch
    embeddings: Literal["random", "minilm"] = "random"  # minilm: start from its word vectors
    common_words: int = Field(default=0, ge=0, le=20_000)  # so many join the vocabulary
    init_std: float = Field(default=0.03, gt=0, le=1)
    copy_warmup: float = Field(default=0.3, ge=0, le=1)  # share of the run spent on copying only
    copy_mix: float = Field(default=0.2, ge=0, lt=1)  # share of copying tokens after that
    fit: FitParams
