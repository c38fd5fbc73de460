"""A Qdrant server by URL: the same schema and the same leaves as the embedded engine.

    docker run -p 6333:6333 -v ./qdrant:/qdrant/storage qdrant/qdrant

Needs server 1.19 or later (IDF within a tenant). ``:memory:`` runs qdrant-client's own engine.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from oldfriend.memory.store.engine import (
    DENSE,
    SPARSE,
    EngineDownError,
    Hit,
    Leaf,
    Plan,
    Point,
    Vector,
    payload,
    point_id,
    seconds,
)

if TYPE_CHECKING:
    from qdrant_client import models

PAGE = 500  # points a request


class ServerEngine:
    """An Engine behind ``url``, in the collection ``name``."""

    def __init__(
        self, url: str, name: str, size: int, api_key: str | None = None, timeout: int = 5
    ) -> None:
        from qdrant_client import QdrantClient

        self._url, self._name, self._size = url, name, size
        memory = url == ":memory:"
        self._client: Any = (
            QdrantClient(":memory:") if memory
            else QdrantClient(url=url, api_key=api_key, timeout=timeout, check_compatibility=False)
        )  # fmt: skip
        self._ready = False

    def connect(self) -> bool:
        self._ready = True  # until the server says otherwise
        with self._reached() as client:
            return self._prepare(client)

    def upsert(self, tenant: str, points: Sequence[Point]) -> None:
        for start in range(0, len(points), PAGE):
            batch = [_point(tenant, point) for point in points[start : start + PAGE]]
            with self._reached() as client:
                client.upsert(self._name, batch, wait=True)

    def delete(self, tenant: str, ids: Sequence[UUID]) -> None:
        if ids:
            with self._reached() as client:
                client.delete(self._name, [str(point_id(tenant, id)) for id in ids], wait=True)

    def drop(self, tenant: str) -> None:
        from qdrant_client import models as m

        with self._reached() as client:
            client.delete(self._name, m.FilterSelector(filter=_own(tenant)), wait=True)

    def leaves(self, tenant: str, plan: Plan, limits: Mapping[int, int]) -> Mapping[int, list[Hit]]:
        exact = self._url != ":memory:"  # which is always exact, and warns if told so
        requests = [_request(tenant, plan, plan.prefetches[p], limits[p], exact) for p in limits]
        with self._reached() as client:
            answers = client.query_batch_points(self._name, requests)
        return {
            place: [_hit(tenant, point) for point in answer.points]
            for place, answer in zip(limits, answers, strict=True)
        }

    def marks(self, tenant: str) -> dict[UUID, int]:
        found: dict[UUID, int] = {}
        where, offset = _own(tenant), None
        while True:
            with self._reached() as client:
                page, offset = client.scroll(
                    self._name, where, limit=PAGE, offset=offset, with_payload=["mark"]
                )
            found |= {_record(tenant, p): int(p.payload["mark"]) for p in page}
            if offset is None:
                return found

    def dense(self, tenant: str, ids: Sequence[UUID]) -> list[tuple[UUID, Vector]]:
        points = [str(point_id(tenant, id)) for id in ids]
        with self._reached() as client:
            found = client.retrieve(
                self._name, points, with_payload=False, with_vectors=list(DENSE)
            )
        return [
            (_record(tenant, p), np.asarray(p.vector[name], dtype=np.float32))
            for p in found
            for name in DENSE
        ]

    def scrub(self, tenant: str) -> bool:
        return False  # a server vacuums its files when it sees fit

    def clear(self) -> None:
        with self._reached() as client:
            client.delete_collection(self._name)
        self.connect()

    def flush(self) -> None:
        """Every write has waited for the server already."""

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def _reached(self) -> Iterator[Any]:
        """The client; EngineDownError if the server cannot be reached or cannot answer now."""
        from httpx import TransportError
        from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

        if not self._ready:
            raise EngineDownError(f"Qdrant at {self._url} is not connected")
        try:
            yield self._client
        except UnexpectedResponse as error:
            gone = error.status_code == 404  # the collection: somebody emptied the server
            if not gone and error.status_code is not None and error.status_code < 500:
                raise
            self._ready = False
            raise EngineDownError(f"Qdrant at {self._url}: {error}") from error
        except (ResponseHandlingException, TransportError, OSError) as error:
            self._ready = False
            raise EngineDownError(f"Qdrant at {self._url} does not answer: {error}") from error

    def _prepare(self, client: Any) -> bool:
        """Make the collection and its indexes if they are not there; True if it did."""
        from qdrant_client import models as m

        if client.collection_exists(self._name):
            held = client.get_collection(self._name).config.params.vectors
            if held[DENSE[0]].size == self._size:
                return False
            client.delete_collection(self._name)
        dense = m.VectorParams(size=self._size, distance=m.Distance.COSINE)
        sparse = m.SparseVectorParams(modifier=m.Modifier.IDF)
        client.create_collection(
            self._name,
            vectors_config=dict.fromkeys(DENSE, dense),
            sparse_vectors_config=dict.fromkeys(SPARSE, sparse),
            # One graph a tenant instead of one of all: every search is within a tenant.
            hnsw_config=m.HnswConfigDiff(m=0, payload_m=16),
        )
        if self._url != ":memory:":  # which has no indexes, and says so at length
            tenant = m.KeywordIndexParams(type=m.KeywordIndexType.KEYWORD, is_tenant=True)
            time = m.IntegerIndexParams(type=m.IntegerIndexType.INTEGER, lookup=False, range=True)
            keyword = m.PayloadSchemaType.KEYWORD
            for field, schema in (("user", tenant), ("ts", time), ("kind", keyword)):
                client.create_payload_index(self._name, field, schema)
        return True


def _record(tenant: str, point: Any) -> UUID:
    return point_id(tenant, UUID(str(point.id)))


def _hit(tenant: str, point: Any) -> Hit:
    known = point.payload or {}
    number = _record(tenant, point).int
    return Hit(number, point.score, int(known.get("ts", 0)), known.get("importance", 0.0))


def _point(tenant: str, point: Point) -> "models.PointStruct":
    from qdrant_client import models as m

    vectors: dict[str, Any] = {name: v.tolist() for name, v in point.vectors.items()}
    for name, (indices, values) in point.sparse.items():
        if len(indices):
            vectors[name] = m.SparseVector(indices=list(indices), values=list(values))
    return m.PointStruct(
        id=str(point_id(tenant, point.id)), vector=vectors, payload=payload(tenant, point)
    )


def _own(tenant: str) -> "models.Filter":
    from qdrant_client import models as m

    return m.Filter(must=[m.FieldCondition(key="user", match=m.MatchValue(value=tenant))])


def _request(tenant: str, plan: Plan, leaf: Leaf, limit: int, exact: bool) -> "models.QueryRequest":
    from qdrant_client import models as m

    must: list[Any] = [m.FieldCondition(key="user", match=m.MatchValue(value=tenant))]
    if plan.since or plan.until:
        since = seconds(plan.since) if plan.since else None
        until = seconds(plan.until) if plan.until else None
        must.append(m.FieldCondition(key="ts", range=m.Range(gte=since, lt=until)))
    if plan.kinds:
        must.append(m.FieldCondition(key="kind", match=m.MatchAny(any=list(plan.kinds))))
    if plan.current:
        must.append(m.FieldCondition(key="current", match=m.MatchValue(value=1)))
    query: Any
    params: m.SearchParams | None
    if isinstance(leaf.query, tuple):
        indices, values = leaf.query
        query = m.SparseVector(indices=list(indices), values=list(values))
        params = m.SearchParams(idf=m.IdfCorpusParams(corpus=_own(tenant)))
    else:
        # The embedded engine is exact; so is this one, within a tenant of its usual size.
        query, params = leaf.query.tolist(), m.SearchParams(exact=True) if exact else None
    return m.QueryRequest(
        query=query, using=leaf.vector, limit=limit, filter=m.Filter(must=must), params=params,
        with_payload=plan.payload or False,
    )  # fmt: skip
