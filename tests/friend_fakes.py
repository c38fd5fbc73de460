"""A friend whose reader and voice follow rules, on a real pool: for tests that are not about how
good a model is."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from oldfriend.agent.friend import Friend
from oldfriend.corpus.schema import Turn
from oldfriend.memory.notes import Note, SlotType
from oldfriend.memory.store.decide import Calibration, Logit
from oldfriend.memory.store.embed import HashEmbedder, Tokens
from oldfriend.memory.store.pool import MemoryPool

START = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
SLOTS = {
    "pet_name": SlotType("relationship", "pet", "multi", 6),
    "home_city": SlotType("profile", "me", "single", 7),
    "sister_name": SlotType("relationship", "sister", "single", 7),
    "allergy": SlotType("profile", "me", "multi", 10),
}
RULES = {
    "pet_name": r"(?:cat|dog) is called (\w+)",
    "home_city": r"(?:live in|moved to) (\w+)",
    "sister_name": r"sister is (?:called )?(\w+)",
    "allergy": r"allergic to (\w+)",
}
# Questions of the tests and what they are about, for the voice.
ABOUT = {"called": "pet name", "live": "home city", "sister": "sister name"}
# Needed if it is a question or is met in memory; what shares a rare word bears on it.
RULE = Calibration(
    need=Logit(-2.0, (3.0, 0, 0, 3.0, 0, 0)),
    support=Logit(-2.0, (0, 0, 0, 10.0, 0, 0)),
    say=Logit(-3.0, (6.0, 0, 0, 0, 0, 0)),
)
_EMPTY = {
    "a", "did", "do", "does", "i", "in", "is", "it", "me", "my", "now", "of", "on", "s", "the",
    "to", "was", "what", "where", "you",
}  # fmt: skip


class WordEncoder(HashEmbedder):
    """Also reads words: each has a direction of its own, the same in every process."""

    vocabulary = 1024

    def __init__(self) -> None:
        super().__init__(64)

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        return [
            [_number(w) for w in re.findall(r"\w+", t.lower()) if w not in _EMPTY] for t in texts
        ]

    def read(self, texts: Sequence[str], *, content: bool = False) -> list[Tokens]:
        rows = [np.array(ids, np.int64) for ids in self.pieces(texts)]
        return [Tokens(ids, np.eye(1024, dtype=np.float16)[ids]) for ids in rows]


class RuleReader:
    """Notes by pattern. ``heard`` is all that it was ever given to read."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.forgotten: list[str] = []

    def read(self, user: str, text: str, context: Sequence[Turn]) -> list[tuple[Note, SlotType]]:
        self.heard.append(text)
        found = [(slot, m) for slot, rule in RULES.items() for m in re.finditer(rule, text)]
        return [(Note(s, m[1], m.start(1), m.end(1)), SLOTS[s]) for s, m in found]

    def forget(self, user: str) -> None:
        self.forgotten.append(user)


class LineVoice:
    """Answers from the memory lines of its prompt, as a trained model should; ``lie`` instead, if
    that is set. ``prompts`` is all that it was ever shown."""

    def __init__(self) -> None:
        self.prompts: list[list[dict[str, str]]] = []
        self.lie = ""

    def reply(self, prompt: Sequence[dict[str, str]], max_new_tokens: int) -> str:
        self.prompts.append(list(prompt))
        if self.lie:
            return self.lie
        asked = prompt[-1]["content"].lower()
        if "?" not in asked:
            return "Tell me more."
        name = next((slot for word, slot in ABOUT.items() if word in asked), "thing")
        wanted = f"your {'former ' if 'before' in asked else ''}{name}"
        for line in reversed(self.lines()):
            if (head := line.partition(") ")[2]).startswith(f"{wanted}: "):
                value = head.partition(": ")[2]
                return f"[{wanted}: {value}] It is {value}."
        return f"[{wanted}: nothing] You never told me."

    def lines(self) -> list[str]:
        """Memory lines of the latest prompt."""
        return self.prompts[-1][0]["content"].split("\n")[1:]


class Table:
    """A friend on a pool in ``folder`` with a clock of its own: each turn a minute later."""

    def __init__(self, folder: Path, now: datetime = START, **options: Any) -> None:
        self.encoder, self.reader, self.voice = WordEncoder(), RuleReader(), LineVoice()
        self.pool = MemoryPool.open(folder / "memory", self.encoder, **options)
        self.now = now
        self.friend = Friend(
            self.pool, self.encoder, self.voice, self.reader,
            models=folder / "models", calibration=RULE,
        )  # fmt: skip

    def say(self, text: str, user: str = "ada") -> Any:
        self.now += timedelta(minutes=1)
        return self.friend.turn(user, text, now=self.now)

    def texts(self, user: str = "ada", *kinds: str) -> list[str]:
        """What is remembered, in order."""
        return [record.text for record in self.friend.memory(user).records(kinds)]

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, *_: object) -> None:
        self.friend.close()


def on_disk(folder: Path, text: str) -> list[Path]:
    """Files below ``folder`` that hold ``text``."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if text.encode() in path.read_bytes()]


def _number(word: str) -> int:
    return int.from_bytes(blake2b(word.encode(), digest_size=4).digest(), "little") % 1024
