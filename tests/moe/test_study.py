"""The study end to end at toy size, its resumption, its summary and its page."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest

from oldfriend.errors import CheckpointError, MissingDataError
from oldfriend.moe.domain_corpus import Domain
from oldfriend.moe.study.grid import Cell, Study, cells
from oldfriend.moe.study.report import table, write_report
from oldfriend.moe.study.summary import by_arm, interval, paired, summarise, token_shares, verdicts
from oldfriend.moe.upcycling.settings import StudyParams


def params(**changes: Any) -> StudyParams:
    fit = {
        "steps": 4, "rows": 2, "row_tokens": 32, "lr": 3e-3, "precision": "32-true",
        "accelerator": "cpu",
    }  # fmt: skip
    dense = {"hidden": 32, "layers": 2, "heads": 2, "ffn": 32, "vocab": 300, "fit": fit}
    settings: dict[str, Any] = {
        "domains": ("sums", "tales"), "domain_counts": (2,), "experts": (), "compared_at": 4,
        "routers": ("random", "scaled"), "seeds": (0, 1), "vocab": 320, "parent": dense,
        "other": dense | {"layers": 3}, "donor_experts": 4, "val_rows": 2, "looks": 2, "fit": fit,
        "plan": {"method": "copy", "score": "softmax"},
    }  # fmt: skip
    return StudyParams.model_validate(settings | changes)


def texts() -> list[Domain]:
    sums = [f"{i} + {i + 1} = {2 * i + 1}. " * 4 for i in range(60)]
    tales = [f"There was a fox of {i} years who liked the {i} hens. " * 2 for i in range(60)]
    return [
        Domain("sums", tuple(sums[:50]), tuple(sums[50:])),
        Domain("tales", tuple(tales[:50]), tuple(tales[50:])),
    ]


# The grid


def test_the_grid_has_every_arm_and_one_dense_control() -> None:
    found = list(cells(params(domain_counts=(1, 2), experts=(2, 4), ladder="scaled")))
    assert len(found) == len(set(found)) == 2 * (2 * (1 + 2) + 1)  # the ladder crosses once
    assert [cell.router for cell in found].count("dense") == 4
    assert {cell.experts for cell in found if cell.domains == 1} == {1, 2, 4}
    assert {cell.router for cell in found if cell.domains == 1} == {"dense", "scaled"}
    seeds = [cell.seed for cell in found]
    assert seeds == sorted(seeds)


def test_impossible_grids_are_refused() -> None:
    with pytest.raises(ValueError, match="from 1 to 2"):
        params(domain_counts=(3,))
    with pytest.raises(ValueError, match="must be one number"):
        params(plan={"method": "copy", "experts": [2, 4]})


# Real cells


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of five starts, one seed, and the control."""
    out = tmp_path_factory.mktemp("study")
    routers = ("random", "scaled", "kmeans", "copy", "ridge", "distil")
    study = Study(params(routers=routers, seeds=(0,)), texts(), out)
    for cell in study.pending():
        study.run(cell)
    return out


def result(out: Path, router: str, experts: int = 4) -> dict[str, Any]:
    path = out / "cells" / f"s0-d2-e{experts}-{router}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.slow
def test_cells_start_as_their_parent_and_end_elsewhere(finished: Path) -> None:
    for router in ("random", "scaled", "kmeans", "copy", "ridge", "distil"):
        metrics = result(finished, router)["metrics"]
        assert metrics["step0_gap"] < 1e-5
        assert metrics["val_loss"] < metrics["val_loss_start"]
    dense = result(finished, "dense", experts=1)
    assert dense["metrics"]["flops_ratio"] > 1
    assert dense["curve"][-1]["step"] == round(4 * dense["metrics"]["flops_ratio"])


