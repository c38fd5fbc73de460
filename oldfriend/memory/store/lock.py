"""One process a pool. Qdrant Edge's own lock comes too late: a refused second load deletes files
of the first, so this one is taken before anything else is touched."""

import fcntl
import os
from pathlib import Path

from oldfriend.errors import InputError, OldFriendError


class StoreLockedError(OldFriendError):
    """Another process has the pool open."""


class Lock:
    """An advisory lock on ``path``, held until ``release`` or the end of the process."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise InputError(
                "not a folder; give the pool one of its own", path=path.parent
            ) from None
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(self._handle, 32).decode(errors="replace").strip()
            os.close(self._handle)
            raise StoreLockedError(
                f"the memory pool {path.parent} is in use by process {owner or 'unknown'}; "
                "close it first, or give this one another folder"
            ) from None
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
