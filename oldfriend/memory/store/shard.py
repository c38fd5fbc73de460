"""One shard of Qdrant Edge: the points of some people, in a folder of its own.

No HNSW: exact search of one tenant takes less than a millisecond for thousands of records, while
building a graph would hold the interpreter for minutes. The points lie in a numbered folder that
``current`` names, so rebuilding it without what was deleted is a switch of one small file.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import qdrant_edge as edge

from oldfriend.files import atomic_write
from oldfriend.memory.store.engine import (
    DENSE,
    SPARSE,
    Hit,
    Leaf,
    Plan,
    Point,
    Vector,
    payload,
    point_id,
    seconds,
)
from oldfriend.memory.store.journal import sync_folder

PAGE = 2000  # points read or written at once
NO_GRAPH = 1_000_000_000  # KB of vectors below which no HNSW graph is built


class Shard:
    """The shard in ``folder``, made if it is not there; dense vectors have ``size`` numbers. The
    caller holds the pool's lock before this is made."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._size = folder, size
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "current").exists():
            self._sweep()  # of a rebuild that was cut short
            self._shard = edge.EdgeShard.load(str(folder / self._current()))
        else:
            self._shard = self._create(folder / "1")
            self._shard.flush()
            self._switch("1")  # named last: what is named is whole

    def upsert(self, tenant: str, points: Sequence[Point]) -> None:
        for start in range(0, len(points), PAGE):
            batch = [_point(tenant, point) for point in points[start : start + PAGE]]
            self._shard.update(edge.UpdateOperation.upsert_points(batch))

    def delete(self, tenant: str, ids: Sequence[UUID]) -> None:
        gone: list[int | UUID | str] = [point_id(tenant, id) for id in ids]
        self._shard.update(edge.UpdateOperation.delete_points(gone))

    def drop(self, tenant: str) -> None:
        self._shard.update(edge.UpdateOperation.delete_points_by_filter(_own(tenant)))

    def leaves(self, tenant: str, plan: Plan, limits: Mapping[int, int]) -> Mapping[int, list[Hit]]:
        requests = [_request(tenant, plan, plan.prefetches[p], limits[p]) for p in limits]
        answers = self._shard.query_batch(edge.QueryBatchRequest(requests))
        key = int(tenant, 16)  # see point_id; read once, not for every hit
        return {
            place: [_hit(key, point) for point in points]
            for place, points in zip(limits, answers, strict=True)
        }

    def marks(self, tenant: str) -> dict[UUID, int]:
        return {
            point_id(tenant, _uuid(record.id)): int((record.payload or {})["mark"])
            for page in self._pages(_own(tenant), payload=["mark"], vectors=False)
            for record in page
        }

    def dense(self, tenant: str, ids: Sequence[UUID]) -> list[tuple[UUID, Vector]]:
        points: list[int | UUID | str] = [point_id(tenant, id) for id in ids]
        found = self._shard.retrieve(points, with_payload=False, with_vector=list(DENSE))
        return [
            (point_id(tenant, _uuid(record.id)), np.asarray(record.vector[name], dtype=np.float32))
            for record in found
            if isinstance(record.vector, dict)
            for name in DENSE
        ]

    def rebuild(self) -> None:
        """Copy what is left into a new folder: deletion leaves bytes in segments and WAL."""
        path = self._folder / str(int(self._current()) + 1)
        new = self._create(path)
        for page in self._pages(None, payload=True, vectors=True):
            points = [edge.Point(r.id, r.vector or {}, r.payload) for r in page]
            new.update(edge.UpdateOperation.upsert_points(points))
        new.flush()
        self._switch(path.name)
        old, self._shard = self._shard, new
        old.close()
        self._sweep()

    def flush(self) -> None:
        self._shard.flush()

    def close(self) -> None:
        self._shard.flush()  # close() itself hides errors
        self._shard.close()

    def _current(self) -> str:
        return (self._folder / "current").read_text(encoding="utf-8").strip()

    def _create(self, path: Path) -> edge.EdgeShard:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        dense = edge.EdgeVectorParams(size=self._size, distance=edge.Distance.Cosine)
        sparse = edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)
        shard = edge.EdgeShard.create(
            str(path),
            edge.EdgeConfig(
                vectors=dict.fromkeys(DENSE, dense),
                sparse_vectors=dict.fromkeys(SPARSE, sparse),
                optimizers=edge.EdgeOptimizersConfig(indexing_threshold=NO_GRAPH),
            ),
        )
        index = edge.UpdateOperation.create_field_index
        shard.update(index("user", edge.KeywordIndexParams(is_tenant=True)))
        shard.update(index("ts", edge.IntegerIndexParams(lookup=False, range=True)))
        shard.update(index("kind", edge.PayloadSchemaType.Keyword))
        return shard

    def _sweep(self) -> None:
        """Remove every folder but the current one."""
        for path in self._folder.iterdir():
            if path.is_dir() and path.name != self._current():
                shutil.rmtree(path)

    def _switch(self, name: str) -> None:
        with atomic_write(self._folder / "current") as out:
            out.write(name)
        sync_folder(self._folder)

    def _pages(
        self, where: edge.Filter | None, payload: bool | list[str], vectors: bool
    ) -> Iterator[list[edge.Record]]:
        offset: int | UUID | str | None = None
        while True:
            page, offset = self._shard.scroll(
                edge.ScrollRequest(
                    offset=offset, limit=PAGE, filter=where,
                    with_payload=payload, with_vector=vectors,
                )
            )  # fmt: skip
            yield page
            if offset is None:
                return


