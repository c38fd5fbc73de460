"""Every error a user can cause or mend, under one root."""

from pathlib import Path


class OldFriendError(Exception):
    """Root of all expected errors; the command line prints it as one line and exits 1."""

    exit_code = 1


class InputError(OldFriendError):
    """Malformed input: says which file, line and field, and what was expected. Exit code 2."""

    exit_code = 2

    def __init__(
        self, message: str, *, path: Path | None = None, line: int | None = None, field: str = ""
    ) -> None:
        place = ":".join(str(part) for part in (path, line) if part is not None)
        where = ", ".join(part for part in (place, f"field '{field}'" if field else "") if part)
        super().__init__(f"{where}: {message}" if where else message)
        self.path, self.line, self.field = path, line, field


class ParamsError(InputError):
    """An unknown or out-of-range key in params.yaml."""


class MissingDataError(OldFriendError):
    """An input that an earlier stage or a download should have made is not there."""


class LeakError(OldFriendError):
    """Train and held-out data share a person, conversation, value or phrasing."""


class CheckpointError(OldFriendError):
    """A model folder that is broken, of another family, or of another run."""
