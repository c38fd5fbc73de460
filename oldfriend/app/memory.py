"""``oldfriend memory``: look into what is remembered, change it, take it along, erase it."""

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from oldfriend.app import memory_views
from oldfriend.app.options import (
    FOLDER,
    MINILM,
    MODELS,
    Encoder,
    Memory,
    Models,
    Url,
    User,
    open_friend,
    there,
)  # fmt: skip
from oldfriend.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Look into memories, change, export or erase them.")
app.add_typer(memory_views.app)  # without a name: its commands stand beside the ones below
Name = Annotated[str, typer.Argument(metavar="ID", help="The beginning of a memory's id.")]


@app.command()
def pin(
    id: Name,
    user: User,
    memory: Memory = FOLDER,
    url: Url = "",
    encoder: Encoder = MINILM,
    off: Annotated[bool, typer.Option("--off", help="Let it fade again.")] = False,
) -> None:
    """Keep a memory out of forgetting's reach."""
    from oldfriend.app.shown import find, what

    with open_friend(memory, MODELS, url, encoder) as friend:
        own = friend.memory(user)
        record = find(own, id)
        own.pin([record.id], datetime.now().astimezone(), not off)
        print(f"{'no longer pinned' if off else 'pinned'}: {what(record)}")


@app.command()
def correct(
    id: Name,
    value: Annotated[str, typer.Argument(help="What is true instead.")],
    user: User,
    memory: Memory = FOLDER,
    url: Url = "",
    encoder: Encoder = MINILM,
) -> None:
    """A note is wrong and was never true: VALUE is."""
    from oldfriend.app.shown import find, short

    with open_friend(memory, MODELS, url, encoder) as friend:
        record = find(friend.memory(user), id)
        right = friend.correct(user, record.id, value)
        print(f"{record.text} was wrong; now {short(right)} {right.text}")


@app.command()
def forget(
    user: User,
    id: Annotated[str, typer.Argument(metavar="ID", help="The beginning of an id.")] = "",
    topic: Annotated[str, typer.Option(help="Everything that mentions this.")] = "",
    all_: Annotated[bool, typer.Option("--all", help="The person, with their adapter.")] = False,
    memory: Memory = FOLDER,
    models: Models = MODELS,
    url: Url = "",
    encoder: Encoder = MINILM,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase one memory, a topic or a person for good, and prove it by a scan of all files."""
    from oldfriend.app.shown import find, left_over, to_erase
    from oldfriend.memory.store.rights import about

    if sum((bool(id), bool(topic), all_)) != 1:
        raise InputError("say what to forget: an ID, --topic WORDS or --all")
    with open_friend(memory, models, url, encoder) as friend:
        own = friend.memory(user)
        ids = list(own.state) if all_ else about(own.state, topic) if topic else [find(own, id).id]
        if not ids:
            print("nothing to forget")
            return
        listed = to_erase(own, ids)
        print("\n".join(listed[:20] + ([f"... {len(listed)} in all"] if len(listed) > 20 else [])))
        if not yes and not typer.confirm(f"Erase these {len(listed)} for good?"):
            print("nothing was forgotten")
            raise typer.Exit(1)
        values = {own.state[i].value for i in ids if own.state[i].slot}
        erasure = friend.forget(user, "all" if all_ else ids)
        print(erasure)
        for value in left_over(own, values):
            print(f"other memories mention '{value}': forget --topic '{value}' erases them")
        raise typer.Exit(0 if erasure.clean else 1)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="JSON Lines file to write.")],
    user: User,
    memory: Memory = FOLDER,
    url: Url = "",
    encoder: Encoder = MINILM,
) -> None:
    """Write a person's memories to FILE."""
    from oldfriend.memory.store import rights

    with open_friend(memory, MODELS, url, encoder) as friend:
        print(f"wrote {rights.export(friend.memory(user), file)} memories to {file}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="JSON Lines file of an export.")],
    user: User,
    memory: Memory = FOLDER,
    url: Url = "",
    encoder: Encoder = MINILM,
) -> None:
    """Take in a person's exported memories; what is known already is passed over."""
    from oldfriend.memory.store import rights

    if not file.is_file():
        raise InputError("no such file", path=file)
    with open_friend(memory, MODELS, url, encoder, must_exist=False) as friend:
        new = rights.load(friend.memory(user), file, datetime.now().astimezone())
        print(f"{len(new)} new memories of '{user}'")


@app.command()
def reindex(memory: Memory = FOLDER, url: Url = "", encoder: Encoder = MINILM) -> None:
    """Embed everything anew from the journals, also with another embedder."""
    from oldfriend.memory.store.embed import embedder
    from oldfriend.memory.store.pool import MemoryPool

    there(memory)
    vectors, key = embedder(encoder), os.environ.get("QDRANT_API_KEY")
    with MemoryPool.open(memory, vectors, url=url or None, api_key=key, reindex=True) as pool:
        waiting = pool.behind
        count = sum(len(pool.of(user).records()) for user in pool.users())
    if waiting:
        print(f"the memory server does not answer: {waiting} entries wait")
        raise typer.Exit(1)
    print(f"{count} memories are indexed anew")


@app.command()
def scan(
    words: Annotated[str, typer.Argument(help="What should be nowhere any more.")],
    memory: Memory = FOLDER,
    models: Models = MODELS,
) -> None:
    """Look for WORDS in every file of the memories and of people's own adapters."""
    from oldfriend.memory.store.scan import proof_scan, text_needles

    if not words.strip():
        raise InputError("say what to look for")
    there(memory)
    folders = [memory, *([models / "users"] if (models / "users").is_dir() else [])]
    reports = [proof_scan(folder, {"it": text_needles(words)}) for folder in folders]
    print("\n".join(map(str, reports)))
    raise typer.Exit(1 if any(report.hits for report in reports) else 0)
