"""The ``oldfriend memory`` commands that only look: list, search, show, why."""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from oldfriend.app.options import FOLDER, MINILM, MODELS, Encoder, Memory, Url, User, open_friend

if TYPE_CHECKING:
    from oldfriend.memory.store.record import MemoryRecord

app = typer.Typer()
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


@app.command("list")
def list_(
    user: User,
    memory: Memory = FOLDER,
    url: Url = "",
    encoder: Encoder = MINILM,
    kind: Annotated[str, typer.Option(help="Only this kind, e.g. event.")] = "",
    turns: Annotated[bool, typer.Option("--turns", help="Every turn as well.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="The archive and the past as well.")] = False,
    as_json: Json = False,
) -> None:
    """What is remembered: notes, summaries, insights."""
    with open_friend(memory, MODELS, url, encoder) as friend:
        found = [
            record
            for record in friend.memory(user).records(archived=all_)
            if (all_ or record.current)
            and (record.kind == kind if kind else turns or record.kind != "turn")
        ]
        _show(found, user, as_json)


@app.command()
def search(
    words: Annotated[str, typer.Argument(help="A question or some words.")],
    user: User,
    memory: Memory = FOLDER,
    url: Url = "",
    encoder: Encoder = MINILM,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 10,
    as_json: Json = False,
) -> None:
    """The memories nearest to WORDS, with what made up their score."""
    from rich.console import Console

    from oldfriend.app.shown import hit_table

    with open_friend(memory, MODELS, url, encoder) as friend:
        hits = friend.look(user, words).hits[:limit]
        if as_json:
            rows = [{"score": h.score, "parts": dict(h.parts), **_row(h.record)} for h in hits]
            print(json.dumps(rows, indent=2, ensure_ascii=False))
        else:
            Console().print(hit_table(hits) if hits else f"nothing found for '{user}'")


@app.command()
def show(
    user: User,
    id: Annotated[str, typer.Argument(help="The beginning of an id; without, the profile.")] = "",
    memory: Memory = FOLDER,
    url: Url = "",
    encoder: Encoder = MINILM,
    as_json: Json = False,
) -> None:
    """One memory with its source, history and why it is kept; or the person's profile."""
    from rich.console import Console
    from rich.table import Table

    from oldfriend.app.shown import details, find, plain
    from oldfriend.memory.store.levels import PORTRAIT, profile

    now = datetime.now().astimezone()
    with open_friend(memory, MODELS, url, encoder) as friend:
        own = friend.memory(user)
        if id:
            record = find(own, id)
            rows = details(own, record, now)
            told: object = _row(record)
        else:
            rows = [(line.slot, line.text) for line in profile(own.state, now).lines]
            rows += [(PORTRAIT, r.text) for r in own.records(("insight",)) if r.slot == PORTRAIT]
            told = dict(rows)
        if as_json:
            print(json.dumps(told, indent=2, ensure_ascii=False))
            return
        table = Table(show_header=False)
        for name, value in rows:
            table.add_row(name, plain(value))
        Console().print(table if rows else f"nothing remembered of '{user}' yet")


@app.command()
def why(
    question: Annotated[str, typer.Argument(help="What might be asked.")],
    user: User,
    memory: Memory = FOLDER,
    url: Url = "",
    encoder: Encoder = MINILM,
    as_json: Json = False,
) -> None:
    """Whether QUESTION needs memory, which memories, and why those."""
    from rich.console import Console

    from oldfriend.app.shown import hit_table, plain, reasons

    with open_friend(memory, MODELS, url, encoder) as friend:
        looked = friend.look(user, question)
        if as_json:
            decision = looked.decision
            chosen = [
                {"how": c.how, "p": c.probability, **_row(c.hit.record)} for c in decision.choices
            ]
            told = {"needed": decision.needed, "reason": decision.reason, "choices": chosen}
            print(json.dumps(told, indent=2, ensure_ascii=False))
            return
        console = Console()
        for line in reasons(looked):
            console.print(plain(line))
        if looked.hits:
            console.print(hit_table(looked.hits[:10]))


def _row(record: "MemoryRecord") -> dict[str, object]:
    return dict(record.model_dump(mode="json", exclude_defaults=True))


def _show(records: "list[MemoryRecord]", user: str, as_json: bool) -> None:
    from rich.console import Console

    from oldfriend.app.shown import record_table

    if as_json:
        print(json.dumps([_row(r) for r in records], indent=2, ensure_ascii=False))
    elif records:
        Console().print(record_table(records, datetime.now().astimezone()))
    else:
        print(f"nothing remembered of '{user}' yet")
