"""``oldfriend persona``: look at character cards, take them in, hand them on."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from oldfriend.persona.card import Card

app = typer.Typer(no_args_is_help=True, help="List, show, import, export, train or blend personas.")
FOLDER, DATA = Path("data/seeds/personas"), Path("data/curated")
TRAINED = Path("models/personas")
Folder = Annotated[
    Path, typer.Option("--personas", envvar="OLDFRIEND_PERSONAS", help="Folder with the cards.")
]
Trained = Annotated[Path, typer.Option("--trained", help="Folder with trained personas.")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
Name = Annotated[str, typer.Argument(help="A persona, e.g. dragana.")]


@app.command("list")
def list_(personas: Folder = FOLDER, as_json: Json = False) -> None:
    """The personas there are, with what each would never agree to."""
    from rich.console import Console
    from rich.table import Table

    from oldfriend.app.plain import plain
    from oldfriend.persona import card as cards
    from oldfriend.persona.shelf import card_files

    read = {path: cards.read(path) for path in card_files(personas)}
    if as_json:
        rows = [_summary(path, card) for path, card in read.items()]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table = Table("persona", "name", "card", "tags", "never agrees that")
    for path, card in read.items():
        stands = card.character.never_agrees_to if card.character else ()
        more = f" ... ({len(stands)})" if len(stands) > 1 else ""
        edge = stands[0].claim + more if stands else "-"
        cells = (path.stem, card.data.name, f"V{card.version}", ", ".join(card.data.tags), edge)
        table.add_row(*map(plain, cells))
    Console().print(table if read else f"no cards in {personas}")


@app.command()
def show(name: Name, personas: Folder = FOLDER, as_json: Json = False) -> None:
    """One persona: who it is, what it values, where it will not bend."""
    from rich.console import Console
    from rich.table import Table

    from oldfriend.app.plain import plain
    from oldfriend.persona import exact

    card = _card(name, personas)
    if as_json:
        print(exact.dumps(card.tree))
        return
    table = Table(show_header=False)
    for title, text in _portrait(card):
        if text:
            table.add_row(title, plain(text))
    Console().print(table)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Card as .png, .charx, .json or .yaml.")],
    name: Annotated[str, typer.Option(help="What to call it; from the card without.")] = "",
    as_: Annotated[str, typer.Option("--as", help="Keep it as yaml, json, png or charx.")] = "",
    personas: Folder = FOLDER,
) -> None:
    """Take in a character card; everything in it is kept."""
    from oldfriend.app.plain import plain
    from oldfriend.persona import card as cards
    from oldfriend.persona import shelf

    card = cards.read(file)
    path = shelf.put(card, personas, name, f".{as_.lstrip('.').lower()}" if as_ else "")
    print(f"{plain(card.data.name)} (V{card.version}) is now the persona '{path.stem}': {path}")
    _say_lost(shelf.lost_in(card, path.suffix), path)
    if card.character is None:
        print("the card says nothing of where the character will not bend, so it can be played")
        print("but not trained; docs/personas.md tells what extensions.oldfriend would need")


@app.command()
def export(
    name: Name,
    file: Annotated[Path, typer.Argument(help="Where to; .png, .charx, .json or .yaml.")],
    picture: Annotated[Path | None, typer.Option(help="PNG that a .png card should show.")] = None,
    personas: Folder = FOLDER,
) -> None:
    """Write a persona to FILE, in the format of its suffix, for any program that reads cards."""
    from oldfriend.app.plain import plain
    from oldfriend.persona import card as cards
    from oldfriend.persona import shelf

    card = shelf.dressed(_card(name, personas), picture)
    cards.write(card, file)
    print(f"wrote {plain(card.data.name)} (V{card.version}) to {file}")
    _say_lost(shelf.lost_in(card, file.suffix), file)


@app.command()
def train(
    name: Name,
    trained: Trained = TRAINED,
    friend: Annotated[Path, typer.Option(help="The model to adapt.")] = Path("models/friend"),
    data: Annotated[Path, typer.Option(help="Where `curate` left its rows.")] = DATA,
) -> None:
    """Train one more persona's adapter; `dvc repro persona` does so for those in params.yaml."""
    from oldfriend.lm.fit import Run
    from oldfriend.params import Params
    from oldfriend.persona.train import TARGETS, train_one

    params = Params.load()
    outcome = train_one(
        params.persona, run=Run(Path(".checkpoints/persona"), params.seed), name=name,
        seeds=FOLDER.parent, data=data, friend=friend, personas=trained,
    )  # fmt: skip
    for key in TARGETS:
        print(f"{key}: {outcome.metrics[key]:.2f} ({outcome.metrics[f'{key}_before']:.2f} without)")
    print(f"wrote {trained / name}")


@app.command()
def blend(
    parts: Annotated[list[str], typer.Argument(help="NAME=WEIGHT, e.g. dez=0.6 mairi=0.4.")],
    name: Annotated[str, typer.Option(help="What to call the blend.")],
    trained: Trained = TRAINED,
) -> None:
    """Mix trained personas into one adapter, by weight."""
    from oldfriend.errors import InputError
    from oldfriend.persona import adapters

    mix = {}
    for part in parts:
        persona, _, weight = part.partition("=")
        try:
            mix[trained / persona] = float(weight)
        except ValueError:
            raise InputError(f"{part!r} is not NAME=WEIGHT") from None
    adapters.blend(mix, trained / name)
    print(f"wrote {trained / name}")


def _card(name: str, personas: Path) -> "Card":
    from oldfriend.persona import card as cards
    from oldfriend.persona.shelf import find

    return cards.read(find(personas, name))


def _say_lost(lost: list[str], path: Path) -> None:
    if lost:
        from oldfriend.app.plain import plain

        print(f"{path.name} cannot hold {plain(', '.join(lost))}; .png and .charx can")


def _summary(path: Path, card: "Card") -> dict[str, object]:
    stands = card.character.never_agrees_to if card.character else ()
    return {
        "persona": path.stem, "name": card.data.name, "version": card.version,
        "file": str(path), "tags": list(card.data.tags),
        "never_agrees_to": [stand.claim for stand in stands],
    }  # fmt: skip


def _portrait(card: "Card") -> list[tuple[str, str]]:
    from oldfriend.persona.macros import expand

    data, character = card.data, card.character

    def told(text: str) -> str:
        return expand(text, data.called, "you")

    book = data.character_book
    rows = [
        ("name", data.name),
        ("description", told(data.description)),
        ("personality", told(data.personality)),
        ("scenario", told(data.scenario)),
        ("greeting", told(data.first_mes)),
        ("other greetings", str(len(data.alternate_greetings))),
        ("lore", "\n".join(", ".join(e.keys) or e.name for e in book.entries) if book else ""),
        ("notes", data.creator_notes),
    ]
    if character is None:
        return rows
    stands = (f"{stand.claim} (but {stand.belief})" for stand in character.never_agrees_to)
    return [
        *rows,
        ("values", "\n".join(character.values)),
        ("humour", character.humour),
        ("sore points", "\n".join(character.sore_points)),
        ("never agrees that", "\n".join(stands)),
        ("style", character.speech.style),
        ("never says", ", ".join(character.never)),
    ]
