"""Run a training: batches in a fixed order, checkpoints, resume, one result."""

import hashlib
import json
import logging
import random
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from oldfriend.lm.lit import PackedLM
from oldfriend.lm.packing import Document, PackedRows, fitting, plan_rows
from oldfriend.lm.settings import FitParams

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """Where a training keeps its checkpoints, its seed, and who listens."""

    checkpoints: Path
    seed: int
    logger: Any = None  # a Lightning logger, or None


@dataclass(frozen=True)
class FitResult:
    """What a training run measured."""

    steps: int
    val_loss: float  # nats a token; 0 without validation documents
    tokens_per_s: float  # non-padding tokens; start-up and validation left out


class StepBatches(IterableDataset[dict[str, Tensor]]):
    """The micro-batches of a run, one after the other, from optimizer step ``start`` on.

    A batch is a pure function of (rows, seed, step), so a resumed run sees what it would have seen.
    Loaders get a generator of their own: a DataLoader draws from torch's when it starts, and a
    resumed run, which starts one more, would see other dropout.
    ``denominator`` makes accumulated gradients exact: the loss is divided by the supervised tokens
    of the whole optimizer step, not by each micro-batch's own count.
    """

    def __init__(
        self, rows: PackedRows, fit: FitParams, seed: int, *, start: int = 0, rank: int = 0
    ) -> None:
        self.rows, self.fit, self.seed = rows, fit, seed
        self.start, self.rank = start, rank
        self._epoch_order = lru_cache(maxsize=2)(self._shuffled)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        fit = self.fit
        for step in range(self.start, fit.steps):
            indices = self.step_rows(step)
            total = sum(self.rows.supervised(i) for i in indices)
            for micro in range(fit.accumulate):
                first = (micro * fit.devices + self.rank) * fit.rows
                batch = stack_rows(self.rows, indices[first : first + fit.rows])
                # Lightning divides by `accumulate` and ddp averages over devices: undo both.
                batch["real_tokens"] = torch.tensor(
                    sum(self.rows.tokens[i] for i in indices[first : first + fit.rows])
                )
                batch["denominator"] = torch.tensor(total / (fit.accumulate * fit.devices))
                yield batch

    def step_rows(self, step: int) -> list[int]:
        """Row indices of one optimizer step over every micro-batch and device."""
        size = self.fit.rows * self.fit.accumulate * self.fit.devices
        count = len(self.rows)
        places = range(step * size, (step + 1) * size)
        return [self._epoch_order(place // count)[place % count] for place in places]

    def _shuffled(self, epoch: int) -> list[int]:
        """The first epoch keeps the plan's order (its curriculum); later ones are shuffled."""
        order = list(range(len(self.rows)))
        if epoch:
            random.Random(f"{self.seed}-{epoch}").shuffle(order)
        return order


def stack_rows(rows: PackedRows, indices: Sequence[int]) -> dict[str, Tensor]:
    """Batch [B, L] of the rows at ``indices``."""
    items = [rows[i] for i in indices]
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}


def fit_model(
    model: nn.Module,
    documents: Sequence[Document],
    fit: FitParams,
    run: Run,
    *,
    pad_id: int,
    validation: Sequence[Document] = (),
) -> FitResult:
    """Train ``model`` in place on ``documents`` in their order; resume if this very run was cut.

    The checkpoint folder is named by a hash of weights, data, settings and seed: a changed run
    never continues another's checkpoint. It is removed when the run is through.
    """
    documents = fitting(documents, fit.row_tokens)
    held_out = _validation_loader(fitting(validation, fit.row_tokens), fit, pad_id)
    lit = PackedLM(model, fit)
    if fit.steps == 0:
        return FitResult(0, validate(lit, held_out) if held_out else 0.0, 0.0)
    rows = PackedRows(
        documents, plan_rows(documents, fit.row_tokens, run.seed), fit.row_tokens, pad_id
    )
    folder = run.checkpoints / fingerprint(model, documents, fit, run.seed)
    resume = newest_checkpoint(folder)
    start = int(torch.load(resume, weights_only=True)["global_step"]) if resume else 0
    if resume:
        log.warning("continuing from step %d of %d", start, fit.steps)
    trainer = _trainer(fit, run, folder, validate=bool(validation))
    batches = StepBatches(rows, fit, run.seed, start=start, rank=trainer.global_rank)
    loaders = DataLoader(batches, batch_size=None, generator=torch.Generator())
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*(num_workers|val_dataloader|LeafSpec|not empty).*"
        )
        lit.train()
        try:
            trainer.fit(lit, loaders, held_out, ckpt_path=resume, weights_only=True)
        except SystemExit:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from None
    lit.to(trainer.strategy.root_device)  # evaluation goes on where training was
    val_loss = validate(lit, held_out) if held_out else 0.0
    shutil.rmtree(folder, ignore_errors=True)
    return FitResult(trainer.global_step, val_loss, lit.tokens_per_s())


