"""Files appear whole or not at all; errors say where."""

import json
from pathlib import Path

import pytest

from oldfriend.errors import InputError, OldFriendError
from oldfriend.files import atomic_folder, atomic_write, write_json
from oldfriend.outcome import Outcome, spread


class Crash(BaseException):
    """What no `except Exception` catches, as Ctrl-C is."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_whole_into_new_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    with atomic_write(path) as out:
        out.write("ü")
        assert not path.exists()
    assert path.read_bytes() == "ü".encode()
    assert names(path.parent) == ["b.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_bytes_too(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "x", "wb") as out:
        out.write(b"\xff")
    assert (tmp_path / "x").read_bytes() == b"\xff"


@pytest.mark.parametrize("error", [ValueError, Crash])
def test_a_failed_file_leaves_the_old_one(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(error), atomic_write(path) as out:
        out.write("half")
        raise error
    assert path.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["x.txt"]


def test_a_folder_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for name in ("old", "new"):
        with atomic_folder(path) as folder:
            (folder / name).write_text(name, encoding="utf-8")
    assert names(path) == ["new"]
    assert names(tmp_path) == ["model"]
    assert path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [ValueError, Crash])
def test_a_failed_folder_leaves_the_old_one(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "model"
    with atomic_folder(path) as folder:
        (folder / "weights").write_text("old", encoding="utf-8")
    with pytest.raises(error), atomic_folder(path) as folder:
        (folder / "weights").write_text("half", encoding="utf-8")
        raise error
    assert (path / "weights").read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["model"]


def test_json_is_sorted_readable_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    write_json(path, {"b": 1, "a": "ü"})
    text = path.read_text(encoding="utf-8")
    assert text == '{\n  "a": "ü",\n  "b": 1\n}\n'
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "ü", "b": 1}
    assert names(tmp_path) == ["m.json"]


def test_an_input_error_says_where() -> None:
    error = InputError("not a number", path=Path("a.jsonl"), line=3, field="age")
    assert str(error) == "a.jsonl:3, field 'age': not a number"
    assert str(InputError("bad")) == "bad"
    assert (error.exit_code, OldFriendError.exit_code) == (2, 1)


def test_outcomes_stand_side_by_side() -> None:
    both = Outcome({"a": 1.0}, {"t": [{"x": 1}]}) + Outcome({"b": 2.0})
    assert both == Outcome({"a": 1.0, "b": 2.0}, {"t": [{"x": 1}]})


def test_spread_is_mean_and_sample_deviation() -> None:
    assert spread([{"a": 1.0}]) == {"a": 1.0}
    assert spread([{"a": 1.0}, {"a": 3.0}]) == pytest.approx({"a": 2.0, "a_sd": 2**0.5})
