"""The server as a process."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import uvicorn

from oldfriend.app.serve.app import build
from oldfriend.app.serve.elsewhere import ElsewhereVoice
from oldfriend.app.serve.house import House
from oldfriend.app.serve.settings import ServeParams


def run(
    host: str,
    port: int,
    *,
    memory: Path,
    models: Path,
    personas: Path,
    keys: Path | None,
    user: str,
    url: str = "",
    encoder: str = "minilm",
    backend: str = "",
    backend_model: str = "",
    backend_key: str = "",
    resources: Path | None = None,
    params: ServeParams | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; then finish what was begun, within the grace time, and sum up
    the conversations. A kill -9 loses at most turns that no client has seen the end of."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    params = params or ServeParams()
    voice = ElsewhereVoice(backend, backend_model, api_key=backend_key) if backend else None

    def house(seen: Callable[[int], None]) -> House:
        return House.open(
            memory, models, url=url or None, api_key=os.environ.get("QDRANT_API_KEY"),
            encoder=encoder, voice=voice, params=params, seen=seen, resources=resources,
        )  # fmt: skip

    app = build(
        house, personas_folder=personas, cards=memory.parent / f"{memory.name}-cards",
        keys=keys, local=user, params=params,
    )  # fmt: skip
    print(f"the friend is at http://{host}:{port}, and OpenAI's clients at /v1; Ctrl-C stops")
    uvicorn.run(
        app, host=host, port=port, log_level="warning", access_log=False, server_header=False,
        timeout_graceful_shutdown=params.grace_seconds, timeout_keep_alive=10,
        h11_max_incomplete_event_size=64 << 10,
    )  # fmt: skip
