"""Everyone's own readers, learnt anew from what they confirmed and rejected."""

import math
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from oldfriend.memory.store.state import State
from oldfriend.pipeline.personal import Verdict


@task(task_run_name="{key}", cache_policy=NO_CACHE)
def renew(key: str, state: State, models: Path, data: Path) -> Verdict:
    """New readers of one person, in place if they pass the replay test."""
    from oldfriend import tracking
    from oldfriend.lm.fit import Run
    from oldfriend.params import Params
    from oldfriend.pipeline import personal

    params = Params.load()
    run = Run(Path(".checkpoints/personalize"), params.seed)
    verdict = personal.renew(params.summarizer, run=run, state=state, data=data, models=models)
    if verdict.kept:
        tracking.enroll(key, {"gain": verdict.gain, "others_loss": verdict.others_loss})
    return verdict


@flow
def personalize(
    memory: str = "memory", models: str = "models", data: str = "data/curated/summarizer"
) -> None:
    """Train for everyone in a folder of memories; nobody may be talking while it is read.

    Prefect and MLflow are told keys, never names.
    """
    from oldfriend.memory.store.books import Books
    from oldfriend.memory.store.engine import tenant_key
    from oldfriend.memory.store.lock import Lock

    with Lock(Path(memory) / "lock"):
        books = Books(Path(memory) / "journals")
        states = {tenant_key(user): books.person(user).state for user in books.users()}
    table = []
    for key, state in states.items():
        verdict = renew(key[:12], state, Path(models), Path(data))
        numbers = {"gain": verdict.gain, "others_loss": verdict.others_loss}
        known = {name: None if math.isnan(value) else value for name, value in numbers.items()}
        table.append({"person": key[:12], "turns": verdict.examples, "kept": verdict.kept} | known)
        get_run_logger().info("%s: %s (%d turns)", key[:12], verdict.why, verdict.examples)
    create_table_artifact(table, key="personalize", description=f"{len(table)} people")
