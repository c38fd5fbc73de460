"""`oldfriend memory ...` as a user meets it."""

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from oldfriend.agent.friend import Friend
from oldfriend.app.cli import main
from oldfriend.memory.store.change import absorb
from oldfriend.memory.store.journal import Add
from oldfriend.memory.store.lock import Lock
from oldfriend.memory.store.record import MemoryRecord, Source, record_id

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
Command = Callable[..., tuple[int, str]]


def told(
    place: int, text: str, *notes: tuple[str, str], user: str = "ada"
) -> Sequence[MemoryRecord]:
    """A turn and the notes of it."""
    now = START + timedelta(days=place)
    source = Source(session="s1", turn=place, end=len(text))
    shared = {"user": user, "created_at": now}
    turn = MemoryRecord(id=record_id(user, text), kind="turn", text=text, source=source, **shared)
    made = []
    for slot, value in notes:
        start = text.index(value)
        span = source.model_copy(update={"start": start, "end": start + len(value)})
        made.append(
            MemoryRecord(
                id=record_id(user, slot, value), kind="profile", slot=slot, cardinality="single",
                value=value, text=f"{slot}: {value}", importance=7, source=span, **shared,
            )
        )  # fmt: skip
    return [turn, *made]


TALK = [
    told(0, "I live in Rome.", ("home_city", "Rome")),
    told(1, "My cat Miro sleeps all day.", ("pet_name", "Miro")),
    told(2, "We moved to Oslo.", ("home_city", "Oslo")),
    told(3, "Miro likes Oslo."),
]


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    """Ada's memories, and one of ben's."""
    with Friend.open(tmp_path / "memory", tmp_path, encoder="hash") as friend:
        for records in TALK:
            own = friend.memory("ada")
            own.write([Add(at=records[0].created_at, record=records[0])])
            own.write(absorb(own.state, records[1:]))
        friend.memory("ben").add(told(0, "I live in Bonn.", user="ben"), START)
    return tmp_path / "memory"


