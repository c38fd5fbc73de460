"""Qdrant Edge, the embedded engine: everyone's points in one of a few shards, by their key.

A shard is opened when somebody in it is first asked about. What is erased is gone from the files
when its shard was rebuilt, which takes as long as that shard is large and leaves the others be.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

from oldfriend.files import atomic_write
from oldfriend.memory.store.engine import Hit, Plan, Point, Vector
from oldfriend.memory.store.journal import sync_folder
from oldfriend.memory.store.shard import Shard

SHARDS = 32  # another number is another layout, made anew from the journals


class EdgeEngine:
    """An Engine in ``folder``. The caller holds the pool's lock before this is made."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._size = folder, size
        self._open: dict[int, Shard] = {}
        self._unsaved: set[int] = set()  # shards written to since the last flush
        folder.mkdir(parents=True, exist_ok=True)
        self._new = self._layout() != f"{SHARDS} shards of {size}"
        if self._new:
            self.clear()

    def connect(self) -> bool:
        new, self._new = self._new, False
        return new

    def upsert(self, tenant: str, points: Sequence[Point]) -> None:
        if points:
            self._written(tenant).upsert(tenant, points)

    def delete(self, tenant: str, ids: Sequence[UUID]) -> None:
        if ids:
            self._written(tenant).delete(tenant, ids)

    def drop(self, tenant: str) -> None:
        self._written(tenant).drop(tenant)

    def leaves(self, tenant: str, plan: Plan, limits: Mapping[int, int]) -> Mapping[int, list[Hit]]:
        return self._of(tenant).leaves(tenant, plan, limits)

    def marks(self, tenant: str) -> dict[UUID, int]:
        return self._of(tenant).marks(tenant)

    def dense(self, tenant: str, ids: Sequence[UUID]) -> list[tuple[UUID, Vector]]:
        return self._of(tenant).dense(tenant, ids)

    def scrub(self, tenant: str) -> bool:
        self._of(tenant).rebuild()
        return True

    def clear(self) -> None:
        for shard in self._open.values():
            shard.close()
        self._open, self._unsaved = {}, set()
        (self._folder / "layout").unlink(missing_ok=True)  # first: half of it is nothing
        for path in self._folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        with atomic_write(self._folder / "layout") as out:
            out.write(f"{SHARDS} shards of {self._size}")
        sync_folder(self._folder)

    def flush(self) -> None:
        for number in sorted(self._unsaved):
            self._open[number].flush()
        self._unsaved.clear()

    def close(self) -> None:
        for shard in self._open.values():
            shard.close()
        self._open, self._unsaved = {}, set()

    def _of(self, tenant: str) -> Shard:
        """The shard of this tenant, whose key is a hash."""
        number = self._number(tenant)
        if number not in self._open:
            self._open[number] = Shard(self._folder / f"{number:02}", self._size)
        return self._open[number]

    def _written(self, tenant: str) -> Shard:
        shard = self._of(tenant)
        self._unsaved.add(self._number(tenant))
        return shard

    def _number(self, tenant: str) -> int:
        return int(tenant[:8], 16) % SHARDS

    def _layout(self) -> str:
        path = self._folder / "layout"
        return path.read_text(encoding="utf-8") if path.exists() else ""
