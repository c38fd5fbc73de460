"""Prometheus metrics of one server. No label says who anybody is."""

from time import perf_counter

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oldfriend.agent.reply import Reply
from oldfriend.app.serve.house import House
from oldfriend.app.serve.wishes import Wishes

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


class Meters:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "oldfriend_requests", "Requests", ("method", "route", "status"), registry=registry
        )
        self.seconds = Histogram(
            "oldfriend_request_seconds", "Until the last byte", ("route",), buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.steps = Histogram(
            "oldfriend_turn_step_seconds", "Of a turn, by step", ("step",), buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.first = Histogram(
            "oldfriend_first_token_seconds", "Until the reply begins", buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.tokens = Counter("oldfriend_tokens", "Tokens", ("kind",), registry=registry)
        self.noted = Counter("oldfriend_notes", "Notes taken", registry=registry)
        self.rows = Histogram(
            "oldfriend_batch_rows", "Drafts written together, each step", buckets=_ROWS,
            registry=registry,
        )  # fmt: skip
        self.waiting = Gauge("oldfriend_waiting", "Requests that wait or run", registry=registry)
        self.behind = Gauge(
            "oldfriend_memory_behind", "Entries not yet in the engine", registry=registry
        )

    def turn(self, reply: Reply, wishes: Wishes) -> None:
        """Count a turn."""
        for step, took in reply.seconds.items():
            self.steps.labels(step).observe(took)
        self.tokens.labels("prompt").inc(wishes.prompt_tokens)
        self.tokens.labels("reply").inc(wishes.tokens)
        self.noted.inc(len(reply.noted))

    def told(self, house: House) -> bytes:
        """All metrics in Prometheus' text format."""
        self.waiting.set(house.waiting)
        self.behind.set(house.pool.behind)
        return generate_latest(self.registry)


class Metered:
    """Counts requests by route, not by address: addresses name memories."""

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app, self._meters = app, meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = perf_counter(), 0

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, seen)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if route != "other" else "other"
            self._meters.requests.labels(method, route, str(status or 500)).inc()
            self._meters.seconds.labels(route).observe(perf_counter() - began)
