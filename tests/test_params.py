"""params.yaml: mistakes are named with what is allowed, presets change values and nothing else."""

import re
import shutil
from pathlib import Path

import pytest

from oldfriend.errors import MissingDataError, ParamsError
from oldfriend.params import Params, apply_preset

ROOT = Path(__file__).parents[1]
PRESETS = sorted(path.stem for path in (ROOT / "presets").glob("*.yaml"))


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml"))


def mistake(path: Path, good: str, bad: str) -> str:
    """The message after replacing the first match of pattern ``good`` by ``bad``."""
    text, found = re.subn(good, bad, path.read_text(encoding="utf-8"), count=1)
    assert found
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ParamsError) as caught:
        Params.load(path)
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert message.startswith(str(path)), "the file is named"
    assert "\n" not in message
    return message


def test_the_shipped_params_are_valid(shipped: Path) -> None:
    assert Params.load(shipped) == Params.load(ROOT / "params.yaml")


@pytest.mark.parametrize(
    ("good", "bad", "key", "neighbour"),
    [
        ("seed: .*", "sead: 0", "sead", "summarizer"),
        (r"  vocab: \d+", "  vocabulary: 4096", "base.vocabulary", "vocab"),
        (r"    people: \d+", "    peeple: 500", "curate.simulator.peeple", "people"),
        (r"    steps: \d+", "    step: 500", "base.fit.step", "steps"),
        ("curate:\n", "curate:\n  sources: [{name: a, c: 1}]\n", "curate.sources.0.c", "path"),
    ],
)  # fmt: skip
def test_an_unknown_key_is_named_with_its_neighbours(
    shipped: Path, good: str, bad: str, key: str, neighbour: str
) -> None:
    message = mistake(shipped, good, bad)
    assert f"unknown key '{key}'; known here: " in message
    assert neighbour in re.split(r"[,;]? ", message.partition("known here: ")[2])


@pytest.mark.parametrize(
    ("good", "bad", "expected"),
    [
        (
            r"heads: \d+",
            "heads: 0",
            "'base.heads' is 0: Input should be greater than or equal to 1",
        ),
        (
            r"copy_mix: [\d.]+",
            "copy_mix: 1.5",
            "'base.copy_mix' is 1.5: Input should be less than 1",
        ),
        (r"hidden: \d+", "hidden: 100", "multiple of 32"),
        (r"schedule: \w+", "schedule: sine", "'cosine', 'wsd' or 'constant'"),
        ("seed: .*", f"seed: {2**31}", f"less than or equal to {2**31 - 1}"),
        (r"optimizer: muon", "optimizer: muon\n    strategy: fsdp", "muon needs whole matrices"),
        (r"notes_share: [\d.]+", "notes_share: 0.99", "notes_share and drill_share together leave"),
    ],
)
def test_out_of_range_says_what_is_allowed(
    shipped: Path, good: str, bad: str, expected: str
) -> None:
    assert expected in mistake(shipped, good, bad)


def test_a_wrong_type_is_named(shipped: Path) -> None:
    message = mistake(shipped, r"heads: \d+", "heads: many")
    assert "'base.heads' is 'many': Input should be a valid integer" in message


def test_a_missing_key_is_named(shipped: Path) -> None:
    assert "'base.fit.steps' is missing" in mistake(shipped, r"    steps: \d+\n", "")


def test_all_mistakes_are_told_at_once(shipped: Path) -> None:
    message = mistake(shipped, r"  heads: .*\n", "  heads: 0\n  horns: 2\n")
    assert "'base.heads'" in message
    assert "'base.horns'" in message


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"none\.yaml is not there"):
        Params.load(tmp_path / "none.yaml")


def test_not_yaml_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("seed: 0\nbase: {a: 1\ncurate: [\n", encoding="utf-8")
    with pytest.raises(ParamsError, match=rf"{re.escape(str(path))}:\d+: not YAML"):
        Params.load(path)


@pytest.mark.parametrize("text", [b"", b"- 1\n", b"just words", b"seed: \xff\n", b"seed: \x00"])
def test_other_things_than_sections(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(text)
    with pytest.raises(ParamsError, match=re.escape(str(path))):
        Params.load(path)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_changes_values_only(shipped: Path, name: str) -> None:
    before = shipped.read_text(encoding="utf-8")
    changes = apply_preset(name, shipped, ROOT / "presets")
    after = shipped.read_text(encoding="utf-8")
    Params.load(shipped)
    comments = re.compile(r"#.*")
    assert set(comments.findall(before)) <= set(comments.findall(after))
    gone = set(before.splitlines()) - set(after.splitlines())
    keys = {re.split(r"[.:]", change.split(": ")[0])[-1] for change in changes}
    replaced = {"people"} if "simulator" in keys else set()
    names = {line.split(":")[0].strip() for line in gone}
    assert {name for name in names if not name.startswith("- ")} <= keys | replaced
    assert bool(changes) == (before != after)
    assert apply_preset(name, shipped, ROOT / "presets") == []
    assert shipped.read_text(encoding="utf-8") == after
    assert [path.name for path in shipped.parent.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize("second", PRESETS)
@pytest.mark.parametrize("first", PRESETS)
def test_presets_follow_each_other(shipped: Path, first: str, second: str) -> None:
    alone = shipped.with_name("alone.yaml")
    alone.write_bytes(shipped.read_bytes())
    apply_preset(second, alone, ROOT / "presets")
    apply_preset(first, shipped, ROOT / "presets")
    apply_preset(second, shipped, ROOT / "presets")
    assert Params.load(shipped) == Params.load(alone)


def test_nano_is_what_is_shipped(shipped: Path) -> None:
    assert apply_preset("nano", shipped, ROOT / "presets") == []


def test_an_unknown_preset_lists_the_known(shipped: Path) -> None:
    before = shipped.read_bytes()
    with pytest.raises(ParamsError, match="unknown preset 'huge'; there are: hub, nano"):
        apply_preset("huge", shipped, ROOT / "presets")
    assert shipped.read_bytes() == before


def test_a_bad_preset_leaves_params_alone(shipped: Path, tmp_path: Path) -> None:
    presets = tmp_path / "presets"
    presets.mkdir()
    (presets / "nano.yaml").write_bytes(shipped.read_bytes())
    (presets / "bad.yaml").write_text("base: {heads: -1}\n", encoding="utf-8")
    before = shipped.read_bytes()
    with pytest.raises(ParamsError, match=r"bad\.yaml: 'base.heads' is -1"):
        apply_preset("bad", shipped, presets)
    assert shipped.read_bytes() == before
