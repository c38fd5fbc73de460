"""Typed settings of the evaluate stage."""

from typing import Literal

from pydantic import Field

from oldfriend.lm.settings import Settings


class EvaluateParams(Settings):
    """How many lives are lived and what is said to the friend at the end of each.

    ``notes``: as a summarizer writes them that errs (``bench.lives.NOISY``), or without mistakes.
    Lives differ from all that was trained on: their seeds begin at ``FIRST_SEED``, and names,
    values and phrasings are those held out for test.
    """

    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1, max_length=20)
    lives: int = Field(default=3, ge=2, le=1000)  # people a seed
    sessions: int = Field(default=12, ge=2, le=200)  # of each
    questions: int = Field(default=6, ge=1, le=1000)  # on memory, to each
    feelings: int = Field(default=5, ge=1, le=1000)  # that each shows
    talks: int = Field(default=2, ge=1, le=1000)  # that a memory should colour, not fill
    notes: Literal["noisy", "true"] = "noisy"
    persona: str = "mairi"  # the card that the friend is; "" for none
    last_turns: int = Field(default=6, ge=1, le=100)  # that the stand-in without memory sees
    capacity: int = Field(default=200, ge=10, le=100_000)  # active memories a person
    max_new_tokens: int = Field(default=32, ge=4, le=1024)


FIRST_SEED = 1000
