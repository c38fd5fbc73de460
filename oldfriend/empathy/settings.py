"""Typed settings of the empathy stage: emotion, crisis, strategy, its rules, and the judge."""

from typing import Literal

from pydantic import Field

from oldfriend.lm.settings import FitParams, Settings

Public = Literal["goemotions", "esconv"]


class EmotionParams(Settings):
    """MiniLM tuned to name feelings, and a linear map to valence and intensity."""

    lives: int = Field(default=4000, ge=10, le=1_000_000)  # simulated turns to learn from
    held_out: float = Field(default=0.1, gt=0, lt=0.5)  # share that sets the thresholds
    fit: FitParams


class CrisisParams(Settings):
    """How readily danger is heard."""

    alone: float = Field(default=0.03, gt=0, lt=0.5)  # hard harmless sentences that may alarm
    maybe: float = Field(default=0.06, gt=0, lt=0.5)  # that may give an unsure alarm
    faint: float = Field(default=0.15, gt=0, lt=0.5)  # that are like enough for a weak sign
    alarms_per_1000: float = Field(default=3.0, gt=0, le=50)  # of harmless talk, at most
    background: int = Field(default=2000, ge=100, le=50_000)  # turns of simulated talk as harmless
    strength: float = Field(default=10.0, gt=0, le=1e4)  # C of the support vector machine
    gamma: float = Field(default=1.0, gt=0, le=100)  # of its kernel
    emphasis: float = Field(default=5.0, ge=1, le=100)  # how much more a bank's sentence weighs
    grown: int = Field(default=20, ge=0, le=1000)  # sentences out of each pattern of the bank
    held_out: float = Field(default=0.2, gt=0, lt=0.9)  # share that sets the thresholds


class StrategyParams(Settings):
    """The strategy head: linear over MiniLM's vectors and the course of the talk."""

    c: float = Field(default=0.1, gt=0, le=1000)  # inverse strength of the penalty on weights
    vector_scale: float = Field(default=1.0, ge=0, le=100)  # how far the vectors are trusted
    balance: float = Field(default=0.5, ge=0, le=1)  # 0: most accurate; 1: all strategies alike
    test_share: float = Field(default=0.2, gt=0, lt=0.9)  # of public dialogues, by their hash
    lives: int = Field(default=4000, ge=10, le=1_000_000)  # simulated replies to learn from
    persona: float = Field(default=1.0, ge=0, le=10)  # how far a card's humour moves the odds


class RuleParams(Settings):
    """Where the hard rules begin; intensities of a feeling that hurts, 0 to 1."""

    no_jokes: float = Field(default=0.5, ge=0, le=1)
    hear_first: float = Field(default=0.65, ge=0, le=1)
    heard_turns: int = Field(default=3, ge=1, le=50)  # replies within which it must have been heard
    questions: int = Field(default=2, ge=1, le=20)  # in a row; then no more
    tease_after: int = Field(default=4, ge=0, le=100)  # turns of talk
    sore_days: int = Field(default=10, ge=0, le=365)  # days in which a loss is not teased about
    worth_saying: float = Field(default=0.02, ge=0, le=1)  # probability taken that needs a reason


class Weights(Settings):
    """Exponents of the parts in the total, a weighted geometric mean: a part near 0 decides."""

    moves: float = Field(default=1.0, ge=0, le=10)
    appropriate: float = Field(default=1.0, ge=0, le=10)
    supported: float = Field(default=2.0, ge=0, le=10)
    character: float = Field(default=1.0, ge=0, le=10)
    moment: float = Field(default=1.0, ge=0, le=10)


class JudgeParams(Settings):
    """How the judge is trained."""

    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1, max_length=20)
    moments: int = Field(default=3000, ge=50, le=100_000)  # of simulated talk to learn from
    test_moments: int = Field(default=800, ge=20, le=20_000)
    public: int = Field(default=4000, ge=0, le=100_000)  # replies of public talk, true and swapped
    strength: float = Field(default=0.01, gt=0, le=100)  # C of the heads over vectors
    outcome_strength: float = Field(default=0.003, gt=0, le=100)  # C of the outcome head
    folds: int = Field(default=5, ge=2, le=20)  # of conversations, for what has no test split
    edge: int = Field(default=3, ge=1, le=10)  # replies left out at either end of a conversation
    bootstrap: int = Field(default=1000, ge=0, le=20_000)  # resamples of conversations
    weights: Weights = Weights()


class EmpathyParams(Settings):
    """All of empathy. ``public``: sets in the folder of external data to learn from as well."""

    public: tuple[Public, ...] = ()
    emotion: EmotionParams
    crisis: CrisisParams = CrisisParams()
    strategy: StrategyParams = StrategyParams()
    rules: RuleParams = RuleParams()
    judge: JudgeParams = JudgeParams()
