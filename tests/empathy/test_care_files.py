"""What is written down of care, what a crash leaves, and the command line."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from oldfriend.app.care import app
from oldfriend.empathy.care import forget_care, ledgers, opt, run_care
from oldfriend.empathy.care_ledger import Asked, CareFile, Consent, Sent
from oldfriend.empathy.care_rules import CareSettings
from oldfriend.errors import InputError, MissingDataError
from oldfriend.memory.store.engine import tenant_key
from oldfriend.memory.store.journal import Add, Journal, Opened
from oldfriend.memory.store.lock import Lock, StoreLockedError
from oldfriend.memory.store.record import MemoryRecord, Source, record_id

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
SAID = NOON - timedelta(days=5)


def write_life(memory: Path, user: str) -> None:
    """A folder as the pool leaves it: one turn, and an exam on the day after NOON."""
    key = tenant_key(user)
    turn = MemoryRecord(
        id=record_id(user, "turn"), user=user, kind="turn", text="My anatomy exam is on Tuesday.",
        created_at=SAID, source=Source(session="s", turn=0, end=30),
    )  # fmt: skip
    exam = MemoryRecord(
        id=record_id(user, "exam"), user=user, kind="event", slot="exam_subject", value="anatomy",
        text="exam subject: anatomy", created_at=SAID, valid_from=datetime(2024, 5, 7, tzinfo=UTC),
    )  # fmt: skip
    journal = Journal(memory / "journals" / key[:2] / f"{key}.jsonl")
    journal.append(
        [Opened(at=SAID, user=user), Add(at=SAID, record=turn), Add(at=SAID, record=exam)]
    )
    (memory / "meta.json").write_text("{}")


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    for user in ("ana", "ben"):
        write_life(tmp_path, user)
    opt(tmp_path, "ana", Consent(on=True), SAID)
    return tmp_path


def test_only_who_wants_it_and_only_once(memory: Path) -> None:
    words = run_care(memory, CareSettings(), NOON)
    assert [(word.user, word.kind) for word in words] == [("ana", "event")]
    assert run_care(memory, CareSettings(), NOON + timedelta(hours=1)) == []
    entries = list(CareFile(memory, "ana").read())
    assert isinstance(entries[1], Sent) and entries[1].reason == words[0].reason


def test_dry_run_writes_nothing(memory: Path) -> None:
    before = {path: path.read_bytes() for path in memory.rglob("*") if path.is_file()}
    assert len(run_care(memory, CareSettings(), NOON, dry_run=True)) == 1
    assert {path: path.read_bytes() for path in memory.rglob("*") if path.is_file()} == before


def test_the_last_wish_counts(memory: Path) -> None:
    opt(memory, "ana", Consent(on=False), NOON)
    assert run_care(memory, CareSettings(), NOON) == []


def test_nothing_of_a_memory_is_kept(memory: Path) -> None:
    run_care(memory, CareSettings(), NOON)
    kept = b"".join(p.read_bytes() for p in (memory / "care").iterdir())
    for word in ("anatomy", 'ana"', str(record_id("ana", "exam"))):
        assert word.encode() not in kept
    assert forget_care(memory, "ana") and not forget_care(memory, "ana")
    assert list((memory / "care").glob("*.jsonl")) == []


def test_written_before_it_is_returned(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        run_care(memory, CareSettings(), NOON)
    monkeypatch.undo()
    assert len(run_care(memory, CareSettings(), NOON)) == 1


@pytest.mark.parametrize("tail", [b'{"op":"sent","at', b"{", b'{"op":"asked"}'])
def test_half_a_line_is_passed_over_and_mended(memory: Path, tail: bytes) -> None:
    file = CareFile(memory, "ana")
    with file.path.open("ab") as out:
        out.write(tail)
    assert len(list(file.read())) == 1
    file.append(Asked(at=NOON, consent=Consent(on=False)))
    assert [type(entry) for entry in file.read()] == [Asked, Asked]


@pytest.mark.parametrize(
    "line",
    [b"nonsense\n", b'{"op":"sent"}\n', b'{"op":"gone","at":"2024-01-01"}\n', b"\xff\xfe\n",
     b'{"op":"asked","at":"2024-01-01T00:00:00","consent":{"on":true,"timezone":"Mars/X"}}\n'],
)  # fmt: skip
def test_a_damaged_line_is_named(memory: Path, line: bytes) -> None:
    file = CareFile(memory, "ana")
    with file.path.open("ab") as out:
        out.write(line)
    with pytest.raises(InputError) as caught:
        list(file.read())
    assert caught.value.line == 2 and caught.value.path == file.path


def test_a_journal_in_the_middle_of_a_write_is_left_alone(memory: Path) -> None:
    key = tenant_key("ana")
    path = memory / "journals" / key[:2] / f"{key}.jsonl"
    with path.open("ab") as out:
        out.write(b'{"sum":"0000')
    size = path.stat().st_size
    assert [len(one.records) for one in ledgers(memory)] == [1, 1]
    assert path.stat().st_size == size


def test_one_at_a_time(memory: Path) -> None:
    with Lock(memory / "care" / "lock"), pytest.raises(StoreLockedError):
        run_care(memory, CareSettings(), NOON)


def test_no_memories(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError):
        run_care(tmp_path, CareSettings(), NOON)


def invoke(*words: str) -> str:
    outer = typer.Typer()
    outer.add_typer(app, name="care")
    done = CliRunner().invoke(outer, ["care", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_command(memory: Path) -> None:
    place = ("--memory", str(memory), "--now", NOON.isoformat())
    told = json.loads(invoke(*place, "--dry-run", "--json"))
    assert [(row["user"], bool(row["text"])) for row in told] == [("ana", True), ("ben", False)]
    assert told[1]["reason"] == "did not ask to be written to"
    assert "anatomy" in invoke(*place)
    assert "nobody" in invoke(*place)
    invoke("off", "--memory", str(memory), "--user", "ana")
    assert "does not want it" in invoke("log", "--memory", str(memory), "--user", "ana")
    invoke("on", "--memory", str(memory), "--user", "ben", "--timezone", "Asia/Kolkata")
    assert [row["user"] for row in json.loads(invoke(*place, "--json"))] == ["ben"]


@pytest.mark.parametrize(
    "words",
    [("on", "--user", "a", "--timezone", "Mars/X"), ("--timezone", "Mars/X"), ("--now", "soon")],
)
def test_bad_usage_is_told(memory: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(InputError):
        invoke(*words, "--memory", str(memory))
