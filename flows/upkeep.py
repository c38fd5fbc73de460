"""Summaries, insights, archive and shorter journals, for everyone in a folder of memories."""

from datetime import datetime
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_table_artifact


@flow
def upkeep(memory: str = "memory") -> None:
    """Put the memories in order; nobody may be talking meanwhile."""
    from oldfriend.pipeline import upkeep as keeping

    done = keeping.upkeep(Path(memory), datetime.now().astimezone())
    # Nobody's name leaves the folder: counts alone.
    names = ("summaries", "insights", "archived", "folded")
    table = [{name: sum(getattr(kept, name) for kept in done) for name in names}]
    create_table_artifact(table, key="upkeep", description=f"{len(done)} people")
