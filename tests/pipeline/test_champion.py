"""Promotion and the way back, with a real MLflow store and a real DVC cache."""

from pathlib import Path

import pytest
from tiny_project import DVC_YAML, STEP, dvc, set_params, write_project

from oldfriend import tracking
from oldfriend.errors import InputError, MissingDataError
from oldfriend.pipeline import champion

GATE = """better: {join/total: up}
not_worse: {side/left/total: down}
spread: {join/total: 1, side/left/total: 0.5}
data: [models/data]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {
        "dvc.yaml": DVC_YAML.replace("out/", "models/"),
        "step.py": STEP.replace('"out"', '"models"'),
        "gate.yaml": GATE,
    }
    project = write_project(tmp_path / "project", **files)
    monkeypatch.chdir(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'mlflow.db'}")
    dvc(project, "repro")
    return project


def laid_out(project: Path) -> str:
    return (project / "champion" / "models" / "join").read_text(encoding="utf-8")


def test_first_better_worse_and_back(project: Path) -> None:
    assert tracking.champion() is None
    first = champion.promote(project)
    assert (first.lines, laid_out(project)) == ([], "21")
    with pytest.raises(InputError, match="the champion already"):
        champion.promote(project)

    set_params(project, "join.scale", 2)
    with pytest.raises(InputError, match="join must run first"):
        champion.promote(project)
    dvc(project, "repro")
    second = champion.promote(project)
    assert [line.verdict for line in second.lines] == ["better", "same"]
    assert laid_out(project) == "42"

    set_params(project, "side.left.scale", 3)  # join is better, left is worse
    dvc(project, "repro")
    with pytest.raises(champion.GateClosed, match=r"side/left/total is worse \(6 -> 9"):
        champion.promote(project)
    assert laid_out(project) == "42"
    known = tracking.champion()
    assert known and known.version == second.champion.version

    back = champion.rollback(project)
    assert back.version == first.champion.version
    assert laid_out(project) == "21"
    with pytest.raises(MissingDataError, match="no earlier champion"):
        champion.rollback(project)


def test_other_data_is_not_compared_unless_there_is_a_reason(project: Path) -> None:
    champion.promote(project)
    set_params(project, "data.start", 9)
    dvc(project, "repro")
    with pytest.raises(InputError, match=r"models/data is not what the champion was measured on"):
        champion.promote(project)
    done = champion.promote(project, reason="new held-out lives")
    assert not done.lines
    assert laid_out(project) == "63"


def test_bytes_that_are_nowhere_are_named_and_the_old_ones_stay(project: Path) -> None:
    import shutil

    champion.promote(project)
    set_params(project, "join.scale", 2)
    dvc(project, "repro")
    champion.promote(project)
    shutil.rmtree(project / ".dvc" / "cache")
    with pytest.raises(MissingDataError, match="neither in DVC's cache nor in its remote"):
        champion.rollback(project)
    assert laid_out(project) == "42"
