"""Typed settings of the grounding and summarizer stages."""

from typing import Literal

from pydantic import Field, model_validator

from oldfriend.lm.settings import FitParams, LoraParams, Settings


class GroundParams(Settings):
    """Retrieval-grounded fine-tune of the base model into ``friend``."""

    method: Literal["full", "lora"] = "full"  # lora: mixer-only, merged afterwards
    seeds: list[int] = Field(default=[0], min_length=1, max_length=16)  # the first makes `friend`
    curriculum: float = Field(default=0.5, ge=0, le=1)  # few memories first; 0: no order
    ranked: bool = True  # memories in order of likeness to the message; false: in any order
    hint_messages: int = Field(default=12000, ge=0)  # the hint head learns from; 0: no hints
    notes_share: float = Field(default=0.0, ge=0, lt=1)  # share of note taking among the lessons
    drill_share: float = Field(default=0.0, ge=0, lt=1)  # share of copying drills among the lessons
    max_new_tokens: int = Field(default=64, ge=1, le=1024)
    lora: LoraParams = LoraParams()
    fit: FitParams

    @model_validator(mode="after")
    def _grounding_has_a_share(self) -> "GroundParams":
        if self.notes_share + self.drill_share >= 1:
            raise ValueError("notes_share and drill_share together leave nothing to grounding")
        return self


class TaggerParams(Settings):
    """MiniLM fine-tuned to mark the values worth remembering; the summarizer's second reader."""

    fit: FitParams


class SummarizerParams(Settings):
    """LoRA on ``friend`` that writes memory notes; then readers of each user's own."""

    context_turns: int = Field(default=0, ge=0, le=16)  # turns shown before the one being read
    max_new_tokens: int = Field(default=32, ge=1, le=1024)
    max_false_memories: float = Field(default=0.04, ge=0, le=1)  # on val; sets the threshold
    second_reader: bool = True  # hear the tagger too; false: the language model alone
    max_eval: int = Field(default=2000, ge=10)  # test examples that are scored
    lora: LoraParams = LoraParams()
    fit: FitParams
    users: int = Field(default=4, ge=0, le=10_000)  # with readers of their own; 0: generic only
    replay: int = Field(default=8, ge=0, le=100)  # generic turns beside each of a user's
    variants: int = Field(default=4, ge=0, le=100)  # copies of a user's records with other values
    user_lora: LoraParams = LoraParams()  # of the tagger
    user_fit: FitParams
