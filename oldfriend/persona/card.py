"""Character cards of any version, from any container and into any other, with nothing lost.

A card that is read and written unchanged gives back the bytes of its JSON (or YAML); a picture
keeps its other chunks, a CharX its other files. Programs read ``card.data``.
"""

import copy
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from oldfriend.errors import InputError
from oldfriend.files import atomic_write
from oldfriend.persona import charx, exact, plainyaml, png
from oldfriend.persona.character import Character, read_character
from oldfriend.persona.fields import CardData
from oldfriend.persona.limits import LIMITS, Limits

Version = Literal[1, 2, 3]
Notation = Literal["json", "yaml"]
SUFFIXES = (".yaml", ".yml", ".json", ".png", ".charx")
PICTURE = "assets/icon/images/main.png"  # where a picture goes when its card becomes a CharX
_V1_FIELDS = ("name", "description", "personality", "scenario", "first_mes", "mes_example")
_V2_TEXTS = ("creator_notes", "system_prompt", "post_history_instructions")
_SPECS: dict[str, Version] = {"chara_card_v2": 2, "chara_card_v3": 3}
_BACKFILLED = "This is a Character Card V3 read as V2; open it where V3 is known to see all of it."


@dataclass(frozen=True)
class Card:
    """One card. Change it with ``edited``, which leaves this one as it is.

    ``tree`` is the whole JSON object with every unknown field, ``payload`` the bytes it was read
    from, ``picture`` a PNG without the card, ``assets`` other files by name.
    """

    tree: Mapping[str, Any]
    data: CardData
    version: Version
    payload: bytes
    notation: Notation = "json"
    picture: bytes | None = None
    assets: Mapping[str, bytes] = field(default_factory=dict)
    path: Path | None = None

    @property
    def character(self) -> Character | None:
        """The character in ``extensions.oldfriend``, if this card has one."""
        return read_character(self.data.extensions, self.path)

    def edited(self, **fields: Any) -> "Card":
        """A copy with these fields of ``data`` set. InputError if they do not fit."""
        tree = copy.deepcopy(dict(self.tree))
        (tree if self.version == 1 else tree["data"]).update(fields)
        return self._made(tree)

    def to(self, version: Version) -> "Card":
        """This card as V2 or V3, every field kept. InputError for a way back, which would lose."""
        if version < self.version:
            raise InputError(f"V{self.version} does not become V{version} without loss")
        tree = copy.deepcopy(dict(self.tree))
        for step in range(self.version, version):
            tree = _second(tree) if step == 1 else _third(tree)
        return self if version == self.version else self._made(tree)

    def json(self) -> bytes:
        """The card's JSON: the very bytes it was read from, if it was JSON."""
        return self.payload if self.notation == "json" else exact.dumps(self.tree).encode()

    def yaml(self) -> bytes:
        """The card's YAML: the very bytes it was read from, if it was YAML."""
        return self.payload if self.notation == "yaml" else plainyaml.dumps(self.tree).encode()

    def png(self) -> bytes:
        """A picture with this card in it; V3 goes in as V2 too, for programs that know no V3."""
        picture, files = self.picture, dict(self.assets)
        if picture is None and _plain_picture(files.get(PICTURE)):
            picture = files.pop(PICTURE)
        base = png.blank(self.data.name) if picture is None else png.parse(picture, self.path)
        texts = {"chara": self.json()}
        if self.version == 3:
            texts = {"chara": _backfill(self.tree), "ccv3": self.json()}
        texts |= {png.asset_keyword(name): body for name, body in files.items()}
        return base.bare().with_texts(texts).encode()

    def charx(self) -> bytes:
        """A zip with this card as V3 and all its files, the picture among them."""
        files = {charx.CARD: self.to(3).json()}
        files |= {name: body for name, body in self.assets.items() if name != charx.CARD}
        if self.picture not in (None, png.blank(self.data.name).encode()):
            files[_free(PICTURE, files)] = self.picture or b""
        return charx.encode(files)

    def _made(self, tree: dict[str, Any]) -> "Card":
        payload = exact.dumps(tree).encode()
        fresh = parse(payload, "json", self.path)
        return replace(fresh, picture=self.picture, assets=self.assets)


def read(path: Path, limits: Limits = LIMITS) -> Card:
    """The card in a file; its beginning tells the format, and only YAML needs its suffix.

    InputError names the file, the place and the field of what is wrong with it.
    """
    if not path.is_file():
        raise InputError("no such file", path=path)
    if (size := path.stat().st_size) > limits.file_bytes:
        raise InputError(f"{size:,} bytes; at most {limits.file_bytes:,} are read", path=path)
    return load(path.read_bytes(), path, limits)


