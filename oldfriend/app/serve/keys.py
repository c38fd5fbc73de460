"""API keys: who is asking. A file holds their hashes, so that reading it opens nothing."""

import hashlib
import os
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field, ValidationError

from oldfriend.corpus.schema import Row
from oldfriend.errors import InputError
from oldfriend.files import write_json

PREFIX = "of-"
SHOWN = 12  # digits of a hash that name a key
MAX_FILE = 16 << 20


class Key(Row):
    """A key by its SHA-256: its 256 random bits are beyond guessing, so no slow hash is needed."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    user: str = Field(min_length=1, max_length=256)
    created_at: datetime

    @property
    def name(self) -> str:
        """The beginning of its hash, which is enough to name it."""
        return self.sha256[:SHOWN]


class _File(Row):
    keys: tuple[Key, ...] = ()


class Keys:
    """The keys in a file, read again when it changes: a removed key ends at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._users: dict[str, str] = {}

    def user(self, token: str) -> str | None:
        """Whose key ``token`` is; None if it is nobody's."""
        self._refresh()
        return self._users.get(digest(token))

    def _refresh(self) -> None:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            self._users, self._stamp = {}, None  # no file, no keys: nobody gets in
            return
        stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if stamp != self._stamp:
            self._users = {key.sha256: key.user for key in read(self._path)}
            self._stamp = stamp


def digest(token: str) -> str:
    """The SHA-256 of a key in hex."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def read(path: Path) -> tuple[Key, ...]:
    """The keys in a file; none if it is not there. InputError if it is no file of keys."""
    if not path.exists():
        return ()
    if path.stat().st_size > MAX_FILE:
        raise InputError(f"larger than {MAX_FILE:,} bytes", path=path)
    try:
        return _File.model_validate_json(path.read_bytes()).keys
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(f"no file of keys: {first['msg']}", path=path, field=field) from None


def add(path: Path, user: str) -> str:
    """A new key of ``user``; it is told once and kept nowhere."""
    if not user or not user.isprintable() or len(user) > 256:
        raise InputError("a user is named by 1 to 256 printable characters", field="user")
    token = PREFIX + secrets.token_urlsafe(32)
    key = Key(sha256=digest(token), user=user, created_at=datetime.now(UTC))
    _write(path, [*read(path), key])
    return token


def remove(path: Path, name: str) -> Key:
    """Take back the key that ``name``, the beginning of its hash, stands for."""
    keys = read(path)
    found = [key for key in keys if name and key.sha256.startswith(name.lower())]
    if len(found) != 1:
        problem = f"{len(found)} keys begin with" if found else "no key begins with"
        raise InputError(f"{problem} {name!r}; see: oldfriend serve keys list", field="key")
    _write(path, [key for key in keys if key is not found[0]])
    return found[0]


def _write(path: Path, keys: Sequence[Key]) -> None:
    write_json(path, {"keys": [key.model_dump(mode="json") for key in keys]})
    os.chmod(path, 0o600)
