"""A Prefect server, workers and MLflow as child processes that end with the block they serve."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

from oldfriend.errors import OldFriendError
from oldfriend.pipeline import leash

QUIET = {
    "DO_NOT_TRACK": "1",  # clients ask too, whatever the server is told
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
PATIENCE = 600.0  # seconds for a service to answer; a first start fills a database


def environment(home: Path, port: int, **more: str) -> dict[str, str]:
    """Variables for the server at ``port``, whose database lies in ``home``, and its clients."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"PREFECT_HOME": str(home), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    return os.environ | QUIET | own | {"PATH": path} | more


@contextmanager
def service(
    command: list[str], *, env: Mapping[str, str], log: Path, answers: str = "", cwd: Path = Path()
) -> Iterator["Popen[str]"]:
    """Run ``python -m COMMAND`` for the time of the block, its output in ``log``.

    Waits until the address ``answers`` does. Raises OldFriendError with the end of the log if the
    service ends before that.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as out:
        process = leash.start([sys.executable, "-m", *command], cwd=cwd, env=env, out=out)
        try:
            if answers:
                _wait_for(answers, process, log)
            yield process
        finally:
            leash.let_go(process)
            process.wait()


def prefect_server(port: int) -> tuple[list[str], str]:
    """Command of a Prefect server on loopback, and an address that tells when it is up."""
    command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    return command, f"http://127.0.0.1:{port}/api/health"


def mlflow_server(port: int, store: str) -> tuple[list[str], str]:
    """Command of an MLflow server on loopback, and an address that tells when it is up."""
    command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [*command, "--backend-store-uri", store], f"http://127.0.0.1:{port}/health"


def worker(pool: str, name: str) -> list[str]:
    """Command of a worker that takes runs from ``pool``."""
    return ["prefect", "worker", "start", "--pool", pool, "--name", name, "--type", "process"]


def run(command: list[str], env: Mapping[str, str], *, shown: bool = False) -> None:
    """Run ``python -m COMMAND`` to its end. Raises OldFriendError with its words if it failed."""
    out = None if shown else subprocess.PIPE
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env=dict(env), stdout=out, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise OldFriendError(f"{' '.join(command[:3])} failed: {done.stdout or ''}")


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(address: str, process: "Popen[str]", log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    end = "\n".join(log.read_text(encoding="utf-8").splitlines()[-20:])
    raise OldFriendError(f"{address} does not answer; its service said last:\n{end}")
