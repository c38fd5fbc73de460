"""MTS-Dialog: a doctor's talk with a patient, and the section of the note made from it."""

import re
from collections.abc import Iterator
from pathlib import Path

from oldfriend.corpus.importers.align import Notes, items, sentences
from oldfriend.corpus.importers.read import Record, csv_rows, files
from oldfriend.corpus.importers.source import Source, clean, snake, split_of, turn
from oldfriend.corpus.schema import Conversation, Fact, Speaker

SOURCE = Source("mts_dialog", "CC BY 4.0", domain="medical")

SLOTS = {
    "GENHX": "history_of_present_illness",
    "FAM/SOCHX": "family_and_social_history",
    "PASTMEDICALHX": "past_medical_history",
    "PASTSURGICAL": "past_surgical_history",
    "CC": "chief_complaint",
    "ALLERGY": "allergies",
    "ROS": "review_of_systems",
    "GYNHX": "gynecologic_history",
    "EDCOURSE": "emergency_department_course",
}
IMPORTANCE = {"allergies": 10, "medications": 8, "past_medical_history": 7}
# Sections that list things, which the patient often names one by one.
LISTS = {"allergies", "medications", "past_medical_history", "past_surgical_history"}
# What the section's name says already: "I am allergic to walnuts" is all that "Walnuts" says.
SECTION_WORDS = ("allergic", "reaction", "history", "medicine", "medication")

SPEECH = re.compile(r"^\W{0,2}((?:Doctor|Docotr|Patient|G?u?est)\w*)\s*[:.]\s*(.*)$", re.DOTALL)
THRESHOLD = 0.34  # notes paraphrase: two clinical words in a short clause are evidence enough


def load(path: Path) -> Iterator[Conversation]:
    """One conversation per row; facts on the turns of the patient and of their family."""
    for file in files(path, "MTS-Dialog*.csv"):
        for row in csv_rows(file, ("ID", "section_header", "section_text", "dialogue")):
            yield from _conversation(file, row)


def _conversation(file: Path, row: Record) -> Iterator[Conversation]:
    said = list(_speeches(row))
    facts = _facts(said, row)
    yield from SOURCE.conversation(
        f"{snake(file.stem)}:{row.text('ID')}",
        (
            turn(_speaker(name), text, facts=facts.get(number, ()))
            for number, (name, text) in enumerate(said)
        ),
        split=split_of(file),
    )


def _speeches(row: Record) -> Iterator[tuple[str, str]]:
    """Who said what; a line that names nobody goes on with the speech before it."""
    name, text = "", ""
    for line in row.text("dialogue").splitlines():
        match = SPEECH.match(line.strip())
        if match is None and not name and line.strip():
            raise row.place.error("expected lines like 'Doctor: ...'", "dialogue")
        if match is None:
            text += "\n" + line
            continue
        if clean(text):
            yield name, clean(text)
        name, text = match.group(1), match.group(2)
    if clean(text):
        yield name, clean(text)


def _speaker(name: str) -> Speaker:
    return "user" if name == "Patient" or "family" in name else "friend"


def _facts(said: list[tuple[str, str]], row: Record) -> dict[int, list[Fact]]:
    slot = SLOTS.get(row.text("section_header"), snake(row.text("section_header")) or "note")
    notes = Notes(
        slot,
        subject="me" if any(name == "Patient" for name, _ in said) else "patient",
        importance=IMPORTANCE.get(slot, 6),
        ignore=SECTION_WORDS,
        threshold=THRESHOLD,
    )
    texts = ["" if _speaker(name) == "friend" else text for name, text in said]
    split = items if slot in LISTS else sentences
    return notes.find(texts, split(row.text("section_text"))).found
