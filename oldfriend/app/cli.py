"""The command line: ``oldfriend --help`` lists what it can do."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from oldfriend.app import care as cares
from oldfriend.app import memory as memories
from oldfriend.app import moe as mixtures
from oldfriend.app import persona as personas
from oldfriend.app.options import (
    FOLDER,
    MINILM,
    MODELS,
    Encoder,
    Help,
    Memory,
    Models,
    PersonaName,
    Url,
    User,
)
from oldfriend.app.serve import command as serving
from oldfriend.errors import OldFriendError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="An old friend who remembers: train it with `dvc repro`, then try it here.",
)
app.add_typer(memories.app, name="memory")
app.add_typer(personas.app, name="persona")
app.add_typer(mixtures.app, name="moe")
app.add_typer(cares.app, name="care")
app.add_typer(serving.app, name="serve")


@app.command()
def chat(
    user: User,
    models: Models = MODELS,
    memory: Memory = FOLDER,
    url: Url = "",
    encoder: Encoder = MINILM,
    persona: PersonaName = "",
    resources: Help = None,
    trace: Annotated[
        bool, typer.Option("--trace", help="Every turn as an MLflow trace, without its words.")
    ] = False,
) -> None:
    """Talk with a friend who remembers you; Ctrl-D ends the conversation."""
    from oldfriend.app.chat import talk

    talk(user, models, memory, url, encoder, persona, resources, trace=trace)


@app.command()
def doctor() -> None:
    """Say what is missing on this machine and how to get it."""
    from oldfriend.app.doctor import checkup

    raise typer.Exit(0 if checkup() else 1)


@app.command()
def preset(name: Annotated[str, typer.Argument(help="nano, small, hub or real-data")]) -> None:
    """Overlay presets/NAME.yaml on params.yaml; then run `dvc repro`."""
    from oldfriend.params import apply_preset

    changes = apply_preset(name)
    print("\n".join(changes) if changes else "params.yaml says all of that already")


@app.command()
def report() -> None:
    """Show the metrics of the last pipeline as tables."""
    from oldfriend.app.report import show

    show(Path("metrics"))


@app.command()
def note(
    text: Annotated[str, typer.Argument(help="What somebody says, e.g. 'My cat is called Miro.'")],
    models: Models = MODELS,
    user: Annotated[str, typer.Option(help="Use this person's own adapter.")] = "",
) -> None:
    """Write down what is worth remembering of TEXT."""
    from oldfriend.app.demo import note_table

    note_table(text, models, user)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="e.g. 'What is my cat called?'")],
    said: Annotated[
        list[str] | None, typer.Option("--said", help="Something told earlier; repeat the option.")
    ] = None,
    models: Models = MODELS,
    name: Annotated[str, typer.Option(help="Who is asking.")] = "Ana",
) -> None:
    """Answer QUESTION from notes of what was --said, or say honestly that it was never told."""
    from oldfriend.app.demo import answer

    answer(question, said or [], models, name)


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="locomo, longmemeval, lives or memory-peers")],
    data: Annotated[Path | None, typer.Option(help="Folder or file of the benchmark.")] = None,
    json: Annotated[Path | None, typer.Option(help="Where to write the metrics.")] = None,
) -> None:
    """Measure memory; writes metrics/bench/NAME.json unless told otherwise."""
    from oldfriend.app.bench import show

    show(name, data, json)


@app.command()
def promote(
    reason: Annotated[str, typer.Option(help="Promote without comparing, for this reason.")] = "",
) -> None:
    """Make the models of this working copy the champion, if they pass gate.yaml against it."""
    from oldfriend.app import promote as champions

    champions.promote(reason)


@app.command()
def rollback() -> None:
    """Go back to the champion before."""
    from oldfriend.app import promote as champions

    champions.rollback()


@app.command()
def ui(port: Annotated[int, typer.Option(min=1, max=65535)] = 5000) -> None:
    """Open MLflow on the local store; Ctrl-C stops it."""
    from oldfriend.app.ui import serve

    raise typer.Exit(serve(port))


def main() -> None:
    """Run the command line; expected errors are one line and their exit code."""
    try:
        app()
    except OldFriendError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
