"""Cards that want to hurt: each is refused with a reason that names file and field."""

import base64
import io
import json
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from card_cases import END, HEADER, PIXEL, chunk, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from oldfriend.errors import InputError
from oldfriend.persona import card as cards
from oldfriend.persona import charx, exact, png
from oldfriend.persona.limits import Limits

V1: dict[str, Any] = {"name": "Ada", "description": "d"}
V3: dict[str, Any] = {"spec": "chara_card_v3", "spec_version": "3.0", "data": dict(V1)}
GOOD = json.dumps(V3).encode()
TEXT = chunk(b"tEXt", b"ccv3\0" + base64.b64encode(GOOD))
SMALL = Limits(file_bytes=20_000, payload_bytes=5_000, unpacked_bytes=5_000, members=20, values=500)


def v3(**fields: Any) -> bytes:
    return json.dumps(V3 | {"data": V3["data"] | fields}).encode()


def zipped(members: dict[str, bytes], change: Callable[[zipfile.ZipInfo], object] = id) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, body in members.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            change(entry)
            archive.writestr(entry, body)
    return out.getvalue()


def in_text(content: bytes, keyword: bytes = b"ccv3") -> bytes:
    return picture(chunk(b"tEXt", keyword + b"\0" + content))


def swapped(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data and len(old) == len(new)
    return data.replace(old, new)


def declaring(size: int) -> bytes:
    """A zip whose directory says that one member unpacks to ``size`` bytes."""
    data = zipped({"card.json": GOOD, "assets/a/other/b.bin": b"0" * 4096})
    true = struct.pack("<I", 4096)
    return swapped(data, true, struct.pack("<I", size))


def huge() -> bytes:
    """A zip that says 10 GB in the 64-bit extension of its directory."""
    data = bytearray(zipped({"card.json": GOOD, "bomb": b"0" * 4096}))
    start = data.rindex(b"PK\1\2")  # directory entry of the bomb
    name, extra, _ = struct.unpack_from("<HHH", data, start + 28)
    assert (name, extra) == (4, 0)
    struct.pack_into("<I", data, start + 24, 0xFFFFFFFF)  # size: see the extension
    struct.pack_into("<H", data, start + 30, 12)
    at = start + 46 + name
    data[at:at] = struct.pack("<HHQ", 1, 8, 10 * 10**9)
    end = data.rindex(b"PK\5\6")
    (size,) = struct.unpack_from("<I", data, end + 12)
    struct.pack_into("<I", data, end + 12, size + 12)
    return bytes(data)


def link(entry: zipfile.ZipInfo) -> None:
    if entry.filename != charx.CARD:
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16


def other_method(entry: zipfile.ZipInfo) -> None:
    entry.compress_type = zipfile.ZIP_LZMA


def twice_named() -> bytes:
    data = zipped({"card.json": GOOD, "card.jsom": GOOD})
    return swapped(data, b"card.jsom", b"card.json")


def encrypted() -> bytes:
    data = bytearray(zipped({"card.json": GOOD}))
    data[data.rindex(b"PK\1\2") + 8] |= 1
    data[6] |= 1
    return bytes(data)


DEEP = b'{"name": "a", "description": "b", "x": ' + b"[" * 2_000 + b"]" * 2_000 + b"}"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)
)
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)}\n  <<: [{', '.join(['*' + chr(97 + i)] * 9)}]\n"
    for i in range(20)
)

