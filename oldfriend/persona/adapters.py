"""LoRA adapters as plain matrices: read from PEFT folders, blended, written back.

Shape suffixes: R rank, I inputs, O outputs of a linear layer.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from oldfriend.errors import CheckpointError, InputError
from oldfriend.files import atomic_folder
from oldfriend.lm import model as models

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
MAX_CONFIG, MAX_WEIGHTS = 1_000_000, 4 << 30  # bytes
# PEFT options under which an adapter is more than B A x; none of ours uses them.
_OTHERS = ("use_dora", "modules_to_save", "fan_in_fan_out", "rank_pattern", "alpha_pattern")


@dataclass(frozen=True)
class Factor:
    """One layer's change of weight, ``up_OR @ down_RI``; LoRA's scaling is in ``up_OR``."""

    down_RI: Tensor
    up_OR: Tensor

    @property
    def delta_OI(self) -> Tensor:
        """The change itself."""
        return self.up_OR @ self.down_RI


@dataclass(frozen=True)
class Adapter:
    """Factors by the full name of the linear layer they belong to, and PEFT's settings."""

    factors: Mapping[str, Factor]
    config: Mapping[str, Any]

    @property
    def rank(self) -> int:
        """The rank that all layers share."""
        return next(iter(self.factors.values())).down_RI.shape[0]


def read(folder: Path) -> Adapter:
    """Read a LoRA in PEFT format (safetensors only, sizes bounded).

    CheckpointError if there is none, if it is broken, or a kind of adapter that is more than
    two matrices a layer.
    """
    try:
        for name, most in ((CONFIG, MAX_CONFIG), (WEIGHTS, MAX_WEIGHTS)):
            if (folder / name).stat().st_size > most:
                raise CheckpointError(f"{folder / name} is larger than {most:,} bytes")
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        weights = _load(folder / WEIGHTS)
    except CheckpointError:
        raise
    except Exception as error:  # files, JSON and safetensors raise many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{folder} is not an adapter: {reason}") from None
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise CheckpointError(f"{folder} is not a LoRA adapter")
    if odd := next((key for key in _OTHERS if config.get(key)), None):
        raise CheckpointError(f"{folder} uses PEFT's '{odd}', which cannot be mixed here")
    return Adapter(_factors(folder, weights, _scaling(folder, config)), config)


def _load(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def _scaling(folder: Path, config: Mapping[str, Any]) -> float:
    """Hu et al. 2021: alpha / r; rank-stabilised (arXiv:2312.03732): alpha / sqrt(r)."""
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float):
        raise CheckpointError(f"{folder / CONFIG} lacks 'r' or 'lora_alpha'")
    return float(alpha / (rank**0.5 if config.get("use_rslora") else rank))


def _factors(folder: Path, weights: Mapping[str, Tensor], scaling: float) -> dict[str, Factor]:
    factors: dict[str, Factor] = {}
    for key in sorted(weights):
        name, _, part = key.removeprefix(PREFIX).partition(".lora_")
        if part == "A.weight" and f"{PREFIX}{name}.lora_B.weight" in weights:
            down = weights[key].float()
            up = weights[f"{PREFIX}{name}.lora_B.weight"].float() * scaling
            if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
                raise CheckpointError(f"{folder}: the two matrices of {name} do not fit")
            factors[name] = Factor(down, up)
        elif part != "B.weight" or f"{PREFIX}{name}.lora_A.weight" not in weights:
            raise CheckpointError(f"{folder}: {key} has no partner")
    if not factors or len({factor.down_RI.shape[0] for factor in factors.values()}) > 1:
        raise CheckpointError(f"{folder} has no layers, or layers of different rank")
    return factors


def combine(adapters: Sequence[Adapter], weights: Sequence[float]) -> dict[str, Factor]:
    """The factors of the weighted sum of the adapters' changes, exact: ranks add up.

    [w1 U1, w2 U2] [D1; D2] = w1 U1 D1 + w2 U2 D2. InputError if they change other layers or sizes.
    """
    first = adapters[0].factors
    for other in adapters[1:]:
        same = first.keys() == other.factors.keys() and all(
            first[name].down_RI.shape[1] == other.factors[name].down_RI.shape[1]
            and first[name].up_OR.shape[0] == other.factors[name].up_OR.shape[0]
            for name in first
        )
        if not same:
            raise InputError("these adapters belong to different models")
    return {
        name: Factor(
            torch.cat([adapter.factors[name].down_RI for adapter in adapters]),
            torch.cat(
                [w * a.factors[name].up_OR for w, a in zip(weights, adapters, strict=True)], dim=1
            ),
        )
        for name in first
    }


def blend(parts: Mapping[Path, float], out: Path) -> None:
    """Write the weighted blend of several adapters as one adapter in PEFT format.

    It is exact, and as wide as its parts together. InputError for no parts, a weight that is no
    finite number, or adapters of different models.
    """
    if not parts:
        raise InputError("a blend needs at least one adapter")
    if odd := [w for w in parts.values() if not abs(w) < float("inf")]:
        raise InputError(f"{odd[0]} is no weight")
    adapters = [read(folder) for folder in parts]
    factors = combine(adapters, list(parts.values()))
    rank = sum(adapter.rank for adapter in adapters)
    with atomic_folder(out) as folder:
        save(Adapter(factors, adapters[0].config), folder)
        kept = {str(path.name): weight for path, weight in parts.items()}
        models.write_meta(folder, {"blend": kept, "rank": rank})


def save(adapter: Adapter, folder: Path) -> None:
    """Write an adapter in PEFT format into ``folder``, scaling 1."""
    from safetensors.torch import save_file

    weights = {}
    for name, factor in adapter.factors.items():
        weights[f"{PREFIX}{name}.lora_A.weight"] = factor.down_RI.contiguous()
        weights[f"{PREFIX}{name}.lora_B.weight"] = factor.up_OR.contiguous()
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    config = {**adapter.config, "r": adapter.rank, "lora_alpha": adapter.rank, "use_rslora": False}
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
