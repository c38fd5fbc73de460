"""Tells a Prefect server what the flows need; once per server, and again after a change here.

    python -m flows.setup --gpus 2

Work pools, as many GPU slots as there are GPUs, what becomes of runs whose worker was lost, and
the deployments of prefect.yaml.
"""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events.schemas.automations import AutomationCore
from prefect.workers.process import ProcessWorker
from ruamel.yaml import YAML

POOLS = ("cpu", "gpu", "home")
LOST_WORKERS = Path(__file__).with_name("lost-workers.yaml")


def main(
    gpus: Annotated[int, typer.Option(min=0, help="GPUs of all workers together.")] = 1,
    lost_workers: Annotated[Path, typer.Option(help="Automations.")] = LOST_WORKERS,
) -> None:
    """Set up the server at PREFECT_API_URL."""
    template = ProcessWorker.get_default_base_job_template()
    automations = YAML(typ="safe").load(lost_workers.read_text(encoding="utf-8"))["automations"]
    with get_client(sync_client=True) as client:
        for pool in POOLS:
            made = WorkPoolCreate(name=pool, type="process", base_job_template=template)
            client.create_work_pool(made, overwrite=True)
        client.upsert_global_concurrency_limit_by_name("gpu", gpus)
        for automation in map(AutomationCore.model_validate, automations):
            if not client.read_automations_by_name(automation.name):
                client.create_automation(automation)
    deploy = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    sys.exit(subprocess.run(deploy, check=False).returncode)


if __name__ == "__main__":
    typer.run(main)
