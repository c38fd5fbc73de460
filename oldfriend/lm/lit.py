"""The one LightningModule that every training stage uses."""

import logging
import math
import os
import shutil
import time
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from peft import PeftModel
from torch import Tensor, nn
from torch.nn import functional as F

from oldfriend.lm.muon import BETAS, MuonAdamW
from oldfriend.lm.packing import IGNORE, isolate_convolutions, packed_hidden
from oldfriend.lm.settings import FitParams

log = logging.getLogger(__name__)

HEAD_BUCKET = 256  # tokens


def learning_rate_scale(step: int, fit: FitParams) -> float:
    """Factor of the peak rate at ``step``: cosine, or warm-up/stable/decay (arXiv:2405.18392)."""
    warmup = fit.warmup * fit.steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if fit.schedule == "constant":
        return 1.0
    if fit.schedule == "cosine":
        progress = (step - warmup) / max(fit.steps - warmup, 1)
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    left = (fit.steps - step) / max(fit.decay * fit.steps, 1)
    return max(0.02, min(1.0, left))


class PackedLM(LightningModule):
    """Next-token loss of a causal LM on packed rows; only supervised tokens reach the LM head."""

    def __init__(self, model: nn.Module, fit: FitParams) -> None:
        super().__init__()
        isolate_convolutions(model)
        self.model = model
        self.fit_params = fit
        self.hidden = (
            torch.compile(packed_hidden) if fit.compile and can_compile() else packed_hidden
        )
        self._clock: float | None = None
        self._seconds = 0.0
        self._tokens = 0

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Summed cross entropy (nats) over the supervised tokens of a batch."""
        causal_lm = unwrap(self.model)
        hidden_BLD = self.hidden(causal_lm.model, batch)
        labels_M, place_M = supervised(batch["labels"])
        logits_MV = causal_lm.lm_head(hidden_BLD.flatten(0, 1)[place_M])
        return F.cross_entropy(logits_MV.float(), labels_M, ignore_index=IGNORE, reduction="sum")

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        """Loss whose sum over an optimizer step's micro-batches is the mean over its tokens."""
        return self.loss(batch) / batch["denominator"].clamp(min=1)

    def on_train_batch_end(self, outputs: Any, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Count tokens and time; log every ten steps (synchronous MLflow writes are not free)."""
        now = time.monotonic()
        if self._clock is not None:  # the first batch pays for compilation and warm-up
            self._seconds += now - self._clock
            self._tokens += int(batch["real_tokens"])
        self._clock = now
        if self.global_step % 10 == 0:
            loss = outputs["loss"].detach() * self.trainer.accumulate_grad_batches
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            speed = {"train/lr": rate, "train/tokens_per_s": self.tokens_per_s()}
            self.log_dict({"train/loss": loss, **speed}, prog_bar=True)

    def on_validation_end(self) -> None:
        """Validation is no training time."""
        self._clock = time.monotonic()

    def tokens_per_s(self) -> float:
        """Non-padding training tokens a second so far."""
        return self._tokens / self._seconds if self._seconds else 0.0

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep trained weights only (a LoRA run's base is on disk already) and the RNG state."""
        trained = {n for n, p in self.named_parameters() if p.requires_grad}
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {n: w for n, w in state.items() if n in trained}
        checkpoint["rng"] = torch.get_rng_state()
        self.strict_loading = False

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the random state where the interrupted run left it."""
        self.strict_loading = False
        torch.set_rng_state(checkpoint["rng"])

    def validation_step(self, batch: dict[str, Tensor], _: int) -> None:
        """Mean loss over the supervised tokens of the validation rows."""
        count = int((batch["labels"] != IGNORE).sum())
        self.log("val/loss", self.loss(batch) / max(count, 1), batch_size=count, sync_dist=True)

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip here: Lightning refuses fused optimizers, though bf16 needs no unscaling."""
        if self.fit_params.strategy == "fsdp":
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        else:
            params = (p for group in optimizer.param_groups for p in group["params"])
            nn.utils.clip_grad_norm_(params, self.fit_params.clip)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, or Muon for the hidden matrices; no decay on vectors (norms, biases)."""
        fit = self.fit_params
        named = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        optimizer: torch.optim.Optimizer
        if fit.optimizer == "muon":
            optimizer = MuonAdamW(
                [p for name, p in named if is_hidden_matrix(name, p)],
                [p for name, p in named if not is_hidden_matrix(name, p)],
                lr=fit.lr,
                others_lr=fit.lr * fit.others_lr,
                weight_decay=fit.weight_decay,
            )
        else:
            matrices, vectors = (
                [p for _, p in named if p.ndim > 1],
                [p for _, p in named if p.ndim <= 1],
            )
            groups = [
                {"params": matrices, "weight_decay": fit.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ]
            optimizer = torch.optim.AdamW(groups, lr=fit.lr, betas=BETAS, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_scale(step, fit)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def is_hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon may have it: a matrix inside the model, no embedding, head or adapter."""
    outside = ("embed", "lm_head", "lora_")
    return parameter.ndim == 2 and not any(part in name for part in outside)


def can_compile() -> bool:
    """Whether torch.compile has the C++ compiler it needs; says so if not."""
    found = shutil.which(os.environ.get("CXX", "g++")) is not None
    if not found:
        log.warning("no C++ compiler: training goes on uncompiled, a third slower (apt: g++)")
    return found


def unwrap(model: nn.Module) -> Any:
    """The transformers causal LM inside a PEFT wrapper, or the model itself."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def supervised(labels_BL: Tensor) -> tuple[Tensor, Tensor]:
    """Labels [M] and flat places [M] of the tokens with loss, M rounded up to a full bucket.

    Rounding keeps the number of different matrix shapes small: oneDNN compiles a kernel for every
    shape and keeps it, which cost half the speed and gigabytes of memory.
    """
    flat = labels_BL.flatten()
    places = torch.nonzero(flat != IGNORE)[:, 0]
    padding = -len(places) % HEAD_BUCKET
    labels_M = F.pad(flat[places], (0, padding), value=IGNORE)
    return labels_M, F.pad(places, (0, padding))
