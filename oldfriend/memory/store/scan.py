"""A search of every file below a folder for what should not be there any more."""

import json
import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from errno import ENXIO
from pathlib import Path
from typing import IO

import numpy as np

CHUNK = 4 * 2**20  # bytes looked through at once
HEAD = 8  # bytes by which a place is recognised before the rest is compared
LONGEST = 256  # bytes of a needle that are looked for
FLOATS = 12  # of a vector: 48 bytes, which no two vectors share by chance

Heads = dict[int, list[tuple[int, bytes, str]]]  # head -> its place in a needle, needle, name


@dataclass(frozen=True)
class Found:
    """A needle, called ``name``, ``offset`` bytes into ``path``."""

    path: Path
    name: str
    offset: int


@dataclass(frozen=True)
class ScanReport:
    """What was looked for and looked through. ``hits``: at most one a name and file."""

    root: Path
    needles: int
    files: int
    bytes: int
    hits: tuple[Found, ...] = ()

    def __str__(self) -> str:
        places = "".join(f"\n  {hit.name} in {hit.path} at {hit.offset}" for hit in self.hits)
        return (
            f"looked through {self.files} files, {self.bytes:,} bytes below {self.root} for "
            f"{self.needles} needles: {len(self.hits) or 'none'} found{places}"
        )


def text_needles(text: str) -> set[bytes]:
    """``text`` as files may spell it: plain, in JSON, in ASCII JSON, in UTF-16."""
    forms = {
        text.encode(), json.dumps(text, ensure_ascii=False)[1:-1].encode(),
        json.dumps(text)[1:-1].encode(), text.encode("utf-16-le"),
    }  # fmt: skip
    if len(text.encode()) >= HEAD:
        return forms
    return {f'"{form}"'.encode() for form in (text, json.dumps(text, ensure_ascii=False)[1:-1])}


def vector_needles(vector: np.ndarray) -> set[bytes]:
    """Pieces of a float32 vector as segments (little-endian) and the WAL (CBOR) spell them."""
    halves = (vector[:FLOATS], vector[len(vector) // 2 :][:FLOATS])
    pieces = [piece for piece in halves if np.any(piece)]  # zeros are everywhere
    plain = {piece.astype("<f4").tobytes() for piece in pieces}
    cbor = {b"".join(_cbor(x) for x in piece.tolist()) for piece in pieces}
    return plain | cbor


def _cbor(x: float) -> bytes:
    """A float32 as CBOR packs it: in half the bytes where that loses nothing."""
    half = abs(x) < 65504 and struct.unpack(">e", struct.pack(">e", x))[0] == x
    return b"\xf9" + struct.pack(">e", x) if half else b"\xfa" + struct.pack(">f", x)


def proof_scan(root: Path, needles: Mapping[str, Iterable[bytes]]) -> ScanReport:
    """Look through every file below ``root`` for the byte strings of ``needles``."""
    by_head: Heads = {}
    shorts: list[tuple[bytes, str]] = []
    for name, forms in needles.items():
        for form in forms:
            cut = form[:LONGEST]
            if len(cut) >= HEAD:
                at = _telling(cut)
                head = int.from_bytes(cut[at : at + HEAD], "little")
                by_head.setdefault(head, []).append((at, cut, name))
            elif cut:
                shorts.append((cut, name))
    heads = np.array(sorted(by_head), dtype=np.uint64)
    hits: dict[tuple[Path, str], Found] = {}
    size, seen = 0, set[Path]()
    # The engine's own threads rename files of the WAL meanwhile: look until there is nothing new.
    while fresh := {path for path in root.rglob("*") if path.is_file()} - seen:
        for path in sorted(fresh):
            seen.add(path)
            try:
                size += path.stat().st_size
                for start, text in _stretches(path):
                    for place, name in _places(text, heads, by_head, shorts):
                        hits.setdefault((path, name), Found(path, name, start + place))
            except FileNotFoundError:
                seen.remove(path)
    count = sum(map(len, by_head.values())) + len(shorts)
    return ScanReport(root, count, len(seen), size, tuple(hits.values()))


def _stretches(path: Path) -> Iterator[tuple[int, bytes]]:
    """Overlapping stretches of a file and where they start, without its holes (segments are mostly
    holes), each with the zeros around it that may belong to a needle."""
    with path.open("rb", buffering=0) as data:
        size, end = data.seek(0, os.SEEK_END), 0
        while end < size:
            start = _seek(data, end, "SEEK_DATA", size)
            end = _seek(data, start, "SEEK_HOLE", size)
            for at in range(max(start - LONGEST, 0), end, CHUNK):
                data.seek(at)
                text = data.read(min(CHUNK, end - at) + LONGEST)
                if text:
                    yield at, text


def _seek(data: IO[bytes], at: int, what: str, size: int) -> int:
    """The next data or hole. Where holes cannot be told all is data."""
    if at >= size:
        return size
    try:
        return data.seek(at, getattr(os, what))
    except (AttributeError, OSError) as error:
        nothing_but_hole = isinstance(error, OSError) and error.errno == ENXIO
        return size if what == "SEEK_HOLE" or nothing_but_hole else at


def _places(
    text: bytes,
    heads: np.ndarray,
    by_head: Heads,
    shorts: Sequence[tuple[bytes, str]],
) -> Iterable[tuple[int, str]]:
    """Where needles stand in ``text``. All heads are looked for at once, in eight passes."""
    for form, name in shorts:
        if (place := text.find(form)) >= 0:
            yield place, name
    if not len(heads):
        return
    maybe_head = np.zeros(65536, dtype=bool)
    maybe_head[_hash(heads)] = True
    for shift in range(min(HEAD, len(text) - HEAD + 1)):
        words = np.frombuffer(text, "<u8", offset=shift, count=(len(text) - shift) // HEAD)
        maybe = np.flatnonzero(maybe_head[_hash(words)])
        sure = maybe[np.isin(words[maybe], heads)]
        for place in (sure * HEAD + shift).tolist():
            for at, form, name in by_head[int.from_bytes(text[place : place + HEAD], "little")]:
                if place >= at and text.startswith(form, place - at):
                    yield place - at, name


def _hash(words: np.ndarray) -> np.ndarray:
    """16 bits of each word (Fibonacci hashing), to rule most of them out cheaply."""
    return (words * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(48)


def _telling(form: bytes) -> int:
    """Where in a needle eight bytes stand that are least likely to stand anywhere else."""
    return max(range(len(form) - HEAD + 1), key=lambda at: len(set(form[at : at + HEAD])))
