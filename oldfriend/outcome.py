"""What a training function hands to its stage: numbers, curves, and a few samples to read."""

from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]


@dataclass
class Outcome:
    """``metrics`` go to metrics/<stage>.json, ``tables`` to plots/<stage>/<name>.csv and MLflow."""

    metrics: dict[str, float] = field(default_factory=dict)
    tables: dict[str, list[Row]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


def spread(runs: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each metric over seeds under its key and the sample deviation under ``<key>_sd``."""
    import statistics

    result: dict[str, float] = {}
    for key in runs[0]:
        values = [run[key] for run in runs]
        result[key] = statistics.fmean(values)
        if len(values) > 1:
            result[f"{key}_sd"] = statistics.stdev(values)
    return result
