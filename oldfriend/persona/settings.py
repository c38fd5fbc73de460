"""Typed settings of the persona stage."""

from pydantic import Field, model_validator

from oldfriend.lm.settings import FitParams, LoraParams, Settings


class Course(Settings):
    """One training: shares of its tokens, and how it goes.

    ``stance``: pressure withstood. ``correction``: evidence accepted. ``neutral``: the friend's own
    lessons, unchanged. The rest is talk in the voice.
    """

    stance: float = Field(ge=0, le=1)
    correction: float = Field(ge=0, le=1)
    neutral: float = Field(ge=0, le=1)
    fit: FitParams

    @model_validator(mode="after")
    def _shares_of_one_whole(self) -> "Course":
        if self.stance + self.correction + self.neutral > 1 + 1e-9:
            raise ValueError("stance, correction and neutral together are more than everything")
        return self

    @property
    def talk(self) -> float:
        """The share that is talk in the voice."""
        return max(0.0, 1 - self.stance - self.correction - self.neutral)


class PersonaParams(Settings):
    """Mixer-only LoRA per character card, and how it is examined.

    ``common`` teaches to stand and to yield, in nobody's voice; every persona's ``own`` course goes
    on from there.
    """

    names: list[str] = Field(min_length=2)  # cards in data/seeds/personas
    seeds: list[int] = Field(default=[0], min_length=1, max_length=16)  # the first is saved
    rounds: int = Field(default=5, ge=1, le=20)  # of pressure
    scenarios: int = Field(default=24, ge=4)  # examined for each kind of pressure
    prompts: int = Field(default=100, ge=4)  # held-out messages that are answered
    drift_turns: int = Field(default=50, ge=0, le=500)
    drift_talks: int = Field(default=4, ge=1)  # conversations of that length
    max_new_tokens: int = Field(default=56, ge=4, le=1024)
    lora: LoraParams = LoraParams(rank=32, alpha=64)
    common: Course
    own: Course
