"""A run as a git branch that several machines write: dvc.lock, params and metrics of its stages.

The data goes to the DVC remote first, so a branch never names what is nowhere to be had.
"""

import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from oldfriend.errors import OldFriendError
from oldfriend.files import atomic_write
from oldfriend.pipeline import graph
from oldfriend.pipeline.graph import Stage

LOCK, PARAMS = "dvc.lock", "params.yaml"
RUNS = "runs/"  # where the branches of runs go
ATTEMPTS = 10  # pushes, each on top of what another machine pushed meanwhile
AUTHOR = {"GIT_AUTHOR_NAME": "oldfriend pipeline", "GIT_AUTHOR_EMAIL": "pipeline@localhost"}
COMMITTER = {key.replace("AUTHOR", "COMMITTER"): value for key, value in AUTHOR.items()}


class PublishError(OldFriendError):
    """Results are in the clone but did not get out of it."""


def join(root: Path, branch: str) -> bool:
    """Make the clone ``root`` stand on ``branch`` of origin; whether it was there already.

    Raises PublishError where somebody's uncommitted changes would be lost.
    """
    if changed := _git(root, "status", "--porcelain", "--untracked-files=no").splitlines():
        names = ", ".join(line.split()[-1] for line in changed[:5])
        raise PublishError(f"{names} changed and not committed; commit, or run in a fresh clone")
    if _fetch(root, branch):
        _git(root, "checkout", "--quiet", "--force", "-B", branch, "FETCH_HEAD")
        return True
    _git(root, "checkout", "--quiet", "--force", "-B", branch)
    return False


def push_data(root: Path, stages: Sequence[Stage]) -> None:
    """Send what ``stages`` made, and how (the run cache), to the DVC remote."""
    try:
        graph.push(root, [stage.name for stage in stages])
    except Exception as error:  # each kind of remote has errors of its own
        raise PublishError(
            f"the DVC remote did not take the data: {_last(str(error))}; the results are safe in "
            f"{root}: when the remote is back, run there: dvc push --run-cache"
        ) from error


def push_branch(root: Path, branch: str, stages: Sequence[Stage], message: str) -> None:
    """Commit dvc.lock, params and metrics of ``stages`` and push them to ``branch`` of origin.

    Where another machine was faster, the lock entries and metrics of ``stages`` are put on top of
    what it pushed. Raises PublishError when origin cannot be reached.
    """
    ours = _entries(root / LOCK, [stage.name for stage in stages])
    files = [path for s in stages for path in s.metrics if (root / path).is_file()]
    kept = {path: (root / path).read_bytes() for path in [PARAMS, *files]}
    for _ in range(ATTEMPTS):
        if _fetch(root, branch):
            _git(root, "reset", "--quiet", "--hard", "FETCH_HEAD")
        for path, content in kept.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        _add_entries(root / LOCK, ours)
        _git(root, "add", "--", *kept, *([LOCK] if (root / LOCK).is_file() else []))
        if _git(root, "diff", "--cached", "--name-only"):
            _git(root, "commit", "--quiet", "--no-verify", "-m", message)
        done = _try(root, "push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")
        if done.returncode == 0:
            return
    raise PublishError(
        f"origin did not take the branch {branch}: {_last(done.stderr)}; the data is in the DVC "
        f"remote; run the pipeline on this branch again and it is found there"
    )


def _entries(lock: Path, names: Iterable[str]) -> dict[str, Any]:
    stages = _read(lock).get("stages", {})
    return {name: stages[name] for name in names if name in stages}


def _add_entries(lock: Path, entries: dict[str, Any]) -> None:
    if entries:
        values = _read(lock)
        values.setdefault("schema", "2.0")
        values.setdefault("stages", {}).update(entries)
        with atomic_write(lock) as out:
            _yaml().dump(values, out)


def _read(lock: Path) -> Any:
    return _yaml().load(lock.read_text(encoding="utf-8")) if lock.is_file() else {}


def _yaml() -> YAML:
    yaml = YAML()  # as DVC itself writes it
    yaml.default_flow_style = False
    return yaml


def _fetch(root: Path, branch: str) -> bool:
    """Whether origin has ``branch``; its head is FETCH_HEAD then."""
    done = _try(root, "fetch", "--quiet", "--depth=1", "origin", f"refs/heads/{branch}")
    if done.returncode and "couldn't find remote ref" not in done.stderr:
        raise PublishError(f"origin cannot be reached: {_last(done.stderr)}")
    return done.returncode == 0


def _git(root: Path, *arguments: str) -> str:
    done = _try(root, *arguments)
    if done.returncode:
        raise PublishError(f"git {arguments[0]} failed: {_last(done.stderr)}")
    return done.stdout.strip()


def _try(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run git with English messages and without asking for passwords."""
    env = os.environ | AUTHOR | COMMITTER | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    command = ["git", *arguments]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
