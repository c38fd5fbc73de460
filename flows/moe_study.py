"""The study of router starts, numbers of experts and domains; goes on where it was stopped."""

import json
import os
import sys
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.concurrency.sync import concurrency

from oldfriend.pipeline import leash
from oldfriend.pipeline.runner import QUIET, StageFailed


@flow
def moe_study(out: str, options: list[str] | None = None) -> None:
    """Run ``python -m benchmarks.moe_study OUT OPTIONS`` on a GPU slot.

    ``out`` is a folder on the worker that outlives the run: a cell that is there is not trained
    again.
    """
    command = [sys.executable, "-m", "benchmarks.moe_study", out, *(options or [])]
    with concurrency("gpu", occupy=1):
        process = leash.start(command, cwd=Path.cwd(), env=os.environ | QUIET)
        try:
            for line in process.stdout or ():
                get_run_logger().info(line.rstrip())
            if code := process.wait():
                raise StageFailed(f"the study failed (exit code {code}); its log says why")
        finally:
            leash.let_go(process)
            process.wait()
    summary = json.loads((Path(out) / "summary.json").read_text(encoding="utf-8"))
    create_table_artifact(summary["arms"], key="moe-study", description=out)
