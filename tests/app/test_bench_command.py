"""``oldfriend bench`` as a user meets it."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from oldfriend.app.cli import main
from oldfriend.bench import lives, locomo, longmemeval, peers
from oldfriend.errors import MissingDataError
from oldfriend.outcome import Outcome

FOUND = Outcome(
    {"recall_at_5": 0.75, "recall_at_5_sd": 0.125, "questions": 8.0},
    {"ways": [{"way": "full", "recall_at_5": 0.75}, {"way": "bm25 only", "recall_at_5": 0.5}]},
)
MODULES = {"locomo": locomo, "longmemeval": longmemeval, "lives": lives, "memory-peers": peers}


def bench(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Exit code of ``oldfriend bench``."""
    monkeypatch.setattr(sys, "argv", ["oldfriend", "bench", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


@pytest.mark.parametrize("name", MODULES)
def test_a_bench_is_shown_and_kept(
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[Path] = []

    def run(data: Path, **options: Any) -> Outcome:
        asked.append(data)
        return FOUND

    monkeypatch.setattr(MODULES[name], "run", run)
    assert bench(monkeypatch, name, "--data", "somewhere") == 0
    assert asked == [Path("somewhere")]
    written = tmp_path / "metrics" / "bench" / f"{name}.json"
    assert json.loads(written.read_text()) == FOUND.metrics
    with written.with_name(f"{name}.ways.csv").open() as rows:
        assert [row["way"] for row in csv.DictReader(rows)] == ["full", "bm25 only"]
    said = capsys.readouterr().out
    assert "0.750 ± 0.125" in said and "bm25 only" in said and f"bench/{name}.json" in said
    assert "recall_at_5_sd" not in said


def test_the_place_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lives, "run", lambda data, **options: FOUND)
    assert bench(monkeypatch, "lives", "--json", "mine.json") == 0
    assert json.loads(Path("mine.json").read_text()) == FOUND.metrics
    assert not Path("metrics").exists()


def test_lives_come_from_the_banks_that_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def run(data: Path, **options: Any) -> Outcome:
        asked.append(data)
        raise MissingDataError("enough")

    monkeypatch.setattr(lives, "run", run)
    assert bench(monkeypatch, "lives") == 1
    assert asked == [Path("data/seeds")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sums",), "there are locomo, longmemeval, lives, memory-peers"),
        (("locomo",), "--data"),
        (("longmemeval",), "--data"),
    ],
)
def test_what_cannot_be_run_is_one_line(
    words: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert bench(monkeypatch, *words) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_bench_that_fails_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert bench(monkeypatch, "locomo", "--data", "nowhere") in (1, 2)
    assert "nowhere" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
