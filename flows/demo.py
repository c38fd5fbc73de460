"""The whole thing in one terminal: services, a worker, a run watched to its end; then all stop.

    python -m flows.demo                  # or: make flows-demo
    python -m flows.demo --preset nano    # the real parameters; takes as long as `dvc repro`
    python -m flows.demo --spread --workers 2

The worker clones this repository's last commit and keeps data in this repository's own DVC cache,
so it is what a worker elsewhere is, only nearer. The run stays as the branch runs/NAME.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from flows import services
from oldfriend.errors import OldFriendError
from oldfriend.files import atomic_write
from oldfriend.pipeline import publish

HOME = Path(".cache/prefect")


def main(
    preset: Annotated[
        str, typer.Option(help="presets/PRESET.yaml laid over params.yaml.")
    ] = "smoke",
    spread: Annotated[
        bool, typer.Option("--spread", help="Each stage as a run of its own.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="cpu workers to start.")] = 1,
) -> None:
    """Run the pipeline on a worker, with everything that it takes started and stopped here."""
    home = HOME.resolve()
    home.mkdir(parents=True, exist_ok=True)
    server, mlflow = services.free_port(), services.free_port()
    env = services.environment(home, server, **_here(home, mlflow))
    branch = f"{publish.RUNS}demo-{datetime.now():%m%d-%H%M%S}"
    try:
        with ExitStack() as up:
            with _timed("servers of Prefect and MLflow"):
                store = f"sqlite:///{Path('mlflow.db').resolve()}"
                commands = services.prefect_server(server), services.mlflow_server(mlflow, store)
                for command, answers in commands:
                    log = home / f"{command[0]}.log"
                    up.enter_context(services.service(command, env=env, log=log, answers=answers))
            with _timed("pools, limits, automations and deployments"):
                services.run(["flows.setup"], env)
            for number in range(workers):
                worker = services.worker("cpu", f"cpu-{number}")
                log = home / f"worker-{number}.log"
                up.enter_context(services.service(worker, env=env, log=log))
            with _timed("the run"):
                what = {"preset": preset, "spread": spread, "branch": branch}
                services.run(["flows.watch", json.dumps(what)], env, shown=True)
        print(
            f"\nIts parameters, metrics and dvc.lock: git diff HEAD {branch}; make ui shows it all"
        )
    except OldFriendError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _here(home: Path, mlflow: int) -> dict[str, str]:
    """A worker's settings: this repository as origin, its DVC cache as remote."""
    config = home / "dvc" / "config"
    with atomic_write(config) as out:
        cache = Path(".dvc/cache").resolve()
        out.write(f"[core]\n    remote = here\n['remote \"here\"']\n    url = {cache}\n")
    head = subprocess.run(
        ["git", "rev-parse", "--abbrev-ref", "HEAD"], capture_output=True, text=True, check=True
    )
    return {
        "DVC_GLOBAL_CONFIG_DIR": str(config.parent),
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow}",
        "OLDFRIEND_REPOSITORY": Path.cwd().as_uri(),
        "OLDFRIEND_REF": head.stdout.strip(),
        "OLDFRIEND_HOME": str(Path.cwd()),
    }


@contextmanager
def _timed(what: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    print(f"{time.monotonic() - start:6.1f} s  {what}", flush=True)


if __name__ == "__main__":
    typer.run(main)
