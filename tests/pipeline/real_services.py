"""A real Prefect server on loopback for tests, what it knows of runs, and flows run against it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tiny_project import environment

from flows import services


class Server:
    """A Prefect server that can be stopped and started again on the same database."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, services.free_port()
        self.env = services.environment(home, self.port)
        self._up = contextlib.ExitStack()

    def start(self) -> None:
        command, answers = services.prefect_server(self.port)
        log = self.home / "server.log"
        self._up.enter_context(services.service(command, env=self.env, log=log, answers=answers))

    def stop(self) -> None:
        self._up.close()

    def ask(self, path: str, **question: Any) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/{path}",
            data=json.dumps(question).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def prefect(self, *arguments: str, cwd: Path) -> str:
        command = [sys.executable, "-m", "prefect", *arguments]
        done = subprocess.run(
            command, cwd=cwd, env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def runs(self, **where: Any) -> list[dict[str, Any]]:
        """Flow runs, the newest first."""
        found: list[dict[str, Any]] = self.ask(
            "flow_runs/filter", sort="START_TIME_DESC", flow_runs=where
        )
        return found

    def stages(self, run: str) -> dict[str, dict[str, Any]]:
        """Task runs of a flow run by the stage they ran; their end may be told a little late."""
        until = time.monotonic() + 60
        while True:
            tasks = self.ask("task_runs/filter", flow_runs={"id": {"any_": [run]}})
            if all(task["state_type"] not in ("RUNNING", "SCHEDULED") for task in tasks):
                return {task["name"]: task for task in tasks}
            assert time.monotonic() < until, tasks
            time.sleep(0.5)

    def states(self, run: str) -> dict[str, str]:
        return {name: task["state_name"] for name, task in self.stages(run).items()}


@contextlib.contextmanager
def flow(
    project: Path, server: Server, *arguments: str, **more: str
) -> Iterator["subprocess.Popen[str]"]:
    """`python -m flows.pipeline` in ``project``; killed at the end of the block if still there."""
    env = environment() | server.env | {"PYTHONPATH": str(Path(__file__).parents[2])} | more
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.pipeline", *arguments],
        cwd=project,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell makes what it runs in the background deaf to Ctrl-C; tests may be run there.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def run_flow(
    project: Path, server: Server, *arguments: str, code: int = 0, **more: str
) -> tuple[str, dict[str, Any]]:
    """Run the flow to its end; what it said, and what the server knows of it."""
    with flow(project, server, *arguments, **more) as process:
        said, _ = process.communicate()
    assert process.returncode == code, said
    return said, server.runs()[0]


def wait_for(path: Path, process: "subprocess.Popen[str] | None" = None) -> None:
    until = time.monotonic() + 900
    while not path.exists():
        assert time.monotonic() < until, f"{path} never came"
        assert process is None or process.poll() is None, process and process.communicate()
        time.sleep(0.05)


def alive(folder: Path) -> dict[int, str]:
    """Command lines of the processes that stand in ``folder`` or below, by process id."""
    here = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                here[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
    return here
