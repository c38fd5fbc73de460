"""PNG as a list of chunks: cards ride in tEXt chunks, and the picture is never decoded.

Layout: PNG specification, third edition, section 5 (signature; then length, type, data, CRC-32).
"""

import base64
import binascii
import hashlib
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from oldfriend.errors import InputError
from oldfriend.persona.exact import shown
from oldfriend.persona.limits import LIMITS, Limits

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CARD_KEYWORDS = ("ccv3", "chara")  # looked for in this order
_ASSET = "chara-ext-asset_:"
_WIDTH, _HEIGHT = 400, 600  # pixels of the picture that a card without one is given


@dataclass(frozen=True)
class Chunk:
    """One chunk: four letters and their data."""

    kind: bytes
    body: bytes

    @property
    def text(self) -> tuple[str, bytes] | None:
        """Keyword and content of a tEXt chunk."""
        keyword, zero, content = self.body.partition(b"\0")
        if self.kind != b"tEXt" or not zero:
            return None
        return keyword.decode("utf-8", "surrogateescape"), content


@dataclass(frozen=True)
class Png:
    """A picture's chunks, IHDR first and IEND last, and whatever lies after them."""

    chunks: tuple[Chunk, ...]
    tail: bytes = b""

    def texts(self) -> Iterator[tuple[str, bytes]]:
        """Keyword and content of every tEXt chunk, in order."""
        return (chunk.text for chunk in self.chunks if chunk.text)

    def bare(self) -> "Png":
        """The same picture without cards and their assets; all other chunks stay."""
        kept = tuple(c for c in self.chunks if not (c.text and _ours(c.text[0])))
        return replace(self, chunks=kept)

    def with_texts(self, texts: Mapping[str, bytes]) -> "Png":
        """The same picture with tEXt chunks of base64 ``texts`` before its end."""
        new = (
            Chunk(b"tEXt", key.encode("utf-8", "surrogateescape") + b"\0" + base64.b64encode(body))
            for key, body in texts.items()
        )
        return replace(self, chunks=(*self.chunks[:-1], *new, self.chunks[-1]))

    def encode(self) -> bytes:
        """The file's bytes; exactly those that were parsed, if nothing was changed."""
        pieces = [SIGNATURE]
        for chunk in self.chunks:
            crc = zlib.crc32(chunk.kind + chunk.body)
            pieces += [struct.pack(">I", len(chunk.body)), chunk.kind, chunk.body]
            pieces.append(struct.pack(">I", crc))
        return b"".join([*pieces, self.tail])


def parse(data: bytes, path: Path | None = None, limits: Limits = LIMITS) -> Png:
    """Split a PNG into chunks, each with its checksum checked.

    InputError names the file and the chunk: cut off, damaged, out of order, or too many.
    """
    if not data.startswith(SIGNATURE):
        raise InputError("not a PNG", path=path)
    chunks: list[Chunk] = []
    at = len(SIGNATURE)
    while not (chunks and chunks[-1].kind == b"IEND"):
        where = f"chunk {len(chunks)}"
        if len(chunks) >= limits.chunks:
            raise InputError(f"more than {limits.chunks:,} chunks", path=path)
        if at + 12 > len(data):
            raise InputError("the file ends before its IEND chunk", path=path, field=where)
        length, kind = struct.unpack_from(">I4s", data, at)
        if not kind.isalpha():
            raise InputError(f"{kind!r} is no chunk type", path=path, field=where)
        where += f" ({kind.decode('ascii')})"
        if at + 12 + length > len(data):
            left = len(data) - at - 12
            problem = f"says {length:,} bytes, but the file has only {left:,} left"
            raise InputError(problem, path=path, field=where)
        body = data[at + 8 : at + 8 + length]
        (crc,) = struct.unpack_from(">I", data, at + 8 + length)
        if crc != zlib.crc32(kind + body):
            raise InputError("its checksum is wrong: the file is damaged", path=path, field=where)
        if (kind == b"IHDR") != (not chunks):
            raise InputError("IHDR must stand first, and once", path=path, field=where)
        chunks.append(Chunk(kind, body))
        at += 12 + length
    return Png(tuple(chunks), data[at:])


def card_text(png: Png, path: Path | None = None) -> tuple[str, bytes]:
    """Keyword and decoded payload of the card in a picture: ``ccv3``, or else ``chara``."""
    found = {key.lower(): content for key, content in reversed(list(png.texts()))}
    for keyword in CARD_KEYWORDS:
        if keyword in found:
            return keyword, _decoded(found[keyword], path, keyword)
    raise InputError("this picture holds no card (no tEXt chunk 'ccv3' or 'chara')", path=path)


def assets(png: Png, path: Path | None = None, limits: Limits = LIMITS) -> dict[str, bytes]:
    """Files that a picture carries in ``chara-ext-asset_:PATH`` chunks."""
    found: dict[str, bytes] = {}
    for keyword, content in png.texts():
        if keyword.startswith(_ASSET):
            found.setdefault(keyword.removeprefix(_ASSET), _decoded(content, path, keyword))
    if (total := sum(map(len, found.values()))) > limits.unpacked_bytes:
        raise InputError(f"{total:,} bytes of assets", path=path, field=_ASSET)
    return found


def asset_keyword(name: str) -> str:
    """Keyword of the chunk that carries the file ``name``."""
    return _ASSET + name


def blank(name: str) -> Png:
    """A plain picture for a card that has none; its colour comes from the name."""
    colour = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:3]
    header = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 2, 0, 0, 0)  # 8 bits, RGB
    rows = (b"\0" + colour * _WIDTH) * _HEIGHT
    body = (Chunk(b"IHDR", header), Chunk(b"IDAT", zlib.compress(rows, 9)), Chunk(b"IEND", b""))
    return Png(body)


def _ours(keyword: str) -> bool:
    return keyword.lower() in CARD_KEYWORDS or keyword.startswith(_ASSET)


def _decoded(content: bytes, path: Path | None, keyword: str) -> bytes:
    try:
        return base64.b64decode(b"".join(content.split()), validate=True)
    except binascii.Error as error:
        problem = f"not base64: {error}"
        raise InputError(problem, path=path, field=f"tEXt {shown(keyword)}") from None
