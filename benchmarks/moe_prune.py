"""Half of the expert weights by every method: the same mixture, text, budget and healing.

    python -m benchmarks.moe_prune models/moe --seeds 3

Settings are those of the stage (`prune` in params.yaml). A seed decides the text of calibration and
the order of healing. Beside the methods stands the uncut model, trained on for as long (without a
teacher). Every run is a JSON beside --out and is not repeated when the benchmark is started again.
"""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from oldfriend.files import write_json
from oldfriend.lm.fit import Run
from oldfriend.moe import importing
from oldfriend.moe.lessons import Lessons, read_lessons
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.pruning.baselines import BASELINES
from oldfriend.moe.pruning.baselines import cut as baseline
from oldfriend.moe.pruning.calibration import observe
from oldfriend.moe.pruning.prune import Texts, cut, val_losses
from oldfriend.moe.pruning.recover import recover
from oldfriend.moe.pruning.settings import PruneParams
from oldfriend.moe.splice import read_layers, rebuilt
from oldfriend.outcome import Row, spread
from oldfriend.params import PARAMS, Params

PLAN, CONTROL = "plan (ours)", "uncut, trained on"
CHANGES = {PLAN: {}, "plan, no refit in order": {"rounds": 0}, "plan, no exchange": {"trials": 0}}
METHODS = (CONTROL, *BASELINES, *CHANGES)


@dataclass(frozen=True)
class Bench:
    """The uncut model and everything that all methods share."""

    uncut: OFMoeForCausalLM
    lessons: list[Lessons]
    params: PruneParams
    pad: int
    folder: Path

    def run(self, method: str, seed: int) -> Row:
        """Cut by ``method``, heal, judge; read from disk if it was done before."""
        name = "-".join("".join(c if c.isalnum() else " " for c in method).split())
        path = self.folder / f"{name}-{seed}.json"
        if not path.is_file():
            write_json(path, self._run(method, seed))
        row: Row = json.loads(path.read_text(encoding="utf-8"))
        return row

    def _run(self, method: str, seed: int) -> Row:
        texts = Texts.of(self.lessons, self.params, seed, self.pad)
        model, actions = self.cut(method, texts, seed)
        row: Row = {"actions": actions, "kept": _experts(model) / _experts(self.uncut)}
        row["loss_cut"] = _mean(val_losses(model, texts.val))
        teacher = None if method == CONTROL else self.uncut
        with TemporaryDirectory() as checkpoints:
            run = Run(Path(checkpoints), seed)
            recover(model, teacher, texts.train, self.params.recover, run, pad_id=self.pad)
        losses = val_losses(model, texts.val)
        return row | {"loss": _mean(losses)} | {f"loss_{n}": loss for n, loss in losses.items()}

    def cut(self, method: str, texts: Texts, seed: int) -> tuple[OFMoeForCausalLM, list[str]]:
        """The model after ``method`` and before healing; what was done to each layer."""
        if method == CONTROL:
            return copy.deepcopy(self.uncut), []
        if method in CHANGES:
            params = self.params.model_copy(update=CHANGES[method])
            made = cut(self.uncut, texts, params, seed)
            return made.model, [str(action) for action in made.compression.actions]
        keep = self.params.calibration_tokens
        evidence = observe(self.uncut, texts.calibration, keep=keep, seed=seed)
        layers = baseline(method, evidence, self.params.keep)
        return rebuilt(self.uncut, layers), [f"{len(one.experts)} experts" for one in layers]


def _experts(model: OFMoeForCausalLM) -> int:
    return sum(layer.parameters for layer in read_layers(model))


def _mean(losses: dict[str, float]) -> float:
    return sum(losses.values()) / len(losses)


def main(
    model: Annotated[Path, typer.Argument(help="Folder of a mixture of experts.")],
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    method: Annotated[list[str] | None, typer.Option("--method", help="Only these.")] = None,
    data: Annotated[Path, typer.Option()] = Path("data/curated"),
    external: Annotated[Path, typer.Option()] = Path("data/external"),
    params: Annotated[Path, typer.Option()] = PARAMS,
    out: Annotated[Path, typer.Option()] = Path("metrics/bench/moe_prune.json"),
) -> None:
    """Prune MODEL by every method and report means and spread over seeds."""
    settings = Params.load(params).prune
    uncut, tokenizer = importing.load(model)
    lessons = read_lessons(
        tokenizer, settings.domains, data, external=external, rows=settings.rows_per_domain,
        row_tokens=settings.recover.fit.row_tokens, friend=model,
    )  # fmt: skip
    bench = Bench(uncut, lessons, settings, tokenizer.pad_token_id, out.with_suffix(""))
    console = Console()
    runs: dict[str, list[Row]] = {}
    for seed in range(seeds):
        for name in method or METHODS:
            row = bench.run(name, seed)
            runs.setdefault(name, []).append(row)
            console.print(f"{seed} {name:24} cut {row['loss_cut']:.4f} healed {row['loss']:.4f}")
    texts = Texts.of(lessons, settings, 0, tokenizer.pad_token_id)
    base = _mean(val_losses(uncut, texts.val))
    result = summary(runs, base)
    write_json(out, {"uncut": base, "methods": result})
    console.print(table(result, base))


def summary(runs: dict[str, list[Row]], base: float) -> dict[str, Row]:
    """Means and deviations over seeds, relative to the uncut model's loss; wins seed by seed."""
    found: dict[str, Row] = {}
    for name, rows in runs.items():
        actions = [row["actions"] for row in rows]
        means = spread([{k: v for k, v in row.items() if k != "actions"} for row in rows])
        found[name] = means | {
            "increase_cut": means["loss_cut"] / base - 1,
            "increase": means["loss"] / base - 1,
            "actions": actions,
        }
        if PLAN in runs:
            better = [p["loss"] < row["loss"] for row, p in zip(rows, runs[PLAN], strict=True)]
            found[name]["seeds_plan_is_better"] = sum(better)
    return found


def table(methods: dict[str, Row], base: float) -> Table:
    """What stands in the docs."""
    columns = ("method", "kept", "cut", "healed", "sd", "seeds lost to the plan")
    shown = Table(*columns, title=f"uncut {base:.4f}", title_justify="left")
    for name, m in sorted(methods.items(), key=lambda item: float(item[1]["loss"])):
        shown.add_row(
            name, f"{m['kept']:.2f}", f"{m['increase_cut']:+.2%}", f"{m['increase']:+.2%}",
            f"{m.get('loss_sd', 0) / base:.2%}", str(m.get("seeds_plan_is_better", "")),
        )  # fmt: skip
    return shown


if __name__ == "__main__":
    typer.run(main)
