"""FoCus, PersonalDialog and Pchatbot: talk with people of known persona, traits or user id."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from oldfriend.corpus.importers.align import Notes
from oldfriend.corpus.importers.read import Place, Record, files, json_object, json_records, lines
from oldfriend.corpus.importers.source import (
    UNKNOWN,
    Source,
    exchange,
    place_number,
    split_of,
    turn,
    unsegment,
)
from oldfriend.corpus.importers.views import own, seen_by, spoken
from oldfriend.corpus.schema import Conversation

FOCUS = Source("focus", "NCSOFT and Korea University: research use")
PERSONAL_DIALOG = Source("personal_dialog", UNKNOWN)
PCHATBOT = Source("pchatbot", "by application to the authors: research use")

PCHATBOT_COLUMNS = 6


def load_focus(path: Path) -> Iterator[Conversation]:
    """A person asks about a landmark; their five persona lines are the situation."""
    for file in files(path, "*focus*.json", "train.json", "valid.json", "test.json"):
        for dialogue in json_object(file).records("data"):
            persona = dialogue.texts("persona")
            talk = spoken(
                [("machine" if n % 2 else "human", text) for n, text in enumerate(_said(dialogue))]
            )
            facts = Notes("persona").find(own(talk, "human"), persona).found
            yield from FOCUS.conversation(
                dialogue.text("dialogID"),
                seen_by(talk, "human", facts),
                split=split_of(file),
                situation="\n".join(persona),
            )


def _said(dialogue: Record) -> list[str]:
    """``dialogue1``, ``dialogue2``... each repeat the talk so far and add a question and answer."""
    said: list[str] = []
    for number, part in enumerate(dialogue.records("utterance"), start=1):
        texts = part.texts(f"dialogue{number}")
        said = texts if texts[: len(said)] == said else said + texts
    return said


def load_personal_dialog(path: Path) -> Iterator[Conversation]:
    """Chinese talk; who speaks first is the user, and their traits are the situation."""
    for file in files(path, "*.jsonl"):
        for record in json_records(file):
            said = [unsegment(text) for text in record.texts("dialog")]
            people = _speakers(record, len(said))
            turns = [
                turn("user" if people[number] == people[0] else "friend", text)
                for number, text in enumerate(said)
            ]
            if "golden_response" in record:
                turns.append(turn("friend", unsegment(_golden(record))))
            profiles = record.records("profile")
            yield from PERSONAL_DIALOG.conversation(
                f"{file.stem}:{place_number(record.place)}",
                turns,
                split=split_of(file),
                situation=_traits(profiles[people[0]]) if people and profiles else "",
            )


def _golden(record: Record) -> str:
    if isinstance(record.values["golden_response"], list):
        return " ".join(record.texts("golden_response"))
    return record.text("golden_response")


def _speakers(record: Record, turns: int) -> Sequence[int]:
    """The number of the speaker of each turn."""
    profiles = len(record.records("profile"))
    numbers = record.integers("uid")
    for value, place in numbers:
        if value >= profiles:
            raise place.error(f"expected the number of one of {profiles} profiles")
    if len(numbers) != turns:
        raise record.place.error(f"expected {turns} numbers, found {len(numbers)}", "uid")
    return [value for value, _ in numbers]


def _traits(profile: Record) -> str:
    tags = profile.values.get("tag")
    traits = {
        "gender": profile.maybe("gender"),
        "place": profile.maybe("loc"),
        "tags": ", ".join(profile.texts("tag")) if isinstance(tags, list) else profile.maybe("tag"),
    }
    return "\n".join(f"{name}: {value}" for name, value in traits.items() if value.strip())


def load_pchatbot(path: Path) -> Iterator[Conversation]:
    """Chinese posts with one reply each; user ids are kept, the times are anonymised: no time."""
    for file in files(path, "*.txt", "*.tsv"):
        for number, line in lines(file):
            place, cells = Place(file, number), line.split("\t")
            if not cells[0].strip():  # a reply without its post
                continue
            if len(cells) != PCHATBOT_COLUMNS:
                message = f"expected {PCHATBOT_COLUMNS} columns separated by tabs"
                raise place.error(f"{message}, found {len(cells)}")
            yield from PCHATBOT.conversation(
                f"{file.stem}:{number}",
                exchange(unsegment(cells[0]), unsegment(cells[3])),
                person=cells[1],
            )
