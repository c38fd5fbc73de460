"""dvc.yaml as a list of stages."""

from pathlib import Path

import pytest
from tiny_project import ALL, DVC_YAML, ROOT, dvc, set_params, write_project

from oldfriend.errors import InputError, MissingDataError
from oldfriend.pipeline import graph
from oldfriend.pipeline.graph import Stage, chosen


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project")


def test_stages_come_after_what_they_stand_on_and_instances_are_stages(project: Path) -> None:
    stages = graph.load(project)
    assert [stage.name for stage in stages] == ALL
    by_name = {stage.name: stage for stage in stages}
    assert by_name["side@left"] == Stage("side@left", ("data",), ("metrics/side/left.json",), 1, 1)
    assert by_name["join"].upstream == ("side@left", "side@right")
    assert (by_name["data"].gpus, by_name["data"].retries) == (0, 0)


def test_our_own_pipeline_is_read() -> None:
    stages = graph.load(ROOT)
    seen: set[str] = set()
    for stage in stages:
        assert seen.issuperset(stage.upstream)
        seen.add(stage.name)
    assert {"curate", "base", "ground", "summarizer"} <= seen


@pytest.mark.parametrize(
    ("only", "start", "names"),
    [
        ([], "", ALL),
        (["join"], "", ["join"]),
        (["side"], "", ["side@left", "side@right"]),
        ([], "side@left", ["side@left", "join"]),
        (["data"], "join", ["data", "join"]),
    ],
)
def test_one_stage_all_instances_or_from_a_stage_on(
    only: list[str], start: str, names: list[str]
) -> None:
    stages = [
        Stage("data"),
        Stage("side@left", ("data",)),
        Stage("side@right", ("data",)),
        Stage("join", ("side@left", "side@right")),
    ]
    assert [stage.name for stage in chosen(stages, only, start)] == names


def test_an_unknown_stage_is_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"no stage 'grund' in dvc.yaml; there are: ground"):
        chosen([Stage("ground")], ["grund"])


@pytest.mark.parametrize("value", ["-1", "many", "1.5", "true"])
def test_malformed_meta_names_the_field(tmp_path: Path, value: str) -> None:
    text = DVC_YAML.replace("gpus: 1", f"gpus: {value}")
    project = write_project(tmp_path / "project", **{"dvc.yaml": text})
    with pytest.raises(InputError, match=r"stages.side@left.meta.gpus.*whole number"):
        graph.load(project)


def test_a_circle_is_an_input_error(tmp_path: Path) -> None:
    text = DVC_YAML.replace("deps: [step.py]\n", "deps: [step.py, out/join]\n")
    project = write_project(tmp_path / "project", **{"dvc.yaml": text})
    with pytest.raises(InputError, match=r"dvc.yaml"):
        graph.load(project)


def test_a_folder_without_dvc_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no DVC repository"):
        graph.load(tmp_path)


def test_up_to_date_is_what_dvc_would_pass_over(project: Path) -> None:
    assert graph.up_to_date(project, lazy=False) == frozenset()
    dvc(project, "repro")
    assert graph.up_to_date(project, lazy=False) == set(ALL)
    set_params(project, "side.left.scale", 7)
    assert graph.up_to_date(project, lazy=False) == {"data", "side@right"}
    (project / "out" / "side-right").unlink()
    assert graph.up_to_date(project, lazy=False) == {"data"}
    assert graph.up_to_date(project, lazy=True) == {"data", "side@right"}
    (project / "metrics" / "data.json").unlink()
    assert graph.up_to_date(project, lazy=True) == frozenset()


def test_the_default_remote_by_name(project: Path) -> None:
    assert graph.remote(project) == ""
    dvc(project, "remote", "add", "--default", "store", "/tmp/nowhere")
    assert graph.remote(project) == "store"
