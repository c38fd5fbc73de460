"""The price of a whole turn: danger, memory, feelings, strategy, three drafts and their judge.

    python -m benchmarks.turn --models models

Beside it stands one plain greedy `generate` of the same model on the very prompt of the turn, as
long as the longest of the drafts: a line through the times of plain replies by their tokens says
what one of that length takes. Ways take turns; medians over all messages and repeats. Seconds are
those of the processor (``--wall``: of the clock), which other programs on the machine disturb less.
"""

import statistics
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter, process_time
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from oldfriend.agent.friend import Friend
from oldfriend.agent.heart import Heart
from oldfriend.agent.models import FriendModel, NoteTaker
from oldfriend.agent.settings import DraftParams, FriendParams
from oldfriend.bench.recall import scratch_pool
from oldfriend.errors import OldFriendError
from oldfriend.files import write_json
from oldfriend.lm.chat import Message
from oldfriend.lm.generate import Answer, generate_scored
from oldfriend.memory.store.embed import embedder

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
TOLD = ("My cat is called Miro.", "I live in Oslo.", "I'm allergic to walnuts.")
SAID = (
    "Good morning, how are you?", "What is my cat called?", "My boss shouted at me today.",
    "It's freezing out there.", "Where do I live?", "I passed the exam, first go!",
    "I can't sleep, I keep going over it.", "What am I allergic to?",
)  # fmt: skip


class Watched(FriendModel):
    """The model, the latest prompt it drafted for, and how many steps its batches took since."""

    prompt: Sequence[Message] = ()
    steps: int = 0

    def drafts(
        self, prompt: Sequence[Message], max_new_tokens: int, count: int, *,
        temperature: float, seed: int,
    ) -> list[Answer]:  # fmt: skip
        found = super().drafts(prompt, max_new_tokens, count, temperature=temperature, seed=seed)
        self.prompt, self.steps = prompt, self.steps + max(len(answer.ids) for answer in found)
        return found

    def plain(self, max_new_tokens: int) -> int:
        """One plain reply to the latest prompt; its tokens."""
        model, tokenizer = self._ready()
        asked = [self._hinted(self.prompt)]
        (answer,) = generate_scored(model, tokenizer, asked, max_new_tokens=max_new_tokens)
        return len(answer.ids)


class Clock:
    """Seconds, and when something was heard."""

    def __init__(self, wall: bool) -> None:
        self.now, self.heard = (perf_counter if wall else process_time), 0.0

    def __call__(self, text: str) -> None:
        self.heard = self.now()


def main(
    models: Annotated[Path, typer.Option(help="Where models lie.")] = Path("models"),
    card: Annotated[Path | None, typer.Option(help="A persona card.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Times that all is said.")] = 5,
    drafts: Annotated[int, typer.Option(min=1, help="Drafts a batch.")] = 3,
    redrafts: Annotated[int, typer.Option(min=0, help="Further batches.")] = 0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest reply.")] = 48,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    wall: Annotated[bool, typer.Option("--wall", help="By the clock on the wall.")] = False,
    out: Annotated[Path, typer.Option("--json", help="Where the numbers go.")] = Path(
        "metrics/bench/turn.json"
    ),
) -> None:
    """Time whole turns and plain replies."""
    torch.set_num_threads(threads)
    params = FriendParams(
        max_new_tokens=max_new_tokens, drafts=DraftParams(count=drafts, redrafts=redrafts)
    )
    try:
        found = measure(models, card, params, repeats, wall)
    except OldFriendError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    table = Table("figure", "value", title=f"a turn with {drafts} drafts")
    for name, value in found.items():
        table.add_row(name, f"{value:.3f}")
    Console().print(table)
    write_json(
        out,
        found | {"wall": float(wall), "threads": threads, "drafts": drafts, "redrafts": redrafts},
    )


def measure(
    models: Path, card: Path | None, params: FriendParams, repeats: int, wall: bool
) -> dict[str, float]:
    """Medians: seconds of a plain reply, of a turn until it is said and until it is remembered, of
    each step; and the ratios."""
    encoder = embedder()
    voice, now = Watched(models / "friend", encode=encoder.encode), START
    heart = Heart.open(models / "empathy", encoder, card=card)
    said_s, whole_s, steps, plain_s, plain_steps = [], [], [], [], []
    parts: dict[str, list[float]] = {}
    with scratch_pool(encoder) as pool:
        friend = Friend(pool, encoder, voice, NoteTaker(models), params=params, heart=heart)
        for text in TOLD:
            now += timedelta(minutes=1)
            friend.turn("ada", text, now=now)
        for place in range((repeats + 1) * len(SAID)):
            now += timedelta(minutes=1)
            # Nobody says the very same thing twice, and what is new has to be read.
            text = f"{SAID[place % len(SAID)]} It's day {place}."
            voice.steps, clock = 0, Clock(wall)
            began = clock.now()
            reply = friend.turn("ada", text, now=now, say=clock)
            ended = clock.now()
            tokens = voice.plain(params.max_new_tokens)
            plain = clock.now() - ended
            if place < len(SAID) or not voice.steps:
                continue  # the first time everything is loaded
            said_s.append(clock.heard - began)
            whole_s.append(ended - began)
            steps.append(voice.steps)
            plain_s.append(plain)
            plain_steps.append(tokens)
            for name, seconds in reply.seconds.items():
                parts.setdefault(name, []).append(seconds)
    slope, base = np.polyfit(plain_steps, plain_s, 1)
    alike = [float(base + slope * count) for count in steps]
    median = statistics.median
    return {
        "plain_s": median(alike),
        "said_s": median(said_s),
        "whole_s": median(whole_s),
        "tokens": median(steps),
        "ratio_until_said": median(a / b for a, b in zip(said_s, alike, strict=True)),
        "ratio_with_notes": median(a / b for a, b in zip(whole_s, alike, strict=True)),
        **{f"{name.replace(': ', '_')}_s": median(values) for name, values in parts.items()},
    }


if __name__ == "__main__":
    typer.run(main)
