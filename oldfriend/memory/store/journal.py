"""The source of truth: one append-only JSON Lines file per person, fsynced before it is believed.

A line is one write, ``{"sum": CRC-32 of the entries' bytes, "entries": [...]}``: it counts whole or
not at all. No clock is read here; every entry carries its time.
"""

import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID
from zlib import crc32

from pydantic import Field, TypeAdapter, ValidationError

from oldfriend.corpus.schema import Row
from oldfriend.errors import InputError
from oldfriend.memory.store.record import MemoryRecord

FORMAT = 1
MAX_LINE = 64 * 2**20  # bytes; a longer line is not one of ours
HEAD, JOINT, TAIL = b'{"sum":"', b'","entries":', b"}\n"
HEAD_SIZE = len(HEAD) + 8 + len(JOINT)
OP = b'"op":"'  # once an entry: inside a JSON string the quotes would be escaped


class Stamped(Row):
    """Base of all entries. ``at``: when it was written down."""

    at: datetime


class Opened(Stamped):
    """The first entry of a file: whose it is."""

    op: Literal["open"] = "open"
    user: str = Field(min_length=1)
    format: int = Field(default=FORMAT, le=FORMAT)


class Add(Stamped):
    """A new record; ignored if its id is known or was forgotten, so re-reading adds nothing."""

    op: Literal["add"] = "add"
    record: MemoryRecord


class Revise(Stamped):
    """A derived record (summary, profile) told anew under its old id."""

    op: Literal["revise"] = "revise"
    record: MemoryRecord


class Supersede(Stamped):
    """The world changed: ``old`` was true until ``valid_to`` (default: ``at``)."""

    op: Literal["supersede"] = "supersede"
    old: UUID
    new: UUID | None = None
    valid_to: datetime | None = None


class Correct(Stamped):
    """We had it wrong: ``old`` was never true, not even in the past."""

    op: Literal["correct"] = "correct"
    old: UUID
    new: UUID | None = None


class Recall(Stamped):
    """These were used in an answer and are stronger by ``gain``."""

    op: Literal["recall"] = "recall"
    ids: tuple[UUID, ...]
    gain: float = Field(default=1.0, gt=0)


class Pin(Stamped):
    """Never to be archived by forgetting (or no longer so)."""

    op: Literal["pin"] = "pin"
    ids: tuple[UUID, ...]
    pinned: bool = True


class Archive(Stamped):
    """Put away: kept and listed, but no longer found by search."""

    op: Literal["archive"] = "archive"
    ids: tuple[UUID, ...]
    reason: str = Field(min_length=1)


class Restore(Stamped):
    """Out of the archive again."""

    op: Literal["restore"] = "restore"
    ids: tuple[UUID, ...]


class Forget(Stamped):
    """What is left of erased records: ids that may never come back."""

    op: Literal["forget"] = "forget"
    ids: tuple[UUID, ...]


Entry = (
    Opened | Add | Revise | Supersede | Correct | Recall | Pin | Archive | Restore | Forget
)  # fmt: skip
_ENTRIES: TypeAdapter[list[Entry]] = TypeAdapter(list[Annotated[Entry, Field(discriminator="op")]])


