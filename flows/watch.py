"""Starts a run of the deployment `pipeline` and tells what becomes of each stage, until it ends.

python -m flows.watch '{"preset": "smoke"}'
"""

import json
import sys
import time
from typing import Annotated

import typer
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment

POLL = 1.0  # seconds


def main(
    params: Annotated[str, typer.Argument(help="Parameters of the flow, as JSON.")] = "{}",
    deployment: Annotated[str, typer.Option(help="FLOW/DEPLOYMENT")] = "pipeline/pipeline",
) -> None:
    """Exit code 0 if the run was completed."""
    started = time.monotonic()
    run = run_deployment(deployment, parameters=json.loads(params), timeout=0)
    assert isinstance(run, FlowRun)
    print(f"run '{run.name}' of {deployment}", flush=True)
    ours, told = FlowRunFilter(id=FlowRunFilterId(any_=[run.id])), dict[str, str]()
    with get_client(sync_client=True) as client:
        while True:
            over = client.read_flow_run(run.id).state
            now = {"the run": over} | {
                task.name: task.state for task in client.read_task_runs(flow_run_filter=ours)
            }
            for name, state in now.items():
                if state and state.name != "Pending" and told.get(name) != state.name:
                    told[name] = state.name or ""
                    print(f"{time.monotonic() - started:6.1f} s  {name}: {state.name}", flush=True)
            if over and over.is_final():
                break
            time.sleep(POLL)
    if not over.is_completed():
        sys.exit(f"error: {over.message}")


if __name__ == "__main__":
    typer.run(main)
