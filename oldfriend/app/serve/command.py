"""``oldfriend serve``: the friend over HTTP, for OpenAI clients and in the browser."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from oldfriend.app.options import (
    FOLDER,
    MINILM,
    MODELS,
    Encoder,
    Memory,
    Models,
    Url,
    User,
)
from oldfriend.errors import InputError, MissingDataError

app = typer.Typer(help="Serve the friend: OpenAI's API, memories and a web chat.")
keys = typer.Typer(no_args_is_help=True, help="API keys: who may ask, and whose memories.")
app.add_typer(keys, name="keys")
KEYS = Path("keys.json")
KeyFile = Annotated[
    Path, typer.Option("--keys", envvar="OLDFRIEND_KEYS", help="File with the hashes of API keys.")
]
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PARTS = ("uvicorn", "httpx", "prometheus_client")


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    user: User,
    host: Annotated[str, typer.Option(help="Address; others than loopback need keys.")] = LOOPBACK[
        0
    ],
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    key_file: KeyFile = KEYS,
    memory: Memory = FOLDER,
    models: Models = MODELS,
    personas: Annotated[
        Path, typer.Option(envvar="OLDFRIEND_PERSONAS", help="Folder with everybody's cards.")
    ] = Path("data/seeds/personas"),
    url: Url = "",
    encoder: Encoder = MINILM,
    backend: Annotated[
        str, typer.Option(help="An OpenAI-compatible server that writes the replies instead.")
    ] = "",
    backend_model: Annotated[str, typer.Option(help="Its model.")] = "",
    resources: Annotated[
        Path | None, typer.Option(help="YAML file of whom somebody in danger can turn to.")
    ] = None,
    per_minute: Annotated[int, typer.Option(min=1, help="Requests of one person.")] = 120,
) -> None:
    """Serve on loopback for yourself, or with `serve keys add USER` for many; Ctrl-C stops it."""
    if context.invoked_subcommand:
        return
    from oldfriend.app.serve.settings import ServeParams

    if missing := [part for part in PARTS if find_spec(part) is None]:
        raise MissingDataError(f"no {missing[0]}; run: pip install 'oldfriend[serve]'")
    keyed = key_file.is_file()
    if not keyed and host not in LOOPBACK:
        raise InputError(f"{host} is open to others; first run: oldfriend serve keys add USER")
    if bool(backend) != bool(backend_model):
        raise InputError("--backend and --backend-model go together")
    from oldfriend.app.serve.run import run

    run(
        host, port, memory=memory, models=models, personas=personas,
        keys=key_file if keyed else None, user=user, url=url, encoder=encoder, backend=backend,
        backend_model=backend_model, backend_key=os.environ.get("OLDFRIEND_BACKEND_KEY", ""),
        resources=resources, params=ServeParams(per_minute=per_minute),
    )  # fmt: skip


@keys.command()
def add(
    user: Annotated[str, typer.Argument(help="Whose memories the key opens.")],
    key_file: KeyFile = KEYS,
) -> None:
    """Make a key of USER. It is shown once; only its hash is kept."""
    from oldfriend.app.serve.keys import add as new

    print(new(key_file, user))


@keys.command("list")
def list_(key_file: KeyFile = KEYS) -> None:
    """Whose keys there are."""
    from oldfriend.app.serve.keys import read

    for key in read(key_file):
        print(f"{key.name}  {key.created_at:%Y-%m-%d}  {key.user}")


@keys.command()
def remove(
    key: Annotated[str, typer.Argument(help="Its name in the list.")], key_file: KeyFile = KEYS
) -> None:
    """Take a key back; a running server refuses it at once."""
    from oldfriend.app.serve.keys import remove as gone

    print(f"a key of {gone(key_file, key).user} is no longer one")
