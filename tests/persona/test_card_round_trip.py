"""Nothing of a card is lost on its way through any format or version."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from card_cases import CARDS, FOREIGN, PAYLOADS, TREE, V1, V2, chunk, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from oldfriend.errors import InputError
from oldfriend.persona import card as cards
from oldfriend.persona import charx, exact, plainyaml, png
from oldfriend.persona.card import Card

many = settings(max_examples=200, deadline=None)
FILES = st.dictionaries(
    st.sampled_from(["assets/icon/images/main.png", "assets/a/other/b.bin", "risu.json", "ü/1"]),
    st.binary(max_size=20),
    max_size=3,
)


def same(tree: Any) -> str:
    """What two equal trees share, the spelling of their numbers included."""
    return exact.dumps(tree)


@many
@given(PAYLOADS)
def test_json_gives_back_its_bytes(payload: bytes) -> None:
    card = cards.load(payload)
    assert card.json() == payload
    assert same(exact.loads(same(card.tree).encode())) == same(card.tree)
    assert card.tree.keys() == json.loads(payload).keys()


@many
@given(PAYLOADS)
def test_yaml_says_the_same(payload: bytes) -> None:
    card = cards.load(payload)
    again = cards.parse(card.yaml(), "yaml")
    assert same(again.tree) == same(card.tree)
    assert again.yaml() == card.yaml()  # and gives back its own bytes
    assert again.data == card.data


@many
@given(PAYLOADS, FOREIGN, FILES, st.binary(max_size=5))
def test_png_gives_back_card_chunks_and_files(
    payload: bytes, foreign: list[tuple[bytes, bytes]], files: dict[str, bytes], tail: bytes
) -> None:
    keyword = b"ccv3" if cards.load(payload).version == 3 else b"chara"
    between = [chunk(kind, body) for kind, body in foreign]
    between += [
        chunk(b"tEXt", png.asset_keyword(name).encode() + b"\0" + base64.b64encode(body))
        for name, body in files.items()
    ]
    own = chunk(b"tEXt", keyword + b"\0" + base64.b64encode(payload))
    card = cards.load(picture(*between[:1], own, *between[1:], tail=tail))
    assert card.json() == payload and card.assets == files
    again = cards.load(card.png())
    assert (again.json(), again.assets, again.picture) == (payload, files, card.picture)
    assert again.png() == card.png()
    chunks = png.parse(card.png()).chunks
    assert [(c.kind, c.body) for c in chunks if (c.kind, c.body) in foreign] == foreign
    assert card.png().endswith(tail)


@many
@given(PAYLOADS, FILES)
def test_charx_gives_back_card_and_files(payload: bytes, files: dict[str, bytes]) -> None:
    card = cards.load(charx.encode({**files, "card.json": payload}))
    assert card.json() == payload and card.assets == files
    again = cards.load(card.charx())
    assert again.assets == files
    assert again.version == 3
    assert again.json() == (payload if card.version == 3 else card.to(3).json())
    by_picture = cards.load(cards.load(again.png()).charx())
    assert by_picture.json() == again.json()
    assert files.items() <= by_picture.assets.items()


@many
@given(V1)
def test_v1_becomes_v3_with_every_field(tree: dict[str, Any]) -> None:
    card = cards.load(same(tree).encode())
    third = card.to(3)
    assert (card.version, third.version) == (1, 3)
    assert third.tree["spec"] == "chara_card_v3" and third.tree["spec_version"] == "3.0"
    for key, value in card.tree.items():
        kept = third.tree["data"][key] if key in third.tree["data"] else third.tree[key]
        assert same(kept) == same(value)
    assert third.data.name == card.data.name
    assert same(third.tree) == same(card.to(2).to(3).tree)
    with pytest.raises(InputError, match="without loss"):
        third.to(2)


@many
@given(V2)
def test_v2_becomes_v3_with_every_field(tree: dict[str, Any]) -> None:
    card = cards.load(same(tree).encode())
    third = card.to(3)

    def kept(old: Any, new: Any) -> None:
        if isinstance(old, dict):
            for key in old:
                kept(old[key], new[key])
        elif isinstance(old, list) and old and isinstance(old[0], dict):
            for one, other in zip(old, new, strict=True):
                kept(one, other)
        else:
            assert same(old) == same(new)

    kept({k: v for k, v in card.tree.items() if not k.startswith("spec")}, third.tree)
    assert third.tree["data"]["group_only_greetings"] == []
    assert third.to(3) is third
    assert same(card.tree) == same(cards.load(card.json()).tree)  # the old card is untouched


@many
@given(CARDS, st.text("abc{}", min_size=1))
def test_an_edit_changes_one_field(tree: dict[str, Any], text: str) -> None:
    card = cards.load(same(tree).encode())
    before = same(card.tree)
    edited = card.edited(description=text)
    assert edited.data.description == text
    assert same(edited.edited(description=card.data.description).data.model_dump()) == same(
        card.data.model_dump()
    )
    assert same(card.tree) == before
    with pytest.raises(InputError, match="tags"):
        card.edited(tags="none")


@many
@given(TREE)
def test_every_json_tree_survives_json_and_yaml(tree: Any) -> None:
    tree = exact.loads(exact.dumps([tree]).encode())
    for indent in (None, 2):
        assert exact.dumps(exact.loads(exact.dumps(tree, indent).encode())) == exact.dumps(tree)
    assert exact.dumps(plainyaml.loads(plainyaml.dumps(tree).encode())) == exact.dumps(tree)


@pytest.mark.parametrize("spelling", ["1.10", "1E5", "-0", "1e999", "-0.0", "0.30", "1" * 5000])
def test_numbers_keep_their_spelling(spelling: str) -> None:
    payload = f'{{"name": "a", "description": "b", "x": [{spelling}]}}'.encode()
    card = cards.load(payload)
    assert f"[\n    {spelling}\n  ]" in exact.dumps(card.tree)
    yaml = cards.parse(card.yaml(), "yaml")
    assert f"[\n    {spelling}\n  ]" in exact.dumps(yaml.tree)
    assert spelling.encode() in card.to(3).json()


def v3(**fields: Any) -> Card:
    data = {"name": "Ada", "description": "d", "group_only_greetings": []} | fields
    tree = {"spec": "chara_card_v3", "spec_version": "3.0", "data": data}
    return cards.load(json.dumps(tree).encode())


def test_older_programs_find_a_v2_card_in_a_v3_picture() -> None:
    card = v3(creator_notes="mine", nickname="Ad")
    texts = {key: base64.b64decode(body) for key, body in png.parse(card.png()).texts()}
    assert list(texts) == ["chara", "ccv3"]
    old = cards.load(texts["chara"])
    assert old.version == 2 and old.data.nickname == "Ad"
    assert "V3" in old.data.creator_notes and old.data.creator_notes.endswith("\n\nmine")
    assert texts["ccv3"] == card.json()


def test_ccv3_wins_over_chara_wherever_it_stands() -> None:
    def text(keyword: bytes, name: str) -> bytes:
        return chunk(b"tEXt", keyword + b"\0" + base64.b64encode(v3(name=name).json()))

    for order in ((b"chara", b"CCV3"), (b"ccv3", b"chara")):
        file = picture(*(text(k, "new" if k.lower() == b"ccv3" else "old") for k in order))
        assert cards.load(file).data.name == "new"
    twice = picture(text(b"chara", "first"), text(b"chara", "second"))
    assert cards.load(twice).data.name == "first"


def test_a_description_is_never_dropped(tmp_path: Path) -> None:
    card = v3(description="She hates peas.")
    for suffix in cards.SUFFIXES:
        path = tmp_path / f"a{suffix}"
        cards.write(card, path)
        assert cards.read(path).data.description == "She hates peas."


def test_a_card_without_a_picture_gets_a_plain_one(tmp_path: Path) -> None:
    from PIL import Image

    cards.write(v3(), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        assert image.size == (400, 600) and len(image.getcolors() or ()) == 1
    assert cards.load(v3(name="Ada").png()).picture != cards.load(v3(name="Ben").png()).picture


def test_the_icon_of_a_charx_is_the_picture_of_its_png() -> None:
    icon = picture()
    card = cards.load(charx.encode({"card.json": v3().json(), cards.PICTURE: icon}))
    made = cards.load(card.png())
    assert made.picture == icon and made.assets == {}
    assert cards.load(made.charx()).assets == {cards.PICTURE: icon}
    broken = cards.load(charx.encode({"card.json": v3().json(), cards.PICTURE: b"no picture"}))
    assert cards.load(broken.png()).assets == {cards.PICTURE: b"no picture"}


def test_a_byte_order_mark_and_null_fields_are_harmless() -> None:
    payload = '\ufeff{"name": "a", "description": null, "tags": null, "personality": "p"}'.encode()
    card = cards.load(payload)
    assert card.data.description == "" and card.data.tags == ()
    assert card.json() == payload and cards.load(card.png()).json() == payload


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.yaml, \.yml, \.json, \.png, \.charx"):
        cards.write(v3(), tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []
