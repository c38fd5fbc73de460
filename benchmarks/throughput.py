"""Training speed against TRL's SFTTrainer: the same tiny LFM2, chat data and machine.

    python -m benchmarks.throughput --steps 60

The model is params.yaml's `base` with fresh weights, the batch that of `ground.fit`. The trainers
take turns, each run in a process of its own; preparation, start-up and first steps do not count.
Without a CUDA kernel, transformers refuses to pack LFM2; `--family llama` lets TRL pack on a CPU.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from transformers.utils.logging import disable_progress_bar

from benchmarks.trainers import DOCUMENTS, MODEL, RESULT, SETTINGS, TRAINERS
from oldfriend.corpus.answers import grounding as simulated
from oldfriend.corpus.schema import GroundExample, read_rows
from oldfriend.corpus.seeds import Seeds
from oldfriend.corpus.settings import SimulatorParams
from oldfriend.corpus.simulator import simulate
from oldfriend.errors import MissingDataError, OldFriendError
from oldfriend.files import write_json
from oldfriend.lm import model as models
from oldfriend.lm.chat import Message, answer_documents
from oldfriend.lm.packing import Document
from oldfriend.lm.settings import FitParams
from oldfriend.lm.tokenizer import train_tokenizer
from oldfriend.memory.grounding import dialogue
from oldfriend.outcome import spread
from oldfriend.params import Params

CURATED, SEEDS = Path("data/curated/ground/train.jsonl"), Path("data/seeds")
MOST_ROWS, PEOPLE = 3000, 30
Runs = dict[str, list[dict[str, float]]]
Refusals = dict[str, str]  # of a peer that cannot do this here, in its own words


class Family(StrEnum):
    """Architectures that can be built from scratch."""

    lfm2 = "lfm2"
    llama = "llama"
    qwen3 = "qwen3"
    mistral = "mistral"


def main(
    steps: Annotated[int, typer.Option(min=5, help="Optimizer steps of each run.")] = 60,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each trainer.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    family: Annotated[Family, typer.Option(help="Architecture of the model.")] = Family.lfm2,
    out: Annotated[Path, typer.Option("--json", help="Where the numbers go.")] = Path(
        "metrics/bench/throughput.json"
    ),
) -> None:
    """Compare training speed with TRL."""
    try:
        if not all(importlib.util.find_spec(name) for name in ("trl", "datasets")):
            raise MissingDataError("trl is not installed; run: pip install -e '.[bench]'")
        with tempfile.TemporaryDirectory() as folder:
            prepare(Params.load(), Path(folder), steps, family)
            runs, refusals = measure(Path(folder), repeats, threads)
    except OldFriendError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    Console().print(table(runs, refusals))
    how = {"family": family, "steps": steps, "repeats": repeats, "threads": threads}
    refused = {f"{name}_refused": why for name, why in refusals.items()}
    write_json(out, metrics(runs) | refused | how)


def prepare(params: Params, folder: Path, steps: int, family: Family) -> None:
    """Write weights, documents and settings that all trainers start from."""
    disable_progress_bar()
    talks = dialogues(params.seed)
    base = params.base.model_copy(update={"family": family.value})
    tokenizer = train_tokenizer((m["content"] for t in talks for m in t), base.vocab)
    models.save(models.build(base, tokenizer, params.seed), tokenizer, folder / MODEL, {})
    plain = {"steps": steps, "schedule": "constant", "warmup": 0.0, "compile": False}
    silent = {"checkpoint_every": steps + 1, "validate_every": 0, "patience": 0}
    fit = FitParams.model_validate(params.ground.fit.model_dump() | plain | silent)
    found = answer_documents(tokenizer, talks)
    write_documents([d for d in found if len(d) <= fit.row_tokens], folder / DOCUMENTS)
    write_json(folder / SETTINGS, {"fit": fit.model_dump(), "skip": max(2, steps // 10)})


def dialogues(seed: int) -> list[tuple[Message, ...]]:
    """Grounding dialogues: curated ones if `curate` has run, else simulated here."""
    if CURATED.is_file():
        rows = list(read_rows(CURATED, GroundExample))
        rows = Random(seed).sample(rows, min(MOST_ROWS, len(rows)))
    else:
        seeds = Seeds.load(SEEDS)
        _, lives = simulate(SimulatorParams(people=PEOPLE), seeds)
        train = [life for life in lives if life.split == "train"]
        rows = simulated(train, seeds, Random(seed), count=MOST_ROWS, max_exchanges=6)
    return [dialogue(row) for row in rows]


def write_documents(documents: list[Document], path: Path) -> None:
    """Token ids and learnt spans as JSON."""
    path.write_text(json.dumps([(d.ids, d.learn) for d in documents]), encoding="utf-8")


def measure(folder: Path, repeats: int, threads: int) -> tuple[Runs, Refusals]:
    """Every trainer in turn, ``repeats`` times, so that a slow spell of the machine hits all."""
    runs: Runs = {}
    refusals: Refusals = {}
    for place in range(repeats):
        for name in (name for name in TRAINERS if name not in refusals):
            try:
                found = run(name, folder, threads)
            except OldFriendError as error:
                if name == "ours":
                    raise
                refusals[name] = str(error)
                continue
            runs.setdefault(name, []).append(found)
            print(f"{place + 1}/{repeats} {name}: {found['tokens_per_s']:,.0f}/s", file=sys.stderr)
    whole = {name: found for name, found in runs.items() if name not in refusals}
    return whole, refusals


def run(name: str, folder: Path, threads: int) -> dict[str, float]:
    """One training in a new process; OldFriendError with its last words if it fails."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    quiet = {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": str(threads)}
    environment = os.environ | offline | quiet
    command = [sys.executable, "-m", "benchmarks.trainers", name, str(folder)]
    command += ["--threads", str(threads)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["no message"]
        raise OldFriendError(next((w for w in reversed(words) if "Error: " in w), words[-1]))
    found: dict[str, float] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    return found


def metrics(runs: Runs) -> dict[str, float]:
    """Mean and deviation of every speed, and of our speed over each peer's in the same turn."""
    result: dict[str, float] = {}
    for name, found in runs.items():
        result |= {f"{name}_{key}": value for key, value in spread(found).items()}
        if name != "ours":
            ratios = [{f"ratio_to_{name}": ratio} for ratio in ratio_to(runs, name)]
            result |= spread(ratios)
    return result


def ratio_to(runs: Runs, peer: str) -> list[float]:
    """Our tokens a second over the peer's, turn by turn."""
    pairs = zip(runs["ours"], runs[peer], strict=True)
    return [mine["tokens_per_s"] / theirs["tokens_per_s"] for mine, theirs in pairs]


def table(runs: Runs, refusals: Refusals) -> Table:
    """Speeds beside each other, and who could not run."""
    shown = Table("trainer", title="non-padding training tokens", title_justify="left")
    for column in ("tokens/s", "tokens/step", "s/step", "ours / this one"):
        shown.add_column(column, justify="right")
    for name, found in runs.items():
        speeds = [one["tokens_per_s"] for one in found]
        ratios = ratio_to(runs, name)
        beside = f"{statistics.fmean(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"
        shown.add_row(
            name,
            f"{statistics.fmean(speeds):,.0f} ({min(speeds):,.0f}-{max(speeds):,.0f})",
            f"{statistics.fmean(one['tokens_per_step'] for one in found):,.0f}",
            f"{statistics.fmean(one['seconds_per_step'] for one in found):.3f}",
            "" if name == "ours" else beside,
        )
    for name, why in refusals.items():
        shown.caption = f"{shown.caption or ''}{name} did not run: {why}\n"
    return shown


if __name__ == "__main__":
    typer.run(main)
