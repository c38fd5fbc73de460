"""The real pipeline, small: two `dvc repro`, kills in the middle, and the runs that MLflow kept."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from oldfriend.params import apply_preset

ROOT = Path(__file__).parents[1]
STAGES = (
    "curate", "base", "ground", "tagger", "summarizer", "empathy", "upcycle", "prune", "persona",
    "evaluate",
)  # fmt: skip
SPEEDS = ("tokens_per_s", "inference_ms")  # the only metrics that may differ between two runs


def small_clone(folder: Path) -> Path:
    """A git clone with the tiny parameters committed."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    for name in ("oldfriend", "stages", "data/seeds"):  # what is not committed yet counts too
        shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True)
    shutil.copy(ROOT / "dvc.yaml", folder / "dvc.yaml")
    (folder / "dvc.lock").unlink(missing_ok=True)
    apply_preset("smoke", folder / "params.yaml", ROOT / "presets")
    return folder


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def repro(folder: Path, *stages: str) -> str:
    command = [sys.executable, "-m", "dvc", "repro", *stages]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def metrics(folder: Path, stage: str) -> dict[str, float]:
    values = json.loads((folder / "metrics" / f"{stage}.json").read_text(encoding="utf-8"))
    return {key: value for key, value in values.items() if key not in SPEEDS}


def kill_in(folder: Path, stage: str) -> None:
    """Run one stage and SIGKILL it with all its children once it has written a checkpoint."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "--single-item", "--force", stage],
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 180
    while not list((folder / ".checkpoints" / stage).rglob("*.ckpt")):
        assert process.poll() is None, f"{stage} ended before its first checkpoint"
        assert time.monotonic() < deadline, f"{stage} wrote no checkpoint"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone whose pipeline ran once, undisturbed."""
    folder = small_clone(tmp_path_factory.mktemp("pipeline") / "clone")
    repro(folder)
    return folder


@pytest.mark.slow
def test_every_stage_leaves_metrics_outputs_and_a_run(finished: Path) -> None:
    import mlflow

    for stage in STAGES:
        assert metrics(finished, stage), stage
    for model in ("base", "friend", "tagger", "summarizer", "empathy", "moe"):
        assert (finished / "models" / model / "meta.json").is_file()
    assert (finished / "data" / "curated" / "card.html").is_file()
    mlflow.set_tracking_uri(f"sqlite:///{finished / 'mlflow.db'}")
    for stage in STAGES:
        (run,) = mlflow.search_runs(experiment_names=[f"oldfriend/{stage}"], output_format="list")
        assert run.info.status == "FINISHED"
        assert run.data.tags["stage"] == stage
        assert {"git.commit", "pipeline"} <= run.data.tags.keys()
    (whole,) = mlflow.search_runs(experiment_names=["oldfriend/pipeline"], output_format="list")
    assert {"ground/recall_acc", "summarizer/record_f1"} <= whole.data.metrics.keys()
    friend = mlflow.MlflowClient().get_model_version_by_alias("oldfriend-friend", "candidate")
    assert friend.version


@pytest.mark.slow
def test_a_second_run_does_nothing(finished: Path) -> None:
    told = repro(finished)
    assert "Running stage" not in told
    assert all(f"Stage '{stage}' didn't change, skipping" in told for stage in STAGES)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["base", "ground", "tagger", "summarizer", "empathy"])
def test_a_killed_stage_continues_to_the_same_metrics(finished: Path, stage: str) -> None:
    undisturbed = metrics(finished, stage)
    kill_in(finished, stage)
    repro(finished, "--single-item", "--force", stage)  # the run cache would answer otherwise
    assert metrics(finished, stage) == pytest.approx(undisturbed, abs=1e-6)
    assert not list((finished / ".checkpoints").rglob("*.ckpt"))


@pytest.mark.slow
def test_a_bad_key_stops_before_any_work(finished: Path) -> None:
    params = finished / "params.yaml"
    good = params.read_text(encoding="utf-8")
    try:
        params.write_text(good.replace("  method: full", "  metod: full"), encoding="utf-8")
        command = [sys.executable, "-m", "stages.ground"]
        done = subprocess.run(
            command, cwd=finished, env=environment(), capture_output=True, text=True
        )
        assert done.returncode == 2
        assert "unknown key 'ground.metod'" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        params.write_text(good, encoding="utf-8")
