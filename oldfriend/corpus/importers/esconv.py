"""ESConv: emotional-support talk with a strategy for each of the supporter's turns."""

from collections.abc import Iterator
from pathlib import Path

from oldfriend.corpus.importers.english import words
from oldfriend.corpus.importers.read import Record, files, json_records
from oldfriend.corpus.importers.source import Source, clean, place_number, split_of, turn
from oldfriend.corpus.schema import Conversation, Speaker, Turn

SOURCE = Source("esconv", "CC BY-NC 4.0")
FAILED = Source("esconv_failed", "CC BY-NC 4.0")

SPEAKERS: dict[str, Speaker] = {
    "usr": "user",
    "seeker": "user",
    "speaker": "user",
    "sys": "friend",
    "supporter": "friend",
    "listener": "friend",
}
# FailedESConv spells some strategies in its own way
STRATEGIES = {
    "Questions": "Question",
    "Other": "Others",
    "Direct Guidance": "Providing Suggestions",
    "Approval and Reassurance": "Affirmation and Reassurance",
    "Restatement": "Restatement or Paraphrasing",
}


def load(path: Path) -> Iterator[Conversation]:
    """Support talk that went well, and FailedESConv under the source name ``esconv_failed``."""
    for file in files(path, "*ESConv*.json", "train.jsonl", "valid.jsonl", "test.jsonl"):
        source = FAILED if "failed" in file.stem.lower() else SOURCE
        split = split_of(file)
        for record in json_records(file):
            yield from source.conversation(
                f"{split or 'all'}:{place_number(record.place)}",
                _turns(record),
                split=split,
                situation=record.text("situation"),
            )


def _turns(record: Record) -> list[Turn | None]:
    """The seeker's emotion stands on the turn that tells of it, and on the last if rated."""
    said = [_said(line) for line in record.records("dialog")]
    said = [(speaker, text, strategy) for speaker, text, strategy in said if text]
    own = [number for number, (speaker, _, _) in enumerate(said) if speaker == "user"]
    told = _telling([said[number][1] for number in own], record.text("situation"))
    final = _intensity(record, "final")
    moods: dict[int, float | None] = {own[-1]: final} if own and final is not None else {}
    if own:
        moods[own[told]] = _intensity(record, "initial")
    return [
        turn(
            speaker,
            text,
            emotion=record.text("emotion_type") if number in moods else None,
            intensity=moods.get(number),
            cause=record.text("problem_type") if number in moods else None,
            strategy=strategy,
        )
        for number, (speaker, text, strategy) in enumerate(said)
    ]


def _said(line: Record) -> tuple[Speaker, str, str | None]:
    name = line.text("speaker")
    if name not in SPEAKERS:
        raise line.place.error(f"expected one of {', '.join(SPEAKERS)}", "speaker")
    text = line.text("text" if "text" in line else "content")
    notes = line.record("annotation") if "annotation" in line else line
    strategy = notes.maybe("strategy").strip("[]") or None
    if SPEAKERS[name] == "user":
        strategy = None
    return SPEAKERS[name], clean(text), STRATEGIES.get(strategy or "", strategy)


def _telling(texts: list[str], situation: str) -> int:
    """The number of the text that shares most content words with the situation."""
    wanted = words(situation).content
    shared = [len(words(text).content & wanted) for text in texts]
    return shared.index(max(shared)) if shared else 0


def _intensity(record: Record, when: str) -> float | None:
    """1-5 as the seeker rated it, scaled to 0.2-1."""
    scores = record.record("survey_score").record("seeker")
    key = f"{when}_emotion_intensity"
    if key not in scores:
        return None
    value = scores.number(key)
    if not 1 <= value <= 5:
        raise scores.place.error(f"expected 1 to 5, found {value:g}", key)
    return value / 5
