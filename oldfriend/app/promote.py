"""``oldfriend promote`` and ``oldfriend rollback``: who is champion, and why."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from oldfriend.pipeline import champion
from oldfriend.pipeline.gate import Line


def promote(reason: str) -> None:
    """Promote the models of this working copy; print the comparison, passed or not."""
    try:
        done = champion.promote(Path.cwd(), reason=reason)
    except champion.GateClosed as closed:
        _show(closed.lines)
        raise
    _show(done.lines)
    print(f"champion: version {done.champion.version}, in {champion.FOLDER / champion.MODELS}")


def rollback() -> None:
    """Go back to the champion before."""
    back = champion.rollback(Path.cwd())
    print(f"champion again: version {back.version}, in {champion.FOLDER / champion.MODELS}")


def _show(lines: Sequence[Line]) -> None:
    table = Table("metric", "champion", "candidate", "gain", "spread", "verdict", "needed")
    for line in lines:
        numbers = (line.champion, line.candidate, line.gain, line.spread)
        needed = "better" if line.needed else "not worse"
        table.add_row(line.metric, *(f"{n:.4g}" for n in numbers), line.verdict, needed)
    if lines:
        Console().print(table)