@pytest.fixture
def command(
    memory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run `oldfriend memory ...`: exit code and what is printed."""
    monkeypatch.setenv("OLDFRIEND_MEMORY", str(memory))
    monkeypatch.setenv("OLDFRIEND_EMBEDDER", "hash")
    monkeypatch.setenv("OLDFRIEND_USER", "ada")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("QDRANT_URL", raising=False)
    monkeypatch.chdir(memory.parent)

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["oldfriend", "memory", *words])
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out + said.err

    return run


def ids(command: Command, *options: str) -> dict[str, str]:
    """Text to id."""
    code, said = command("list", "--json", *options)
    assert code == 0
    return {row["text"]: row["id"] for row in json.loads(said)}


def test_list(command: Command) -> None:
    code, said = command("list")
    assert code == 0
    assert "home_city: Oslo" in said and "pet_name: Miro" in said
    assert "Rome" not in said and "Bonn" not in said
    assert set(ids(command)) == {"home_city: Oslo", "pet_name: Miro"}
    assert "home_city: Rome" in ids(command, "--all")
    assert len(ids(command, "--turns")) == 6
    assert len(ids(command, "--kind", "turn")) == 4
    assert command("list", "--user", "nobody") == (0, "nothing remembered of 'nobody' yet\n")


def test_search_and_why_explain_their_scores(command: Command) -> None:
    code, said = command("search", "Miro sleeps", "--limit", "2", "--json")
    rows = json.loads(said)
    assert code == 0 and len(rows) == 2
    assert rows[0]["text"] == "pet_name: Miro"
    assert rows[0]["score"] == pytest.approx(sum(rows[0]["parts"].values()), abs=1e-4)
    assert "recency" in command("search", "Miro")[1]
    assert command("search", "x", "--user", "nobody") == (0, "nothing found for 'nobody'\n")
    code, said = command("why", "Where did I live last week?", "--json")
    assert code == 0 and {"needed", "reason", "choices"} <= set(json.loads(said))
    assert "need 0." in command("why", "Where did I live last week?")[1]
    assert "time asked about: 'last week'" in command("why", "Where did I live last week?")[1]


def test_show(command: Command) -> None:
    names = ids(command, "--all")
    code, said = command("show", names["home_city: Oslo"])
    assert code == 0
    for part in ("We moved to Oslo.", "s1, turn 2", "Rome until 2026-03-04", "retention"):
        assert part in said
    assert json.loads(command("show", names["home_city: Oslo"][:8], "--json")[1])["value"] == "Oslo"
    code, said = command("show")
    assert code == 0 and "your home city: Oslo, before Rome" in said
    assert "before Rome" in json.loads(command("show", "--json")[1])["home_city"]
    assert command("show", "--user", "nobody")[1] == "nothing remembered of 'nobody' yet\n"
    for wrong in ("ffffffffffff", "-"):
        assert command("show", wrong)[0] == 2


def test_pin(command: Command) -> None:
    id = ids(command)["pet_name: Miro"]
    assert command("pin", id)[0] == 0
    assert "pinned" in command("list")[1]
    assert command("pin", id, "--off") == (0, "no longer pinned: pet_name: Miro\n")
    assert command("pin", "123456789")[0] == 2


def test_correct(command: Command) -> None:
    id = ids(command)["pet_name: Miro"]
    assert command("correct", id, "Mira")[0] == 0
    assert {"pet name: Mira", "home_city: Oslo"} == set(ids(command))
    code, said = command("correct", id, "Mo")
    assert code == 2 and "put right before" in said
    assert command("correct", ids(command, "--turns")["I live in Rome."], "x")[0] == 2


def test_forget_one_topic_and_all(command: Command, memory: Path) -> None:
    id = ids(command)["pet_name: Miro"]
    for words in ((), (id, "--all"), ("--topic", "x", "--all")):
        assert command("forget", *words, "--yes")[0] == 2
    assert command("scan", "Miro")[0] == 1
    code, said = command("forget", id, "--yes")
    assert code == 0
    assert "My cat Miro sleeps all day." in said, "what is taken along is shown"
    assert "none found" in said and "other memories mention 'Miro'" in said
    assert command("forget", "--topic", "Miro", "--yes")[0] == 0
    code, said = command("scan", "Miro")
    assert code == 0 and "none found" in said
    assert command("forget", "--topic", "Miro", "--yes") == (0, "nothing to forget\n")
    assert command("forget", "--all", "--yes")[0] == 0
    assert command("list") == (0, "nothing remembered of 'ada' yet\n")
    assert command("scan", "Oslo")[0] == 0
    assert set(ids(command, "--turns", "--user", "ben")) == {"I live in Bonn."}


def test_forgetting_asks(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("typer.confirm", lambda text: asked.append(text))
    code, said = command("forget", "--all")
    assert code == 1 and "nothing was forgotten" in said
    assert asked == ["Erase these 7 for good?"]


def test_export_and_import_are_a_round_trip(command: Command, tmp_path: Path) -> None:
    before = ids(command, "--all", "--turns")
    assert command("export", "ada.jsonl")[0] == 0
    assert command("import", "ada.jsonl") == (0, "0 new memories of 'ada'\n")
    assert command("import", "ada.jsonl", "--memory", "other")[1] == "7 new memories of 'ada'\n"
    assert ids(command, "--all", "--turns", "--memory", "other") == before
    assert command("import", "ada.jsonl", "--user", "ben")[0] == 2
    assert command("import", "nothing.jsonl")[0] == 2
    (tmp_path / "odd.jsonl").write_text('{"id": 1}\n', encoding="utf-8")
    code, said = command("import", "odd.jsonl")
    assert code == 2 and "odd.jsonl:1" in said


def test_reindex(command: Command) -> None:
    assert command("reindex") == (0, "8 memories are indexed anew\n")
    assert "Miro" in command("search", "Miro")[1]


def test_where_there_is_nothing(command: Command) -> None:
    for words in (("list",), ("reindex",), ("scan", "x"), ("forget", "--all")):
        code, said = command(*words, "--memory", "elsewhere")
        assert code == 1 and "talk first (oldfriend chat)" in said
    assert not Path("elsewhere").exists()
    assert command("scan", " ")[0] == 2


def test_one_process_at_a_time(command: Command, memory: Path) -> None:
    with Lock(memory / "lock"):
        code, said = command("list")
    assert code == 1 and "is in use by process" in said
    assert command("list")[0] == 0


@pytest.mark.parametrize("words", [("show", "a", "b"), ("list", "--loud"), ("pin",), ("dance",)])
def test_bad_usage_of_memory(command: Command, words: tuple[str, ...]) -> None:
    assert command(*words)[0] == 2
