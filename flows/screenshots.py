"""Pictures of both pages for docs/compare-runs.md: python -m flows.screenshots, after a run."""

import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import typer

from flows import services
from flows.ui import pages
from oldfriend.errors import MissingDataError, OldFriendError

FOLDER = Path("docs/images")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ALONE = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 20_000  # ms of the page's own time, until its charts are drawn


def main(experiment: str = "oldfriend/pipeline") -> None:
    """Take them from the runs that this working copy knows."""
    try:
        with pages(services.free_port(), services.free_port()) as (mlflow, prefect):
            (run, *_) = _ask(f"{prefect}/api/flow_runs/filter", {"sort": "START_TIME_DESC"})
            name = {"filter": f"name = '{experiment}'", "max_results": 1}
            found = _ask(f"{mlflow}/api/2.0/mlflow/experiments/search", name)["experiments"][0]
            chart = f"{mlflow}/#/experiments/{found['experiment_id']}/runs"
            _shoot(f"{prefect}/runs/flow-run/{run['id']}", "prefect-run")
            _shoot(f"{prefect}/runs", "prefect-runs")
            _shoot(f"{chart}?compareRunsMode=CHART&workflowType=machine_learning", "mlflow-charts")
            _shoot(f"{chart}?workflowType=machine_learning", "mlflow-runs")
    except OldFriendError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _ask(address: str, question: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        address, json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def _shoot(address: str, name: str) -> None:
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise MissingDataError(f"no browser; install one of {', '.join(BROWSERS)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        size = ["--window-size=1400,900", f"--virtual-time-budget={PATIENCE}"]
        where = [f"--user-data-dir={profile}", f"--screenshot={FOLDER / name}.png"]
        subprocess.run([browser, *ALONE, *size, *where, address], check=True, capture_output=True)
    print(FOLDER / f"{name}.png")


if __name__ == "__main__":
    typer.run(main)
