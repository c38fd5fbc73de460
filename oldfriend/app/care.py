"""``oldfriend care``: who would get a word unasked, and why; and whether they want to."""

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oldfriend.app.options import FOLDER, Memory, User, there
from oldfriend.errors import InputError

if TYPE_CHECKING:
    from oldfriend.empathy.care_rules import CareSettings

app = typer.Typer(help="Reach out unasked, to those who want it. `oldfriend care --dry-run` first.")
At = Annotated[
    str, typer.Option("--now", help="As if it were then, e.g. 2024-05-01T10:00+02:00.")
]  # fmt: skip


@app.callback(invoke_without_command=True)
def care(
    context: typer.Context,
    memory: Memory = FOLDER,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say who would get what and why; write nothing.")
    ] = False,
    now: At = "",
    timezone: Annotated[
        str, typer.Option(help="Time zone of people who did not say theirs.")
    ] = "UTC",
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Decide who gets a word now. Without --dry-run it is written down as sent, and printed."""
    if context.invoked_subcommand:
        return
    from oldfriend.empathy.care import decisions, run_care

    there(memory)
    settings, at = _settings(timezone), _time(now)
    if dry_run:
        decided = decisions(memory, settings, at)
        rows = [
            (d.user, d.outreach.text if d.outreach else "", d.outreach.reason if d.outreach else
             d.held) for d in decided
        ]  # fmt: skip
    else:
        rows = [(word.user, word.text, word.reason) for word in run_care(memory, settings, at)]
    _show(rows, as_json)


@app.command("on")
def on(
    user: User,
    memory: Memory = FOLDER,
    timezone: Annotated[str, typer.Option(help="Of your days, e.g. Europe/Berlin.")] = "",
) -> None:
    """Yes, write to me when there is a reason."""
    _wish(memory, user, True, timezone)
    print(f"'{user}' may be written to; `oldfriend care off` ends it")


@app.command("off")
def off(user: User, memory: Memory = FOLDER) -> None:
    """No, do not write to me unasked."""
    _wish(memory, user, False, "")
    print(f"'{user}' will not be written to")


@app.command("log")
def log(user: User, memory: Memory = FOLDER) -> None:
    """What was sent unasked, when and why."""
    from oldfriend.empathy.care_ledger import Asked, CareFile

    there(memory)
    for entry in CareFile(memory, user).read():
        if isinstance(entry, Asked):
            what = "wants to be written to" if entry.consent.on else "does not want it"
        else:
            what = f"{entry.kind}: {entry.reason}"
        print(f"{entry.at:%Y-%m-%d %H:%M}  {what}")


def _wish(memory: Path, user: str, wanted: bool, timezone: str) -> None:
    from pydantic import ValidationError

    from oldfriend.empathy.care import opt
    from oldfriend.empathy.care_ledger import Consent

    there(memory)
    try:
        wish = Consent(on=wanted, timezone=timezone)
    except ValidationError as error:
        raise InputError(_said(error.errors()[0]["msg"]), field="timezone") from None
    opt(memory, user, wish, datetime.now().astimezone())


def _settings(timezone: str) -> "CareSettings":
    from pydantic import ValidationError

    from oldfriend.empathy.care_rules import CareSettings

    try:
        return CareSettings(timezone=timezone)
    except ValidationError as error:
        raise InputError(_said(error.errors()[0]["msg"]), field="timezone") from None


def _time(text: str) -> datetime:
    if not text:
        return datetime.now().astimezone()
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"'{text}' is no time like 2024-05-01T10:00+02:00", field="now") from None


def _said(message: str) -> str:
    return message.removeprefix("Value error, ")


def _show(rows: list[tuple[str, str, str]], as_json: bool) -> None:
    if as_json:
        told = [dict(zip(("user", "text", "reason"), row, strict=True)) for row in rows]
        print(json.dumps(told, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    from oldfriend.app.shown import plain

    table = Table("to", "what", "why")
    for row in rows:
        table.add_row(*(plain(cell) for cell in row))
    Console().print(table if rows else "nobody is to be written to now")
