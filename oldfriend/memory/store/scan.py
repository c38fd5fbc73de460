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
WORD = 8  # bytes by which a place is recognised before the rest is compared
LEAST = 2 * WORD - 1  # bytes of a needle in which a word stands wherever it lies
LONGEST = 256  # bytes of a needle that are looked for
FLOATS = 12  # of a vector: 48 bytes, which no two vectors share by chance

Head = tuple[int, bytes, str]  # where a word stands in a needle, the needle, its name


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
    if len(text.encode()) >= WORD:
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
    heads, shorts, count = dict[int, list[Head]](), list[tuple[bytes, str]](), 0
    for name, forms in needles.items():
        for form in filter(None, forms):
            cut = form[:LONGEST]
            count += 1
            if len(cut) < LEAST:
                shorts.append((cut, name))
                continue
            first = _telling(cut)
            for at in range(first, first + WORD):
                head = int.from_bytes(cut[at : at + WORD], "little")
                heads.setdefault(head, []).append((at, cut, name))
    words = np.array(sorted(heads), dtype=np.uint64)
    hits: dict[tuple[Path, str], Found] = {}
    size, seen = 0, set[Path]()
    # The engine's own threads rename files of the WAL meanwhile: look until there is nothing new.
    while fresh := {path for path in root.rglob("*") if path.is_file()} - seen:
        for path in sorted(fresh):
            seen.add(path)
            try:
                size += path.stat().st_size
                for start, text in _stretches(path):
                    for place, name in _places(text, words, heads, shorts):
                        hits.setdefault((path, name), Found(path, name, start + place))
            except FileNotFoundError:
                seen.remove(path)
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
    words: np.ndarray,
    heads: Mapping[int, list[Head]],
    shorts: Sequence[tuple[bytes, str]],
) -> Iterable[tuple[int, str]]:
    """Where needles stand in ``text``. Of the eight words that begin at neighbouring bytes of a
    needle, one stands at a multiple of eight wherever it lies: so one pass finds all needles."""
    for form, name in shorts:
        if (place := text.find(form)) >= 0:
            yield place, name
    if not len(words):
        return
    bits = max(16, min(22, 4 + len(words).bit_length()))  # so that few words are suspected
    maybe_word = np.zeros(1 << bits, dtype=bool)
    maybe_word[_hash(words, bits)] = True
    aligned = np.frombuffer(text, "<u8", count=len(text) // WORD)
    maybe = np.flatnonzero(maybe_word[_hash(aligned, bits)])
    sure = maybe[np.isin(aligned[maybe], words)]
    for number, word in zip(sure.tolist(), aligned[sure].tolist(), strict=True):
        for at, form, name in heads[word]:
            place = number * WORD - at
            if place >= 0 and text.startswith(form, place):
                yield place, name


def _hash(words: np.ndarray, bits: int) -> np.ndarray:
    """So many bits of each word (Fibonacci hashing), to rule most of them out cheaply."""
    return (words * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - bits)


def _telling(form: bytes) -> int:
    """From where on in a needle eight words stand that are least likely to stand anywhere else."""

    def plainest(first: int) -> int:
        return min(len(set(form[at : at + WORD])) for at in range(first, first + WORD))

    return max(range(len(form) - LEAST + 1), key=plainest)
