"""``/v1/chat/completions`` and ``/v1/models``, as OpenAI's clients know them."""

import asyncio
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from uuid import uuid4

from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse

from oldfriend.agent import grounded
from oldfriend.agent.reply import Reply
from oldfriend.app.serve.context import REFUSALS, Here, Serving, User
from oldfriend.app.serve.errors import ApiError, log, refused
from oldfriend.app.serve.schema import (
    ChatRequest,
    Choice,
    Chunk,
    ChunkChoice,
    Completion,
    Delta,
    Finish,
    Model,
    Models,
    Said,
    Usage,
)
from oldfriend.app.serve.why import explained
from oldfriend.app.serve.wishes import Wishes
from oldfriend.errors import OldFriendError

routes = APIRouter(prefix="/v1", tags=["chat"], responses=REFUSALS)
_PIECE = re.compile(r"\s*\S+\s*")
_STREAM: dict[int | str, dict[str, object]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
}


@routes.get("/models")
async def models(here: Here, user: User) -> Models:
    """The personas that you can talk with; ``friend`` is the plain one."""
    return Models(data=await asyncio.to_thread(here.cast.models, user))


@routes.get("/models/{model}")
async def model(here: Here, user: User, model: str) -> Model:
    """One persona."""
    return await asyncio.to_thread(here.cast.model, user, model)


@routes.post(
    "/chat/completions",
    response_model=Completion,
    response_model_exclude_none=False,
    responses=_STREAM,
)
async def complete(
    here: Here,
    user: User,
    asked: ChatRequest,
    idempotency_key: str | None = Header(default=None, max_length=200),
    x_stainless_retry_count: str | None = Header(default=None, include_in_schema=False),
) -> Response | Completion:
    """Say something to your friend: the last message of role ``user`` is heard and remembered.

    Earlier messages and system prompts are not read, as the friend has a memory of its own. The
    same messages again, or the same ``Idempotency-Key``, get the same reply again, and nothing is
    remembered twice.
    """
    began = time.perf_counter()
    text, key = _heard(asked, idempotency_key, x_stainless_retry_count)
    persona = await asyncio.to_thread(here.cast.card, user, asked.model)
    wish = Wishes(
        temperature=asked.temperature, top_p=asked.top_p, max_tokens=asked.most,
        seed=(asked.seed or 0) % 2**62, drafts=asked.n, persona=persona,
    )  # fmt: skip
    loop, said = asyncio.get_running_loop(), asyncio.Queue[str | None]()

    def say(reply: str) -> None:
        here.meters.first.observe(time.perf_counter() - began)
        loop.call_soon_threadsafe(said.put_nowait, reply)

    turn = asyncio.ensure_future(here.house.turn(user, text, wishes=wish, say=say, key=key))
    if not asked.stream:
        reply, wish = await turn
        here.meters.turn(reply, wish)
        return _completion(asked, reply, wish)
    # An error before the first word is still an answer with a status of its own.
    waits = asyncio.ensure_future(said.get())
    await asyncio.wait({turn, waits}, return_when=asyncio.FIRST_COMPLETED)
    if not waits.done():
        waits.cancel()
        await turn
    events = _events(here, asked, waits, turn)
    return StreamingResponse(events, media_type="text/event-stream")


def _heard(asked: ChatRequest, idempotency_key: str | None, retry: str | None) -> tuple[str, str]:
    """The message to hear, and what makes the same request the same.

    A conversation is told by its words; a single message may well be said twice, unless the client
    says that it only asks again.
    """
    talk = [m for m in asked.messages if m.role in ("user", "assistant")]
    last = max((place for place, m in enumerate(talk) if m.role == "user"), default=None)
    if last is None:
        raise ApiError(400, "there is no message of role 'user'", param="messages", code="empty")
    words = [(m.role, m.text) for m in talk[: last + 1]]
    told = idempotency_key or (words if last or (retry or "0") != "0" else None)
    key = hashlib.sha256(json.dumps([asked.model, told]).encode()).hexdigest() if told else ""
    return talk[last].text, key


