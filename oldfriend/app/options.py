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
PersonaName = Annotated[
    str,
    typer.Option(
        "--persona", envvar="OLDFRIEND_PERSONA",
        help="Who the friend is; `oldfriend persona list` shows the names.",
    ),
]  # fmt: skip
Help = Annotated[
    Path | None,
    typer.Option("--resources", envvar="OLDFRIEND_RESOURCES", help="YAML: whom to call in danger."),
]
FOLDER, MODELS, MINILM = Path("memory"), Path("models"), "minilm"
CARDS = Path("data/seeds/personas")


def open_friend(
    memory: Path, models: Path, url: str, encoder: str, *, must_exist: bool = True,
    persona: str = "", resources: Path | None = None,
) -> "Friend":  # fmt: skip
    """The friend with these memories; without ``must_exist`` a new folder is made for them.

    ``persona``: a card of CARDS, spoken through its adapter if one was trained.
    """
    from oldfriend.agent.friend import Friend
    from oldfriend.persona import shelf

    if must_exist:
        there(memory)
    card = shelf.find(CARDS, persona) if persona else None
    trained = models / "personas" / persona
    adapter = trained if persona and (trained / "adapter_config.json").is_file() else None
    return Friend.open(
        memory, models, url=url or None, api_key=os.environ.get("QDRANT_API_KEY"), encoder=encoder,
        card=card, adapter=adapter, resources=resources,
    )  # fmt: skip


def there(memory: Path) -> None:
    """MissingDataError if nothing was ever remembered in this folder."""
    if not (memory / "meta.json").is_file():
        raise MissingDataError(
            f"no memories in '{memory}'; talk first (oldfriend chat), or name the folder (--memory)"
        )