@pytest.mark.slow
def test_what_is_finished_is_not_trained_again(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    routers = ("random", "scaled", "kmeans", "copy", "ridge", "distil")
    study = Study(params(routers=routers, seeds=(0,)), texts(), finished)
    assert study.pending() == []
    monkeypatch.setattr(Study, "parent", None)
    assert study.run(Cell(0, 2, 4, "scaled"))["metrics"] == result(finished, "scaled")["metrics"]
    assert len(Study(params(seeds=(0, 1)), texts(), finished).pending()) == 3


@pytest.mark.slow
def test_other_settings_may_not_share_a_folder(finished: Path) -> None:
    with pytest.raises(CheckpointError, match="other settings"):
        Study(params(looks=3), texts(), finished)


@pytest.mark.slow
def test_a_cell_is_the_same_again(finished: Path, tmp_path: Path) -> None:
    study = Study(params(seeds=(0,)), texts(), tmp_path)
    again = study.run(Cell(0, 2, 4, "scaled"))
    before = result(finished, "scaled")
    for metrics in (again["metrics"], before["metrics"]):
        metrics.pop("tokens_per_s")
    assert again["metrics"] == before["metrics"]
    assert again["over_time"] == before["over_time"]


@pytest.mark.slow
def test_the_page_is_whole_and_stands_alone(finished: Path) -> None:
    summary = write_report(finished)
    assert len(summary["arms"]) == 7
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=["']https?:""", page)
    figures = re.findall(r"<svg.*?</svg>", page, flags=re.S)
    assert len(figures) >= 8
    for figure in figures:
        fromstring(figure)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert json.loads((finished / "summary.json").read_text(encoding="utf-8")) == summary


# Summaries of known numbers


def cell(router: str, seed: int, loss: float, **metrics: float) -> dict[str, Any]:
    known = {
        "val_loss": loss, "area": loss + 0.5, "churn": 1.0, "saturation": 0.5, "step0_gap": 0.0,
        "domain_mi": 0.3, "domain_mi_null": 0.1, "domain_mi_p": 0.02, "load_cv": 0.1,
        "dead_experts": 0.0,
    }  # fmt: skip
    curve = [{"tokens": t, "val_loss": loss + 1 - t / 100} for t in (0, 50, 100)]
    return {
        "seed": seed, "domains": 2, "experts": 1 if router == "dense" else 8, "router": router,
        "metrics": known | metrics, "curve": curve,
    }  # fmt: skip


def study_of(losses: dict[str, list[float]], **metrics: float) -> list[dict[str, Any]]:
    return [cell(r, s, loss, **metrics) for r, own in losses.items() for s, loss in enumerate(own)]


def written(folder: Path, results: list[dict[str, Any]]) -> Path:
    (folder / "cells").mkdir()
    for one in results:
        name = f"s{one['seed']}-d2-e{one['experts']}-{one['router']}.json"
        (folder / "cells" / name).write_text(json.dumps(one), encoding="utf-8")
    return folder


def test_pairs_are_of_the_same_seed() -> None:
    """Seeds differ by whole nats, the arms by a hundredth: unpaired, nothing could be said."""
    arms = by_arm(study_of({"kmeans": [2.99, 4.99, 6.98], "scaled": [3.0, 5.0, 7.0]}))
    gap = paired(arms[2, 8, "kmeans"], arms[2, 8, "scaled"], "val_loss")
    assert gap["mean"] == pytest.approx(-0.04 / 3)
    assert gap["low"] < gap["mean"] < gap["high"] < 0.002
    assert gap["high"] - gap["mean"] == pytest.approx(4.3027 * 0.0057735 / 3**0.5, rel=1e-3)


def test_one_seed_gives_no_interval() -> None:
    arms = by_arm(study_of({"kmeans": [2.0], "scaled": [3.0]}))
    gap = paired(arms[2, 8, "kmeans"], arms[2, 8, "scaled"], "val_loss")
    assert gap == {"mean": -1.0, "seeds": 1.0}
    assert interval(gap) == "-1.0000 (1 seed)"


def test_token_shares_are_read_off_the_curve() -> None:
    arms = by_arm(study_of({"kmeans": [2.0], "random": [2.5], "ridge": [2.6]}))
    assert token_shares(arms[2, 8, "kmeans"], arms[2, 8, "random"]) == [pytest.approx(0.5)]
    assert token_shares(arms[2, 8, "ridge"], arms[2, 8, "random"]) == [float("inf")]


def test_verdicts_of_a_clear_a_failed_and_an_open_case(tmp_path: Path) -> None:
    results = study_of(
        {"dense": [3.0, 3.0, 3.0], "random": [2.9, 2.9, 2.9], "scaled": [2.9, 2.91, 2.9]}
    )
    results += study_of({"kmeans": [2.6, 2.61, 2.6]}, churn=0.5)
    results += study_of({"copy": [3.2, 2.6, 2.9]}, churn=0.9)
    found = summarise(written(tmp_path, results))
    said = {
        (row["arm"].split(", ")[-1], row["hypothesis"].split(" (")[0]): row["verdict"]
        for row in found["verdicts"]
    }
    assert said["kmeans", "4% below dense at equal FLOPs"] == "held"
    assert said["random", "4% below dense at equal FLOPs"] == "failed"
    beyond = "final loss below scaled random's beyond seed spread"
    assert said["kmeans", beyond] == "held"
    assert said["copy", beyond] == "failed"
    assert said["kmeans", "churn <= 60% of random"] == "held"
    assert said["copy", "churn <= 60% of random"] == "failed"
    assert json.loads(json.dumps(found)) == found  # no infinity, no tuple

    one_seed = summarise(written_again(tmp_path, [r for r in results if r["seed"] == 0]))
    open_rows = [row for row in one_seed["verdicts"] if row["hypothesis"] == beyond]
    assert {row["verdict"] for row in open_rows} == {"open"}


def written_again(folder: Path, results: list[dict[str, Any]]) -> Path:
    for path in (folder / "cells").glob("*.json"):
        path.unlink()
    (folder / "cells").rmdir()
    return written(folder, results)


def test_verdicts_need_a_control() -> None:
    assert verdicts([]) == []


def test_empty_and_broken_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"benchmarks.moe_study"):
        summarise(tmp_path)
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "s0.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"s0\.json is not JSON"):
        summarise(tmp_path)


def test_a_table_escapes_what_it_shows() -> None:
    shown = table([{"a": "<b>", "v": "held"}], mark="v")
    assert "&lt;b&gt;" in shown and "class=held" in shown and "<b>" not in shown
    assert table([]) == "<p>none</p>"
