"""The stage `upcycle`: MoEs of ``friend`` by experts and router start; the best is trained on."""

import copy
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from oldfriend.files import atomic_folder, write_json
from oldfriend.lm import model as models
from oldfriend.lm.fit import Run, fingerprint
from oldfriend.moe import importing
from oldfriend.moe.diagnostics.domains import ablation_matrix, specialisation
from oldfriend.moe.lessons import keep_hints, read_lessons
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.router.start import FROM_DONOR
from oldfriend.moe.training import training_flops
from oldfriend.moe.upcycling.settings import RouterKind, UpcycleParams
from oldfriend.moe.upcycling.trial import Course, figures
from oldfriend.outcome import Outcome, Row

SHOWN = ("val_loss", "area", "churn", "saturation", "load_cv", "dead_experts", "domain_mi")


@dataclass
class Trials:
    """The grid: short trainings of one dense model, finished ones kept until the stage is done."""

    course: Course
    dense: PreTrainedModel
    params: UpcycleParams
    run: Run

    def started(self, experts: int, kind: RouterKind) -> OFMoeForCausalLM:
        """The MoE of one place in the grid at step 0."""
        donor = None
        if kind in FROM_DONOR:
            source = self.params.donor
            lent = importing.load(Path(source)) if source else None
            donor = lent or (self._donor(experts), self.course.tokenizer)
        return self.course.started(self.dense, experts, kind, self.run.seed, donor)

    def _donor(self, experts: int) -> OFMoeForCausalLM:
        """A MoE of the same parent with scaled random routers, trained as long as a trial."""
        seed = self.run.seed + 7919  # not the recipient's routers
        model = self.course.started(self.dense, experts, "scaled", seed)
        self.course.trained(model, f"donor-{experts}", seed, self.params.trial_steps)
        return model

    def result(self, experts: int, kind: RouterKind, before: float) -> Row:
        """Train one place of the grid, or read what it showed before the stage was cut."""
        model, course = self.started(experts, kind), self.course
        name, steps, seed = f"{experts}-{kind}", self.params.trial_steps, self.run.seed
        key = fingerprint(model, course.documents, course.params.fit, seed + steps)
        path = self.run.checkpoints / "trials" / f"{name}-{key}.json"
        if not path.is_file():
            trained = course.trained(model, name, seed, steps, kind=kind)
            write_json(path, figures(trained, before).metrics)
        found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
        place = {"trial": name, "experts": experts, "router": kind}
        return place | {metric: found[metric] for metric in SHOWN}


def train(
    params: UpcycleParams,
    *,
    run: Run,
    friend: Path,
    data: Path,
    out: Path,
    external: Path | None = None,
) -> Outcome:
    """Try every number of experts with every router start; train the best on and save it.

    Domains are tasks of ``data`` (curated) or real texts of ``external``. The best has the least
    held-out loss after ``trial_steps``; it starts anew for ``fit.steps``. The control is the dense
    model, its FFNs trained on for as many FLOPs.
    """
    dense, tokenizer = models.load(friend)
    lessons = read_lessons(
        tokenizer, params.domains, data,
        external=external, rows=params.rows_per_domain, row_tokens=params.fit.row_tokens,
        friend=friend,
    )  # fmt: skip
    course = Course(lessons, tokenizer, params, run.checkpoints)
    before = course.held_out.look(dense).loss
    trials = Trials(course, dense, params, run)
    rows = [trials.result(e, kind, before) for e in params.experts for kind in params.routers]
    best = min(rows, key=lambda row: float(row["val_loss"]))
    model = trials.started(best["experts"], best["router"])
    trained = course.trained(model, "best", run.seed, params.fit.steps, kind=best["router"])
    outcome = figures(trained, before)
    outcome.metrics |= {
        "experts": float(best["experts"]),
        "val_loss_before": before,
        "params": float(models.parameter_count(model)),
        **{f"trial_{row['experts']}_{row['router']}": row["val_loss"] for row in rows},
    }
    ablated = ablation_matrix(model, course.held_out)
    outcome.metrics["specialisation"] = specialisation(ablated, course.held_out.names)
    tokens = params.fit.tokens // params.fit.steps
    outcome.tables |= {
        "trials": rows,
        "ablation": ablated,
        "experts_by_domain": trained.watch.domain_rows(),
        "curves": [{"model": "moe"} | row for row in trained.watch.loss_rows(tokens)]
        + _dense_control(course, dense, model, run.seed, outcome),
    }
    with atomic_folder(out) as folder:
        meta = {"params": params.model_dump(), "seed": run.seed, "base": models.read_meta(friend)}
        meta |= {"experts": best["experts"], "router": best["router"]}
        models.save(model, tokenizer, folder, meta)
        keep_hints(friend, folder)
    shutil.rmtree(run.checkpoints / "trials")
    return outcome


def _dense_control(
    course: Course, dense: PreTrainedModel, moe: OFMoeForCausalLM, seed: int, outcome: Outcome
) -> list[dict[str, Any]]:
    """Train the dense FFNs on for the MoE's FLOPs; its metrics end in ``_dense``."""
    ratio = training_flops(moe) / training_flops(dense)
    fit = course.params.fit
    trained = course.trained(copy.deepcopy(dense), "dense", seed, round(fit.steps * ratio))
    last = trained.watch.last
    outcome.metrics |= {
        "val_loss_dense": last.loss,
        "tokens_per_s_dense": trained.tokens_per_s,
        "flops_ratio": ratio,
        "gain_over_dense": 1 - outcome.metrics["val_loss"] / last.loss,
        **{f"val_loss_{name}_dense": loss for name, loss in last.losses.items()},
    }
    tokens = fit.tokens // fit.steps
    return [{"model": "dense"} | row for row in trained.watch.loss_rows(tokens)]
