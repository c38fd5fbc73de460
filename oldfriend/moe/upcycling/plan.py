"""How a dense model becomes a mixture of experts: typed settings, light to import."""

from typing import Literal

from pydantic import Field, model_validator

from oldfriend.lm.settings import Settings

Method = Literal["copy", "noise", "drop", "split", "segments", "virtual"]


class UpcyclePlan(Settings):
    """What becomes of every FFN; E experts, G segments.

    copy: E copies. noise: copies, perturbed. drop: copies, a part of whose neurons start anew
    (arXiv:2502.19261). split: every neuron in one of E experts. segments: E / G copies, each cut
    into G experts (DeepSeekMoE). virtual: segments whose router rows are tied within a copy, so
    that a token takes a whole copy (arXiv:2410.07524).
    """

    method: Method = "drop"
    experts: int | list[int] = 8  # of every layer, or of each; 1: stay dense, 0: no FFN
    top_k: int = Field(default=2, ge=1, le=1024)
    segments: int = Field(default=1, ge=1, le=256)  # cuts of a copy (segments, virtual)
    shared: float = Field(default=0.0, ge=0, lt=1)  # share of neurons that every token meets
    partition: Literal["random", "kmeans", "coactivation"] = "random"  # who is cut from whom
    noise: float = Field(default=0.1, ge=0, le=10)  # deviation, relative to the weights'
    drop: float = Field(default=0.5, ge=0, le=1)  # share of neurons that start anew
    scaled: Literal["down", "up_down"] = "down"  # where cut experts are scaled
    score: Literal["softmax", "sigmoid", "family"] = "family"  # family: what its stock MoE has
    renormalise: bool = True
    expert_bias: bool = False  # balance without a loss
    routing_level: Literal["token", "sequence", "domain"] = "token"
    domain_experts: list[list[int]] | None = None
    balance_weight: float = Field(default=0.01, ge=0, le=10)
    z_weight: float = Field(default=0.001, ge=0, le=10)
    bias_rate: float = Field(default=0.001, ge=0, le=1)

    @model_validator(mode="after")
    def _cuts_fit(self) -> "UpcyclePlan":
        counts = self.experts if isinstance(self.experts, list) else [self.experts]
        if any(count < 0 for count in counts):
            raise ValueError("experts must not be negative")
        if self.method in ("segments", "virtual"):
            odd = [count for count in counts if count > 1 and count % self.segments]
            if odd:
                raise ValueError(f"{odd[0]} experts cannot hold whole copies of {self.segments}")
        elif self.segments > 1:
            raise ValueError(f"method {self.method} knows no segments")
        if self.shared and self.method not in ("split", "segments", "virtual"):
            raise ValueError("a shared expert takes neurons from cut experts only")
        if self.method == "virtual" and self.top_k % self.segments:
            raise ValueError("virtual groups need top_k to be a multiple of segments")
        return self

    def score_of(self, family: str) -> Literal["softmax", "sigmoid"]:
        """The router's score for mixers of ``family``: Lfm2Moe's is a sigmoid."""
        if self.score != "family":
            return self.score
        return "sigmoid" if family == "lfm2" else "softmax"

    def cuts(self, experts: int) -> int:
        """Parts that one copy of an FFN is cut into."""
        return experts if self.method == "split" else self.segments

    def preserves(self, experts: int) -> bool:
        """Whether a layer of so many experts starts as the dense FFN, whatever its router says.

        ``split`` does so only while its router is silent, as it is by default with all experts on.
        """
        if not self.renormalise:
            return False
        return {
            "copy": True,
            "noise": self.noise == 0,
            "drop": self.drop == 0,
            "split": self.top_k == experts,
            "segments": self.segments == 1,
            "virtual": True,
        }[self.method]
