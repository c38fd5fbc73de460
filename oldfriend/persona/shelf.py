"""A folder of cards: NAME.yaml, NAME.json, NAME.png or NAME.charx."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from oldfriend.errors import InputError, MissingDataError
from oldfriend.persona import card as cards
from oldfriend.persona.card import Card

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def card_files(folder: Path) -> Iterator[Path]:
    """The card files of a folder, by name."""
    if not folder.is_dir():
        raise MissingDataError(f"no folder {folder} with persona cards")
    return (p for p in sorted(folder.iterdir()) if p.suffix.lower() in cards.SUFFIXES)


def find(folder: Path, name: str) -> Path:
    """The file of the card ``name``. InputError if there is none, or more than one."""
    files = list(card_files(folder))
    found = [path for path in files if path.stem == name]
    if not found:
        known = ", ".join(sorted({path.stem for path in files})) or "none"
        raise InputError(f"no persona {name!r} in {folder}; there are {known}")
    if len(found) > 1:
        several = " and ".join(path.name for path in found)
        raise InputError(f"{name!r} could be {several}; move one away", path=folder)
    return found[0]


def put(card: Card, folder: Path, name: str = "", suffix: str = "") -> Path:
    """Keep ``card`` in ``folder``, in the format of its own file unless ``suffix`` says another.

    Its name is ``name``, or comes from the character's. InputError if that name is taken.
    """
    name = name or re.sub(r"[^a-z0-9]+", "-", card.data.called.lower()).strip("-")[:64]
    if not _NAME.fullmatch(name):
        problem = f"{name!r} is no name for a file: letters a-z, digits, - and _"
        raise InputError(f"{problem}; give another with --name", field="name")
    if folder.is_dir() and any(path.stem == name for path in card_files(folder)):
        raise InputError(f"there is a persona {name!r} already; give another --name", path=folder)
    own = card.path.suffix.lower() if card.path else ".json"
    path = folder / f"{name}{suffix or (own if own in cards.SUFFIXES else '.json')}"
    cards.write(card, path)
    return path


def lost_in(card: Card, suffix: str) -> list[str]:
    """What a file with this suffix cannot hold of ``card``."""
    if suffix.lower() in (".png", ".charx"):
        return []
    return (["the picture"] if card.picture is not None else []) + sorted(card.assets)


def dressed(card: Card, picture: Path | None) -> Card:
    """``card`` in the picture of a PNG file; a card in that file is not touched."""
    if picture is None:
        return card
    from oldfriend.persona import png
    from oldfriend.persona.limits import LIMITS

    if not picture.is_file():
        raise InputError("no such file", path=picture)
    if picture.stat().st_size > LIMITS.file_bytes:
        raise InputError("too large for the picture of a card", path=picture)
    return replace(card, picture=png.parse(picture.read_bytes(), picture).bare().encode())
