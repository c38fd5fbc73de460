"""What a person wished and what was sent to them: an append-only file each, fsynced.

Nothing of a memory stands in it, so that forgetting a memory leaves nothing behind here; forgetting
the person erases the file.
"""

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from oldfriend.corpus.schema import Row
from oldfriend.empathy.care_rules import CauseKind, zone
from oldfriend.errors import InputError
from oldfriend.memory.store.engine import tenant_key
from oldfriend.memory.store.journal import sync_folder

MAX_FILE = 16 * 2**20  # bytes; some hundred thousand words sent
MAX_LINE = 4096


class Consent(Row):
    """A person's wish: whether to be written to at all, and the time zone of their days."""

    on: bool
    timezone: str = ""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        if name:
            zone(name)
        return name


class Asked(Row):
    """The person said what they want."""

    op: Literal["asked"] = "asked"
    at: datetime
    consent: Consent


class Sent(Row):
    """A word that went out."""

    op: Literal["sent"] = "sent"
    at: datetime
    kind: CauseKind
    priority: int = Field(ge=1, le=3)
    key: str = Field(min_length=1, max_length=64)
    reason: str = ""


Entry = Asked | Sent
_ENTRY: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="op")])


class CareFile:
    """One person's file below ``memory``/care."""

    def __init__(self, memory: Path, user: str) -> None:
        self.path = memory / "care" / f"{tenant_key(user)}.jsonl"

    def append(self, entry: Entry) -> None:
        """On disk when this returns. A line that a crash cut short is ended first."""
        new = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                os.ftruncate(handle, self._whole(handle, size))
            line = memoryview(entry.model_dump_json().encode() + b"\n")
            while line:
                line = line[os.write(handle, line) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        if new:
            sync_folder(self.path.parent)

    def read(self) -> Iterator[Entry]:
        """All entries in order; a last line without an end was never acknowledged and is passed
        over. InputError names a line that is none of ours."""
        if not self.path.is_file():
            return
        if self.path.stat().st_size > MAX_FILE:
            raise InputError(f"larger than {MAX_FILE:,} bytes", path=self.path)
        for number, line in enumerate(self.path.read_bytes().splitlines(keepends=True), 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield _ENTRY.validate_json(line)
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                field = ".".join(str(part) for part in first["loc"])
                raise InputError(first["msg"], path=self.path, line=number, field=field) from None

    def erase(self) -> bool:
        """Remove the file; whether there was one."""
        if not self.path.exists():
            return False
        self.path.unlink()
        sync_folder(self.path.parent)
        return True

    @staticmethod
    def _whole(handle: int, size: int) -> int:
        """Where the last whole line ends."""
        tail = os.pread(handle, min(size, MAX_LINE), max(size - MAX_LINE, 0))
        return size - len(tail) + tail.rfind(b"\n") + 1
