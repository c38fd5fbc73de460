"""CharX: a zip with ``card.json`` and the files that it mentions, read from strangers."""

import io
import re
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from oldfriend.errors import InputError
from oldfriend.persona.exact import shown
from oldfriend.persona.limits import LIMITS, Limits

CARD = "card.json"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DRIVE = re.compile(r"[A-Za-z]:")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same card gives the same bytes


def parse(data: bytes, path: Path | None = None, limits: Limits = LIMITS) -> dict[str, bytes]:
    """All files of a CharX by name, folders left out.

    InputError names the file and the member: no zip, no card, encrypted, unsafe name, a name
    twice, damaged, or larger than ``limits`` (judged before anything is unpacked, and again while).
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _members(archive, path, limits)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(f"damaged zip: {error}", path=path) from None
    except (NotImplementedError, RuntimeError, ValueError, OSError) as error:  # zipfile's own mix
        raise InputError(f"a zip that cannot be read: {error}", path=path) from None


def encode(members: Mapping[str, bytes]) -> bytes:
    """A zip of ``members`` in their order; the same members always give the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, body in members.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, body)
    return out.getvalue()


def safe_name(name: str, path: Path | None = None) -> str:
    """``name`` itself; InputError if unpacking it could leave the folder it is unpacked into."""
    parts = name.split("/")
    bad = (
        not name or "\\" in name or "\0" in name or _DRIVE.match(name)
        or any(part in ("", ".", "..") for part in parts)
    )  # fmt: skip
    if bad:
        raise InputError("this name leads out of the card's folder", path=path, field=shown(name))
    return name


def _members(archive: zipfile.ZipFile, path: Path | None, limits: Limits) -> dict[str, bytes]:
    entries = archive.infolist()
    if len(entries) > limits.members:
        raise InputError(f"{len(entries):,} files; at most {limits.members:,}", path=path)
    declared = sum(entry.file_size for entry in entries)
    if declared > limits.unpacked_bytes:
        problem = f"would unpack to {declared:,} bytes; at most {limits.unpacked_bytes:,}"
        raise InputError(problem, path=path)
    found: dict[str, bytes] = {}
    left = limits.unpacked_bytes
    for entry in entries:
        name = safe_name(entry.filename.removesuffix("/"), path)
        _judge(entry, name in found, path)
        if entry.is_dir():
            continue
        with archive.open(entry) as member:
            body = member.read(left + 1)
        left -= len(body)
        if left < 0:
            raise InputError("unpacks to more than it says", path=path, field=shown(name))
        found[name] = body
    if CARD not in found:
        raise InputError(f"no {CARD} at the root of this zip, so no card", path=path)
    return found


def _judge(entry: zipfile.ZipInfo, known: bool, path: Path | None) -> None:
    """InputError for what an honest card never holds."""
    name = shown(entry.filename)
    if known:
        raise InputError("stands twice in this zip", path=path, field=name)
    if entry.flag_bits & 1:
        raise InputError("is encrypted", path=path, field=name)
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise InputError("is a link", path=path, field=name)
    if entry.compress_type not in _METHODS:
        raise InputError("is neither stored nor deflated", path=path, field=name)
