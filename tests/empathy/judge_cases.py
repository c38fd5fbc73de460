"""Small talk to judge: a few feelings, replies that suit them, and vectors without a model."""

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oldfriend.corpus.schema import Conversation, Turn, write_rows

SIZE = 96
FELT = {
    "grief": ("my father died and i miss him", ("companionship", "i miss him with you, i am here")),
    "sadness": ("i cried all day about moving", ("reflection_of_feelings", "that day was heavy")),
    "anxiety": ("i dread the exam on monday", ("plain_help", "let us plan the exam together")),
    "joy": ("i danced in the kitchen", ("teasing", "poor kitchen, you dance like a goat")),
    "pride": ("i built a shelf and it is level", ("praise", "a level shelf, i am impressed")),
    "boredom": ("nothing happens on this train", ("humour", "the train is bored of you as well")),
}
SMALL = (("the kettle is slow", "a slow kettle is a calm kettle"), ("it rains", "rain again then"))
HUMBLE = ("today", "again", "at home", "at work", "this week", "since lunch", "all week", "somehow")


def vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors of hashed words: texts that share words are near."""
    rows = np.zeros((len(texts), SIZE), np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word in re.findall(r"\w+", text.lower()):
            place = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "big")
            row[place % SIZE] += 1 if place >> 16 & 1 else -1
        row /= max(float(np.linalg.norm(row)), 1e-6)
    return rows


def write_talk(folder: Path, sessions: int = 60) -> Path:
    """train.jsonl and test.jsonl; in test the same feelings in words that train does not use."""
    for split, shift in (("train", 0), ("test", 4)):
        rows = []
        for number in range(sessions if split == "train" else sessions // 2):
            turns = [Turn(speaker="friend", text="tell me")]
            for place, (feeling, (said, (strategy, reply))) in enumerate(FELT.items()):
                if (number + place) % 2:
                    continue
                tail = HUMBLE[(number + place) % 4 + shift]
                turns += [
                    Turn(speaker="user", text=f"{said} {tail}", emotion=feeling, intensity=0.8),
                    Turn(speaker="friend", text=reply, strategy=strategy),
                ]
            for said, reply in SMALL:
                turns += [Turn(speaker="user", text=said), Turn(speaker="friend", text=reply)]
            rows.append(
                Conversation(
                    id=f"{split}{number}", person=f"p{number}", source="simulator",
                    licence="ours", time=datetime(2024, 1, 1), turns=tuple(turns),
                )
            )  # fmt: skip
        write_rows(folder / f"{split}.jsonl", rows)
    return folder