class Journal:
    """One person's file. ``notes`` tells what had to be repaired."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []

    def append(self, entries: Sequence[Entry]) -> int:
        """Write all of ``entries`` or none, on disk when this returns; the file's new size."""
        line = encode(entries)
        new = not self.path.exists()
        if new:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            before = os.fstat(handle).st_size
            try:
                _write(handle, line)
                os.fsync(handle)
            except OSError:  # a full disk must not leave half a line for the next one to follow
                os.ftruncate(handle, before)
                raise
        finally:
            os.close(handle)
        if new:
            sync_folder(self.path.parent)
        return before + len(line)

    def read(self) -> Iterator[Entry]:
        """All entries in order. A line without an end was never acknowledged: it is cut off and
        noted. InputError names a damaged line."""
        good = 0
        with self.path.open("rb") as lines:
            number = 0
            while line := lines.readline(MAX_LINE):
                number += 1
                if not line.endswith(b"\n") and lines.read(1) == b"":
                    break
                entries = decode(line, self.path, number)
                if number == 1 and not isinstance(entries[0], Opened):
                    raise InputError("does not begin with whose journal it is", path=self.path)
                good += len(line)
                yield from entries
        if good < self.path.stat().st_size:
            self._cut(good)

    def _cut(self, size: int) -> None:
        lost = self.path.stat().st_size - size
        with self.path.open("r+b") as out:
            out.truncate(size)
            os.fsync(out.fileno())
        self.notes.append(f"{self.path}: cut {lost} bytes of a write that never finished")

    def entries_after(self, size: int) -> int:
        """How many entries stand behind the first ``size`` bytes; 0 if the file is shorter."""
        with self.path.open("rb") as data:
            data.seek(size)
            return sum(line.count(OP) for line in data)

    def unborn(self) -> bool:
        """Remove a file whose first line never got its end; whether it was one."""
        with self.path.open("rb") as lines:
            if lines.readline(MAX_LINE).endswith(b"\n"):
                return False
        self.path.unlink()
        return True

    def rewrite(self, entries: Sequence[Entry]) -> None:
        """Replace the file by one with these entries, whole or not at all, on disk on return."""
        draft = self.path.with_name(f".{self.path.name}.draft")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            for start in range(0, len(entries), 1000):
                _write(handle, encode(entries[start : start + 1000]))
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(draft, self.path)
        sync_folder(self.path.parent)


def encode(entries: Sequence[Entry]) -> bytes:
    """One line. Defaults are left out, apart from ``op``."""
    parts = (
        f'{{"op":"{e.op}",{e.model_dump_json(exclude_defaults=True)[1:]}' for e in entries
    )  # fmt: skip
    body = f"[{','.join(parts)}]".encode()
    return b"".join((HEAD, b"%08x" % crc32(body), JOINT, body, TAIL))


def decode(line: bytes, path: Path, number: int) -> list[Entry]:
    """The entries of one line; InputError if it is not as it was written."""
    body = line[HEAD_SIZE : -len(TAIL)]
    told = line[len(HEAD) : len(HEAD) + 8]
    framed = line.startswith(HEAD) and line[len(HEAD) + 8 : HEAD_SIZE] == JOINT
    if not framed or not line.endswith(TAIL) or told != b"%08x" % crc32(body):
        raise InputError(
            "damaged line: its checksum does not fit. Restore the file from a backup, or delete "
            "this line to go on without what it says",
            path=path, line=number,
        )  # fmt: skip
    try:
        return _ENTRIES.validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{first['msg']}: written by another version; update oldfriend",
            path=path, line=number, field=where,
        ) from None  # fmt: skip


def owner(path: Path) -> str:
    """Whose journal it is, by its first line."""
    with path.open("rb") as lines:
        first = decode(lines.readline(MAX_LINE), path, 1)[0]
    if not isinstance(first, Opened):
        raise InputError("does not begin with whose journal it is", path=path, line=1)
    return first.user


def without(entries: Sequence[Entry], ids: frozenset[UUID]) -> list[Entry]:
    """Entries that neither hold nor tell anything of the records ``ids``."""
    kept: list[Entry] = []
    for entry in entries:
        match entry:
            case Add(record=record) | Revise(record=record):
                if record.id not in ids:
                    links = tuple(id for id in record.evidence if id not in ids)
                    by = None if record.superseded_by in ids else record.superseded_by
                    changed = {"evidence": links, "superseded_by": by}
                    kept.append(
                        entry.model_copy(update={"record": record.model_copy(update=changed)})
                    )
            case Supersede(old=old, new=new) | Correct(old=old, new=new):
                if old not in ids:
                    kept.append(entry.model_copy(update={"new": None if new in ids else new}))
            case Recall() | Pin() | Archive() | Restore():
                if left := tuple(id for id in entry.ids if id not in ids):
                    kept.append(entry.model_copy(update={"ids": left}))
            case _:
                kept.append(entry)
    return kept


def sync_folder(folder: Path) -> None:
    """Make new and renamed names in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
