"""What empathy learns from: simulated talk, GoEmotions and ESConv, as plain rows."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

from oldfriend.corpus.schema import Conversation, Split, Turn, read_rows
from oldfriend.empathy.labels import AFFECT, GOEMOTIONS, LABELS, NEUTRAL, label_of
from oldfriend.empathy.strategies import strategy_of
from oldfriend.errors import InputError, MissingDataError

MAX_FILE = 64 * 1024 * 1024  # bytes of one public file
Origin = Literal["goemotions", "life"]
SPEAKERS = {"usr": "user", "seeker": "user", "speaker": "user",
            "sys": "friend", "supporter": "friend", "listener": "friend"}  # fmt: skip
WHEN = ("initial", "final")


@dataclass(frozen=True)
class Felt:
    """A text with the labels (places in LABELS) that stand for its feelings."""

    text: str
    labels: tuple[int, ...]
    origin: Origin  # whose labels could have been given: the others are unknown, not absent
    valence: float
    intensity: float


@dataclass(frozen=True)
class Support:
    """A talk of ESConv, or of FailedESConv, and what the seeker said of it.

    ``stars``: 1 to 5 that were given at each turn for what the supporter had said, 0 for none;
    ``before`` and ``after``: intensity of the bad feeling, 1 to 5, 0 where it was not told.
    """

    id: str
    failed: bool
    turns: tuple[Turn, ...]
    stars: tuple[int, ...]
    situation: str
    before: int
    after: int


def goemotions(path: Path) -> Iterator[Felt]:
    """Rows of a GoEmotions file: text, label numbers, id. InputError names the line."""
    for number, line in _lines(path):
        parts = line.split("\t")
        try:
            labels = tuple(sorted({int(label) for label in parts[1].split(",")}))
            names = [GOEMOTIONS[label] for label in labels if label >= 0]
            if len(parts) != 3 or len(names) != len(labels):
                raise ValueError
        except (ValueError, IndexError):
            message = f"expected text, label numbers 0-{len(GOEMOTIONS) - 1}, id, split by tabs"
            raise InputError(message, path=path, line=number) from None
        valence, intensity = affect(names)
        yield Felt(parts[0], labels, "goemotions", valence, intensity)


def affect(names: Sequence[str]) -> tuple[float, float]:
    """Mean valence and arousal of labels by the table of ``labels.AFFECT``."""
    rows = [AFFECT[name] for name in names]
    return sum(v for v, _ in rows) / len(rows), sum(a for _, a in rows) / len(rows)


def life_feelings(talk: Path, split: Split, *, most: int, seed: int) -> list[Felt]:
    """At most ``most`` of the simulator's turns: two thirds felt, one third plain talk.

    A plain turn is one whose writer the simulator gave no emotion; it counts as neutral.
    """
    felt: dict[str, Felt] = {}
    plain: dict[str, Felt] = {}
    for conversation in read_rows(talk / f"{split}.jsonl", Conversation):
        if conversation.source != "simulator":
            continue
        for turn in conversation.turns:
            if turn.speaker != "user":
                continue
            if turn.emotion is None:
                plain[turn.text] = Felt(turn.text, (NEUTRAL,), "life", *AFFECT["neutral"])
            elif label := label_of(turn.emotion):
                strength = turn.intensity if turn.intensity is not None else AFFECT[label][1]
                place = LABELS.index(label)
                felt[turn.text] = Felt(turn.text, (place,), "life", AFFECT[label][0], strength)
    if not felt:
        raise MissingDataError(f"{talk / f'{split}.jsonl'} has no simulated feelings; dvc repro")
    rng = Random(f"lives {seed} {split}")
    return [
        *_some(list(felt.values()), 2 * most // 3, rng),
        *_some(list(plain.values()), most // 3, rng),
    ]


def esconv(folder: Path) -> Iterator[Support]:
    """The dialogues of train.jsonl, valid.jsonl and FailedESConv.json, as far as they are there.

    Liu et al. 2021, arXiv:2106.01144; CC BY-NC 4.0. InputError names file, line and field.
    """
    paths = [folder / name for name in ("train.jsonl", "valid.jsonl", "FailedESConv.json")]
    if not any(path.is_file() for path in paths):
        raise MissingDataError(f"{folder} holds none of ESConv's files ({paths[0].name} ...)")
    for path in filter(Path.is_file, paths):
        for number, record in _records(path):
            try:
                yield _support(f"{path.stem}:{number}", record, path.stem.startswith("Failed"))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                told = f"not a dialogue of ESConv ({error!r})"
                raise InputError(told, path=path, line=number) from None


def share(key: str) -> float:
    """A number 0 to 1 that depends on ``key`` alone: who is below 0.2 is a fifth of all."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64


def _support(id: str, record: dict[str, Any], failed: bool) -> Support:
    turns, stars = [], []
    for line in record["dialog"]:
        speaker = SPEAKERS[line["speaker"]]
        notes = line.get("annotation") or line
        text = str(line.get("text") or line.get("content") or "").strip()
        if not text:
            continue
        strategy = strategy_of(notes.get("strategy")) if speaker == "friend" else None
        turns.append(Turn.model_validate({"speaker": speaker, "text": text, "strategy": strategy}))
        stars.append(int(notes.get("feedback") or 0) if speaker == "user" else 0)
    told = (record.get("survey_score") or {}).get("seeker") or {}
    before, after = (int(told.get(f"{when}_emotion_intensity") or 0) for when in WHEN)
    situation = str(record.get("situation") or "")
    return Support(id, failed, tuple(turns), tuple(stars), situation, before, after)


def _records(path: Path) -> Iterator[tuple[int, Any]]:
    """Numbered records of a JSON list or of JSON Lines."""
    if path.suffix == ".json":
        try:
            found = json.loads("\n".join(line for _, line in _lines(path)))
        except (ValueError, RecursionError) as error:
            raise InputError(f"is not JSON: {error}", path=path) from None
        if not isinstance(found, list):
            raise InputError("expected a list of dialogues", path=path)
        yield from enumerate(found, start=1)
        return
    for number, line in _lines(path):
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"is not JSON: {error}", path=path, line=number) from None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    if not path.is_file():
        raise MissingDataError(f"{path} is not there; give the folder that holds it, or none")
    if path.stat().st_size > MAX_FILE:
        raise InputError(f"larger than {MAX_FILE} bytes; not the file we know", path=path)
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 text: {error.reason}", path=path) from None


def _some(rows: list[Felt], most: int, rng: Random) -> list[Felt]:
    return rows if len(rows) <= most else rng.sample(rows, most)
