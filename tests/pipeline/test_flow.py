"""The pipeline flow against a real Prefect server, on a project of cheap stages."""

import json
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from real_services import Server, alive, flow, run_flow, wait_for
from tiny_project import ALL, ROOT, dvc, locked, ran, set_params, write_project

pytestmark = pytest.mark.slow

# A stage of ours that does nothing but hold its MLflow run open.
TRACKED = """import time
from pathlib import Path
from oldfriend.tracking import stage_run
with stage_run("curate", data=[]) as run:
    Path("begun.curate").touch()
    time.sleep(600)
"""
TRACKED_YAML = """stages:
  curate:
    cmd: python tracked.py
    deps: [tracked.py]
    params: [curate]
    metrics: [metrics/curate.json: {cache: false}]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project")


@pytest.fixture
def tracked(tmp_path: Path) -> Path:
    files = {"dvc.yaml": TRACKED_YAML, "tracked.py": TRACKED}
    params = (ROOT / "params.yaml").read_text(encoding="utf-8")
    return write_project(tmp_path / "project", **files, **{"params.yaml": params})


def test_states_edges_logs_and_the_table(project: Path, server: Server) -> None:
    _, first = run_flow(project, server)
    assert server.states(first["id"]) == dict.fromkeys(ALL, "Completed")
    tasks = server.stages(first["id"])
    names = {task["id"]: name for name, task in tasks.items()}
    edges = {
        name: sorted(names[other["id"]] for other in task["task_inputs"].get("wait_for", []))
        for name, task in tasks.items()
    }
    assert edges["data"] == []
    assert edges["side@left"] == edges["side@right"] == ["data"]
    assert edges["join"] == ["side@left", "side@right"]
    assert sorted(locked(project)) == sorted(ALL)

    said, second = run_flow(project, server)
    assert server.states(second["id"]) == dict.fromkeys(ALL, "Unchanged")
    assert len(ran(project)) == 4

    said, third = run_flow(project, server, "--set", "side.left.scale=3")
    assert "side.left.scale: 2 -> 3" in said
    assert server.states(third["id"]) == {
        "data": "Unchanged", "side@left": "Completed", "side@right": "Unchanged",
        "join": "Completed",
    }  # fmt: skip
    (table,) = server.ask("artifacts/filter", artifacts={"flow_run_id": {"any_": [third["id"]]}})
    rows = {row["metric"]: row for row in json.loads(table["data"])}
    assert rows["side/left/total"] == {
        "metric": "side/left/total", "now": 9, "before": 6, "change": 3
    }  # fmt: skip
    assert rows["data/total"]["change"] == 0

    _, fourth = run_flow(project, server, "--set", "side.left.scale=2")
    assert server.states(fourth["id"])["side@left"] == "Cached"
    logs = server.ask("logs/filter", logs={"flow_run_id": {"any_": [first["id"]]}})
    assert {"data begins", "join begins"} <= {line["message"] for line in logs}


def test_one_stage_from_a_stage_on_and_force(project: Path, server: Server) -> None:
    dvc(project, "repro")
    _, one = run_flow(project, server, "side@left", "--force")
    assert server.states(one["id"]) == {"side@left": "Completed"}
    assert ran(project)[4:] == ["side.left"]
    _, rest = run_flow(project, server, "--start", "side@right", "--force")
    assert server.states(rest["id"]) == dict.fromkeys(["side@right", "join"], "Completed")


def test_a_failing_stage_is_tried_again_and_others_go_on(project: Path, server: Server) -> None:
    set_params(project, "side.left.fail", 1)
    said, run = run_flow(project, server, code=1)
    assert server.states(run["id"]) == {
        "data": "Completed", "side@left": "Failed", "side@right": "Completed",
        "join": "NotReady",
    }  # fmt: skip
    assert run["state_type"] == "FAILED"
    assert ran(project).count("side.left") == 2  # meta: retries: 1
    assert sorted(locked(project)) == ["data", "side@right"]
    last = said[said.rindex("error: ") :]
    assert "side@left failed (exit code 1)" in last
    assert "something went wrong" in last
    assert "join was not run" in last


def test_bad_input_is_not_tried_again(project: Path, server: Server) -> None:
    set_params(project, "side.left.fail", 2)
    run_flow(project, server, "--start", "side@left", code=1)
    assert ran(project).count("side.left") <= 1


def test_a_retry_mends_what_was_bad_luck(project: Path, server: Server) -> None:
    set_params(project, "side.left.die_once", True)
    dvc(project, "repro", "data")
    _, run = run_flow(project, server, "side@left")
    assert server.states(run["id"]) == {"side@left": "Completed"}
    assert ran(project).count("side.left") == 2


def test_an_unknown_override_or_stage_stops_before_any_work(project: Path, server: Server) -> None:
    said, _ = run_flow(project, server, "--set", "data.strat=1", code=2)
    assert "field 'data.strat': no such parameter; data has start" in said
    said, _ = run_flow(project, server, "grund", code=2)
    assert "no stage 'grund' in dvc.yaml" in said
    assert ran(project) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_flow_leaves_no_process_and_no_open_run(
    tracked: Path, server: Server, number: signal.Signals
) -> None:
    with flow(tracked, server) as process:
        wait_for(tracked / "begun.curate", process)
        process.send_signal(number)
        process.communicate()
    assert process.returncode != 0
    assert alive(tracked) == {}
    assert locked(tracked) == {}
    with sqlite3.connect(tracked / "mlflow.db") as store:
        runs = store.execute("select status from runs").fetchall()
        tags = dict(store.execute("select key, value from tags").fetchall())
    assert runs == [("FAILED",)]
    assert tags["flow.run"] == server.runs()[0]["id"]


def test_two_pipelines_in_one_clone_do_not_meet(project: Path, server: Server) -> None:
    set_params(project, "data.sleep", 20)
    with flow(project, server, "data") as first:
        wait_for(project / "begun.data", first)
        name = server.runs()[0]["name"]
        said, _ = run_flow(project, server, "--set", "data.start=9", code=1)
        assert f"{name} (process {first.pid}) runs in {project}; wait for it" in said
        first.communicate()
    assert first.returncode == 0
    assert "data.start" not in said.split("error: ")[0]
    assert (project / "out" / "data").read_text() == "3"
    assert locked(project)["data"]["params"]["params.yaml"]["data"]["start"] == 3


def test_a_restarted_server_costs_no_stage(project: Path, tmp_path: Path) -> None:
    server = Server(tmp_path / "prefect")
    server.start()
    try:
        set_params(project, "data.sleep", 5)
        with flow(project, server) as process:
            wait_for(project / "begun.data", process)
            server.stop()
            time.sleep(3)
            server.start()
            said, _ = process.communicate()
        assert process.returncode == 0, said
        assert sorted(locked(project)) == sorted(ALL)
        assert server.runs()[0]["state_type"] == "COMPLETED"
    finally:
        server.stop()


def test_without_mlflow_a_stage_says_what_to_do(tracked: Path, server: Server) -> None:
    said, _ = run_flow(tracked, server, code=1, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    last = said[said.rindex("error: ") :]
    assert "MLflow at http://127.0.0.1:9 does not answer" in last
    assert "oldfriend ui" in last
    assert "Traceback" not in last
    assert locked(tracked) == {}
