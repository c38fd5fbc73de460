"""Runs as branches of a bare git remote, written by several clones; data in a DVC remote."""

import json
import shutil
from pathlib import Path

import pytest
from tiny_project import ALL, dvc, git, locked, ran, set_params, write_project

from oldfriend.errors import MissingDataError
from oldfriend.pipeline import clone, graph, publish
from oldfriend.pipeline.graph import Stage
from oldfriend.pipeline.publish import PublishError
from oldfriend.pipeline.runner import Runner

BRANCH = "runs/one"


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A bare repository whose project keeps data in a folder beside it."""
    project = write_project(tmp_path / "project")
    dvc(project, "remote", "add", "--default", "store", str(tmp_path / "store"))
    git(project, "commit", "--quiet", "-am", "a DVC remote")
    git(tmp_path, "clone", "--quiet", "--bare", str(project), "origin.git")
    return tmp_path / "origin.git"


def new_clone(origin: Path, name: str) -> Path:
    git(origin.parent, "clone", "--quiet", "--depth=1", origin.as_uri(), name)
    return origin.parent / name


def stages(folder: Path) -> dict[str, Stage]:
    return {stage.name: stage for stage in graph.load(folder)}


def make(folder: Path, *names: str) -> list[str]:
    """Join the run, bring stages up to date, hand them over; what each of them came to."""
    publish.join(folder, BRANCH)
    runner, known = Runner(folder, lazy=True), stages(folder)
    results = []
    for name in names:
        results.append(runner.repro(known[name], print))
        publish.push_data(folder, [known[name]])
    publish.push_branch(folder, BRANCH, [known[name] for name in names], " ".join(names))
    return results


def test_clones_hand_over_by_branch_and_fetch_only_what_they_need(origin: Path) -> None:
    a, b = new_clone(origin, "a"), new_clone(origin, "b")
    assert make(a, "data", "side@left") == ["Completed", "Completed"]
    assert make(b, "data", "side@right") == ["Unchanged", "Completed"]
    assert ran(b) == ["side.right"]
    assert not (b / "out" / "side-left").exists()
    c = new_clone(origin, "c")
    assert make(c, "join") == ["Completed"]
    assert (c / "out" / "join").read_text() == "21"
    assert sorted(locked(c)) == sorted(ALL)
    assert json.loads((c / "metrics" / "side" / "right.json").read_text())["total"] == 15
    assert git(origin, "log", "--format=%s", "-3", BRANCH).splitlines() == [
        "join", "data side@right", "data side@left"
    ]  # fmt: skip
    assert "metrics/join.json" in git(origin, "ls-tree", "-r", "--name-only", BRANCH)


def test_two_that_push_at_once_both_get_in(origin: Path) -> None:
    a, b = new_clone(origin, "a"), new_clone(origin, "b")
    make(a, "data")
    for folder, name in ((a, "side@left"), (b, "side@right")):
        publish.join(folder, BRANCH)
        Runner(folder, lazy=True).repro(stages(folder)[name], print)
        publish.push_data(folder, [stages(folder)[name]])
    for folder, name in ((a, "side@left"), (b, "side@right")):  # b stands on what a had before
        publish.push_branch(folder, BRANCH, [stages(folder)[name]], name)
    c = new_clone(origin, "c")
    assert publish.join(c, BRANCH)
    assert graph.up_to_date(c, lazy=True) == {"data", "side@left", "side@right"}
    assert (c / "metrics" / "side" / "left.json").is_file()


def test_a_lock_written_here_is_one_that_dvc_reads_and_leaves_alone(origin: Path) -> None:
    a = new_clone(origin, "a")
    make(a, *ALL)
    before = (a / "dvc.lock").read_bytes()
    dvc(a, "repro")
    assert (a / "dvc.lock").read_bytes() == before


def test_what_finished_before_a_kill_comes_from_the_run_cache(origin: Path) -> None:
    a, b = new_clone(origin, "a"), new_clone(origin, "b")
    publish.join(a, BRANCH)
    Runner(a, lazy=True).repro(stages(a)["data"], print)
    publish.push_data(a, [stages(a)["data"]])
    shutil.rmtree(a)  # gone before it could push the branch
    assert make(b, "data") == ["Cached"]
    assert ran(b) == []


def test_params_travel_with_the_branch(origin: Path) -> None:
    a, b = new_clone(origin, "a"), new_clone(origin, "b")
    assert not publish.join(a, BRANCH)
    set_params(a, "data.start", 9)
    publish.push_branch(a, BRANCH, [], "parameters")
    assert publish.join(b, BRANCH)
    assert "start: 9" in (b / "params.yaml").read_text()


def test_an_unreachable_dvc_remote_keeps_the_data_and_says_how_to_go_on(origin: Path) -> None:
    a = new_clone(origin, "a")
    Runner(a).repro(stages(a)["data"], print)
    (origin.parent / "store").write_text("a file where the store was")
    with pytest.raises(PublishError, match=r"did not take the data.*safe in .*dvc push"):
        publish.push_data(a, [stages(a)["data"]])
    assert (a / "out" / "data").read_text() == "3"
    assert list(locked(a)) == ["data"]


def test_nobody_s_uncommitted_work_is_lost(origin: Path) -> None:
    a = new_clone(origin, "a")
    set_params(a, "data.start", 9)
    with pytest.raises(PublishError, match=r"params.yaml changed and not committed"):
        publish.join(a, BRANCH)
    assert "start: 9" in (a / "params.yaml").read_text()


def test_an_unreachable_origin_is_named(origin: Path) -> None:
    a = new_clone(origin, "a")
    shutil.rmtree(origin)
    with pytest.raises(PublishError, match="origin cannot be reached"):
        publish.join(a, BRANCH)


def test_a_clone_without_a_dvc_remote_says_how_to_add_one(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project")
    with pytest.raises(MissingDataError, match="dvc remote add --global --default"):
        clone.needs_remote(project)
