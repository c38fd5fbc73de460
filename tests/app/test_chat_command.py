"""The conversation in the terminal, line by line."""

import os
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from friend_fakes import Table, on_disk
from rich.console import Console

from oldfriend.agent.reply import Reply
from oldfriend.app.chat import HELP, Chat


class Typed(Console):
    """A console at which somebody types ``lines`` and then ends with ``end``."""

    def __init__(self, lines: list[str], end: type[BaseException] = EOFError) -> None:
        super().__init__(file=StringIO(), width=140)
        self.lines, self._end = list(lines), end

    def input(self, *args: object, **kwargs: object) -> str:
        if not self.lines:
            raise self._end
        return self.lines.pop(0)

    @property
    def seen(self) -> str:
        assert isinstance(self.file, StringIO)
        return self.file.getvalue()


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    with Table(tmp_path) as table:
        yield table


def chat(table: Table, *lines: str, end: type[BaseException] = EOFError) -> str:
    """What is seen when somebody types this."""
    console = Typed(list(lines), end)
    Chat(table.friend, "ada", console, clock=lambda: table.now).run()
    assert not console.lines
    return console.seen


def test_a_conversation_and_what_is_behind_it(table: Table) -> None:
    seen = chat(table, "My cat is called Miro.", "/why", "What is my cat called?", "/why", "/help")
    assert "noted: pet name: Miro" in seen
    assert "It is Miro." in seen
    assert "memory needed (p = " in seen
    assert "the model stood on [your pet name: Miro]" in seen
    assert "importance" in seen and "own" in seen, "the parts of the score"
    assert "remember" in seen and " ms" in seen
    assert HELP.splitlines()[0] in seen


def test_the_list_and_what_is_done_with_it(table: Table) -> None:
    seen = chat(
        table, "My cat is called Miro.", "I live in Rome.", "/memories", "/correct 1 Mira",
        "/memories", "/pin 1", "/memories cat", "/correct 9 x", "/pin", "/pin zzzz", "/dance",
    )  # fmt: skip
    assert seen.index("pet name: Miro") < seen.index("now: pet name: Mira")
    assert "pinned: home city: Rome" in seen
    assert "no number 9 in the list" in seen
    assert "no number ? in the list" in seen or "no memory ''" in seen
    assert "no memory 'zzzz'" in seen
    assert "no command /dance" in seen
    assert [r.slot for r in table.pool.of("ada").records() if r.pinned][:1] == ["home_city"]


def test_forgetting_asks_first_and_shows_the_proof(table: Table, tmp_path: Path) -> None:
    seen = chat(table, "My cat is called Miro.", "/memories", "/forget 1", "n", "/forget", "/why")
    assert "nothing was forgotten" in seen
    assert "say what: a number, a topic, or all" in seen
    assert on_disk(tmp_path, "Miro")
    table.say("Miro is asleep.")
    seen = chat(
        table, "/memories", "/forget 1", "y", "/pin 1", "/forget Miro", "yes", "/forget Miro"
    )
    assert "looked through" in seen
    assert "none found" in seen
    assert "other memories mention it: /forget Miro" in seen
    assert "nothing mentions 'Miro'" in seen
    assert on_disk(tmp_path, "Miro") == []
    seen = chat(table, "Hello.", "/forget all", "y", "/memories", "/why")
    assert "nothing yet" in seen
    assert "nothing was said yet" in seen
    assert table.pool.users() == []


@pytest.mark.parametrize("end", [EOFError, KeyboardInterrupt])
def test_the_end_of_a_conversation_is_a_summary(table: Table, end: type[BaseException]) -> None:
    chat(table, "My cat is called Miro.", end=end)
    (summary,) = table.texts("ada", "session")
    assert "pet name Miro" in summary


def test_what_people_type_neither_colours_nor_steers_the_terminal(table: Table) -> None:
    seen = chat(
        table, "My cat is called Miro. [red]x[/red] \x1b[2J", "", "/memories cat", "x" * 9000
    )
    assert "\x1b[2J" not in seen
    assert "say it in at most 4,000 characters" in seen


def run(folder: Path, typed: str) -> subprocess.CompletedProcess[str]:
    """`oldfriend chat` without models, fed from a pipe."""
    command = [
        sys.executable, "-c", "from oldfriend.app.cli import main; main()", "chat", "--user", "ada",
        "--memory", str(folder / "memory"), "--models", str(folder), "--embedder", "hash",
    ]  # fmt: skip
    env = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(
        command, input=typed, capture_output=True, text=True, env=env, cwd=folder, check=False
    )


def test_the_command_remembers_across_restarts(tmp_path: Path) -> None:
    first = run(tmp_path, "My cat is called Miro.\n")
    assert (first.returncode, first.stderr.count("Traceback")) == (0, 0), first.stderr
    assert "dvc repro" in first.stdout
    second = run(tmp_path, "/memories\n")
    assert second.returncode == 0, second.stderr
    assert "Miro" in second.stdout


def test_why_tells_of_drafts_and_what_is_recorded_holds_no_words(table: Table) -> None:
    console, kept = Typed(["My cat is called Miro.", "/why"]), list[Reply]()
    Chat(table.friend, "ada", console, clock=lambda: table.now, record=kept.append).run()
    assert "said, batch 1: Tell me more." in console.seen
    assert "said because: nobody judges" in console.seen
    (reply,) = kept
    assert "Miro" not in str(reply.why.figures()) and reply.why.figures()["drafts"] == 1
