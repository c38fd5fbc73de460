"""``/v1/memories``: what is remembered of you, by your key: look, search, put right, erase."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from oldfriend.agent.friend import Friend
from oldfriend.app.serve.context import REFUSALS, Here, User
from oldfriend.app.serve.errors import ApiError, not_found
from oldfriend.app.shown import details, left_over, standing, to_erase, what
from oldfriend.memory.store.forgetting import tier
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.rights import Erasure, about
from oldfriend.memory.store.settings import ForgettingParams

routes = APIRouter(prefix="/v1/memories", tags=["memory"], responses=REFUSALS)
Words = Annotated[str, Query(min_length=1, max_length=2000)]
PAGE = 1000  # memories of an export that are written at once


class Memory(BaseModel):
    """One memory. ``state``: pinned, corrected, archived or until when it was true."""

    id: UUID
    kind: str
    slot: str
    value: str
    text: str
    since: datetime
    tier: str
    state: str
    pinned: bool
    current: bool
    score: float | None = None


class Memories(BaseModel):
    """``total`` counts all that match; ``data`` is the page asked for, newest first."""

    data: list[Memory]
    total: int


class Detail(BaseModel):
    """A memory with everything behind it, and what erasing it would take along."""

    memory: Memory
    about: list[tuple[str, str]]
    erases: list[str]


class Change(BaseModel):
    """``value``: what is true instead. ``pinned``: whether it may fade. At least one of them."""

    model_config = ConfigDict(extra="forbid")

    value: str | None = Field(default=None, min_length=1, max_length=500)
    pinned: bool | None = None


class Erased(BaseModel):
    """``clean``: looked for in every file and found nowhere. ``also``: erased values that other
    memories of yours still mention."""

    erased: int
    clean: bool
    waits: bool
    also: list[str] = []


@routes.get("")
async def list_(
    here: Here,
    user: User,
    kind: Annotated[str, Query(max_length=40)] = "",
    current: bool = False,
    archived: bool = False,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> Memories:
    """Your memories, newest first. ``kind`` narrows; "notes" means all but the turns."""

    def do(friend: Friend) -> Memories:
        records = friend.memory(user).records(current=current, archived=archived)
        if kind:
            records = [
                r for r in records if r.kind == kind or (kind == "notes") > (r.kind == "turn")
            ]
        page = records[::-1][offset : offset + limit]
        return Memories(data=[_memory(record) for record in page], total=len(records))

    return await here.house.ask(user, do)


@routes.get("/search")
async def search(
    here: Here, user: User, q: Words, limit: Annotated[int, Query(ge=1, le=50)] = 10
) -> Memories:
    """What ``q`` finds, best first, with scores. Nothing is said or remembered by it."""

    def do(friend: Friend) -> Memories:
        hits = friend.look(user, q).hits
        found = [_memory(hit.record, round(hit.score, 3)) for hit in hits[:limit]]
        return Memories(data=found, total=len(hits))

    return await here.house.ask(user, do)


@routes.get("/export", response_class=Response, responses={
    200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}
})  # fmt: skip
async def export(here: Here, user: User) -> Response:
    """All of your memories as JSON Lines, which `oldfriend memory import` reads."""
    records = await here.house.ask(user, lambda friend: list(friend.memory(user).state.values()))

    async def lines() -> AsyncIterator[str]:
        for start in range(0, len(records), PAGE):
            page = records[start : start + PAGE]
            yield "".join(f"{record.model_dump_json()}\n" for record in page)

    headers = {"content-disposition": 'attachment; filename="memories.jsonl"'}
    return StreamingResponse(lines(), media_type="application/x-ndjson", headers=headers)


@routes.get("/{id}")
async def show(here: Here, user: User, id: UUID) -> Detail:
    """One memory: its words, its times, its history, and why it is kept."""

    def do(friend: Friend) -> Detail:
        record = _own(friend, user, id)
        memory = friend.memory(user)
        rows = details(memory, record, _now())
        return Detail(memory=_memory(record), about=rows, erases=to_erase(memory, [id]))

    return await here.house.ask(user, do)


@routes.patch("/{id}")
async def change(here: Here, user: User, id: UUID, change: Change) -> Memory:
    """Put a memory right, keep it from fading, or let it fade again. A value that is put right
    makes a new memory, which is answered."""
    if change.value is None and change.pinned is None:
        raise ApiError(400, "give a value, or pinned", code="empty")

    def do(friend: Friend) -> Memory:
        record = _own(friend, user, id)
        if change.value is not None:
            record = friend.correct(user, id, change.value)
        if change.pinned is not None:
            friend.memory(user).pin([record.id], _now(), change.pinned)
        return _memory(_own(friend, user, record.id))

    return await here.house.ask(user, do, changes=True)


@routes.delete("/{id}")
async def forget(here: Here, user: User, id: UUID) -> Erased:
    """Erase a memory for good, with what says the same and what was made from it."""

    def do(friend: Friend) -> Erased:
        record = _own(friend, user, id)
        values = {record.value} if record.slot else set[str]()
        erasure = friend.forget(user, [id])
        return _erased(erasure, left_over(friend.memory(user), values))

    return await here.house.ask(user, do, changes=True)


@routes.delete("")
async def forget_many(
    here: Here,
    user: User,
    topic: Annotated[str, Query(max_length=500)] = "",
    everything: bool = False,
) -> Erased:
    """Erase all that mentions ``topic``, or ``everything``: memories, adapter, imported cards."""
    if bool(topic.strip()) == everything:
        raise ApiError(400, "give either a topic or everything=true", code="empty")

    def do(friend: Friend) -> Erased:
        if everything:
            return _erased(friend.forget(user, "all"), [])
        ids = about(friend.memory(user).state, topic)
        if not ids:
            raise not_found("memory of that")
        return _erased(friend.forget(user, ids), [])

    erased = await here.house.ask(user, do, changes=True)
    if everything:
        here.cast.forget(user)
    return erased


def _own(friend: Friend, user: str, id: UUID) -> MemoryRecord:
    record = friend.memory(user).get(id)
    if record is None:
        raise not_found("memory of yours", param="id")
    return record


def _memory(record: MemoryRecord, score: float | None = None) -> Memory:
    return Memory(
        id=record.id, kind=record.kind, slot=record.slot, value=record.value, text=what(record),
        since=record.valid_from or record.created_at,
        tier=tier(record, _now(), ForgettingParams()), state=standing(record),
        pinned=record.pinned, current=record.current, score=score,
    )  # fmt: skip


def _erased(erasure: Erasure, also: list[str]) -> Erased:
    """Without where the words were found: that could tell of other people."""
    count = len(erasure.ids) + len(erasure.derived)
    return Erased(erased=count, clean=erasure.clean, waits=not erasure.done, also=also)


def _now() -> datetime:
    return datetime.now().astimezone()
