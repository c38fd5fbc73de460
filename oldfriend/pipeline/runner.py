"""Runs stages with `dvc repro`, several at once, and stops them all without leaving a process."""

import json
import os
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Literal, Protocol

from oldfriend.errors import OldFriendError
from oldfriend.pipeline import leash
from oldfriend.pipeline.graph import Stage

Result = Literal["Unchanged", "Cached", "Completed"]
Log = Callable[[str], object]

# What `dvc repro` says of a stage that it did not run; a test pins the phrases.
SAID: dict[str, Result] = {
    "didn't change, skipping": "Unchanged",
    "is cached - skipping run, checking out outputs": "Cached",
    "Pulling data for": "Cached",
}
EXIT_CODE = re.compile(r"exited with (-?\d+)")  # dvc's own code is 255 whatever happened
BAD_INPUT = 2
TAIL = 20  # lines of log in an error message
QUIET = {
    "DVC_NO_ANALYTICS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",  # a log line is seen when it is written
    "TQDM_DISABLE": "1",  # each step of a bar would be a line of log
}


class StageFailed(OldFriendError):
    """A stage ended with an error. ``final``: another try would end in the same way."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class Stages(Protocol):
    """Something that brings stages up to date, here or on other machines."""

    def repro(self, stage: Stage, log: Log, *, force: bool = False) -> str: ...

    def stop(self) -> None: ...


@contextmanager
def stop_on_error(stages: Stages) -> Iterator[None]:
    """Whatever ends the block early (an error, Ctrl-C, a cancelled run) ends all stages."""
    try:
        yield
    except BaseException:
        stages.stop()
        raise


class Runner:
    """Runs the stages of the repository in ``root``.

    ``lazy``: fetch from the DVC remote what a stage needs, and only that. ``tags`` are put on
    every MLflow run that a stage opens. Threads may share a runner.
    """

    def __init__(self, root: Path, *, lazy: bool = False, tags: Mapping[str, str] = {}) -> None:
        self.root, self.lazy = root, lazy
        self._env = os.environ | QUIET | {"MLFLOW_RUN_CONTEXT": json.dumps(dict(tags))}
        # `cmd: python` is the Python that runs this, whether or not its environment is active.
        self._env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._running: set[Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def repro(self, stage: Stage, log: Log, *, force: bool = False) -> Result:
        """Bring one stage up to date, upstream ones taken as they are; each line goes to ``log``.

        Raises StageFailed with the end of the log; dvc.lock then says nothing of the attempt.
        """
        options = ["--pull", "--allow-missing"] if self.lazy else []
        options += ["--force"] if force else []
        # Without -s a stage that two others stand on is "busy"; without waiting, what a stage
        # made is lost if somebody else holds the lock for three seconds when it ends.
        repro = ["--wait-for-lock", "repro", "--single-item", *options, stage.name]
        process = self._start([sys.executable, "-m", "dvc", *repro], stage)
        result: Result = "Completed"
        tail: deque[str] = deque(maxlen=TAIL)
        try:
            for line in process.stdout or ():
                if text := line.rstrip():
                    log(text)
                    tail.append(text)
                    result = next((r for phrase, r in SAID.items() if phrase in text), result)
            code = process.wait()
        finally:
            leash.let_go(process)
            with self._lock:
                self._running.discard(process)
        if code:
            raise self._failure(stage, list(tail))
        if lost := [path for path in stage.metrics if not (self.root / path).is_file()]:
            raise StageFailed(
                f"{stage.name}: {', '.join(lost)} is gone though nothing changed; "
                f"git checkout -- {' '.join(lost)} or run the stage with force",
                final=True,
            )
        return result

    def stop(self) -> None:
        """End all that runs, with all their children, and start nothing any more."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for process in running:
            leash.let_go(process)
        for process in running:
            process.wait()

    def _start(self, command: list[str], stage: Stage) -> "Popen[str]":
        with self._lock:
            if self._stopped:
                raise StageFailed(f"{stage.name}: the pipeline is stopping", final=True)
            process = leash.start(command, cwd=self.root, env=self._env)
            self._running.add(process)
        return process

    def _failure(self, stage: Stage, tail: list[str]) -> StageFailed:
        if self._stopped:
            return StageFailed(f"{stage.name} was stopped; run again to continue", final=True)
        said = "\n".join(tail)
        found = EXIT_CODE.findall(said)
        code = f" (exit code {found[-1]})" if found else ""
        bad_input = bool(found) and int(found[-1]) == BAD_INPUT
        return StageFailed(f"{stage.name} failed{code}; it said last:\n{said}", final=bad_input)
