"""Typed settings of the friend."""

from pydantic import Field

from oldfriend.lm.settings import Settings
from oldfriend.memory.store.settings import ForgettingParams, LevelsParams


class FriendParams(Settings):
    """How much the friend looks at, and when a conversation counts as over.

    ``memories`` and ``exchanges`` follow what the ground stage trains on (at most 6 lines and one
    exchange): a model sees prompts as it learnt them.
    """

    hits: int = Field(default=30, ge=1, le=200)  # memories that the decision looks at
    memories: int = Field(default=6, ge=1, le=100)  # lines in a prompt
    exchanges: int = Field(default=1, ge=0, le=100)  # of the talk so far in a prompt
    max_new_tokens: int = Field(default=60, ge=1, le=4096)
    max_chars: int = Field(default=4000, ge=1, le=20_000)  # of one message
    session_gap_hours: float = Field(default=6.0, gt=0)  # silence that ends a session
    forgetting: ForgettingParams = ForgettingParams()
    levels: LevelsParams = LevelsParams()
