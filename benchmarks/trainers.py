"""One measured training in a process of its own: ours, or TRL's SFTTrainer on the same documents.

`python -m benchmarks.trainers NAME FOLDER` reads what ``benchmarks.throughput`` prepared in FOLDER
and writes FOLDER/result.json. Trainers start from the same weights and get the same token ids and
labels, optimizer, rate, clipping and precision; they evaluate and save nothing.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from oldfriend.files import write_json
from oldfriend.lm import model as models
from oldfriend.lm.fit import Run, fit_model
from oldfriend.lm.packing import IGNORE, Document
from oldfriend.lm.settings import FitParams

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
DOCUMENTS, SETTINGS, MODEL, RESULT = "documents.json", "settings.json", "model", "result.json"


class Meter:
    """Non-padding tokens and time after every optimizer step, counted alike in every trainer."""

    def __init__(self, backbone: nn.Module, pad_id: int) -> None:
        self._pad_id, self._tokens = pad_id, 0
        self._marks: list[tuple[float, int]] = []
        backbone.register_forward_pre_hook(self._count, with_kwargs=True)
        register_optimizer_step_post_hook(self._mark)

    def result(self, skip: int) -> dict[str, float]:
        """Speed from the end of step ``skip`` to the end of the last step."""
        (began, before), (ended, after) = self._marks[skip - 1], self._marks[-1]
        steps = len(self._marks) - skip
        return {
            "tokens_per_s": (after - before) / (ended - began),
            "tokens_per_step": (after - before) / steps,
            "seconds_per_step": (ended - began) / steps,
        }

    def _count(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        self._tokens += int((ids != self._pad_id).sum())

    def _mark(self, *_: object) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._marks.append((time.perf_counter(), self._tokens))


def ours(
    model: Any, tokenizer: Any, documents: Sequence[Document], fit: FitParams, folder: Path
) -> None:
    """``fit_model``: every row holds many documents that cannot see each other."""
    fit_model(model, documents, fit, Run(folder / "ours", seed=0), pad_id=tokenizer.pad_token_id)


def trl(
    model: Any, tokenizer: Any, documents: Sequence[Document], fit: FitParams, folder: Path
) -> None:
    """TRL as it comes: a document a row, padded to the longest, as many as fill our batch."""
    mean = sum(map(len, documents)) / len(documents)
    rows = max(1, round(fit.rows * fit.row_tokens / mean))
    _sft(model, tokenizer, documents, fit, folder, rows=rows, packing=False)


def trl_packing(
    model: Any, tokenizer: Any, documents: Sequence[Document], fit: FitParams, folder: Path
) -> None:
    """TRL's packing: rows of a batch in one long sequence."""
    _sft(model, tokenizer, documents, fit, folder, rows=fit.rows, packing=True)


TRAINERS = {"ours": ours, "trl": trl, "trl_packing": trl_packing}


def _sft(
    model: Any,
    tokenizer: Any,
    documents: Sequence[Document],
    fit: FitParams,
    folder: Path,
    *,
    rows: int,
    packing: bool,
) -> None:
    import datasets
    from trl import SFTConfig, SFTTrainer

    datasets.disable_progress_bars()
    labels = [_labels(document) for document in documents]
    data = {"input_ids": [list(document.ids) for document in documents], "labels": labels}
    config = SFTConfig(
        output_dir=str(folder / "trl"),
        max_steps=fit.steps,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=fit.accumulate,
        max_length=fit.row_tokens,
        packing=packing,
        learning_rate=fit.lr,
        lr_scheduler_type="constant",
        weight_decay=fit.weight_decay,
        adam_beta2=0.95,
        optim="adamw_torch_fused",
        max_grad_norm=fit.clip,
        bf16=fit.precision == "bf16-mixed",
        gradient_checkpointing=False,  # ours does without, too
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    dataset = datasets.Dataset.from_dict(data)
    SFTTrainer(model=model, args=config, train_dataset=dataset, processing_class=tokenizer).train()


def _labels(document: Document) -> list[int]:
    """Labels in place, as TRL wants them: the token itself where it is learnt."""
    return [IGNORE, *document.labels()[:-1]]


@app.command()
def main(
    name: Annotated[str, typer.Argument(help=", ".join(TRAINERS))], folder: Path, threads: int = 2
) -> None:
    """Train once and write how fast it was."""
    torch.set_num_threads(threads)
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    rows = json.loads((folder / DOCUMENTS).read_text(encoding="utf-8"))
    documents = [Document(tuple(ids), tuple(map(tuple, learn))) for ids, learn in rows]
    model, tokenizer = models.load(folder / MODEL)
    meter = Meter(model.model, tokenizer.pad_token_id)
    TRAINERS[name](model, tokenizer, documents, FitParams(**settings["fit"]), folder)
    write_json(folder / RESULT, meter.result(settings["skip"]))


if __name__ == "__main__":
    app()
