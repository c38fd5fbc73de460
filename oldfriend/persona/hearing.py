"""How a persona hears and quotes: as the friend learnt to, and what is its own on top."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from transformers import PreTrainedTokenizerBase

from oldfriend.lm.chat import Message
from oldfriend.memory import intent
from oldfriend.memory.grounding import Encode
from oldfriend.memory.quoting import CLOSE, OPEN, OWN, QuoteGrammar
from oldfriend.persona.views import VIEW

LONGEST = 6  # words of a value that a person tells
FORMER = "former "
_HINT = re.compile(r" \(about [^()]*\)$")


class PersonaGrammar(QuoteGrammar):
    """What a persona's reply may quote: what the friend's may, a view of its own that stands in the
    prompt, or what the person has just said of something remembered."""

    def quotes(self, prompt: Sequence[Message]) -> list[str]:
        """Every quote that a reply to ``prompt`` may begin with."""
        lines = prompt[0]["content"].split("\n")
        views = [line[2:] for line in lines if line.startswith(f"- {VIEW}: ")]
        rests = [line.partition(OWN)[2] for line in lines if line.startswith("- ")]
        slots = {rest.partition(": ")[0] for rest in rests if rest}
        told = spans(_HINT.sub("", prompt[-1]["content"]))
        news = [f"{OWN}{s}: {value}" for s in sorted(slots) if FORMER not in s for value in told]
        return super().quotes(prompt) + [f"{OPEN}{quote}{CLOSE}" for quote in views + news]


def spans(said: str) -> list[str]:
    """Stretches of up to LONGEST words of a message that is no question, end marks aside."""
    if said.rstrip().endswith("?"):
        return []
    words = [found.span() for found in re.finditer(r"\S+", said)]
    starts = [(start, place) for place, (start, _) in enumerate(words)]
    found = (
        said[start:end].strip(" .,!?;:\"'")
        for start, place in starts
        for _, end in words[place : place + LONGEST]
    )
    return sorted({span for span in found if span})


@dataclass(frozen=True)
class Hearing:
    """Hints behind what a person says and constrained quotes, where the friend learnt to use them
    (its folder has an intent head)."""

    head: intent.Intent | None
    encode: Encode
    heard: dict[str, str] = field(default_factory=dict)  # message: the same with its hint

    @classmethod
    def open(cls, friend: Path) -> Self:
        """As the friend in this folder hears; CheckpointError if its head is broken."""
        from oldfriend.memory.store.minilm import MiniLM

        return cls(intent.load(friend), MiniLM().encode)

    def hinted(self, talks: Sequence[Sequence[Message]]) -> list[list[Message]]:
        """The talks, each message of the person with what it seems to ask about behind it."""
        if self.head is None:
            return [list(talk) for talk in talks]
        said = {part["content"] for talk in talks for part in talk if part["role"] == "user"}
        new = sorted(said - self.heard.keys())
        self.heard.update(zip(new, self.head.hints(new, self.encode), strict=True))
        return [
            [
                part | {"content": self.heard[part["content"]]} if part["role"] == "user" else part
                for part in talk
            ]
            for talk in talks
        ]

    def grammar(self, tokenizer: PreTrainedTokenizerBase) -> PersonaGrammar | None:
        """What constrains quotes; None for a friend that quotes freely."""
        return PersonaGrammar(tokenizer, self.head.topics) if self.head else None
