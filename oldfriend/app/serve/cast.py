"""The personas that a person can talk with: those of the server, and the cards they brought."""

import re
import shutil
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from oldfriend.app.serve.errors import ApiError, not_found
from oldfriend.app.serve.schema import Model
from oldfriend.errors import InputError, OldFriendError
from oldfriend.memory.store.engine import tenant_key
from oldfriend.persona import card as cards
from oldfriend.persona import shelf
from oldfriend.persona.card import Card
from oldfriend.persona.macros import expand

PLAIN = "friend"  # the model without any persona
LONGEST_GREETING = 4000


class Cast:
    """Cards in ``common`` are everybody's; what a person imports lies below ``own``, under a key
    that does not tell their name, and nobody else sees it."""

    def __init__(self, common: Path, own: Path, most: int) -> None:
        self._common, self._own, self._most = common, own, most

    def models(self, user: str) -> list[Model]:
        """What this person can choose from, the plain friend first. Broken cards are left out."""
        found = [Model(id=PLAIN, created=0, owned_by="oldfriend", name="Old friend")]
        for name, path in self._files(user).items():
            try:
                found.append(self._model(user, name, path))
            except OldFriendError:
                continue
        return found

    def model(self, user: str, name: str) -> Model:
        """One of ``models``. 404 if there is none of that name for this person."""
        if name == PLAIN:
            return self.models(user)[0]
        return self._model(user, name, self._path(user, name))

    def card(self, user: str, name: str) -> Card | None:
        """The card of a model; None for the plain friend."""
        return None if name == PLAIN else _read(self._path(user, name))

    def add(self, user: str, data: bytes, filename: str) -> Model:
        """Take in a card. InputError if it is none, or if there is one of its name."""
        mine = self._mine(user)
        if mine.is_dir() and len(list(shelf.card_files(mine))) >= self._most:
            raise InputError(f"you have {self._most} cards; delete one first")
        suffix = Path(filename).suffix.lower()
        named = Path(f"card{suffix if suffix in cards.SUFFIXES else ''}")
        card = cards.load(data, named)
        name = _name(card)
        if name in {PLAIN, *self._files(user)}:
            raise ApiError(409, f"there is a persona {name!r} already", code="exists")
        keep = ".json" if suffix not in (".png", ".charx") else suffix
        path = shelf.put(card, mine, name, keep)
        return self._model(user, path.stem, path)

    def remove(self, user: str, name: str) -> None:
        """Delete an imported card. 404 if it is not this person's own."""
        path = self._path(user, name)
        if path.parent != self._mine(user):
            raise not_found("persona of your own", "model_not_found")
        path.unlink(missing_ok=True)

    def forget(self, user: str) -> None:
        """Delete all that this person imported."""
        shutil.rmtree(self._mine(user), ignore_errors=True)

    def _mine(self, user: str) -> Path:
        return self._own / tenant_key(user)

    def _files(self, user: str) -> dict[str, Path]:
        folders = [folder for folder in (self._mine(user), self._common) if folder.is_dir()]
        return {path.stem: path for folder in folders for path in shelf.card_files(folder)}

    def _path(self, user: str, name: str) -> Path:
        path = self._files(user).get(name)
        if path is None:
            raise not_found(f"model {name!r}; see /v1/models", "model_not_found", "model")
        return path

    def _model(self, user: str, name: str, path: Path) -> Model:
        card = _read(path)
        return Model(
            id=name,
            created=int(path.stat().st_mtime),
            owned_by="you" if path.parent == self._mine(user) else "oldfriend",
            name=card.data.called,
            greeting=expand(card.data.first_mes, card.data.called, "you")[:LONGEST_GREETING],
            own=path.parent == self._mine(user),
            picture=card.picture is not None,
        )


def _name(card: Card) -> str:
    """What a card is called here, also where its name has no Latin letter."""
    plain = re.sub(r"[^a-z0-9]+", "-", card.data.called.lower()).strip("-")[:64]
    return plain or f"card-{sha256(card.payload).hexdigest()[:8]}"


def _read(path: Path) -> Card:
    stat = path.stat()
    return _cached(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _cached(path: Path, changed: int, size: int) -> Card:
    return cards.read(path)
