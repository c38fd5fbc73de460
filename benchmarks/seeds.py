"""The pipeline's models again from other seeds: the figures with their spread.

    python -m benchmarks.seeds 1 2

Trains base, friend, tagger, summarizer and personal readers anew for every seed on the data of
`dvc repro`, which itself is one more run (its figures are read from metrics/). Writes
metrics/bench/seeds.json with means and sample deviations. `--family llama` does it once with
another architecture.
"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from oldfriend.files import write_json
from oldfriend.lm import base
from oldfriend.lm.fit import Run
from oldfriend.memory import extract, ground, personal, tagger
from oldfriend.outcome import Outcome, spread
from oldfriend.params import Params

DATA, METRICS = Path("data/curated"), Path("metrics")
GOALS = {
    "ground": ("recall_acc", "past_acc", "abstain_acc", "hallucination_rate", "stale_rate"),
    "summarizer": (
        *("gate_f1", "record_f1", "false_memory_rate"),
        *("gate_f1_ungated", "record_f1_ungated", "false_memory_rate_ungated"),
        *("user_record_f1_generic", "user_record_f1", "user_gain", "user_others_loss"),
    ),
}


def main(
    seeds: Annotated[list[int], typer.Argument(help="Seeds to train beside the pipeline's own.")],
    out: Annotated[Path, typer.Option(help="Where the figures go.")] = METRICS / "bench/seeds.json",
    family: Annotated[str, typer.Option(help="Another architecture from scratch.")] = "",
    share: Annotated[float, typer.Option(help="Share of the steps, for a quick look.")] = 1.0,
) -> None:
    """Train the default pipeline from other seeds and report means and spread."""
    params = Params.load()
    if family:
        model = params.base.model_copy(update={"family": family})
        params = params.model_copy(update={"base": model})
    params = _shortened(params, share)
    runs = [] if family or share < 1 else [_committed()]
    for seed in seeds:
        runs.append(_pipeline(params, seed))
    figures = spread(runs)
    write_json(out, figures | {"runs": len(runs)})
    table = Table("figure", "mean", "sd", title=f"{len(runs)} seeds")
    for name in (n for n in figures if not n.endswith("_sd")):
        table.add_row(name, f"{figures[name]:.3f}", f"{figures.get(name + '_sd', 0):.3f}")
    Console().print(table)


def _pipeline(params: Params, seed: int) -> dict[str, float]:
    """Base, friend and summarizer from ``seed`` in a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = Run(folder / "checkpoints", seed)
        talk, grounds, readings = (DATA / part for part in ("talk", "ground", "summarizer"))
        start, friend, marks = folder / "base", folder / "friend", folder / "tagger"
        base.train(params.base, run=run, data=talk, out=start)
        grounded = ground.train(
            params.ground,
            run=_beside(run, "ground"),
            data=grounds,
            readings=readings,
            base=start,
            out=friend,
        )
        tagger.train(params.tagger, run=_beside(run, "tagger"), data=readings, out=marks)
        noted = extract.train(
            params.summarizer,
            run=_beside(run, "summarizer"),
            data=readings,
            friend=friend,
            base=start,
            out=folder / "summarizer",
            second=marks,
        ) + personal.train(
            params.summarizer,
            run=_beside(run, "users"),
            data=readings,
            users=DATA / "users",
            base=friend,
            generic=folder / "summarizer",
            out=folder / "users",
        )
    return _chosen({"ground": grounded, "summarizer": noted})


def _beside(run: Run, stage: str) -> Run:
    return replace(run, checkpoints=run.checkpoints / stage)


def _shortened(params: Params, share: float) -> Params:
    """The same settings with a ``share`` of the optimizer steps."""
    stages = ("base", "ground", "tagger", "summarizer")
    shorter = {}
    for name in stages:
        stage = getattr(params, name)
        fit = stage.fit.model_copy(update={"steps": max(1, round(stage.fit.steps * share))})
        shorter[name] = stage.model_copy(update={"fit": fit})
    return params.model_copy(update=shorter)


def _committed() -> dict[str, float]:
    """The figures of the last `dvc repro`."""
    read = {
        stage: json.loads((METRICS / f"{stage}.json").read_text(encoding="utf-8"))
        for stage in GOALS
    }
    return _chosen({stage: Outcome(metrics=found) for stage, found in read.items()})


def _chosen(outcomes: dict[str, Outcome]) -> dict[str, float]:
    return {
        f"{stage}.{key}": outcomes[stage].metrics[key]
        for stage, keys in GOALS.items()
        for key in keys
    }


if __name__ == "__main__":
    typer.run(main)
