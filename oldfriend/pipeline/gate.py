"""Whether a candidate may take the champion's place: better on what counts, worse on nothing.

gate.yaml declares what counts:

    better: {ground/recall_acc: up}             # on each of these, by more than the spread
    not_worse: {ground/abstain_acc: up}         # on none of these, by more than the spread
    spread: {ground/recall_acc: 0.01}           # deviation over seeds, where a run had one seed
    data: [data/curated]                        # must be the same for both: held-out lives
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from oldfriend.errors import InputError, ParamsError
from oldfriend.lm.settings import Settings
from oldfriend.params import read_yaml

Direction = Literal["up", "down"]
Verdict = Literal["better", "worse", "same"]


class Gate(Settings):
    """Metrics that a champion is chosen by, which way is good, and how much is chance."""

    better: dict[str, Direction] = Field(min_length=1)
    not_worse: dict[str, Direction] = Field(default={})
    spread: dict[str, float] = Field(default={})
    data: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: Path) -> "Gate":
        """Read ``path``. Raises ParamsError naming the field that is off."""
        try:
            return cls.model_validate(read_yaml(path))
        except ValidationError as error:
            problem = error.errors()[0]
            field = ".".join(str(part) for part in problem["loc"])
            raise ParamsError(problem["msg"], path=path, field=field) from None


@dataclass(frozen=True)
class Line:
    """One metric in the comparison. ``gain``: how much better the candidate is (< 0: worse)."""

    metric: str
    candidate: float
    champion: float
    gain: float
    spread: float
    verdict: Verdict
    needed: bool

    @property
    def passes(self) -> bool:
        return self.verdict == "better" if self.needed else self.verdict != "worse"


def compare(
    gate: Gate, candidate: Mapping[str, float], champion: Mapping[str, float]
) -> list[Line]:
    """Every declared metric of both, the needed ones first.

    The spread of a difference is the root of the summed squares of both sides' deviations over
    seeds: ``<metric>_sd`` of a run, else what the gate declares. Raises InputError for a metric
    that a side did not measure or whose spread nobody knows.
    """
    directions = [(m, d, True) for m, d in gate.better.items()]
    directions += [(m, d, False) for m, d in gate.not_worse.items()]
    lines = []
    for metric, direction, needed in directions:
        gain = _value(candidate, metric, "candidate") - _value(champion, metric, "champion")
        gain *= 1 if direction == "up" else -1
        spread = math.hypot(*(_deviation(gate, side, metric) for side in (candidate, champion)))
        verdict: Verdict = "same"
        if abs(gain) > spread:
            verdict = "better" if gain > 0 else "worse"
        both = candidate[metric], champion[metric]
        lines.append(Line(metric, *both, gain, spread, verdict, needed))
    return lines


def _value(values: Mapping[str, float], metric: str, who: str) -> float:
    if not math.isfinite(values.get(metric, math.nan)):
        raise InputError(f"the {who} has no number for it; run its stage", field=metric)
    return values[metric]


def _deviation(gate: Gate, values: Mapping[str, float], metric: str) -> float:
    known = values.get(f"{metric}_sd", gate.spread.get(metric))
    if known is None:
        raise InputError("no spread is known; measure several seeds or declare it", field=metric)
    return known
