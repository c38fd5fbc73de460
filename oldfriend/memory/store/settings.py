"""Typed settings of the memory pool."""

from pydantic import Field, model_validator

from oldfriend.lm.settings import Settings
from oldfriend.memory.store.record import MemoryKind

_KIND_FACTOR: dict[MemoryKind, float] = {
    "turn": 0.5, "emotion": 0.75, "event": 1.0, "preference": 2.0, "shared joke": 2.0,
    "promise": 2.0, "relationship": 3.0, "profile": 4.0, "session": 3.0, "insight": 4.0,
}  # fmt: skip


class ForgettingParams(Settings):
    """How fast memories fade, what never does, how many stay at hand, when to reflect.

    Retention is R = exp(-dt / (tau * S)), dt in days since the last recall; docs/memory-time.md
    has the formulas and a worked example.
    """

    tau_days: float = Field(default=30.0, gt=0, le=36_500)  # tau of an event of importance 5
    kind_factor: dict[MemoryKind, float] = Field(default=_KIND_FACTOR)  # tau relative to an event's
    emotion_weight: float = Field(default=0.5, ge=0, le=10)  # tau grows by this share if it moved
    past_weight: float = Field(default=0.5, gt=0, le=1)  # R of what is no longer true, times this
    age_weight: float = Field(default=0.5, ge=0, le=1)  # share of its worth that age can take
    hot: float = Field(default=0.5, gt=0, le=1)  # R from which a memory is hot
    warm: float = Field(default=0.1, ge=0, lt=1)  # R from which it is warm; below it is cold
    capacity: int = Field(default=100_000, ge=1)  # active records of one person
    pinned_importance: int = Field(default=10, ge=2, le=11)  # from here on never archived; 11: none
    pinned_words: frozenset[str] = frozenset(  # in the name of a slot: never archived
        {"birthday", "allergy", "allergies", "loss", "death", "grief"}
    )
    reflection_threshold: int = Field(default=150, ge=1)  # sum of importance; Generative Agents
    reflection_least: int = Field(default=3, ge=2, le=100)  # memories that make an insight
    small_importance: int = Field(default=4, ge=0, le=9)  # up to here folded memories are put away

    @model_validator(mode="after")
    def _tiers_are_in_order(self) -> "ForgettingParams":
        if self.warm >= self.hot:
            raise ValueError(f"warm {self.warm:g} must stay below hot {self.hot:g}")
        if unusable := [kind for kind, factor in self.kind_factor.items() if factor <= 0]:
            raise ValueError(f"kind_factor of {unusable[0]} must be above 0")
        return self


class LevelsParams(Settings):
    """How long summaries and the portrait are."""

    turns: int = Field(default=3, ge=0, le=50)  # most central turns in a session summary
    facts: int = Field(default=20, ge=1, le=1_000)  # typed records in a session summary
    profile_slots: int = Field(default=200, ge=1, le=10_000)  # slots shown in the profile
    portrait_items: int = Field(default=5, ge=1, le=100)  # of each kind in the portrait
