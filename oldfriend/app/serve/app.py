"""The application: routes, guards, and a lifespan that loses nothing."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel

import oldfriend.app
from oldfriend.app.serve import chat, memories, personas
from oldfriend.app.serve.cast import Cast
from oldfriend.app.serve.context import Here, Serving
from oldfriend.app.serve.errors import install
from oldfriend.app.serve.guard import Guard, Rate
from oldfriend.app.serve.house import House
from oldfriend.app.serve.keys import Keys
from oldfriend.app.serve.meters import CONTENT_TYPE, Metered, Meters
from oldfriend.app.serve.settings import ServeParams

WEB = Path(oldfriend.app.__file__).parent / "web"


class Health(BaseModel):
    """``keys``: whether a key is asked for. ``memory_behind``: entries that wait for the engine."""

    status: str
    keys: bool
    memory_behind: int


def build(
    house: Callable[[Callable[[int], None]], House],
    *,
    personas_folder: Path,
    cards: Path,
    keys: Path | None = None,
    local: str = "me",
    params: ServeParams | None = None,
) -> FastAPI:
    """The application. ``house`` is opened when the server starts and closed when it stops; it is
    told where to report the size of batches. Without ``keys`` everybody is ``local``."""
    params, meters = params or ServeParams(), Meters()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        opened = house(meters.rows.observe)
        app.state.serving = Serving(
            opened, Cast(personas_folder, cards, params.max_cards),
            Keys(keys) if keys else None, local, Rate(params.per_minute, params.burst), meters,
        )  # fmt: skip
        try:
            yield
        finally:
            await opened.close()

    app = FastAPI(
        title="oldfriend", version="1", lifespan=lifespan, docs_url=None, redoc_url=None,
        openapi_url="/v1/openapi.json", separate_input_output_schemas=False,
    )  # fmt: skip
    install(app)
    app.add_middleware(Guard, params=params, local=keys is None)
    app.add_middleware(Metered, meters=meters)
    for part in (chat.routes, memories.routes, personas.routes):
        app.include_router(part)

    @app.get("/health", tags=["server"])
    async def health(here: Here, response: Response) -> Health:
        """Whether the server takes requests."""
        stopping = here.house.closed
        response.status_code = 503 if stopping else 200
        status = "stopping" if stopping else "ok"
        return Health(status=status, keys=keys is not None, memory_behind=here.house.pool.behind)

    @app.get("/metrics", include_in_schema=False)
    async def metrics(here: Here) -> Response:
        return Response(here.meters.told(here.house), media_type=CONTENT_TYPE)

    app.mount("/", StaticFiles(directory=WEB, html=True), name="web")
    app.openapi = lambda: _described(app, keys is not None)  # type: ignore[method-assign]
    return app


def _described(app: FastAPI, keyed: bool) -> dict[str, Any]:
    """The OpenAPI description: malformed requests get 400 here, not FastAPI's 422."""
    if app.openapi_schema:
        return app.openapi_schema
    found = get_openapi(title=app.title, version=app.version, routes=app.routes)
    for path, methods in found["paths"].items():
        for operation in methods.values():
            operation["responses"].pop("422", None)
            if keyed and path.startswith("/v1/"):
                operation["security"] = [{"key": []}]
    parts = found["components"]
    for name in ("HTTPValidationError", "ValidationError"):
        parts["schemas"].pop(name, None)
    if keyed:
        parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    app.openapi_schema = found
    return found
