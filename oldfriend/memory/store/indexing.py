"""From a record to what is indexed of it: key texts, fingerprint, vectors."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol, runtime_checkable
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from oldfriend.memory.store.engine import Point, Sparse, seconds
from oldfriend.memory.store.keys import SCHEME, keys
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.sparse import document
from oldfriend.memory.store.state import State

WINDOW = 1  # turns on each side of a record's own that belong to its window
BATCH = 256  # records embedded at once

# (record, turns around it in order) -> (text of the record, text of its window)
Keys = Callable[[MemoryRecord, Sequence[MemoryRecord]], tuple[str, str]]


class Encoder(Protocol):
    """An embedding model: ``encode`` gives float32 [n, size] of length 1."""

    @property
    def id(self) -> str: ...
    @property
    def size(self) -> int: ...
    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


@runtime_checkable
class Cache(Protocol):
    """Whatever keeps something of memories outside of the pool, as an encoder may."""

    def clear(self) -> None: ...


@dataclass(frozen=True)
class Draft:
    """A record ready to be embedded."""

    id: UUID
    key: str
    window: str
    ts: int
    importance: float
    kind: str
    session: str
    current: bool
    embedded_by: str

    @property
    def mark(self) -> int:
        """Fingerprint of 63 bits (payload integers are signed) of all that the engine holds."""
        numbers = f"{self.ts},{self.importance},{int(self.current)}"
        whole = "\x1f".join(
            (self.key, self.window, numbers, self.kind, self.session, self.embedded_by)
        )
        return int.from_bytes(blake2b(whole.encode(), digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True)
class Indexer:
    """How records become points. Another ``scheme`` or encoder needs a reindex."""

    encoder: Encoder
    keys: Keys = keys
    sparse: Callable[[str], Sparse] = document
    scheme: str = SCHEME

    def drafts(self, state: State, ids: Iterable[UUID] | None = None) -> Iterator[Draft]:
        """Drafts of the records (default: all) that are to be found, in the order of ``ids``."""
        embedded_by = str(self.meta())
        for id in state if ids is None else ids:
            record = state.get(id)
            if record is None or record.archived:
                continue
            source = record.source
            key, window = self.keys(record, state.around(record, WINDOW))
            session = blake2b(source.session.encode(), digest_size=8).hexdigest() if source else ""
            yield Draft(
                id, key, window, seconds(record.valid_from or record.created_at),
                record.importance / 10, record.kind, session, record.current, embedded_by,
            )  # fmt: skip

    def points(self, drafts: Sequence[Draft]) -> Iterator[Point]:
        """Embed drafts; equal texts are embedded once a batch."""
        for start in range(0, len(drafts), BATCH):
            batch = drafts[start : start + BATCH]
            texts = list(dict.fromkeys(text for d in batch for text in (d.key, d.window)))
            dense = dict(zip(texts, self.encoder.encode(texts), strict=True))
            sparse = {text: self.sparse(text) for text in texts}
            for d in batch:
                yield Point(
                    d.id,
                    {"dense": dense[d.key], "dense_w": dense[d.window]},
                    {"bm25": sparse[d.key], "bm25_w": sparse[d.window]},
                    d.ts, d.importance, d.kind, d.session, d.current, d.mark,
                )  # fmt: skip

    def meta(self) -> Mapping[str, str | int]:
        """What meta.json keeps: vectors of another meta cannot be compared with these."""
        return {"embedder": self.encoder.id, "size": self.encoder.size, "scheme": self.scheme}
