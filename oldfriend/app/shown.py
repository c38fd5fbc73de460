"""Memories on the terminal: as tables, and found by the beginning of their id."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from rich.table import Table
from rich.text import Text

from oldfriend.agent.reply import Looked
from oldfriend.errors import InputError
from oldfriend.memory.store.change import believed
from oldfriend.memory.store.forgetting import explain, tier
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.retrieve import Hit
from oldfriend.memory.store.rights import about
from oldfriend.memory.store.settings import ForgettingParams
from oldfriend.memory.store.user import UserMemory

SHORT = 8  # digits of an id that are shown


def short(record: MemoryRecord) -> str:
    """The beginning of its id, which is enough to name it."""
    return record.id.hex[:SHORT]


def find(memory: UserMemory, name: str) -> MemoryRecord:
    """The one record whose id begins with ``name``; InputError if there is none or several."""
    wanted = name.strip().lower().replace("-", "")
    found = [record for id, record in memory.state.items() if id.hex.startswith(wanted)]
    if not wanted or not found:
        raise InputError(f"no memory {name!r}; `oldfriend memory list` shows the ids", field="id")
    if len(found) > 1:
        raise InputError(f"{len(found)} memories begin with {name!r}; give more of it", field="id")
    return found[0]


def plain(text: str) -> Text:
    """What somebody said, which may neither colour nor steer a terminal."""
    return Text("".join(c if c.isprintable() or c == "\n" else " " for c in text))


def what(record: MemoryRecord) -> str:
    """A record in one line: who said it, or which slot holds what."""
    if record.kind == "turn" and record.source:
        return f"{record.source.speaker}: {record.text}"
    return record.text


def standing(record: MemoryRecord) -> str:
    """Whether it holds, in a word or two."""
    marks = ["pinned"] if record.pinned else []
    if record.archived:
        marks.append("archived")
    if not believed(record):
        marks.append("corrected")
    elif record.valid_to is not None:
        marks.append(f"until {day(record.valid_to)}")
    return ", ".join(marks)


def day(time: datetime | None) -> str:
    """A date, or nothing."""
    return f"{time:%Y-%m-%d}" if time else ""


def record_table(
    records: Sequence[MemoryRecord], now: datetime, *, numbered: bool = False
) -> Table:
    """Records with what they say, since when, how present they are and whether they hold."""
    table = Table(*(["#"] if numbered else []), "id", "kind", "memory", "since", "tier", "state")
    for number, record in enumerate(records, 1):
        table.add_row(
            *([str(number)] if numbered else []),
            short(record), record.kind, plain(what(record)),
            day(record.valid_from or record.created_at), tier(record, now, ForgettingParams()),
            standing(record),
        )  # fmt: skip
    return table


def hit_table(hits: Sequence[Hit]) -> Table:
    """Hits with their score and what each signal gave."""
    names = sorted({name for hit in hits for name in hit.parts})
    table = Table("id", "memory")
    for name in ("score", "match", *names):
        table.add_column(name, justify="right")
    for hit in hits:
        parts = (f"{hit.parts[name]:+.2f}" if name in hit.parts else "" for name in names)
        table.add_row(
            short(hit.record), plain(what(hit.record)), f"{hit.score:.2f}", f"{hit.match:.2f}",
            *parts,
        )  # fmt: skip
    return table


def reasons(looked: Looked) -> list[str]:
    """Why memory was used or not, a line each."""
    decision = looked.decision
    lines = [decision.reason, f"need {decision.need:.2f}, say {decision.say:.2f}"]
    if looked.asked:
        interval = looked.asked.interval
        start, end = (day(t) or "..." for t in (interval.start, interval.end))
        lines.append(f"time asked about: {looked.asked.text!r}, {start} to {end}")
    for choice in decision.choices:
        record = choice.hit.record
        lines.append(f"{choice.how} {short(record)} ({choice.probability:.2f}): {what(record)}")
    return lines


def details(memory: UserMemory, record: MemoryRecord, now: datetime) -> list[tuple[str, str]]:
    """Everything about a record, named: its words, its times, its history, why it is kept."""
    source = record.source
    rows = [
        ("id", str(record.id)), ("kind", record.kind), ("memory", what(record)),
        ("importance", str(record.importance)), ("emotion", record.emotion or ""),
        ("true since", day(record.valid_from)), ("true until", day(record.valid_to)),
        ("written", day(record.created_at)), ("no longer held since", day(record.expired_at)),
        ("source", f"{source.session}, turn {source.turn}, {source.speaker}" if source else ""),
    ]  # fmt: skip
    for other in memory.state.said_with([record.id]) - {record.id}:
        if (turn := memory.state[other]).kind == "turn":
            rows.append(("said in", turn.text))
    if record.slot:
        for told in memory.history(record.slot, record.subject):
            if told.id != record.id:
                rows.append(("history", f"{short(told)} {told.value} {standing(told)}".strip()))
    rows += [("made from", what(memory.state[i])) for i in record.evidence if i in memory.state]
    rows.append(("kept because", explain(record, now, ForgettingParams())))
    return [(name, value) for name, value in rows if value]


def to_erase(memory: UserMemory, ids: Sequence[UUID]) -> list[str]:
    """What forgetting ``ids`` takes along: what says the same, and what was made from it."""
    said = memory.state.said_with(ids)
    gone = said | memory.state.made_from(said)
    return [f"{short(r)} {what(r)}" for r in memory.state.values() if r.id in gone]


def left_over(memory: UserMemory, values: Iterable[str]) -> list[str]:
    """Erased values that other memories still mention, which the person may not expect."""
    return [value for value in sorted(filter(None, values)) if about(memory.state, value)]
