"""MLflow: one run per stage in its own experiment, one per pipeline with the final metrics."""

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Any

from oldfriend.errors import MissingDataError, OldFriendError
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
    except Exception as error:
        if not type(error).__module__.startswith("mlflow."):
            raise
        sys.exit(_complain(f"{stage}: {_silent(error)}", 1))


@contextlib.contextmanager
def _tracked(stage: str, params: Params, data: Sequence[Path]) -> Iterator[StageRun]:
    mlflow = _mlflow()
    with _one_at_a_time():
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
    with _one_at_a_time():
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
    tags = {"dvc.path": str(model), "dvc.hash": _hash(model), "stage": stage}
    _name_version(f"oldfriend-{model.name}", "candidate", tags)


def _name_version(name: str, alias: str, tags: dict[str, str]) -> str:
    """A new version of ``name``, made by the active run, which takes ``alias``; its number."""
    mlflow = _mlflow()
    run = mlflow.active_run().info.run_id
    model = mlflow.create_external_model(name=name, source_run_id=run, tags=tags)
    version = mlflow.register_model(model.model_uri, name, tags=tags | {"run": run}).version
    mlflow.MlflowClient().set_registered_model_alias(name, alias, version)
    return str(version)


CHAMPION = "oldfriend"  # registered model: all models of a pipeline together, alias `champion`


@dataclass(frozen=True)
class Champion:
    """The models that were promoted last: MD5 of each by path, and how they were measured."""

    version: str
    metrics: dict[str, float]
    outputs: dict[str, str]
    before: str  # version that it took over from; empty for the first


def champion() -> Champion | None:
    """Who is champion, if anybody is."""
    mlflow = _mlflow()
    try:
        found = mlflow.MlflowClient().get_model_version_by_alias(CHAMPION, "champion")
    except mlflow.exceptions.MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    run = mlflow.MlflowClient().get_run(found.tags["run"])
    outputs = {k.removeprefix("out."): v for k, v in run.data.tags.items() if k.startswith("out.")}
    return Champion(str(found.version), dict(run.data.metrics), outputs, found.tags["before"])


def crown(metrics: dict[str, float], outputs: dict[str, str], why: str) -> Champion:
    """Make what has these ``metrics`` and ``outputs`` the champion; ``why`` goes on record."""
    mlflow, last = _mlflow(), champion()
    before = last.version if last else ""
    mlflow.set_experiment("oldfriend/champion")
    tags = {"git.commit": _commit(), "why": why} | {f"out.{k}": v for k, v in outputs.items()}
    with mlflow.start_run(tags=tags):
        mlflow.log_metrics(metrics)
        version = _name_version(CHAMPION, "champion", {"before": before})
    return Champion(version, metrics, outputs, before)


def enroll(key: str, metrics: dict[str, float]) -> None:
    """Record new readers of the person with this key (never a name), and what they are worth."""
    mlflow = _mlflow()
    mlflow.set_experiment("oldfriend/personalize")
    with mlflow.start_run():
        mlflow.log_metrics(metrics)
        _name_version(f"oldfriend-user-{key}", "champion", {})


def dethrone() -> Champion:
    """Make the one before champion again. Raises MissingDataError if there is none."""
    now = champion()
    if now is None or not now.before:
        raise MissingDataError("there is no earlier champion; see: oldfriend promote")
    _mlflow().MlflowClient().set_registered_model_alias(CHAMPION, "champion", now.before)
    return champion() or now


def trace_turn(seconds: Mapping[str, float], figures: Mapping[str, str | float]) -> None:
    """A turn that just ended as an MLflow trace: a span a step, in order, "speak: draft" within
    "speak"; ``figures`` as attributes. Made afterwards, so an untraced turn pays nothing."""
    mlflow = _mlflow()
    mlflow.set_experiment("oldfriend/turns")
    ends = {"": time_ns() - round(sum(s for name, s in seconds.items() if ": " not in name) * 1e9)}
    spans = {"": mlflow.start_span_no_context("turn", span_type="AGENT", start_time_ns=ends[""])}
    spans[""].set_attributes(dict(figures))
    for name in sorted(seconds, key=lambda name: ": " in name):  # wholes before their parts
        whole, _, part = name.rpartition(": ")
        start, parent = ends[whole], spans[whole]
        ends[whole] += round(seconds[name] * 1e9)
        ends[name] = start
        spans[name] = mlflow.start_span_no_context(part, parent_span=parent, start_time_ns=start)
    for name in reversed(spans):
        whole = name.rpartition(": ")[0]
        took = round(seconds.get(name, 0.0) * 1e9)
        spans[name].end(end_time_ns=spans[name].start_time_ns + took if name else ends[whole])


def _mlflow() -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_TRACKING_URI", DEFAULT_STORE)
    import logging

    logging.getLogger("alembic").setLevel(logging.WARNING)
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return mlflow


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Of two stages that start together on a new SQLite store one would fail to fill it."""
    with Path("mlflow.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _silent(error: Exception) -> str:
    """What to do when the store does not take what a stage tells it."""
    store = os.environ["MLFLOW_TRACKING_URI"]
    said = (str(error).splitlines() or [""])[0][:200]
    advice = "start it again (oldfriend ui) or unset MLFLOW_TRACKING_URI to keep runs in mlflow.db"
    return f"MLflow at {store} does not answer; {advice}; then run again. It was: {said}"


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
