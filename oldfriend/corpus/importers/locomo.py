"""LoCoMo and REALTALK: months of talk between two people, with notes on what each of them said."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from oldfriend.corpus.importers.align import Notes
from oldfriend.corpus.importers.read import Record, files, json_object, json_records
from oldfriend.corpus.importers.source import UNKNOWN, Source, clean, snake, when
from oldfriend.corpus.importers.views import Line, own, seen_by
from oldfriend.corpus.schema import Conversation, Fact

LOCOMO = Source("locomo", "CC BY-NC 4.0")
REALTALK = Source("realtalk", UNKNOWN)

LOCOMO_TIME = "%I:%M %p on %d %B, %Y"
REALTALK_TIME = "%d.%m.%Y, %H:%M:%S"
NOTE_THRESHOLD = 0.4  # the evidence line is given, so only the clause is in question
EVENT_THRESHOLD = 0.5  # the line is not given


def load_locomo(path: Path) -> Iterator[Conversation]:
    """Every session twice, once with each speaker as the user; observations become facts."""
    for file in files(path, "locomo*.json"):
        for sample in json_records(file):
            talk = sample.record("conversation")
            people = (talk.text("speaker_a"), talk.text("speaker_b"))
            for number in _sessions(talk):
                lines = _lines(talk, number, "text", people)
                time = when(talk.text(f"session_{number}_date_time"), LOCOMO_TIME)
                for person in people:
                    facts = _observations(sample, number, person, people, lines)
                    yield from _view(
                        LOCOMO, sample.text("sample_id"), number, time, lines, person, facts
                    )


def load_realtalk(path: Path) -> Iterator[Conversation]:
    """Every session twice, once with each speaker as the user; events become facts."""
    for file in files(path, "Chat_*.json"):
        if file.parent.name == "locomo":  # the repository carries LoCoMo in the same format
            continue
        talk = json_object(file)
        name = talk.record("name")
        people = (name.text("speaker_1"), name.text("speaker_2"))
        for number in _sessions(talk):
            lines = _lines(talk, number, "clean_text", people)
            time = when(talk.maybe(f"session_{number}_date_time"), REALTALK_TIME)
            for person, agent in zip(people, ("agent_a", "agent_b"), strict=True):
                facts = _events(talk, number, agent, person, people, lines)
                yield from _view(REALTALK, snake(file.stem), number, time, lines, person, facts)


def _sessions(talk: Record) -> list[int]:
    keys = (re.fullmatch(r"session_(\d+)", key) for key in talk.values)
    return sorted(int(key.group(1)) for key in keys if key)


def _lines(talk: Record, number: int, field: str, people: Sequence[str]) -> list[Line]:
    lines = []
    for record in talk.records(f"session_{number}"):
        speaker = record.text("speaker")
        if speaker not in people:
            raise record.place.error(f"expected {' or '.join(people)}", "speaker")
        if text := clean(record.text(field)):
            lines.append(Line(speaker, text, record.text("dia_id")))
    return lines


def _view(
    source: Source,
    key: str,
    number: int,
    time: datetime | None,
    lines: Sequence[Line],
    person: str,
    facts: dict[int, list[Fact]],
) -> Iterator[Conversation]:
    yield from source.conversation(
        f"{key}:{number}:{person}",
        seen_by(lines, person, facts),
        person=f"{key}:{person}",
        session=number,
        time=time,
    )


def _observations(
    sample: Record, number: int, person: str, people: Sequence[str], lines: Sequence[Line]
) -> dict[int, list[Fact]]:
    """Facts from ``[observation, evidence]`` pairs, on the person's own evidence lines."""
    sessions = sample.record("observation")
    key = f"session_{number}_observation"
    if key not in sessions or person not in sessions.record(key):
        return {}
    notes = Notes("observation", kind="event", ignore=people, threshold=NOTE_THRESHOLD)
    for pair, place in sessions.record(key).pairs(person):
        if len(pair) != 2 or not isinstance(pair[0], str):
            raise place.error("expected a pair of observation and dialogue ids")
        evidence = set(re.findall(r"D\d+:\d+", str(pair[1])))
        told = [line if line.key in evidence else Line(line.speaker, "") for line in lines]
        notes.find(own(told, person), [pair[0]])
    return notes.found


def _events(
    talk: Record,
    number: int,
    agent: str,
    person: str,
    people: Sequence[str],
    lines: Sequence[Line],
) -> dict[int, list[Fact]]:
    """Facts from the events of a session, on the person's line that tells them best."""
    key = f"events_session_{number}"
    if key not in talk or agent not in talk.record(key):
        return {}
    notes = [event.text("sub-event") for event in talk.record(key).records(agent)]
    finder = Notes("event", kind="event", ignore=people, threshold=EVENT_THRESHOLD)
    return finder.find(own(lines, person), notes).found
