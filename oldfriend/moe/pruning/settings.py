"""Typed settings of the stage `prune`; light to import."""

from typing import Annotated, Literal

from pydantic import Field

from oldfriend.lm.settings import FitParams, Settings
from oldfriend.moe.upcycling.settings import CURATED

Part = Annotated[float, Field(gt=0, lt=1)]
Times = Annotated[float, Field(gt=0, le=16)]


class ActionGrid(Settings):
    """What may be done to a layer, as parts of its experts and of an expert's width."""

    experts: tuple[Part, ...] = (0.75, 0.5, 0.25)  # left after dropping or merging
    widths: tuple[Part, ...] = (0.75, 0.5, 0.25)  # left after narrowing
    both: bool = False  # merge and narrow at once
    dense: tuple[Times, ...] = (1.0, 2.0)  # one MLP of so many widths of an expert
    share: tuple[tuple[Times, Part], ...] = ((1.0, 0.375),)  # width of a shared expert, of routed
    lowrank: tuple[Part, ...] = ()  # measured only: no class stores factors
    cancel: bool = True  # the layer's FFN may go altogether


class RecoverParams(Settings):
    """Healing after the cut: the routers alone, then experts and routers; mixers are frozen."""

    router_steps: int = Field(default=0, ge=0, le=100_000)
    router_lr: float = Field(default=1e-3, gt=0, le=1)
    distil: float = Field(default=1.0, ge=0, le=100)  # weight of the divergence from the uncut
    temperature: float = Field(default=1.0, gt=0, le=10)
    fit: FitParams


class PruneParams(Settings):
    """Compression of a mixture of experts, layer by layer, within a budget."""

    domains: tuple[str, ...] = Field(default=CURATED, min_length=1)  # as in `upcycle`
    rows_per_domain: int = Field(default=1500, ge=10)  # training examples read of each
    keep: float = Field(default=0.5, gt=0, le=1)  # share of the budgeted cost that may stay
    budget: Literal["params", "active"] = "params"  # all expert weights, or those a token meets
    calibrate_on: tuple[str, ...] = ()  # domains; none: all alike
    calibration_tokens: int = Field(default=16_384, ge=64, le=2**28)  # statistics and refits
    measure_tokens: int = Field(default=8_192, ge=64, le=2**24)  # the loss of every action
    val_tokens: int = Field(default=8_192, ge=64, le=2**28)  # per domain
    trials: int = Field(default=12, ge=0, le=10_000)  # plans measured after the knapsack's
    rounds: int = Field(default=1, ge=0, le=8)  # refits of the whole stack, layer after layer
    control: bool = True  # train the uncut model on as long, too
    speed_rounds: int = Field(default=5, ge=0, le=100)  # of timing; 0: no timing
    grid: ActionGrid = ActionGrid()
    recover: RecoverParams
