"""Options that the commands with a memory share, and how they open it. Imports nothing heavy."""

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oldfriend.errors import MissingDataError

if TYPE_CHECKING:
    from oldfriend.agent.friend import Friend

User = Annotated[
    str,
    typer.Option(
        envvar="OLDFRIEND_USER", help="Whose memories; everyone has their own.",
        default_factory=getpass.getuser, show_default="login name",
    ),
]  # fmt: skip
Memory = Annotated[Path, typer.Option(envvar="OLDFRIEND_MEMORY", help="Folder with the memories.")]
Models = Annotated[Path, typer.Option(help="Folder with the models of `dvc repro`.")]
Url = Annotated[
    str, typer.Option(envvar="QDRANT_URL", help="Qdrant server; embedded in the folder without.")
]
Encoder = Annotated[
    str,
    typer.Option(
        "--embedder", envvar="OLDFRIEND_EMBEDDER",
        help="minilm, or a sentence-transformers id or folder.",
    ),
]  # fmt: skip
FOLDER, MODELS, MINILM = Path("memory"), Path("models"), "minilm"


def open_friend(
    memory: Path, models: Path, url: str, encoder: str, *, must_exist: bool = True
) -> "Friend":
    """The friend with these memories; without ``must_exist`` a new folder is made for them."""
    from oldfriend.agent.friend import Friend

    if must_exist:
        there(memory)
    key = os.environ.get("QDRANT_API_KEY")
    return Friend.open(memory, models, url=url or None, api_key=key, encoder=encoder)


def there(memory: Path) -> None:
    """MissingDataError if nothing was ever remembered in this folder."""
    if not (memory / "meta.json").is_file():
        raise MissingDataError(
            f"no memories in '{memory}'; talk first (oldfriend chat), or name the folder (--memory)"
        )
