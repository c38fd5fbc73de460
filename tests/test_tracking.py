"""Stages in a real MLflow store: what is written, what is tagged, and what a failure leaves."""

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from oldfriend.errors import MissingDataError, ParamsError
from oldfriend.params import Params
from oldfriend.tracking import stage_run, trace_turn

ROOT = Path(__file__).parents[1]
ROWS = [{"reader": "base", "f1": 0.25}, {"reader": "keywords", "f1": 0.5}]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A git repository with params, data and one store for all tests (making one takes long)."""
    folder = tmp_path_factory.mktemp("repository")
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "data").mkdir()
    (folder / "data" / "rows.jsonl").write_text("{}\n", encoding="utf-8")
    who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "t"]):
        subprocess.run(["git", *command], cwd=folder, check=True, env=clean_environment())
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    terminate = signal.getsignal(signal.SIGTERM)
    here = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GIT_")]:
            patch.delenv(name)
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        os.chdir(folder)
        mlflow.set_tracking_uri(uri)
        yield folder
        os.chdir(here)
        mlflow.set_tracking_uri(None)
        signal.signal(signal.SIGTERM, terminate)


def clean_environment() -> dict[str, str]:
    """Without what git hooks set."""
    return {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}


def runs(experiment: str) -> list[Any]:
    """All runs of an experiment, newest first."""
    if mlflow.get_experiment_by_name(experiment) is None:
        return []
    return list(mlflow.search_runs(experiment_names=[experiment], output_format="list"))


def complaint(caught: pytest.ExceptionInfo[SystemExit], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a failed stage says."""
    (line,) = [s for s in capsys.readouterr().err.splitlines() if s.startswith("error: ")]
    assert caught.value.code
    return line


def test_two_stages_of_one_pipeline(repository: Path) -> None:
    model = repository / "models" / "friend"
    model.mkdir(parents=True)
    (model / "weights").write_text("w", encoding="utf-8")
    data = [Path("data")]
    with stage_run("ground", data=data, models=[Path("models/friend")]) as run:
        run.outcome.metrics |= {"recall_acc": 0.5}
        run.outcome.tables["baselines"] = ROWS
        assert not Path("metrics/ground.json").exists()
        fit = run.fit("ground")
        assert (fit.checkpoints, fit.seed) == (Path(".checkpoints/ground"), 0)
        fit.logger.log_metrics({"train/loss": 1.5}, step=10)
        run.artifact(model / "weights")

    assert json.loads(Path("metrics/ground.json").read_text()) == {"recall_acc": 0.5}
    with Path("plots/ground/baselines.csv").open(encoding="utf-8") as table:
        assert list(csv.DictReader(table)) == [{k: str(v) for k, v in row.items()} for row in ROWS]
    (ground,) = runs("oldfriend/ground")
    assert ground.info.status == "FINISHED"
    assert ground.data.metrics == {"recall_acc": 0.5, "train/loss": 1.5}
    assert ground.data.params["ground.fit.steps"] == str(Params.load().ground.fit.steps)
    assert ground.data.params["seed"] == "0"
    assert not [key for key in ground.data.params if key.startswith("base.")]
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    tags = ground.data.tags
    assert tags["git.commit"] == head.stdout.strip()
    assert tags["stage"] == "ground"
    assert len(tags["data.data"]) == 16
    client = mlflow.MlflowClient()
    files = {item.path for item in client.list_artifacts(ground.info.run_id)}
    assert {"baselines.json", "baselines.png", "weights"} <= files
    version = client.get_model_version_by_alias("oldfriend-friend", "candidate")
    assert int(version.version) == 1

    with stage_run("summarizer", data=data) as run:
        run.outcome.metrics |= {"record_f1": 0.25}
    (pipeline,) = runs("oldfriend/pipeline")
    assert pipeline.data.metrics == {"ground/recall_acc": 0.5, "summarizer/record_f1": 0.25}
    assert pipeline.data.tags["pipeline"] == tags["pipeline"]
    assert pipeline.data.tags["last_stage"] == "summarizer"
    assert pipeline.data.params["base.hidden"] == "256"


def test_other_params_are_another_pipeline(repository: Path) -> None:
    before = len(runs("oldfriend/pipeline"))
    params = Path("params.yaml")
    text = params.read_text(encoding="utf-8")
    params.write_text(text.replace("seed: 0", "seed: 3"), encoding="utf-8")
    try:
        with stage_run("curate", data=[]) as run:
            run.outcome.metrics |= {"talks": 3}
    finally:
        params.write_text(text, encoding="utf-8")
    assert len(runs("oldfriend/pipeline")) == before + 1
    assert json.loads(Path("metrics/curate.json").read_text()) == {"talks": 3}


