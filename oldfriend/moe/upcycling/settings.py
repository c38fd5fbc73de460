"""Typed settings of the stage `upcycle` and of the study; light to import."""

from typing import Literal

from pydantic import Field, model_validator

from oldfriend.lm.settings import BaseParams, FitParams, Settings
from oldfriend.moe.upcycling.plan import UpcyclePlan

# How routers may start; "distil" is ridge that goes on listening to the donor for a while.
RouterKind = Literal[
    "random", "scaled", "kmeans", "domains", "whitened", "copy", "ridge", "procrustes", "distil"
]
CURATED = ("talk", "ground", "notes")  # domains that the curated data has


class RouterParams(Settings):
    """Where the first router weights come from, apart from their kind."""

    scale: float = Field(default=1.0, gt=0, le=100)  # deviation of the logits; not of "random"
    probe_rows: int = Field(default=8, ge=1, le=4096)  # packed rows of train text a domain
    match: Literal["depth", "cka"] = "depth"  # which of the donor's layers goes with which
    penalty: float = Field(default=0.01, gt=0, le=100)  # of ridge, relative to a feature's variance
    teach_weight: float = Field(default=1.0, ge=0, le=100)  # of the KL, for "distil"
    teach_share: float = Field(default=0.5, ge=0, le=1)  # share of the steps that it lasts


class TrialParams(Settings):
    """What all trainings of one comparison share."""

    plan: UpcyclePlan = UpcyclePlan(method="copy")  # its number of experts is varied
    router: RouterParams = RouterParams()
    val_rows: int = Field(default=8, ge=1, le=100_000)  # packed held-out rows a domain
    looks: int = Field(default=6, ge=2, le=100)  # moments at which routing is compared
    fit: FitParams

    @model_validator(mode="after")
    def _one_number_of_experts(self) -> "TrialParams":
        if isinstance(self.plan.experts, list):
            raise ValueError("plan.experts must be one number: it is varied")
        return self


class UpcycleParams(TrialParams):
    """A MoE from ``friend``: experts and routers are trained, mixers stay."""

    domains: tuple[str, ...] = Field(default=CURATED, min_length=1)  # or real ones (docs/moe-study)
    rows_per_domain: int = Field(default=3000, ge=10)  # training examples read of each
    experts: tuple[int, ...] = Field(default=(2, 4, 8), min_length=1)
    routers: tuple[RouterKind, ...] = Field(default=("random", "scaled", "kmeans"), min_length=1)
    trial_steps: int = Field(default=12, ge=1)  # of every pair of those; the best gets fit.steps
    donor: str = ""  # folder of a MoE to take routers from; empty: one is trained for it


class StudyParams(TrialParams):
    """The grid of `python -m benchmarks.moe_study`."""

    domains: tuple[str, ...] = ("fiction", "code", "legal", "medical", "math")  # added in order
    domain_counts: tuple[int, ...] = Field(default=(2, 5), min_length=1)  # how many a cell has
    experts: tuple[int, ...] = (2, 4, 8, 16)  # compared with the router start ``ladder``
    ladder: RouterKind = "kmeans"
    routers: tuple[RouterKind, ...] = ("random", "scaled", "kmeans", "copy", "ridge")
    compared_at: int = Field(default=8, ge=2)  # experts at which all starts are compared
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    max_chars: int = Field(default=1_000_000, ge=1000)  # of training text a domain
    vocab: int = Field(default=1024, ge=300)
    parent: BaseParams
    other: BaseParams  # the parent of the donor for ridge and procrustes: another size
    donor_share: float = Field(default=1.5, gt=0, le=10)  # a donor's steps, relative to fit's
    donor_experts: int = Field(default=8, ge=2)

    @model_validator(mode="after")
    def _counts_fit(self) -> "StudyParams":
        if max(self.domain_counts) > len(self.domains) or min(self.domain_counts) < 1:
            raise ValueError(f"domain_counts must be from 1 to {len(self.domains)}")
        return self
