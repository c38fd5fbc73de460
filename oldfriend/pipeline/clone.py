"""One pipeline at a time in one clone, and what a clone cannot do without."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oldfriend.errors import MissingDataError, OldFriendError
from oldfriend.pipeline import graph

LOCK = Path(".dvc/tmp/pipeline.lock")


class BusyError(OldFriendError):
    """Another pipeline runs in this clone."""


@contextmanager
def only_here(root: Path, name: str) -> Iterator[None]:
    """Keep other pipelines out of the clone ``root`` for the time of the block.

    Two of them would edit params.yaml under each other, and DVC writes into dvc.lock what
    params.yaml says when a stage *ends*. The lock goes with the process, however that ends.
    Raises BusyError naming the pipeline that is there.
    """
    path = root / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            other = file.read() or "another pipeline"
            raise BusyError(
                f"{other} runs in {root}; wait for it, cancel it, or use another clone"
            ) from None
        file.truncate(0)
        file.write(f"{name} (process {os.getpid()})")
        file.flush()
        yield


def needs_remote(root: Path) -> None:
    """Raise MissingDataError unless the clone has a DVC remote to fetch from and push to."""
    if not graph.remote(root):
        raise MissingDataError(
            "this clone has no DVC remote, so its results could not leave it; on this machine: "
            "dvc remote add --global --default store URL"
        )
