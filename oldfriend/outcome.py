"""What a training function hands to its stage: numbers, curves, and a few samples to read."""

import statistics
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]


@dataclass
class Outcome:
    """``metrics`` go to metrics/<stage>.json, ``tables`` to plots/<stage>/<name>.csv and MLflow."""

    metrics: dict[str, float] = field(default_factory=dict)
    tables: dict[str, list[Row]] = field(default_factory=dict)

    def __add__(self, other: "Outcome") -> "Outcome":
        """Both, side by side; the names in them must differ."""
        return Outcome(self.metrics | other.metrics, self.tables | other.tables)


def spread(runs: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each metric over seeds under its key and the sample deviation under ``<key>_sd``."""
    result: dict[str, float] = {}
    for key in runs[0]:
        values = [run[key] for run in runs]
        result[key] = statistics.fmean(values)
        if len(values) > 1:
            result[f"{key}_sd"] = statistics.stdev(values)
    return result
