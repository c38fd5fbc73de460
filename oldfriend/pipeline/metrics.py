"""The metrics of all stages as one table, each number beside the one of the run before."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from oldfriend.outcome import Row
from oldfriend.pipeline.graph import Stage

FOLDER = "metrics"


def read(root: Path, stages: Iterable[Stage]) -> dict[str, float]:
    """Numbers in the metrics files of ``stages`` by name (``ground/recall_acc``)."""
    found: dict[str, float] = {}
    for path in (path for stage in stages for path in stage.metrics if (root / path).is_file()):
        name = PurePosixPath(path).with_suffix("")
        prefix = name.relative_to(FOLDER) if name.is_relative_to(FOLDER) else name
        values = json.loads((root / path).read_text(encoding="utf-8"))
        numbers = {k: v for k, v in values.items() if isinstance(v, int | float)}
        found |= {f"{prefix}/{key}": value for key, value in numbers.items()}
    return found


def beside(now: Mapping[str, float], before: Mapping[str, float]) -> list[Row]:
    """One row per metric: its value, the one before, the difference; None where there is none."""
    rows = []
    for name in sorted(now.keys() | before.keys()):
        value, old = now.get(name), before.get(name)
        change = None if value is None or old is None else value - old
        rows.append({"metric": name, "now": value, "before": old, "change": change})
    return rows
