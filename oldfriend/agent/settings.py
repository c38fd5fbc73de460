"""Typed settings of the friend."""

from pydantic import Field

from oldfriend.lm.settings import Settings
from oldfriend.memory.store.settings import ForgettingParams, LevelsParams


class DraftParams(Settings):
    """How many replies are drafted, and when one is good enough to be said.

    ``count`` drafts come out of one batch, and up to ``known`` beside it out of the repertoire. If
    the judge's best is below ``good_enough``, up to ``redrafts`` more batches are drawn, each
    warmer by ``warmer``, as long as less than ``seconds`` have gone by.
    """

    count: int = Field(default=3, ge=1, le=16)
    known: int = Field(default=3, ge=1, le=16)
    good_enough: float = Field(default=0.5, ge=0, le=1)  # of the judge's total
    redrafts: int = Field(default=1, ge=0, le=8)
    seconds: float = Field(default=2.0, ge=0, le=600)
    temperature: float = Field(default=0.7, gt=0, le=2)
    warmer: float = Field(default=0.2, ge=0, le=1)
    fluency: float = Field(default=0.5, ge=0, le=10)  # how much a model's own doubts count
    # A model that follows instructions is told how to answer and what was wrong with its drafts;
    # one that was not taught to would be confused by such a line.
    instructed: bool = False


class FriendParams(Settings):
    """How much the friend looks at, and when a conversation counts as over.

    ``memories`` and ``exchanges`` follow what the ground stage trains on (at most 6 lines and one
    exchange): a model sees prompts as it learnt them. ``recall``, ``feelings``, ``strategy``,
    ``repertoire``, ``judge`` and ``persona`` switch parts of a turn off; danger is always listened
    for.
    """

    hits: int = Field(default=30, ge=1, le=200)  # memories that the decision looks at
    memories: int = Field(default=6, ge=1, le=100)  # lines in a prompt
    exchanges: int = Field(default=1, ge=0, le=100)  # of the talk so far in a prompt
    max_new_tokens: int = Field(default=60, ge=1, le=4096)
    max_chars: int = Field(default=4000, ge=1, le=20_000)  # of one message
    session_gap_hours: float = Field(default=6.0, gt=0)  # silence that ends a session
    recall: bool = True
    feelings: bool = True
    strategy: bool = True
    repertoire: bool = True
    judge: bool = True
    persona: bool = True
    drafts: DraftParams = DraftParams()
    forgetting: ForgettingParams = ForgettingParams()
    levels: LevelsParams = LevelsParams()
