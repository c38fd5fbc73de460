"""prefect.yaml against the flows it names."""

import importlib
import inspect
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from friend_fakes import Table
from ruamel.yaml import YAML
from tiny_project import ROOT

from oldfriend.empathy.care_ledger import Consent

DEPLOYMENTS: list[dict[str, Any]] = YAML(typ="safe").load(
    (ROOT / "prefect.yaml").read_text(encoding="utf-8")
)["deployments"]


def test_all_are_there() -> None:
    names = {deployment["name"] for deployment in DEPLOYMENTS}
    assert names == {"pipeline", "pipeline-gpu", "moe-study", "personalize", "upkeep", "care"}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_a_deployment_names_a_flow_its_parameters_and_a_pool(deployment: dict[str, Any]) -> None:
    path, _, name = deployment["entrypoint"].partition(":")
    flow = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
    assert set(deployment.get("parameters", {})) <= set(inspect.signature(flow.fn).parameters)
    assert deployment["work_pool"]["name"] in importlib.import_module("flows.setup").POOLS
    assert [schedule["active"] for schedule in deployment["schedules"]] == [False]
    heartbeat = deployment["work_pool"]["job_variables"]["env"]
    assert heartbeat == {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}


def test_automations_are_as_prefect_wants_them() -> None:
    from prefect.events.schemas.automations import AutomationCore

    text = (ROOT / "flows" / "lost-workers.yaml").read_text(encoding="utf-8")
    for automation in YAML(typ="safe").load(text)["automations"]:
        made = AutomationCore.model_validate(automation)
        assert made.actions[0].type == "change-flow-run-state"


def test_words_of_care_go_to_the_command_that_delivers_them(tmp_path: Path) -> None:
    from prefect.logging import disable_run_logger

    from flows.care import care
    from oldfriend.empathy.care import opt, run_care

    clock = datetime.now(UTC)
    with Table(tmp_path, clock - timedelta(days=34)) as table:
        for day in range(4):  # a regular, who then falls silent for a month
            table.say(f"good evening {day}")
            table.now += timedelta(days=1)
    memory = tmp_path / "memory"
    noon = Consent(on=True, timezone=f"Etc/GMT{clock.hour - 12:+d}")  # no quiet hours there
    opt(memory, "ada", noon, clock)
    script = f"import sys; open(r'{tmp_path}/sent', 'a').write(sys.stdin.read())"
    deliver = f'{sys.executable} -c "{script}"'
    with disable_run_logger():
        care.fn(str(memory))
        assert not (tmp_path / "sent").exists()
        expected = run_care(memory, dry_run=True)
        care.fn(str(memory), deliver)
    assert [word.user for word in expected] == ["ada"]
    sent = json.loads((tmp_path / "sent").read_text(encoding="utf-8"))
    assert (sent["user"], sent["text"]) == ("ada", expected[0].text)
    assert run_care(memory, dry_run=True) == []
