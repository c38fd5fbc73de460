"""Promotes the models of this working copy through the gate, and goes back to those before."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oldfriend import tracking
from oldfriend.errors import InputError, MissingDataError, OldFriendError
from oldfriend.files import atomic_folder
from oldfriend.pipeline import gate, graph, metrics
from oldfriend.tracking import Champion

GATE = Path("gate.yaml")
FOLDER = Path("champion")  # where the champion's models are laid out, as models/NAME in there
MODELS = "models/"


class GateClosed(OldFriendError):
    """The candidate is not better where it has to be, or is worse where it must not be."""

    def __init__(self, lines: Sequence[gate.Line]) -> None:
        failed = ", ".join(
            f"{line.metric} is {line.verdict} ({line.champion:.4g} -> {line.candidate:.4g}, "
            f"spread {line.spread:.2g})"
            for line in lines
            if not line.passes
        )
        super().__init__(f"the champion stays: {failed}")
        self.lines = lines


@dataclass(frozen=True)
class Promotion:
    """A new champion and the comparison it won; no lines for the first, or one let through."""

    champion: Champion
    lines: Sequence[gate.Line] = ()


def promote(root: Path, *, reason: str = "") -> Promotion:
    """Make the models in ``root`` champion if they pass gate.yaml against the one there is.

    With ``reason`` they become it without a comparison, and the reason goes on record. Raises
    GateClosed if they do not pass, InputError if the two were not measured on the same data.
    """
    stages, fresh = graph.load(root), graph.up_to_date(root, lazy=True)
    if stale := [stage.name for stage in stages if stage.name not in fresh]:
        raise InputError(f"{', '.join(stale)} must run first, or its metrics are of other models")
    wanted = gate.Gate.load(root / GATE)
    numbers, made = metrics.read(root, stages), graph.outputs(root)
    outputs = {p: md5 for p, md5 in made.items() if p.startswith(MODELS) or p in wanted.data}
    last, lines = tracking.champion(), list[gate.Line]()
    if last and last.outputs == outputs:
        raise InputError(f"these models are the champion already (version {last.version})")
    if last and not reason:
        _same_data(wanted, outputs, last)
        lines = gate.compare(wanted, numbers, last.metrics)
        if not all(line.passes for line in lines):
            raise GateClosed(lines)
    why = reason or ("better than the champion" if last else "the first")
    crowned = tracking.crown(numbers, outputs, why)
    lay_out(root, crowned)
    return Promotion(crowned, lines)


def rollback(root: Path) -> Champion:
    """Make the champion before champion again, and lay its models out."""
    back = tracking.dethrone()
    lay_out(root, back)
    return back


def lay_out(root: Path, crowned: Champion) -> Path:
    """Put the champion's models into ``root``/champion/models; the folder."""
    with atomic_folder(root / FOLDER) as folder:
        for path, md5 in crowned.outputs.items():
            if path.startswith(MODELS):
                graph.lay_out(root, md5, folder / path)
    return root / FOLDER / MODELS


def _same_data(wanted: gate.Gate, outputs: dict[str, str], last: Champion) -> None:
    for path in wanted.data:
        if path not in outputs:
            raise MissingDataError(f"{GATE} names '{path}', which no stage makes")
        if outputs[path] != last.outputs.get(path):
            raise InputError(
                f"{path} is not what the champion was measured on, so the two cannot be compared; "
                "run the champion's commit on it, or promote with --reason"
            )
