"""One small training run, as a function and as a program that tests may kill.

python fit_run.py CHECKPOINTS SETTINGS_JSON [--die-when-done]
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from lm_tiny import random_documents, tiny_fit, tiny_model

from oldfriend.lm import lora
from oldfriend.lm.fit import FitResult, Run, fit_model
from oldfriend.lm.settings import LoraParams


def train(checkpoints: Path, settings: dict[str, Any]) -> tuple[torch.nn.Module, FitResult]:
    """Train a tiny model (or its adapter, with dropout) by ``settings`` of FitParams."""
    fit = tiny_fit(**{key: value for key, value in settings.items() if key not in ("lora", "seed")})
    model: torch.nn.Module = tiny_model("lfm2")
    torch.manual_seed(7)
    if settings.get("lora"):
        model = lora.attach(tiny_model("lfm2"), LoraParams(rank=4, alpha=8, dropout=0.3))
    lengths = [3 + 7 * i % 40 for i in range(30)]
    result = fit_model(
        model,
        random_documents(lengths),
        fit,
        Run(checkpoints, settings.get("seed", 0)),
        pad_id=0,
        validation=random_documents(lengths[:8], seed=1),
    )
    return model, result


def die(*_: object, **__: object) -> None:
    """What a machine does that loses power."""
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored below a shell's background
    torch.set_num_threads(1)
    if "--die-when-done" in sys.argv:  # after the last step, before the checkpoints are removed
        shutil.rmtree = die  # type: ignore[assignment]
    train(Path(sys.argv[1]), json.loads(sys.argv[2]))
