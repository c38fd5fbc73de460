"""The command line as a user meets it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from oldfriend.app import demo, report
from oldfriend.app.cli import main
from oldfriend.errors import InputError, MissingDataError

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "mlflow", "transformers", "lightning", "peft", "pydantic", "dvc", "matplotlib")


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Exit code of the command line."""
    monkeypatch.setattr(sys, "argv", ["oldfriend", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_help_is_light() -> None:
    code = (
        "import sys\nfrom oldfriend.app.cli import main\n"
        "sys.argv = ['oldfriend', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print('heavy:', [m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "heavy: []"
    for command in ("doctor", "preset", "report", "note", "ask", "ui", "chat", "memory", "bench"):
        assert command in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",), ("preset",), ("note",), ("report", "--loud"), ("ui", "--port", "0"),
        ("ui", "--port", "many"), ("preset", "a", "b"),
    ],
)  # fmt: skip
def test_bad_usage(monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    assert run(monkeypatch, *words) == 2


def test_doctor_says_what_it_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    code = run(monkeypatch, "doctor")
    said = capsys.readouterr().out
    for what in ("python", "torch", "git", "free disk", "params.yaml", "GPU"):
        assert what in said
    assert code == (1 if "missing" in said else 0)


def test_doctor_outside_of_the_repository(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "doctor") == 1
    assert "missing" in capsys.readouterr().out


def test_report_shows_baselines_and_spread_beside_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    metrics = {"recall_acc": 0.91, "recall_acc_sd": 0.02, "recall_acc_before": 0.1, "seeds": 1200}
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "ground.json").write_text(json.dumps(metrics), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["oldfriend", "report"])
    assert run(monkeypatch, "report") == 0
    said = capsys.readouterr().out
    (line,) = [row for row in said.splitlines() if "recall_acc" in row]
    assert "0.910 ± 0.020" in line
    assert "0.100" in line
    assert "1,200" in said


def test_report_takes_any_number(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    metrics = {"a": 0, "b": 1, "c": -2.5, "d": 1e12, "e": float("nan"), "f": float("inf")}
    (tmp_path / "base.json").write_text(json.dumps(metrics), encoding="utf-8")
    report.show(tmp_path)
    assert "1,000,000,000,000" in capsys.readouterr().out


def test_no_metrics_yet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "report") == 1
    assert capsys.readouterr().err == "error: no metrics in metrics; run: make repro\n"


def test_presets_by_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    assert run(monkeypatch, "preset", "small") == 0
    assert "base.layers: 4 -> 14" in capsys.readouterr().out
    assert run(monkeypatch, "preset", "small") == 0
    assert "says all of that already" in capsys.readouterr().out
    assert run(monkeypatch, "preset", "huge") == 2
    assert capsys.readouterr().err.startswith("error: unknown preset 'huge'; there are: hub")


def test_input_errors_are_one_line_and_exit_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    (tmp_path / "params.yaml").write_text("seed: [\n", encoding="utf-8")
    assert run(monkeypatch, "preset", "nano") == 2
    said = capsys.readouterr().err
    assert said.startswith("error: params.yaml:")
    assert said.count("\n") == 1


@pytest.mark.parametrize("text", ["", "  \n", "x" * (demo.MAX_CHARS + 1)])
def test_a_sentence_must_say_something_and_be_short(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="say something, in at most"):
        demo.note_table(text, tmp_path)
    with pytest.raises(InputError, match="say something, in at most"):
        demo.answer(text, [], tmp_path, "Ana")
    with pytest.raises(InputError, match="say something, in at most"):
        demo.answer("What?", [text], tmp_path, "Ana")


def test_without_models_it_says_where_they_come_from(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=os.fspath(tmp_path)):
        demo.note_table("My cat is Miro", tmp_path)
    with pytest.raises(MissingDataError, match="no adapter for 'ben'; there are: nobody"):
        demo.note_table("My cat is Miro", tmp_path, "ben")
