"""`oldfriend persona ...` as a user meets it."""

import json
from pathlib import Path

import pytest
from card_cases import chunk, picture
from typer.testing import CliRunner

from oldfriend.app.persona import app
from oldfriend.errors import InputError, MissingDataError
from oldfriend.persona import card as cards
from oldfriend.persona import charx, png

SEEDS = Path(__file__).parents[2] / "data/seeds/personas"
ADA = b'{"name": "Ada \\u001b[31m", "description": "{{char}} likes {{user}}.", "x": 1.10}'


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one of our cards."""
    folder = tmp_path / "personas"
    folder.mkdir()
    (folder / "dragana.yaml").write_bytes((SEEDS / "dragana.yaml").read_bytes())
    monkeypatch.setenv("OLDFRIEND_PERSONAS", str(folder))
    monkeypatch.setenv("COLUMNS", "200")
    return folder


def run(*words: str) -> str:
    """What is printed; expected errors come through as they are."""
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_list_and_show(shelf: Path) -> None:
    said = run("list")
    assert "dragana" in said and "dogs are stupid ... (11)" in said and "V3" in said
    (row,) = json.loads(run("list", "--json"))
    assert row["persona"] == "dragana" and len(row["never_agrees_to"]) == 11
    said = run("show", "dragana")
    for part in ("theatre critic", "flattery is theft with a bow", "Milena", "Dragana is sixty"):
        assert part in said
    assert "{{char}}" not in said
    assert json.loads(run("show", "dragana", "--json"))["spec"] == "chara_card_v3"
    with pytest.raises(InputError, match=r"no persona 'ada'.*there are dragana"):
        run("show", "ada")
    with pytest.raises(MissingDataError, match="no folder"):
        run("list", "--personas", "nowhere")


def test_a_card_goes_in_and_out_unchanged(shelf: Path, tmp_path: Path) -> None:
    foreign = chunk(b"tEXt", b"Software\0someone")
    card = cards.load(ADA)
    file = tmp_path / "Some Card.PNG"
    file.write_bytes(png.parse(picture(foreign)).with_texts({"chara": card.json()}).encode())
    said = run("import", str(file), "--name", "ada")
    assert "(V1) is now the persona 'ada'" in said and "\x1b" not in said
    assert "cannot hold" not in said and "extensions.oldfriend" in said
    assert "\x1b" not in run("show", "ada") + run("list")
    run("export", "ada", str(tmp_path / "out.png"))
    assert (tmp_path / "out.png").read_bytes() == file.read_bytes()
    said = run("export", "ada", str(tmp_path / "out.json"))
    assert (tmp_path / "out.json").read_bytes() == ADA
    assert "out.json cannot hold the picture" in said
    with pytest.raises(InputError, match="there is a persona 'ada' already"):
        run("import", str(file), "--name", "ada")


def test_import_into_another_format(shelf: Path, tmp_path: Path) -> None:
    file = tmp_path / "b.charx"
    file.write_bytes(charx.encode({"card.json": cards.load(ADA).to(3).json(), "z": b"1"}))
    said = run("import", str(file), "--as", "yaml")
    assert "persona 'ada-31m'" in said and "cannot hold z" in said
    assert "1.10" in (shelf / "ada-31m.yaml").read_text(encoding="utf-8")
    for name in ("Ada", "../ada", "", "-"):
        if name:
            with pytest.raises(InputError, match="no name for a file"):
                run("import", str(file), "--name", name)
    with pytest.raises(InputError, match="one of"):
        run("import", str(file), "--name", "c", "--as", "exe")
    (shelf / "dragana.json").write_bytes(ADA)
    with pytest.raises(InputError, match="could be"):
        run("show", "dragana")


def test_export_with_a_picture(shelf: Path, tmp_path: Path) -> None:
    face = tmp_path / "face.png"
    face.write_bytes(picture())
    out = tmp_path / "dragana.png"
    run("export", "dragana", str(out), "--picture", str(face))
    made = cards.read(out)
    assert made.picture == picture()
    assert made.data == cards.read(SEEDS / "dragana.yaml").data
    with pytest.raises(InputError, match="no such file"):
        run("export", "dragana", str(out), "--picture", "none.png")
    face.write_bytes(b"GIF89a")
    with pytest.raises(InputError, match="not a PNG"):
        run("export", "dragana", str(out), "--picture", str(face))


def test_help_names_what_there_is(shelf: Path) -> None:
    said = run("--help")
    assert all(name in said for name in ("list", "show", "import", "export"))