def _point(tenant: str, point: Point) -> edge.Point:
    vectors: dict[str, list[float] | edge.SparseVector | list[list[float]]] = {
        name: vector.tolist() for name, vector in point.vectors.items()
    }
    for name, (indices, values) in point.sparse.items():
        if len(indices):
            vectors[name] = edge.SparseVector(list(indices), list(values))
    return edge.Point(point_id(tenant, point.id), vectors, payload(tenant, point))


def _own(tenant: str) -> edge.Filter:
    return edge.Filter(must=[edge.FieldCondition("user", match=edge.MatchValue(tenant))])


def _request(tenant: str, plan: Plan, leaf: Leaf, limit: int) -> edge.QueryRequest:
    must: list[Any] = [edge.FieldCondition("user", match=edge.MatchValue(tenant))]
    if plan.since or plan.until:
        since = float(seconds(plan.since)) if plan.since else None
        until = float(seconds(plan.until)) if plan.until else None
        must.append(edge.FieldCondition("ts", range=edge.RangeFloat(gte=since, lt=until)))
    if plan.kinds:
        must.append(edge.FieldCondition("kind", match=edge.MatchAny(list(plan.kinds))))
    if plan.current:
        must.append(edge.FieldCondition("current", match=edge.MatchValue(1)))
    if isinstance(leaf.query, tuple):
        indices, values = leaf.query
        query = edge.Query.Nearest(edge.SparseVector(list(indices), list(values)), leaf.vector)
        # How rare a word is, is asked of this person's memories alone.
        params = edge.SearchParams(idf=edge.IdfParams(corpus=_own(tenant)))
    else:
        query, params = edge.Query.Nearest(leaf.query.tolist(), leaf.vector), None
    return edge.QueryRequest(
        limit=limit, query=query, filter=edge.Filter(must=must), params=params,
        with_payload=plan.payload or False,
    )  # fmt: skip


def _hit(key: int, point: edge.ScoredPoint) -> Hit:
    known = point.payload or {}
    number = _uuid(point.id).int ^ key
    return Hit(number, point.score, known.get("ts", 0), known.get("importance", 0.0))


def _uuid(id: object) -> UUID:
    return id if isinstance(id, UUID) else UUID(str(id))
