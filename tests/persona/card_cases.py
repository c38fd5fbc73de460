"""Cards as strangers make them: any version, unknown fields everywhere, numbers in any spelling."""

import json
import re
import struct
import zlib
from typing import Any

from hypothesis import strategies as st

from oldfriend.persona import exact, png

# any code point, halves of surrogate pairs and control characters among them
TEXT = st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from(
    ["", "a\nb", "a\n b\n", "\n", "- x", "#", "a: b", "yes", "1.0", "\ud83d", "😀", "\u2028",
     "\x85", "\x7f", "\t\n", "| x", "a \nb", "'", '"', "\\", "---", "2024-01-01", "~", "null",
     "\r\n", "?"]
)  # fmt: skip
NUMBER = st.sampled_from(
    ["0", "-0", "1", "1.0", "1.00", "1E5", "1e+5", "-1.50e-7", "1e999", "0.1", "1e-400",
     "123456789012345678901234567890", "1" + "0" * 400 + ".5"]
).map(exact.number) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)  # fmt: skip
KEY = st.text(st.characters(exclude_categories=()), max_size=8) | st.sampled_from(["y", "x" * 1200])
TREE = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY, inner, max_size=3),
    max_leaves=8,
)
EXTRA = st.dictionaries(KEY.map("x_".__add__), TREE, max_size=3)
NAME = st.text("abcÄß猫 ", min_size=1, max_size=8).filter(str.strip)
SIX = ("description", "personality", "scenario", "first_mes", "mes_example")
MORE = ("creator_notes", "system_prompt", "post_history_instructions", "creator", "nickname")


def _with(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with these fields, unknown ones among them, in any order."""
    known = st.fixed_dictionaries(required, optional=optional)
    merged = st.tuples(known, EXTRA).map(lambda two: two[1] | two[0])
    return merged.flatmap(lambda one: st.permutations(list(one.items())).map(dict))


ENTRY = _with(
    {"keys": st.lists(TEXT, max_size=3), "content": TEXT, "enabled": st.booleans(),
     "insertion_order": st.integers(-5, 5), "extensions": EXTRA},
    {"use_regex": st.booleans(), "constant": st.none() | st.booleans(), "priority": st.integers(),
     "secondary_keys": st.lists(TEXT, max_size=2), "id": st.integers() | TEXT},
)  # fmt: skip
BOOK = _with(
    {"entries": st.lists(ENTRY, max_size=3), "extensions": EXTRA},
    {"scan_depth": st.integers(0, 9), "token_budget": st.integers(0, 99), "name": TEXT},
)
FIELDS: dict[str, Any] = {"name": NAME} | dict.fromkeys(SIX, TEXT)
LATER: dict[str, Any] = dict.fromkeys(MORE, TEXT) | {
    "alternate_greetings": st.lists(TEXT, max_size=3),
    "tags": st.lists(TEXT, max_size=3),
    "extensions": EXTRA,
    "character_book": st.none() | BOOK,
}
V1 = st.deferred(lambda: _with(FIELDS, {}))
V2 = st.deferred(lambda: _with(
    {"spec": st.just("chara_card_v2"), "spec_version": st.just("2.0"), "data": _with(FIELDS, LATER)}
    , {}
))  # fmt: skip
V3 = st.deferred(lambda: _with(
    {"spec": st.just("chara_card_v3"), "spec_version": st.just("3.0"),
     "data": _with(FIELDS | {"group_only_greetings": st.just([])}, LATER)}, {},
))  # fmt: skip
CARDS = st.deferred(lambda: st.one_of(V1, V2, V3))
# the same JSON may be written in many ways; a payload is one of them
SPELLINGS = st.sampled_from([None, 0, 1, 2, 4, "ascii"])


def _spelt(tree: dict[str, Any], spelling: int | str | None) -> bytes:
    if spelling != "ascii":
        return exact.dumps(tree, None if spelling is None else int(spelling)).encode()
    return re.sub(r"[^\0-\x7f]", _escape, exact.dumps(tree)).encode()


def _escape(char: "re.Match[str]") -> str:
    return json.dumps(char[0])[1:-1]


PAYLOADS = st.deferred(lambda: st.builds(_spelt, CARDS, SPELLINGS))


def chunk(kind: bytes, body: bytes, crc: int | None = None) -> bytes:
    """A chunk as it stands in a file."""
    crc = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


HEADER = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
PIXEL = chunk(b"IDAT", zlib.compress(b"\0\1\2\3"))
END = chunk(b"IEND", b"")
FOREIGN = st.lists(
    st.tuples(st.sampled_from([b"tIME", b"iTXt", b"zTXt", b"gAMA", b"acTL"]), st.binary(max_size=9))
    | st.tuples(st.just(b"tEXt"), st.binary(max_size=9).map(b"Software\0".__add__)),
    max_size=4,
)


def picture(*between: bytes, tail: bytes = b"") -> bytes:
    """A one-pixel PNG with these chunks in it."""
    return png.SIGNATURE + HEADER + PIXEL + b"".join(between) + END + tail
