"""MLflow: one run per stage in its own experiment, one per pipeline with the final metrics."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oldfriend.errors import OldFriendError
from oldfriend.files import atomic_write, write_json
from oldfriend.outcome import Outcome, Row
from oldfriend.params import Params

if TYPE_CHECKING:
    from oldfriend.lm.fit import Run

METRICS, PLOTS, CHECKPOINTS = Path("metrics"), Path("plots"), Path(".checkpoints")
DEFAULT_STORE = "sqlite:///mlflow.db"


@dataclass
class StageRun:
    """An open run: hand ``fit(...)`` to a training, put what came out into ``outcome``."""

    params: Params
    logger: Any
    outcome: Outcome = field(default_factory=Outcome)

    def fit(self, stage: str) -> "Run":
        """How a training of this stage keeps checkpoints, logs and draws."""
        from oldfriend.lm.fit import Run

        return Run(CHECKPOINTS / stage, self.params.seed, self.logger)

    def artifact(self, path: Path) -> None:
        """Attach a file to the run."""
        _mlflow().log_artifact(str(path))


@contextlib.contextmanager
def stage_run(
    stage: str, *, data: Sequence[Path], models: Sequence[Path] = ()
) -> Iterator[StageRun]:
    """Load params, track the block as one MLflow run, write metrics and plots for DVC.

    An expected error (or Ctrl-C) becomes one clear line and its exit code; metrics and plots are
    written only when the block succeeds. ``models`` are registered by name, alias `candidate`.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a killed run ends as FAILED
    try:
        params = Params.load()
        with _tracked(stage, params, data) as run:
            yield run
            _publish(stage, run.outcome)
            for model in models:
                _register(stage, model)
        _record_pipeline(stage, params)
    except OldFriendError as error:
        sys.exit(_complain(str(error), error.exit_code))
    except KeyboardInterrupt:
        sys.exit(_complain(f"{stage} was interrupted; `dvc repro` continues where it stopped", 130))
    except OSError as error:
        if error.errno is None:
            raise
        sys.exit(_complain(f"{stage}: {error.strerror}: {error.filename or 'disk'}", 1))


@contextlib.contextmanager
def _tracked(stage: str, params: Params, data: Sequence[Path]) -> Iterator[StageRun]:
    mlflow = _mlflow()
    mlflow.set_experiment(f"oldfriend/{stage}")
    tags = {"stage": stage, "pipeline": _pipeline_id(), "git.commit": _commit()}
    tags |= {f"data.{path}": _hash(path) for path in data}
    with mlflow.start_run(run_name=f"{stage}-{tags['pipeline'][:6]}", tags=tags) as active:
        mlflow.log_params(_flat({"seed": params.seed, stage: getattr(params, stage).model_dump()}))
        yield StageRun(params, _lightning_logger(active))


def _publish(stage: str, outcome: Outcome) -> None:
    mlflow = _mlflow()
    mlflow.log_metrics(outcome.metrics)
    write_json(METRICS / f"{stage}.json", outcome.metrics)
    for name, rows in outcome.tables.items():
        _write_csv(PLOTS / stage / f"{name}.csv", rows)
        if rows:
            mlflow.log_table({k: [row[k] for row in rows] for k in rows[0]}, f"{name}.json")
        if figure := _figure(name, rows):
            mlflow.log_figure(figure, f"{name}.png")


def _record_pipeline(stage: str, params: Params) -> None:
    """Bring the pipeline's one run up to date with every stage's latest metrics."""
    mlflow = _mlflow()
    mlflow.set_experiment("oldfriend/pipeline")
    pipeline = _pipeline_id()
    found = mlflow.search_runs(filter_string=f"tags.pipeline = '{pipeline}'", output_format="list")
    known = found[0].info.run_id if found else None
    tags = {"pipeline": pipeline, "git.commit": _commit(), "last_stage": stage}
    with mlflow.start_run(run_id=known, run_name=None if known else f"pipeline-{pipeline[:6]}"):
        mlflow.set_tags(tags)
        if not known:
            mlflow.log_params(_flat(params.model_dump()))
        for path in sorted(METRICS.glob("*.json")):
            values = json.loads(path.read_text(encoding="utf-8"))
            numbers = {k: v for k, v in values.items() if isinstance(v, int | float)}
            mlflow.log_metrics({f"{path.stem}/{key}": value for key, value in numbers.items()})


def _register(stage: str, model: Path) -> None:
    """Name the model in the registry; its bytes stay with DVC."""
    mlflow = _mlflow()
    name = f"oldfriend-{model.name}"
    external = mlflow.create_external_model(
        name=model.name,
        source_run_id=mlflow.active_run().info.run_id,
        tags={"dvc.path": str(model), "dvc.hash": _hash(model), "stage": stage},
    )
    version = mlflow.register_model(external.model_uri, name)
    mlflow.MlflowClient().set_registered_model_alias(name, "candidate", version.version)


def _mlflow() -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_TRACKING_URI", DEFAULT_STORE)
    import logging

    logging.getLogger("alembic").setLevel(logging.WARNING)
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return mlflow


def _lightning_logger(active: Any) -> Any:
    from lightning.pytorch.loggers import MLFlowLogger

    uri = os.environ["MLFLOW_TRACKING_URI"]
    return MLFlowLogger(run_id=active.info.run_id, tracking_uri=uri)


def _pipeline_id() -> str:
    """The same commit and params are the same pipeline, whichever stages had to run."""
    return hashlib.sha256(_commit().encode() + Path("params.yaml").read_bytes()).hexdigest()[:12]


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "none"


def _hash(path: Path) -> str:
    """SHA-256 over names and bytes of a file or folder."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        digest.update(str(file.relative_to(path.parent)).encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _write_csv(path: Path, rows: list[Row]) -> None:
    import csv

    with atomic_write(path) as out:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]) if rows else ["empty"])
        writer.writeheader()
        writer.writerows(rows)


def _figure(name: str, rows: list[Row]) -> Any:
    """A bar chart of the table's first text column against its numbers, if it has both."""
    from matplotlib.figure import Figure

    if not rows:
        return None
    label = next((k for k, v in rows[0].items() if isinstance(v, str)), None)
    numbers = [k for k, v in rows[0].items() if isinstance(v, int | float)]
    if label is None or not numbers or len(rows) > 60:
        return None
    figure = Figure(figsize=(8, 1.2 + 0.22 * len(rows) * len(numbers)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(numbers)
    for i, key in enumerate(numbers):
        places = [row + i * height for row in range(len(rows))]
        axes.barh(places, [row[key] for row in rows], height=height, label=key)
    axes.set_yticks([row + 0.4 - height / 2 for row in range(len(rows))])
    axes.set_yticklabels([str(row[label])[:40] for row in rows])
    axes.invert_yaxis()
    axes.legend()
    axes.set_title(name)
    return figure


def _complain(text: str, code: int) -> int:
    print(f"error: {text}", file=sys.stderr)
    return code


def serve_ui(port: int) -> int:
    """Run the MLflow page on loopback until Ctrl-C; return its exit code."""
    _mlflow()
    store = os.environ["MLFLOW_TRACKING_URI"]
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, *options]
    print(f"MLflow: http://127.0.0.1:{port}", file=sys.stderr)
    quiet = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    try:
        return subprocess.run(command, env=quiet, check=False).returncode
    except KeyboardInterrupt:
        return 0
