"""The metrics of the last pipeline as readable tables."""

import json
import math
from pathlib import Path

from rich.console import Console
from rich.table import Table

from oldfriend.errors import MissingDataError

STAGES = (
    "curate", "base", "ground", "tagger", "summarizer", "empathy", "upcycle", "prune", "persona",
    "evaluate",
)  # fmt: skip
BASELINES = (
    "_before", "_base", "_keywords", "_ungated", "_lm", "_tagger", "_dense", "_cut", "_control",
    "_no_memory", "_no_strategy", "_no_repertoire", "_no_judge", "_no_persona", "_last_turns",
    "_plain_rag",
)  # fmt: skip


def show(folder: Path) -> None:
    """Print one table per stage; a metric's spread and baselines stand beside it."""
    found = [folder / f"{stage}.json" for stage in STAGES if (folder / f"{stage}.json").is_file()]
    if not found:
        raise MissingDataError(f"no metrics in {folder}; run: make repro")
    console = Console()
    for path in found:
        console.print(_table(path.stem, json.loads(path.read_text(encoding="utf-8"))))


def _table(stage: str, metrics: dict[str, float]) -> Table:
    columns = [end for end in BASELINES if any(key.endswith(end) for key in metrics)]
    table = Table(title=stage, title_justify="left")
    table.add_column("metric")
    for name in ("value", *(end.strip("_") for end in columns)):
        table.add_column(name, justify="right")
    for key, value in metrics.items():
        if key.endswith(("_sd", *BASELINES)):
            continue
        spread = f" ± {_number(metrics[f'{key}_sd'])}" if f"{key}_sd" in metrics else ""
        beside = (metrics.get(f"{key}{end}") for end in columns)
        numbers = ("" if other is None else _number(other) for other in beside)
        table.add_row(key, f"{_number(value)}{spread}", *numbers)
    return table


def _number(value: float) -> str:
    whole = math.isfinite(value) and value == int(value) and abs(value) > 1
    return f"{value:,.0f}" if whole else f"{value:,.3f}"