def validate(lit: PackedLM, loader: DataLoader[dict[str, Tensor]]) -> float:
    """Mean loss (nats a token) over all supervised tokens of ``loader``."""
    lit.eval()
    mixed = lit.fit_params.precision == "bf16-mixed"
    with torch.no_grad(), torch.autocast(lit.device.type, torch.bfloat16, enabled=mixed):
        sums = [(float(lit.loss(b)), int((b["labels"] >= 0).sum())) for b in loader]
    return sum(loss for loss, _ in sums) / max(sum(count for _, count in sums), 1)


def fingerprint(model: nn.Module, documents: Sequence[Document], fit: FitParams, seed: int) -> str:
    """Hash of everything that decides a run: settings, seed, data and starting weights."""
    digest = hashlib.sha256(json.dumps([fit.model_dump(), seed]).encode())
    for document in documents:
        digest.update(repr(document).encode())
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(weight.shape)}{weight.double().sum().item()}".encode())
    return digest.hexdigest()[:16]


def newest_checkpoint(folder: Path) -> Path | None:
    """The readable checkpoint with the highest step; damaged ones are set aside."""
    found = sorted(folder.glob("*.ckpt"), key=lambda p: int(p.stem.split("=")[-1]), reverse=True)
    for path in found:
        try:
            torch.load(path, weights_only=True)
        except Exception:  # torch raises many kinds for a truncated file
            log.warning("checkpoint %s is damaged and is left out", path.name)
            path.unlink()
        else:
            return path
    return None


def _trainer(fit: FitParams, run: Run, folder: Path, *, validate: bool) -> Trainer:
    callbacks: list[Callback] = [
        ModelCheckpoint(
            folder, filename="{step}", every_n_train_steps=fit.checkpoint_every, save_top_k=1,
            monitor="step", mode="max", save_on_train_epoch_end=False,
        )
    ]  # fmt: skip
    if fit.patience and validate:
        callbacks.append(EarlyStopping("val/loss", patience=fit.patience))
    if show_progress := sys.stderr.isatty():
        callbacks.append(TQDMProgressBar(refresh_rate=5))
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    return Trainer(
        max_steps=fit.steps,
        accumulate_grad_batches=fit.accumulate,
        gradient_clip_val=fit.clip,
        precision=fit.precision,
        accelerator=fit.accelerator,
        strategy=fit.strategy,
        devices=fit.devices,
        val_check_interval=fit.validate_every * fit.accumulate or None,
        check_val_every_n_epoch=None if fit.validate_every else 1,
        limit_val_batches=None if fit.validate_every and validate else 0,
        num_sanity_val_steps=0,
        logger=run.logger or False,
        log_every_n_steps=10,
        callbacks=callbacks,
        enable_progress_bar=show_progress,
        enable_model_summary=False,
        use_distributed_sampler=False,
        barebones=False,
    )


def _validation_loader(
    documents: Sequence[Document], fit: FitParams, pad_id: int
) -> DataLoader[dict[str, Tensor]] | None:
    if not documents:
        return None
    rows = PackedRows(documents, plan_rows(documents, fit.row_tokens, 0), fit.row_tokens, pad_id)
    chunks = [range(i, min(i + fit.rows, len(rows))) for i in range(0, len(rows), fit.rows)]
    sampler = [list(chunk) for chunk in chunks]
    return DataLoader(rows, batch_sampler=sampler, generator=torch.Generator())