@pytest.mark.parametrize("rows", [[], [{"note": "words only"}], [{"n": 1}]])
def test_tables_that_cannot_be_drawn_are_kept(
    repository: Path, rows: list[dict[str, object]]
) -> None:
    with stage_run("curate", data=[]) as run:
        run.outcome.tables["odd"] = rows
    with Path("plots/curate/odd.csv").open(encoding="utf-8") as table:
        assert len(list(csv.DictReader(table))) == len(rows)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MissingDataError("no rows; run: dvc repro curate"), 1, "no rows; run: dvc repro curate"),
        (ParamsError("bad", path=Path("params.yaml")), 2, "params.yaml: bad"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 1, "base: No space left on device"),
        (OSError(errno.EACCES, "Permission denied", "models/x"), 1, "Permission denied: models/x"),
        (KeyboardInterrupt(), 130, "base was interrupted; `dvc repro` continues"),
    ],
)  # fmt: skip
def test_a_failure_is_one_line_and_leaves_no_metrics(
    repository: Path,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    before = len(runs("oldfriend/base"))
    updated = [run.info.end_time for run in runs("oldfriend/pipeline")]
    with pytest.raises(SystemExit) as caught, stage_run("base", data=[]) as run:
        run.outcome.metrics["val_loss"] = 1.0
        raise error
    assert caught.value.code == code
    assert said in complaint(caught, capsys)
    assert not Path("metrics/base.json").exists()
    assert not Path("plots/base").exists()
    found = runs("oldfriend/base")
    assert len(found) == before + 1
    assert found[0].info.status == "FAILED"
    assert [run.info.end_time for run in runs("oldfriend/pipeline")] == updated


def test_a_bug_is_not_hidden(repository: Path) -> None:
    with pytest.raises(ZeroDivisionError), stage_run("base", data=[]) as run:
        run.outcome.metrics["x"] = 1 / 0
    assert runs("oldfriend/base")[0].info.status == "FAILED"


def test_a_metric_that_is_no_json_leaves_the_old_file(repository: Path) -> None:
    with stage_run("curate", data=[]) as run:
        run.outcome.metrics["talks"] = 1
    with pytest.raises(Exception, match=r".+"), stage_run("curate", data=[]) as run:
        run.outcome.metrics["talks"] = object()  # type: ignore[assignment]
    assert json.loads(Path("metrics/curate.json").read_text()) == {"talks": 1}


def test_bad_params_stop_a_stage_before_its_run(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(runs("oldfriend/ground"))
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("method: full", "method: half"), encoding="utf-8")
    try:
        with pytest.raises(SystemExit) as caught, stage_run("ground", data=[]):
            pytest.fail("the block must not run")
    finally:
        Path("params.yaml").write_text(text, encoding="utf-8")
    assert caught.value.code == 2
    assert "params.yaml: 'ground.method' is 'half'" in complaint(caught, capsys)
    assert len(runs("oldfriend/ground")) == before


def test_a_turn_becomes_spans_in_their_order(repository: Path) -> None:
    seconds = {"danger": 0.01, "speak: draft": 0.2, "speak: judge": 0.05, "speak": 0.3, "note": 0.1}
    trace_turn(seconds, {"felt": "joy", "felt.valence": 0.5})
    mlflow.flush_trace_async_logging()
    (trace,) = mlflow.search_traces(
        locations=[mlflow.get_experiment_by_name("oldfriend/turns").experiment_id],
        return_type="list",
    )
    spans = {span.name: span for span in trace.data.spans}
    assert set(spans) == {"turn", "danger", "speak", "draft", "judge", "note"}
    whole, speak = spans["turn"], spans["speak"]
    assert whole.attributes["felt"] == "joy" and whole.attributes["felt.valence"] == 0.5
    assert {spans[name].parent_id for name in ("danger", "speak", "note")} == {whole.span_id}
    assert {spans[name].parent_id for name in ("draft", "judge")} == {speak.span_id}
    took = {name: (s.end_time_ns - s.start_time_ns) / 1e9 for name, s in spans.items()}
    assert took["turn"] == pytest.approx(0.41) and took["judge"] == pytest.approx(0.05)
    assert spans["danger"].end_time_ns == speak.start_time_ns
    assert spans["draft"].end_time_ns == spans["judge"].start_time_ns <= speak.end_time_ns
