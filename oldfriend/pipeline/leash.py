"""A process group that ends when the process which started it does, however that ends.

Run as a script: ``leash.py COMMAND...`` runs the command in a group of its own and reads standard
input. When that closes (its holder let go, was cancelled, or was killed), the group gets SIGTERM,
so that a training can close its books, and SIGKILL if it is still there after GRACE seconds.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

GRACE = 20.0  # seconds; a training's last metrics and an MLflow run closed by HTTP fit into it


def start(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str],
    out: IO[str] | int | None = subprocess.PIPE,
) -> "subprocess.Popen[str]":
    """Start ``command`` on a leash; standard error goes where standard output goes."""
    return subprocess.Popen(
        [sys.executable, __file__, *map(str, command)],
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.PIPE,
        stdout=out,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # the terminal's Ctrl-C is for the holder alone
    )


def let_go(process: "subprocess.Popen[str]") -> None:
    """End the command and all its children; returns at once, ``process.wait()`` waits for it."""
    if process.stdin:
        with contextlib.suppress(OSError):
            process.stdin.close()


def main() -> int:
    """Run the command of the command line; its exit code (128 + N if it died of signal N)."""
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    over = threading.Event()

    def tell(wait: Callable[[], object]) -> None:
        wait()
        over.set()

    for wait in (child.wait, lambda: os.read(0, 1)):  # the command ended, or its holder did
        threading.Thread(target=tell, args=(wait,), daemon=True).start()
    over.wait()
    _end(child.pid)
    code = child.wait()
    return 128 - code if code < 0 else code


def _end(group: int) -> None:
    """SIGTERM once (a second one would disturb the clean-up), SIGKILL after GRACE seconds."""
    until = time.monotonic() + GRACE
    alive = _signal(group, signal.SIGTERM)
    while alive:
        time.sleep(0.05)
        alive = _signal(group, 0 if time.monotonic() < until else signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Send ``number`` (0: nothing) to ``group``; whether anybody is there."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