HOSTILE: dict[str, tuple[bytes, str, str]] = {
    # PNG: what is wrong, and which chunk
    "cut in a chunk": (picture(TEXT)[:-30], ".png", r"chunk 2 \(tEXt\).*says .* bytes, but"),
    "cut between chunks": (picture(TEXT)[:-12], ".png", "chunk 3.*ends before its IEND"),
    "only a signature": (png.SIGNATURE, ".png", "chunk 0.*ends before"),
    "bad checksum": (picture(chunk(b"tEXt", b"ccv3\0e30=", crc=7)), ".png", r"tEXt.*checksum"),
    "huge chunk": (
        png.SIGNATURE + HEADER + struct.pack(">I4s", 0x7FFFFFFF, b"tEXt") + b"x" * 99,
        ".png", r"chunk 1 \(tEXt\).*says 2,147,483,647 bytes",
    ),
    "no chunk type": (png.SIGNATURE + HEADER + chunk(b"\0\1\2\3", b""), ".png", "no chunk type"),
    "header late": (png.SIGNATURE + PIXEL + HEADER + END, ".png", "IHDR must stand first"),
    "two headers": (png.SIGNATURE + HEADER + HEADER + END, ".png", "IHDR must stand first"),
    "no card in it": (picture(), ".png", "holds no card"),
    "not base64": (in_text(b"{not base64}"), ".png", "tEXt ccv3.*not base64"),
    "cut base64": (in_text(base64.b64encode(GOOD)[:-3], b"chara"), ".png", "tEXt chara.*base64"),
    "base64 of noise": (in_text(base64.b64encode(b"\xff\xfe\x00")), ".png", "not UTF-8"),
    "asset of noise": (
        picture(TEXT, chunk(b"tEXt", b"chara-ext-asset_:a\x1b[2Jb\0%%%")), ".png",
        r"a\?\[2Jb.*base64",
    ),
    # CharX
    "zip cut": (zipped({"card.json": GOOD})[:-8], ".charx", "zip"),
    "zip of noise": (b"PK\3\4" + b"\xff" * 200, ".charx", "zip"),
    "10 GB": (huge(), ".charx", r"unpack to 10,000,000,\d+ bytes"),
    "4 GB": (declaring(0xFFFFFFF0), ".charx", r"unpack to 4,29\d,\d+,\d+ bytes"),
    "says too little": (declaring(7), ".charx", "zip"),
    "ratio bomb": (zipped({"card.json": GOOD, "z": b"\0" * 10**6}), ".charx", "would unpack to"),
    "many files": (zipped({f"{i}": b"" for i in range(30)}), ".charx", "30 files; at most 20"),
    "climbing": (zipped({"../../etc/x": b"", "card.json": GOOD}), ".charx", r"etc/x.*leads out"),
    "absolute": (zipped({"/etc/x": b"", "card.json": GOOD}), ".charx", "etc/x.*leads out"),
    "drive": (zipped({"C:x": b"", "card.json": GOOD}), ".charx", "C:x.*leads out"),
    "backslash": (zipped({"a\\..\\b": b"", "card.json": GOOD}), ".charx", "leads out"),
    "dot": (zipped({"a/./b": b"", "card.json": GOOD}), ".charx", "leads out"),
    "link": (zipped({"card.json": GOOD, "l": b"/etc/passwd"}, link), ".charx", "'l'.*is a link"),
    "other method": (zipped({"card.json": GOOD}, other_method), ".charx", "stored nor deflated"),
    "two of a name": (twice_named(), ".charx", "card.json.*stands twice"),
    "encrypted": (encrypted(), ".charx", "card.json.*encrypted"),
    "no card.json": (zipped({"a/card.json": GOOD}), ".charx", "no card.json"),
    "card is a folder": (zipped({"card.json/": b""}), ".charx", "no card.json"),
    # JSON
    "empty": (b"", ".json", "not JSON"),
    "cut JSON": (GOOD[:-3], ".json", r"card\.json:1.*not JSON"),
    "deep": (DEEP, ".json", "nested deeper than 64"),
    "fairly deep": (b'{"x": ' + b"[" * 70 + b"]" * 70 + b"}", ".json", r"x\.0\.0.*deeper than 64"),
    "not UTF-8": (b'{"name":\n "\xe9"}', ".json", r"card\.json:2.*not UTF-8"),
    "UTF-16": (GOOD.decode().encode("utf-16"), ".json", "not UTF-8"),
    "double key": (b'{"a": {"name": 1, "name": 2}}', ".json", r"'a\.name'.*stands twice"),
    "NaN": (b'{"name": NaN}', ".json", "NaN is not a JSON number"),
    "infinity": (b'{"name": -Infinity}', ".json", "-Infinity is not"),
    "too long": (v3(description="x" * 6_000), ".json", "6,.* bytes of card"),
    "too many values": (v3(x=list(range(600))), ".json", "more than 500 values"),
    "control character": (b'{"name": "a\nb"}', ".json", "not JSON"),
    "a list": (b"[]", ".json", "a card is an object"),
    "no card": (b'{"name": "left-pad", "version": "1.0"}', ".json", "no character card"),
    "unknown spec": (b'{"spec": "chara_card_v9", "data": {}}', ".json", r"'spec'.*chara_card_v9"),
    "spec of a kind": (b'{"spec": ["x"], "data": {}}', ".json", "'spec'"),
    "no data": (b'{"spec": "chara_card_v2"}', ".json", "field 'data'"),
    "no name": (b'{"spec": "chara_card_v2", "data": {}}', ".json", r"'data\.name'.*required"),
    "blank name": (v3(name="  "), ".json", r"'data\.name'"),
    "name of a kind": (v3(name=["a"]), ".json", r"'data\.name'"),
    "v1 of a kind": (b'{"name": "a", "description": 3}', ".json", "'description'"),
    "greeting of a kind": (v3(alternate_greetings=["a", 2]), ".json", r"alternate_greetings\.1'"),
    "book of a kind": (v3(character_book=[]), ".json", r"'data\.character_book'"),
    "entry of a kind": (v3(character_book={"entries": [7]}), ".json", r"_book\.entries\.0'"),
    "order of a kind": (
        v3(character_book={"entries": [{"insertion_order": "first"}]}), ".json",
        r"entries\.0\.insertion_order'",
    ),
    "endless order": (
        v3(character_book={"entries": [{"insertion_order": 1}]}).replace(b": 1}", b": 1e999}"),
        ".json", r"entries\.0\.insertion_order'.*finite",
    ),
    # YAML
    "cut YAML": (b'name: "a', ".yaml", r"card\.yaml:1.*not YAML"),
    "tabs": (b"a:\n\t- b", ".yaml", r"card\.yaml:2.*not YAML"),
    "alias bomb": (BOMB.encode(), ".yaml", "more than 500 values"),
    "merge bomb": (MERGES.encode(), ".yaml", r"card\.yaml:3.*merges are not read"),
    "endless alias": (b"name: a\nx: &a [*a]", ".yaml", r"x\.0\.0.*nested deeper"),
    "python tag": (b"name: !!python/object/apply:os.system [id]", ".yaml", "not YAML"),
    "a set": (b"name: a\nx: !!set {a, b}", ".yaml", "'x'.*nothing that JSON could hold"),
    "bytes": (b"name: a\nx: !!binary aGk=", ".yaml", "'x'.*bytes"),
    "no text key": (b"name: a\nx: {1: 2}", ".yaml", "'x'.*the key 1 is not text"),
    "list as key": (b"? [a]\n: b", ".yaml", "not text|not YAML"),
    "yaml double key": (b"name: a\nname: b", ".yaml", r"card\.yaml:2.*not YAML"),
    "yaml infinity": (b"name: a\nx: .inf", ".yaml", "not a JSON number"),
    "two documents": (b"a: 1\n---\nb: 2", ".yaml", "not YAML"),
    "yaml control": (b"name: \x07", ".yaml", "not YAML"),
    "deep yaml": (b"[" * 3_000, ".yaml", "nested deeper|not YAML"),
    "json as yaml spec": (b"spec: 3\ndata: {}", ".yaml", "'spec'"),
    # any
    "too large": (b" " * 20_001, ".json", "20,001 bytes; at most 20,000"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_it_is_refused_with_a_reason(case: str, tmp_path: Path) -> None:
    body, suffix, reason = HOSTILE[case]
    path = tmp_path / f"card{suffix}"
    path.write_bytes(body)
    with pytest.raises(InputError, match=reason) as caught:
        cards.read(path, SMALL)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()


def test_the_good_one_is_read(tmp_path: Path) -> None:
    for suffix, body in ((".png", picture(TEXT)), (".charx", zipped({"card.json": GOOD}))):
        path = tmp_path / f"card{suffix}"
        path.write_bytes(body)
        assert cards.read(path, SMALL).data.name == "Ada"


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        cards.read(tmp_path / "a.png")


def test_chunks_and_lore_are_counted() -> None:
    with pytest.raises(InputError, match="more than 5 chunks"):
        png.parse(picture(*[chunk(b"tIME", b"")] * 9), None, Limits(chunks=5))
    body = v3(character_book={"entries": [{}] * 6})
    assert len(cards.load(body).data.character_book.entries) == 6  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"entries.*6 entries; at most 5"):
        cards.load(body, limits=Limits(lore_entries=5))


def test_half_an_emoji_is_kept_in_the_card_and_harmless_in_the_view() -> None:
    payload = b'{"name": "A\\ud83d", "description": "d", "x\\udc00": "\\ud800"}'
    card = cards.load(payload)
    assert card.data.name == "A\ufffd"
    assert card.json() == payload
    assert card.to(3).data.name == "A\ufffd" and b"A\\ud83d" in card.to(3).json()
    assert exact.dumps(cards.parse(card.yaml(), "yaml").tree) == exact.dumps(card.tree)


def test_a_bomb_that_lies_about_its_size_is_cut_off() -> None:
    """The member is longer than the directory says; never more than that is unpacked."""
    with pytest.raises(InputError, match="zip"):
        charx.parse(declaring(7), None, Limits(unpacked_bytes=1000))


BASES = {
    "png": picture(TEXT, chunk(b"tEXt", b"chara-ext-asset_:a\0aGk=")),
    "charx": zipped({"card.json": GOOD, "assets/icon/images/main.png": picture()}),
    "json": v3(character_book={"entries": [{"keys": ["a"], "content": "@@depth 1\nb"}]}),
    "yaml": cards.load(v3(x=[1.5, None, {"a b": "c\nd"}])).yaml(),
}


@pytest.mark.parametrize("kind", BASES)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damage_never_crashes(kind: str, data: st.DataObject) -> None:
    body = bytearray(BASES[kind])
    places = st.integers(0, len(body) - 1)
    for at in data.draw(st.lists(places, min_size=1, max_size=6)):
        body[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.just(len(body)) | places)
    try:
        card = cards.load(bytes(body[:cut]), Path(f"a.{kind}"))
    except InputError as error:
        assert "a." in str(error)
        return
    for again in (card.png(), card.charx(), card.json(), card.to(3).json()):
        assert cards.load(again).data.name == card.data.name


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", png.SIGNATURE, b"PK\3\4", b"{"]))
def test_noise_never_crashes(noise: bytes, start: bytes) -> None:
    for suffix in (".yaml", ".json"):
        with pytest.raises(InputError):
            cards.load(start + noise, Path(f"a{suffix}"))
