"""dvc.yaml as a Prefect flow: one task per stage, side by side where the graph allows it.

    python -m flows.pipeline                      # here, in this working copy
    python -m flows.pipeline ground --force       # one stage
    python -m flows.pipeline --start ground       # a stage and all that stands on it
    python -m flows.pipeline --set seed=1         # params.yaml is edited, then the pipeline runs
    prefect deployment run pipeline/pipeline      # on a worker, in a clone, results as a branch

With ``branch`` the flow owns the clone: data is fetched as needed and pushed to the DVC remote,
dvc.lock, params and metrics to that branch. With ``spread`` each stage becomes a run of its own
on whichever worker is free, and this run only keeps the order.
"""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.concurrency.sync import concurrency
from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run
from prefect.states import Completed
from ruamel.yaml import YAML

from flows.elsewhere import Elsewhere
from oldfriend.errors import InputError, OldFriendError
from oldfriend.params import PRESETS, apply_preset
from oldfriend.pipeline import clone, graph, metrics, publish
from oldfriend.pipeline.graph import Stage
from oldfriend.pipeline.override import override
from oldfriend.pipeline.publish import RUNS
from oldfriend.pipeline.runner import Runner, StageFailed, stop_on_error

AUTO = "auto"  # a branch that is named as the flow run is


def worth_another_try(task: Any, run: Any, state: State[Any]) -> bool:
    """Bad parameters and a pipeline that is being stopped are not mended by a retry."""
    error = state.result(raise_on_failure=False)
    return not (isinstance(error, StageFailed) and error.final)


@task(
    task_run_name="{stage.name}",
    cache_policy=NO_CACHE,
    retry_delay_seconds=5,
    retry_condition_fn=worth_another_try,
)
def reproduce(stage: Stage, runner: Runner | Elsewhere, force: bool, settled: bool) -> State[Any]:
    """Bring one stage up to date; the name of the state says whether anything had to be done."""
    if settled:
        return Completed(name="Unchanged")
    log = get_run_logger().info
    if isinstance(runner, Elsewhere):
        return Completed(name=runner.repro(stage, log, force=force))
    with concurrency("gpu", occupy=stage.gpus) if stage.gpus else nullcontext():
        result = runner.repro(stage, log, force=force)
    if runner.lazy:
        publish.push_data(runner.root, [stage])
    return Completed(name=result)


@flow
def pipeline(
    stages: list[str] | None = None,
    start: str = "",
    preset: str = "",
    overrides: dict[str, Any] | None = None,
    force: bool = False,
    branch: str = "",
    spread: bool = False,
) -> State[Any]:
    """Run the stages of dvc.yaml that are out of date (see the top of this file)."""
    root, log, name = Path.cwd(), get_run_logger().info, str(flow_run.get_name())
    branch = branch and RUNS + (name if branch == AUTO else branch.removeprefix(RUNS))
    if spread and not branch:
        raise InputError("other machines hand over by a branch; give one", field="branch")
    with clone.only_here(root, name):
        if branch:
            clone.needs_remote(root)
            publish.join(root, branch)
        for change in _set(root / publish.PARAMS, preset, overrides or {}):
            log(change)
        every = graph.load(root)
        todo = graph.chosen(every, stages or (), start)
        before = metrics.read(root, every)
        settled = frozenset() if force else graph.up_to_date(root, lazy=bool(branch))
        if spread:
            publish.push_branch(root, branch, [], f"{name}: parameters")
            runner: Runner | Elsewhere = Elsewhere(branch)
        else:
            tags = {"flow.run": str(flow_run.get_id()), "flow.name": name}
            runner = Runner(root, lazy=bool(branch), tags=tags)
        with stop_on_error(runner):
            states = _run(todo, runner, settled, force)
        good = [stage for stage in todo if states[stage.name].is_completed()]
        if spread:
            publish.join(root, branch)
        elif branch and good:
            publish.push_branch(root, branch, good, f"{name}: {', '.join(s.name for s in good)}")
        table = metrics.beside(metrics.read(root, every), before)
    create_table_artifact(table, key="metrics", description=f"{name} beside the run before")
    if bad := {name: state for name, state in states.items() if not state.is_completed()}:
        raise StageFailed("; ".join(map(_why, bad, bad.values())))
    return Completed(name=states[todo[0].name].name if len(todo) == 1 else None)


def _set(params: Path, preset: str, overrides: dict[str, Any]) -> list[str]:
    """Lay a preset, then single values, over params.yaml; what changed."""
    changes = apply_preset(preset, params, params.parent / PRESETS) if preset else []
    return changes + override(params, overrides)


def _run(
    todo: list[Stage], runner: Runner | Elsewhere, settled: frozenset[str], force: bool
) -> dict[str, State[Any]]:
    """Start every stage once those it stands on are done; the final state of each."""
    futures: dict[str, PrefectFuture[Any]] = {}
    for stage in todo:
        before = [futures[other] for other in stage.upstream if other in futures]
        futures[stage.name] = reproduce.with_options(retries=stage.retries).submit(
            stage, runner, force, stage.name in settled, wait_for=before, return_state=False
        )
    wait(list(futures.values()))
    return {name: future.state for name, future in futures.items()}


def _why(name: str, state: State[Any]) -> str:
    """One line of a stage that did not succeed; one whose upstream failed was never started."""
    if not state.is_final():
        return f"{name} was not run"
    error = state.result(raise_on_failure=False)
    return str(error) if isinstance(error, OldFriendError) else f"{name}: {state.message}"


def main(
    stages: Annotated[list[str] | None, typer.Argument(help="Stages to run; default all.")] = None,
    start: Annotated[str, typer.Option(help="Run this stage and all that stands on it.")] = "",
    preset: Annotated[str, typer.Option(help="Lay presets/PRESET.yaml over params.yaml.")] = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE in params.yaml; repeat it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run what is up to date, too.")] = False,
    branch: Annotated[str, typer.Option(help="Own this clone; results go to runs/BRANCH.")] = "",
    spread: Annotated[bool, typer.Option("--spread", help="Each stage on a free worker.")] = False,
) -> None:
    """Run dvc.yaml as a Prefect flow in this working copy."""
    values = dict(text.partition("=")[::2] for text in set_ or [])
    overrides = {key: YAML(typ="safe").load(value) for key, value in values.items()}
    try:
        pipeline(stages, start, preset, overrides, force, branch, spread)
    except OldFriendError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    typer.run(main)
