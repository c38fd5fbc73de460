"""GoEmotions and DailyDialog: text with an emotion label on each utterance."""

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from oldfriend.corpus.importers.read import Place, files, lines, tsv_rows
from oldfriend.corpus.importers.source import Source, detokenise, split_of, turn
from oldfriend.corpus.schema import Conversation, Split

GOEMOTIONS = Source("goemotions", "Apache-2.0")
DAILYDIALOG = Source("dailydialog", "CC BY-NC-SA 4.0")

_GOEMOTIONS = """
admiration amusement anger annoyance approval caring confusion curiosity desire disappointment
disapproval disgust embarrassment excitement fear gratitude grief joy love nervousness optimism
pride realization relief remorse sadness surprise neutral
"""
GOEMOTIONS_LABELS = tuple(_GOEMOTIONS.split())
DAILYDIALOG_LABELS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
TOPICS = (  # numbered from 1
    "",
    "ordinary life",
    "school life",
    "culture and education",
    "attitude and emotion",
    "relationship",
    "tourism",
    "health",
    "work",
    "politics",
    "finance",
)
END = "__eou__"


def load_goemotions(path: Path) -> Iterator[Conversation]:
    """One comment per conversation; of several labels the first that is not neutral."""
    for file in files(path, "train.tsv", "dev.tsv", "test.tsv"):
        for place, (text, labels, key) in tsv_rows(file, 3):
            names = [_label(number, GOEMOTIONS_LABELS, place) for number in labels.split(",")]
            felt = next((name for name in names if name != "neutral"), "neutral")
            turns = [turn("user", text, emotion=felt)]
            yield from GOEMOTIONS.conversation(key, turns, split=split_of(file))


def load_dailydialog(path: Path) -> Iterator[Conversation]:
    """The held-out files first: what they repeat of the whole corpus is left out of it."""
    found = files(path, "*_human.txt", "dialogues_text*.txt", "dialogues_train.txt")
    held_out: set[str] = set()
    for file in sorted(found, key=lambda file: split_of(file) not in ("val", "test")):
        split: Split = split_of(file) or "train"
        for place, text, emotions, topic in _dailydialog_rows(file):
            said = [part for part in text.split(END) if part.strip()]
            labels = [_label(number, DAILYDIALOG_LABELS, place) for number in emotions.split()]
            name = _fingerprint(" ".join(said))
            if name in held_out or len(labels) != len(said):  # 62 lines are misaligned upstream
                continue
            if split != "train":
                held_out.add(name)
            yield from DAILYDIALOG.conversation(
                f"{split}:{place.line}",
                (
                    turn(
                        "friend" if number % 2 else "user", detokenise(part), emotion=labels[number]
                    )
                    for number, part in enumerate(said)
                ),
                split=split,
                situation=_label(topic, TOPICS, place) if topic else "",
            )


def _dailydialog_rows(file: Path) -> Iterator[tuple[Place, str, str, str]]:
    """Text, emotion numbers and topic number, from one TSV or from files side by side."""
    if file.stem.endswith("_human"):
        for place, (text, topic, _acts, emotions) in tsv_rows(file, 4):
            yield place, text, emotions, topic
        return
    texts = list(lines(file))
    emotions_file = _beside(file, "emotion")
    emotions_of = [line for _, line in lines(emotions_file)]
    if len(texts) != len(emotions_of):
        message = f"{len(texts)} lines, but {emotions_file.name} has {len(emotions_of)}"
        raise Place(file).error(message)
    topic_file = _beside(file, "topic")
    topics = [line.strip() for _, line in lines(topic_file)] if topic_file.is_file() else []
    for (number, text), emotions, topic in zip_longest(texts, emotions_of, topics[: len(texts)]):
        yield Place(file, number), text, emotions, topic or ""


def _beside(file: Path, kind: str) -> Path:
    """``dialogues_text_En.txt`` -> ``dialogues_emotion.txt``; ``dialogues_train.txt`` likewise."""
    name = re.sub(r"^dialogues_(text(_En)?|(?=train))", f"dialogues_{kind}_", file.stem)
    return file.with_name(name.rstrip("_") + ".txt")


def _label(number: str, names: Sequence[str], place: Place) -> str:
    if not re.fullmatch(r"\s*[0-9]{1,3}\s*", number) or int(number) >= len(names):
        raise place.error(f"expected a label from 0 to {len(names) - 1}, found {number!r}")
    return names[int(number)]


def _fingerprint(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.lower())