def _completion(asked: ChatRequest, reply: Reply, wish: Wishes) -> Completion:
    texts = [_ended(text, asked, wish) for text in _drafts(reply, wish)]
    return Completion(
        id=_id(),
        created=int(time.time()),
        model=asked.model,
        choices=[
            Choice(index=number, message=Said(content=text), finish_reason=finish)
            for number, (text, finish) in enumerate(texts)
        ],
        usage=_usage(wish),
        oldfriend=explained(reply) if asked.oldfriend.why else None,
    )


async def _events(
    here: Serving,
    asked: ChatRequest,
    first: "asyncio.Future[str | None]",
    turn: "asyncio.Future[tuple[Reply, Wishes]]",
) -> AsyncIterator[str]:
    """The reply as soon as it is certain; the end once it is remembered."""
    id, created = _id(), int(time.time())

    def event(choices: Sequence[ChunkChoice], **more: object) -> str:
        chunk = Chunk.model_validate(
            {"id": id, "created": created, "model": asked.model, "choices": choices, **more}
        )
        gone = {"usage", "oldfriend"} - set(more)
        return f"data: {chunk.model_dump_json(exclude=gone)}\n\n"

    def pieces(number: int, text: str) -> list[str]:
        found = _PIECE.findall(text) or [text]
        deltas = [Delta(role="assistant", content=""), *(Delta(content=part) for part in found)]
        return [event([ChunkChoice(index=number, delta=delta)]) for delta in deltas]

    shown = _cut(await first or "", asked.stops)[0]
    for part in pieces(0, shown):
        yield part
    try:
        reply, wish = await asyncio.shield(turn)
    except Exception as error:
        if not isinstance(error, OldFriendError | ApiError):
            log.exception("a turn failed after its reply")
        known = refused(error) if isinstance(error, OldFriendError) else error
        problem = known if isinstance(known, ApiError) else ApiError(
            500, "the reply was not remembered", type="server_error"
        )  # fmt: skip
        yield f"data: {problem.body.model_dump_json()}\n\n"
        return
    here.meters.turn(reply, wish)
    for number, text in enumerate(_drafts(reply, wish)):
        text, finish = _ended(text, asked, wish)
        if number:
            for part in pieces(number, text):
                yield part
        yield event([ChunkChoice(index=number, delta=Delta(), finish_reason=finish)])
    if asked.oldfriend.why:
        yield event([], oldfriend=explained(reply))
    if asked.stream_options and asked.stream_options.include_usage:
        yield event([], usage=_usage(wish))
    yield "data: [DONE]\n\n"


def _drafts(reply: Reply, wish: Wishes) -> list[str]:
    """The reply, then the next best drafts: each is held to memory as the reply is, and only the
    reply is remembered."""
    now, looked = datetime.now().astimezone(), reply.looked
    tried = [draft for draft in reply.why.drafts if not draft.rejected]
    judged = [draft.text for draft in sorted(tried, key=lambda draft: -draft.score)]
    checked = (grounded.checked(o, looked.decision, looked.records, now) for o in wish.others)
    found = [*judged, *(said.text for said in checked)]
    others = [text for text in dict.fromkeys(found) if text != reply.text]
    # Where memory itself answered, or the model always said the same, there is only one way.
    return [reply.text, *others, *[reply.text] * wish.drafts][: wish.drafts]


def _ended(text: str, asked: ChatRequest, wish: Wishes) -> tuple[str, Finish]:
    text, stopped = _cut(text, asked.stops)
    return text, "length" if wish.cut and not stopped else "stop"


def _cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """``text`` up to the first of ``stops``; whether there was one."""
    ends = [place for stop in stops if (place := text.find(stop)) >= 0]
    return (text[: min(ends)], True) if ends else (text, False)


def _usage(wish: Wishes) -> Usage:
    total = wish.prompt_tokens + wish.tokens
    return Usage(
        prompt_tokens=wish.prompt_tokens, completion_tokens=wish.tokens, total_tokens=total
    )


def _id() -> str:
    return f"chatcmpl-{uuid4().hex}"
