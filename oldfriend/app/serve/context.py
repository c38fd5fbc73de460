"""What the routes share: who is asking, and what they may use."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from oldfriend.app.serve.cast import Cast
from oldfriend.app.serve.errors import ApiError, ErrorBody
from oldfriend.app.serve.guard import Rate
from oldfriend.app.serve.house import House
from oldfriend.app.serve.keys import Keys
from oldfriend.app.serve.meters import Meters

REFUSALS: dict[int | str, dict[str, object]] = {
    status: {"model": ErrorBody, "description": why}
    for status, why in {
        400: "not understood", 401: "no key, or nobody's", 403: "not from there",
        404: "not there, or not yours", 408: "too slow", 413: "too large", 429: "too often",
        500: "our fault", 503: "stopping, or too much at once",
    }.items()
}  # fmt: skip


@dataclass(frozen=True)
class Serving:
    """One server. ``keys`` None: no keys are asked for, and everybody is ``local``."""

    house: House
    cast: Cast
    keys: Keys | None
    local: str
    rate: Rate
    meters: Meters


def serving(request: Request) -> Serving:
    """The server that a request came to."""
    return cast(Serving, request.app.state.serving)


def asker(request: Request) -> str:
    """Who is asking, by their key and by nothing else. Counts the request."""
    here = serving(request)
    user: str | None = here.local
    if here.keys is not None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        user = here.keys.user(token.strip()) if scheme.lower() == "bearer" else None
    if user is None:
        raise ApiError(
            401, "give your API key as: Authorization: Bearer KEY", code="invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )  # fmt: skip
    here.rate.take(user)
    return user


Here = Annotated[Serving, Depends(serving)]
User = Annotated[str, Depends(asker)]