def load(data: bytes, path: Path | None = None, limits: Limits = LIMITS) -> Card:
    """The card in the bytes of a file. See ``read``."""
    if data.startswith(png.SIGNATURE):
        whole = png.parse(data, path, limits)
        _, payload = png.card_text(whole, path)
        assets = png.assets(whole, path, limits)
        card = parse(payload, "json", path, limits)
        return replace(card, picture=whole.bare().encode(), assets=assets)
    if data.startswith(b"PK"):
        files = charx.parse(data, path, limits)
        card = parse(files.pop(charx.CARD), "json", path, limits)
        return replace(card, assets=files)
    is_yaml = path is not None and path.suffix.lower() in (".yaml", ".yml")
    return parse(data, "yaml" if is_yaml else "json", path, limits)


def parse(
    payload: bytes, notation: Notation, path: Path | None = None, limits: Limits = LIMITS
) -> Card:
    """The card in JSON or YAML text. InputError names the field that is missing or wrong."""
    reader = exact.loads if notation == "json" else plainyaml.loads
    tree = reader(payload, path, limits)
    version, inner = _version(tree, path)
    book = inner.get("character_book")
    entries = book.get("entries") if isinstance(book, dict) else None
    if isinstance(entries, list) and len(entries) > limits.lore_entries:
        problem = f"{len(entries):,} entries; at most {limits.lore_entries:,}"
        raise InputError(problem, path=path, field="data.character_book.entries")
    prefix = () if version == 1 else ("data",)
    try:
        data = CardData.model_validate(exact.whole(inner))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(exact.shown(str(part)) for part in (*prefix, *first["loc"]))
        raise InputError(first["msg"], path=path, field=name) from None
    return Card(tree, data, version, payload, notation, path=path)


def write(card: Card, path: Path) -> None:
    """Write ``card`` in the format of the suffix of ``path``, whole or not at all."""
    writers = {
        ".json": card.json, ".yaml": card.yaml, ".yml": card.yaml,
        ".png": card.png, ".charx": card.charx,
    }  # fmt: skip
    if path.suffix.lower() not in writers:
        raise InputError(f"a card is written as one of {', '.join(SUFFIXES)}", path=path)
    body = writers[path.suffix.lower()]()
    with atomic_write(path, "wb") as out:
        out.write(body)


def _version(tree: Any, path: Path | None) -> tuple[Version, dict[str, Any]]:
    """The version of a card and the object that holds its fields."""
    if not isinstance(tree, dict):
        raise InputError("a card is an object, and this is not", path=path)
    if "spec" not in tree and "data" not in tree:
        if "name" not in tree or not any(name in tree for name in _V1_FIELDS[1:]):
            raise InputError("no character card: neither 'spec' nor the fields of V1", path=path)
        return 1, tree
    spec = tree.get("spec")
    if not isinstance(spec, str) or spec not in _SPECS:
        problem = f"'{exact.shown(str(spec))}' is none of {', '.join(_SPECS)}"
        raise InputError(problem, path=path, field="spec")
    inner = tree.get("data")
    if not isinstance(inner, dict):
        raise InputError("the card's fields are missing", path=path, field="data")
    return _SPECS[spec], inner


def _second(tree: dict[str, Any]) -> dict[str, Any]:
    """V1 to V2: the six fields move into ``data``; what else lay beside them stays there."""
    data: dict[str, Any] = {name: tree.get(name, "") for name in _V1_FIELDS}
    data |= dict.fromkeys(_V2_TEXTS, "") | {"alternate_greetings": [], "tags": []}
    data |= {"creator": "", "character_version": "", "extensions": {}}
    rest = {key: value for key, value in tree.items() if key not in _V1_FIELDS}
    return {"spec": "chara_card_v2", "spec_version": "2.0", "data": data, **rest}


def _third(tree: dict[str, Any]) -> dict[str, Any]:
    """V2 to V3: what V3 demands is added where it is missing; nothing is taken away."""
    made = tree | {"spec": "chara_card_v3", "spec_version": "3.0"}
    made["data"].setdefault("group_only_greetings", [])
    book = made["data"].get("character_book")
    for entry in book.get("entries") or () if isinstance(book, dict) else ():
        entry.setdefault("use_regex", False)
    return made


def _backfill(tree: Mapping[str, Any]) -> bytes:
    """The V2 copy of a V3 card for older programs, with V3's advice to say so in the notes."""
    made = copy.deepcopy(dict(tree)) | {"spec": "chara_card_v2", "spec_version": "2.0"}
    notes = made["data"].get("creator_notes") or ""
    made["data"]["creator_notes"] = f"{_BACKFILLED}\n\n{notes}".rstrip()
    return exact.dumps(made, indent=None).encode()


def _free(name: str, taken: Container[str]) -> str:
    """``name``, or the same with the first number that makes it new."""
    stem, dot, suffix = name.rpartition(".")
    return next(
        found
        for found in (name, *(f"{stem}-{number}{dot}{suffix}" for number in range(2, 10_000)))
        if found not in taken
    )


def _plain_picture(data: bytes | None) -> bool:
    """Whether this is a PNG that carries no card of its own."""
    if data is None:
        return False
    try:
        picture = png.parse(data)
    except InputError:
        return False
    return picture.bare() == picture
