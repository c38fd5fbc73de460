"""What a study's cells say together: means and spreads, paired differences, verdicts."""

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student

from oldfriend.errors import CheckpointError, MissingDataError
from oldfriend.moe.diagnostics.matching import matched_agreement
from oldfriend.moe.diagnostics.watch import tokens_to
from oldfriend.outcome import Row

Result = dict[str, Any]
Arm = tuple[int, int, str]  # domains, experts, router
RANDOM, CONTROL, DENSE = "random", "scaled", "dense"
WARM = ("kmeans", "domains", "whitened", "copy", "ridge", "procrustes", "distil")
PAIRED = ("val_loss", "area", "churn", "saturation")


def read_cells(folder: Path) -> list[Result]:
    """All results; MissingDataError if there is none, CheckpointError if one broke."""
    found = []
    for path in sorted((folder / "cells").glob("*.json")):
        try:
            found.append(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise CheckpointError(
                f"{path} is not JSON ({error}); delete it to train it again"
            ) from None
    if not found:
        raise MissingDataError(f"no finished cell in {folder}; run: python -m benchmarks.moe_study")
    return found


def by_arm(cells: Sequence[Result]) -> dict[Arm, dict[int, Result]]:
    """Results by arm and seed."""
    arms: dict[Arm, dict[int, Result]] = defaultdict(dict)
    for cell in cells:
        arms[cell["domains"], cell["experts"], cell["router"]][cell["seed"]] = cell
    return dict(arms)


def paired(arm: dict[int, Result], other: dict[int, Result], metric: str) -> dict[str, float]:
    """Mean difference arm - other over common seeds with its 95% interval (Student's t)."""
    seeds = sorted(arm.keys() & other.keys())
    gaps = [arm[s]["metrics"][metric] - other[s]["metrics"][metric] for s in seeds]
    if not gaps:
        return {}
    mean = fmean(gaps)
    if len(gaps) < 2:
        return {"mean": mean, "seeds": 1.0}
    half = float(student.ppf(0.975, len(gaps) - 1)) * stdev(gaps) / math.sqrt(len(gaps))
    return {"mean": mean, "low": mean - half, "high": mean + half, "seeds": float(len(gaps))}


def token_shares(arm: dict[int, Result], random: dict[int, Result]) -> list[float]:
    """Per seed, the share of the tokens that reaches the random start's final loss; inf: never."""
    shares = []
    for seed in sorted(arm.keys() & random.keys()):
        curve, goal = arm[seed]["curve"], random[seed]["metrics"]["val_loss"]
        tokens = [row["tokens"] for row in curve]
        reached = tokens_to(goal, tokens, [row["val_loss"] for row in curve])
        shares.append(reached / tokens[-1])
    return shares


def seed_agreement(folder: Path, arm: dict[int, Result]) -> dict[str, float]:
    """Matched kappa of the final routings of two seeds, mean over pairs and layers."""
    chosen = {}
    for seed, cell in arm.items():
        name = f"s{seed}-d{cell['domains']}-e{cell['experts']}-{cell['router']}.npy"
        if (path := folder / "choices" / name).is_file():
            chosen[seed] = torch.from_numpy(np.load(path, allow_pickle=False).astype(np.int64))
    values, nulls = [], []
    for one, other in combinations(sorted(chosen), 2):
        experts = next(iter(arm.values()))["experts"]
        for a, b in zip(chosen[one], chosen[other], strict=True):
            found = matched_agreement(a, b, experts, shuffles=1)
            values.append(found.kappa)
            nulls.append(found.null)
    return {"kappa": fmean(values), "null": fmean(nulls)} if values else {}


def summarise(folder: Path) -> dict[str, Any]:
    """Arms with their figures, paired differences to the controls, and verdicts on hypotheses."""
    cells = read_cells(folder)
    arms = by_arm(cells)
    rows, details = [], []
    for (domains, experts, router), arm in sorted(arms.items()):
        controls = {
            "scaled": arms.get((domains, experts, CONTROL), {}),
            "random": arms.get((domains, experts, RANDOM), {}),
            "dense": arms.get((domains, 1, DENSE), {}),
        }
        figures = _means(arm)
        gaps = {
            f"{metric}_vs_{name}": paired(arm, other, metric)
            for name, other in controls.items()
            for metric in PAIRED
            if other
            and other is not arm
            and all(metric in c["metrics"] for c in [*arm.values(), *other.values()])
        }
        shares = token_shares(arm, controls["random"]) if controls["random"] else []
        detail: dict[str, Any] = {
            "domains": domains, "experts": experts, "router": router, "seeds": sorted(arm),
            "means": figures, "paired": gaps,
            "token_shares": shares,
            "between_seeds": seed_agreement(folder, arm),
        }  # fmt: skip
        details.append(detail)
        rows.append(_row(detail))
    judged = verdicts(details)
    for detail in details:  # JSON knows no infinity
        shares = detail["token_shares"]
        detail["token_shares"] = [share if math.isfinite(share) else None for share in shares]
    return {"arms": rows, "details": details, "verdicts": judged}


def interval(found: dict[str, float]) -> str:
    """A paired difference with its interval, to read."""
    if "low" not in found:
        return f"{found['mean']:+.4f} (1 seed)"
    return f"{found['mean']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]"


def _means(arm: dict[int, Result]) -> dict[str, float]:
    names = set.intersection(*(set(cell["metrics"]) for cell in arm.values()))
    figures = {}
    for name in sorted(names):
        values = [cell["metrics"][name] for cell in arm.values()]
        figures[name] = fmean(values)
        if len(values) > 1:
            figures[f"{name}_sd"] = stdev(values)
    return figures


def _row(detail: dict[str, Any]) -> Row:
    means, gaps = detail["means"], detail["paired"]

    def gap(name: str) -> str:
        return interval(gaps[name]) if gaps.get(name) else ""

    def figure(name: str, digits: int = 3) -> str:
        if name not in means:
            return ""
        spread = f" ± {means[f'{name}_sd']:.{digits}f}" if f"{name}_sd" in means else ""
        return f"{means[name]:.{digits}f}{spread}"

    shares = detail["token_shares"]
    between = detail["between_seeds"]
    return {
        "arm": f"{detail['domains']} domains, {detail['experts']} experts, {detail['router']}",
        "seeds": len(detail["seeds"]),
        "val_loss": figure("val_loss", 4),
        "vs_scaled": gap("val_loss_vs_scaled"),
        "vs_dense": gap("val_loss_vs_dense"),
        "area": figure("area", 4),
        "tokens_to_random": ", ".join(f"{s:.2f}" for s in shares),
        "churn": figure("churn"),
        "saturation": figure("saturation"),
        "domain_mi": figure("domain_mi"),
        "mi_null": figure("domain_mi_null"),
        "load_cv": figure("load_cv"),
        "dead": figure("dead_experts", 2),
        "step0_gap": f"{means['step0_gap']:.1e}",
        "between_seeds": f"{between['kappa']:.3f} (null {between['null']:.3f})" if between else "",
    }


def verdicts(details: Sequence[dict[str, Any]]) -> list[Row]:
    """Each hypothesis for each arm it speaks of: held, failed or open, with the figures.

    "Beyond seed spread" means that the 95% interval of the paired difference leaves out zero.
    """
    rows: list[Row] = []
    of = {(d["domains"], d["experts"], d["router"]): d for d in details}

    def judge(arm: dict[str, Any], claim: str, held: bool | None, figures: str) -> None:
        word = "open" if held is None else "held" if held else "failed"
        name = f"{arm['domains']} domains, {arm['experts']} experts, {arm['router']}"
        rows.append({"hypothesis": claim, "arm": name, "verdict": word, "figures": figures})

    for (domains, experts, router), arm in of.items():
        if router == DENSE:
            continue
        means, gaps = arm["means"], arm["paired"]
        dense = of.get((domains, 1, DENSE))
        gap = means["step0_gap"]
        judge(arm, "starts as the dense model (gap <= 1e-4)", gap <= 1e-4, f"{gap:.1e}")
        if dense:
            gain = 1 - means["val_loss"] / dense["means"]["val_loss"]
            judge(arm, "4% below dense at equal FLOPs", gain >= 0.04, f"{gain:+.2%}")
        told = means["domain_mi"], means["domain_mi_null"], means["domain_mi_p"]
        judge(
            arm, "experts know domains (p < 0.05)", told[2] < 0.05,
            f"{told[0]:.3f}, null {told[1]:.3f}, p {told[2]:.3f}",
        )  # fmt: skip
        random = of.get((domains, experts, RANDOM))
        if router not in WARM:
            continue
        if random:
            share = means["churn"] / max(random["means"]["churn"], 1e-9)
            judge(arm, "churn <= 60% of random", share <= 0.6, f"{share:.0%}")
            shares = arm["token_shares"]
            judge(
                arm, "random's final loss in <= 70% of its tokens",
                bool(shares) and fmean(shares) <= 0.7, ", ".join(f"{s:.2f}" for s in shares),
            )  # fmt: skip
        for metric, claim in (
            ("val_loss", "final loss below scaled random's beyond seed spread"),
            ("area", "loss over training below scaled random's beyond seed spread"),
            ("churn", "churn below scaled random's beyond seed spread"),
        ):
            found = gaps.get(f"{metric}_vs_scaled")
            if found:
                judge(arm, claim, found["high"] < 0 if "high" in found else None, interval(found))
    return rows
