"""LongMemEval, MemoryBank and InCharacter: histories and questions made to test companions."""

from collections.abc import Iterator
from pathlib import Path

from oldfriend.corpus.importers.align import Notes
from oldfriend.corpus.importers.read import Record, files, json_object, json_records
from oldfriend.corpus.importers.source import Source, clean, turn, when
from oldfriend.corpus.schema import Conversation, Speaker, Turn

LONGMEMEVAL = Source("longmemeval", "MIT")
MEMORYBANK = Source("memorybank", "MIT")
INCHARACTER = Source("incharacter", "MIT; questionnaires: research instruments")

ROLES: dict[str, Speaker] = {"user": "user", "assistant": "friend"}
LONGMEMEVAL_TIME = "%Y/%m/%d (%a) %H:%M"
ANSWER_THRESHOLD = 0.34  # an answer is a few words of a longer sentence


def load_longmemeval(path: Path) -> Iterator[Conversation]:
    """Every session of every question's history; a person per question. All of it is test."""
    for file in files(path, "longmemeval*.json"):
        for sample in json_records(file):
            question = sample.text("question_id")
            keys, dates = sample.texts("haystack_session_ids"), sample.texts("haystack_dates")
            sessions = sample.tables("haystack_sessions")
            if not len(keys) == len(dates) == len(sessions):
                raise sample.place.error("expected as many sessions as ids and dates", "haystack_*")
            for number, (key, date, session) in enumerate(zip(keys, dates, sessions, strict=True)):
                yield from LONGMEMEVAL.conversation(
                    f"{question}:{number}:{key}",
                    _session(session, str(sample.values.get("answer", ""))),
                    person=question,
                    session=number,
                    time=when(date, LONGMEMEVAL_TIME),
                    split="test",
                )


def _session(session: list[Record], answer: str) -> list[Turn | None]:
    """The words of the answer become a fact of the user's turns that are marked as evidence."""
    texts = [clean(line.text("content")) for line in session]
    marked = [
        text if line.values.get("has_answer") and line.text("role") == "user" else ""
        for line, text in zip(session, texts, strict=True)
    ]
    facts = Notes("evidence", threshold=ANSWER_THRESHOLD).find(marked, [answer]).found
    return [
        turn(_role(line), text, facts=facts.get(number, ()))
        for number, (line, text) in enumerate(zip(session, texts, strict=True))
    ]


def _role(line: Record) -> Speaker:
    if line.text("role") not in ROLES:
        raise line.place.error(f"expected {' or '.join(ROLES)}", "role")
    return ROLES[line.text("role")]


def load_memorybank(path: Path) -> Iterator[Conversation]:
    """One conversation per person and day."""
    for file in files(path, "memory_bank*.json"):
        for name, person in json_object(file).entries():
            history = person.record("history")
            for number, day in enumerate(history.values):
                if (time := when(day, "%Y-%m-%d")) is None:
                    raise history.place.error("expected a date like 2023-05-01", day)
                said = [
                    (speaker, pair.text(field))
                    for pair in history.records(day)
                    for speaker, field in (("user", "query"), ("friend", "response"))
                ]
                yield from MEMORYBANK.conversation(
                    f"{file.stem}:{name}:{day}",
                    [
                        turn("user" if speaker == "user" else "friend", text)
                        for speaker, text in said
                    ],
                    person=f"{file.stem}:{name}",
                    session=number,
                    time=time,
                )


def load_incharacter(path: Path) -> Iterator[Conversation]:
    """One question per conversation, in English; the situation is what it measures."""
    folder = path / "questionnaires" if (path / "questionnaires").is_dir() else path
    for file in files(folder, "*.json"):
        form = json_object(file)
        for number, question in form.record("questions").entries():
            field = "rewritten_en" if "rewritten_en" in question else "origin_en"
            yield from INCHARACTER.conversation(
                f"{form.text('name')}:{number}",
                [turn("user", question.text(field))],
                situation=": ".join(filter(None, (form.text("name"), question.maybe("dimension")))),
            )
