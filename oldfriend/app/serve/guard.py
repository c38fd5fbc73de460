"""What every request meets before anything reads it: size, time, host, and how often."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oldfriend.app.serve.errors import ApiError, too_large
from oldfriend.app.serve.settings import ServeParams

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
}


class Guard:
    """Refuses what is too large or too slow, and without keys what another site's page sends.

    Without keys anybody who reaches the port is the one local user. So that no web page can, by a
    form or by a name that it lets point here (DNS rebinding), the host must be a loopback one and
    the origin, where a browser names it, our own.
    """

    def __init__(self, app: ASGIApp, params: ServeParams, local: bool) -> None:
        self._app, self._params, self._local = app, params, local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def polite(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {name for name, _ in message["headers"]}
                own = [(n.encode(), v.encode()) for n, v in HEADERS.items()]
                message["headers"] = [*message["headers"], *(h for h in own if h[0] not in known)]
            await send(message)

        headers = Headers(scope=scope)
        if self._local and not _ours(headers):
            error = ApiError(403, "without API keys only pages of this server may ask", code="host")
            await error.response()(scope, receive, polite)
            return
        most = self._params.max_card if scope["path"] == "/v1/personas" else self._params.max_body
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > most:
            await too_large(most).response()(scope, receive, polite)
            return
        body = _Body(receive, most, self._params.body_seconds)
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await polite(message)

        try:
            await self._app(scope, body, watched)
        except ApiError as error:
            if started:
                raise
            await error.response()(scope, receive, polite)


class _Body:
    """``receive`` within limits. After the body it waits for the client as long as need be."""

    def __init__(self, receive: Receive, most: int, seconds: float) -> None:
        self._receive, self._most = receive, most
        self._read, self._until, self._whole = 0, monotonic() + seconds, False

    async def __call__(self) -> Message:
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.0, self._until - monotonic())):
                message = await self._receive()
        except TimeoutError:
            close = {"Connection": "close"}
            raise ApiError(408, "the request did not arrive in time", headers=close) from None
        self._read += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._read > self._most:
            raise too_large(self._most)
        return message


def _ours(headers: Headers) -> bool:
    host = _host(f"//{headers.get('host', '')}")
    origin = headers.get("origin")
    return host in LOOPBACK and (origin is None or _host(origin) in LOOPBACK)


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


@dataclass
class _Bucket:
    left: float
    at: float


class Rate:
    """So many requests a minute each, with a reserve (token bucket)."""

    def __init__(self, per_minute: int, burst: int, clock: Callable[[], float] = monotonic) -> None:
        self._per_second, self._burst, self._clock = per_minute / 60, burst, clock
        self._buckets: dict[str, _Bucket] = {}

    def take(self, user: str) -> None:
        """Count one request. ApiError 429, with when to come again, if there were too many."""
        now = self._clock()
        bucket = self._buckets.setdefault(user, _Bucket(self._burst, now))
        bucket.left = min(self._burst, bucket.left + (now - bucket.at) * self._per_second)
        bucket.at = now
        if bucket.left < 1:
            wait = max(1, round((1 - bucket.left) / self._per_second + 0.5))
            raise ApiError(
                429, f"too many requests; try again in {wait} s", type="requests",
                code="rate_limit_exceeded", headers={"Retry-After": str(wait)},
            )  # fmt: skip
        bucket.left -= 1
