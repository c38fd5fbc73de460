"""``/v1/personas``: bring a character card, look at its picture, take it along, delete it."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Query, Response

from oldfriend.app.serve.context import REFUSALS, Here, User
from oldfriend.app.serve.errors import ErrorBody, not_found
from oldfriend.app.serve.schema import Model

routes = APIRouter(prefix="/v1/personas", tags=["personas"], responses=REFUSALS)
_TYPES = {"json": "application/json", "png": "image/png", "charx": "application/zip"}
_BYTES = {"schema": {"type": "string", "format": "binary"}}


@routes.post("", status_code=201, responses={409: {"model": ErrorBody, "description": "exists"}})
async def bring(
    here: Here,
    user: User,
    card: Annotated[bytes, Body(media_type="application/octet-stream", min_length=1)],
    filename: Annotated[str, Query(max_length=255)] = "",
) -> Model:
    """Import a character card (PNG, CharX, JSON or YAML by ``filename``) as it lies on disk. Only
    you see it."""
    return await asyncio.to_thread(here.cast.add, user, card, filename)


@routes.get("/{name}/picture", response_class=Response, responses={
    200: {"content": {"image/png": _BYTES}}
})  # fmt: skip
async def picture(here: Here, user: User, name: str) -> Response:
    """The picture of a card, if it has one."""
    card = await asyncio.to_thread(here.cast.card, user, name)
    if card is None or card.picture is None:
        raise not_found("picture")
    return Response(card.picture, media_type="image/png")


@routes.get("/{name}/card", response_class=Response, responses={
    200: {"content": dict.fromkeys(_TYPES.values(), _BYTES)}
})  # fmt: skip
async def take(
    here: Here, user: User, name: str, format: Literal["json", "png", "charx"] = "json"
) -> Response:
    """The card as a file for SillyTavern and others."""
    card = await asyncio.to_thread(here.cast.card, user, name)
    if card is None:
        raise not_found("card")
    data = {"json": card.json, "png": card.png, "charx": card.charx}[format]
    headers = {"content-disposition": f'attachment; filename="card.{format}"'}
    return Response(await asyncio.to_thread(data), media_type=_TYPES[format], headers=headers)


@routes.delete("/{name}", status_code=204, response_class=Response)
async def delete(here: Here, user: User, name: str) -> Response:
    """Delete a card that you imported."""
    await asyncio.to_thread(here.cast.remove, user, name)
    return Response(status_code=204)
