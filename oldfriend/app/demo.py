"""Trying the trained models by hand: notes of a sentence, an answer from notes."""

from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from oldfriend.corpus.schema import MemoryLine, NoteExample
from oldfriend.errors import InputError, MissingDataError

MAX_CHARS = 2000  # of one sentence given by hand


def note_table(text: str, models: Path, user: str = "") -> None:
    """Print the notes of ``text`` with where they stand and how certain they are."""
    from oldfriend.memory.extract import load

    example = _example(text)
    own = models / "users" / user if user else None
    if own and not own.is_dir():
        known = ", ".join(sorted(p.name for p in (models / "users").glob("*"))) or "nobody"
        raise MissingDataError(f"no adapter for '{user}'; there are: {known}")
    summarizer = load(models / "friend", models / "summarizer", own=own)
    table = Table("slot", "value", "characters", "certainty", "kept")
    certainties = dict(summarizer.read([example])[0])
    kept = summarizer.write([example])[0]
    for note in sorted({*certainties, *kept}, key=lambda note: note.start):
        sure = f"{certainties[note]:.2f}" if note in certainties else "own reader"
        span = f"{note.start}-{note.end}"
        table.add_row(note.slot, note.value, span, sure, "yes" if note in kept else "no")
    Console().print(table if table.row_count else "nothing worth remembering")


def answer(question: str, said: list[str], models: Path, name: str) -> None:
    """Print the notes of everything ``said`` and the friend's answer to ``question``."""
    from oldfriend.agent.models import FriendModel
    from oldfriend.memory.extract import load
    from oldfriend.memory.grounding import by_likeness, prompt, render_memory, spoken
    from oldfriend.memory.store.minilm import MiniLM

    asked, told = _example(question), [_example(text) for text in said]
    today = datetime.now(UTC).date()
    found = load(models / "friend", models / "summarizer").write(told)
    memories = [
        MemoryLine(owner=name, slot=n.slot, value=n.value, text=f"{n.slot}: {n.value}", since=today)
        for notes in found
        for n in notes
    ]
    ((*memories,),) = by_likeness([(name, memories, asked.text)], MiniLM().encode)
    chat = prompt(name, memories, (), asked.text)
    console = Console()
    for memory in memories:
        console.print(render_memory(memory, name), style="dim")
    reply = FriendModel(models / "friend").reply(chat, max_new_tokens=60)
    console.print(spoken(reply), markup=False)


def _example(text: str) -> NoteExample:
    if not text.strip() or len(text) > MAX_CHARS:
        raise InputError(f"say something, in at most {MAX_CHARS} characters")
    return NoteExample(id="demo", user="demo", source="command line", text=text.strip())
