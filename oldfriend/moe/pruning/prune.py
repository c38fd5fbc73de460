"""The stage `prune`: a mixture of experts cut to a budget layer by layer, mended and healed."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from oldfriend.errors import InputError
from oldfriend.files import atomic_folder
from oldfriend.lm import model as models
from oldfriend.lm.fit import Run
from oldfriend.lm.packing import Document
from oldfriend.moe import importing
from oldfriend.moe.lessons import Lessons, even_mix, keep_hints, read_lessons
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.pruning import speed
from oldfriend.moe.pruning.anatomy import draw, expert_rows, inspect, loads_of, picture
from oldfriend.moe.pruning.calibration import Batch, batches, drawn, mean_loss, observe
from oldfriend.moe.pruning.compress import Compression, compress, refit_in_order
from oldfriend.moe.pruning.importance import Evidence
from oldfriend.moe.pruning.recover import recover
from oldfriend.moe.pruning.settings import PruneParams
from oldfriend.moe.splice import read_layers, rebuilt
from oldfriend.moe.training import active_parameters
from oldfriend.outcome import Outcome, Row

ROWS = 8  # packed rows a batch of measuring


@dataclass(frozen=True)
class Texts:
    """What pruning reads: to calibrate, to choose by, to heal on, and (held out) to judge by."""

    calibration: list[Batch]
    measure: list[Batch]
    train: list[Document]
    val: dict[str, list[Batch]]

    @classmethod
    def of(cls, lessons: Sequence[Lessons], params: PruneParams, seed: int, pad_id: int) -> "Texts":
        """Drawn by ``seed``; calibration and measuring share no more text than chance has it."""
        length = params.recover.fit.row_tokens
        train = {one.name: _short(one.train, length) for one in lessons}
        val = {one.name: _short(one.val, length) for one in lessons}
        if unknown := set(params.calibrate_on) - set(train):
            known = ", ".join(train)
            raise InputError(f"no domain '{min(unknown)}' to calibrate on; there are: {known}")

        def packed(
            source: Mapping[str, Sequence[Document]], tokens: int, seed: int, names: Sequence[str]
        ) -> list[Batch]:
            return batches(drawn(source, tokens, seed, names), length, ROWS, pad_id)

        return cls(
            packed(train, params.calibration_tokens, seed, params.calibrate_on),
            packed(train, params.measure_tokens, seed + 10_007, params.calibrate_on),
            even_mix(train.values()),
            {name: packed({name: docs}, params.val_tokens, 0, ()) for name, docs in val.items()},
        )


def _short(documents: Sequence[Document], length: int) -> list[Document]:
    return [document for document in documents if len(document) <= length]


@dataclass(frozen=True)
class Cut:
    """A cut and mended model before healing, and what decided the cut."""

    model: OFMoeForCausalLM
    compression: Compression
    evidence: list[Evidence]


def cut(model: OFMoeForCausalLM, texts: Texts, params: PruneParams, seed: int) -> Cut:
    """Observe, measure every action, choose within the budget, and refit in order."""
    keep = params.calibration_tokens
    evidence = observe(model, texts.calibration, keep=keep, seed=seed)
    found = compress(model, evidence, texts.measure, params)
    before = [one.layer for one in evidence]
    layers = refit_in_order(
        model, found.layers, before, texts.calibration, keep=keep, rounds=params.rounds
    )
    return Cut(rebuilt(model, layers), replace(found, layers=layers), evidence)


def prune(
    params: PruneParams,
    *,
    run: Run,
    model: Path,
    data: Path,
    out: Path,
    external: Path | None = None,
) -> Outcome:
    """Cut the mixture of experts in ``model`` to ``params.keep``, heal it, save it to ``out``.

    Domains are read as in `upcycle`: tasks of ``data`` or real texts of ``external``.
    ``loss_increase`` is relative to the model as it came, over the mean of the domains' held-out
    losses; ``loss_increase_control`` to the same model trained on for as long as the cut one. Keys
    end in ``_before`` for the uncut model, ``_cut`` before healing, ``_control``, and ``_dense``.
    Raises InputError if there is no expert to cut or the budget cannot be met.
    """
    uncut, tokenizer = importing.load(model)
    if not any(len(layer.experts) > 1 for layer in read_layers(uncut)):
        raise InputError(f"{model} has no layer with more than one expert; run upcycle first")
    length = params.recover.fit.row_tokens
    lessons = read_lessons(
        tokenizer, params.domains, data,
        external=external, rows=params.rows_per_domain, row_tokens=length, friend=model,
    )  # fmt: skip
    pad = tokenizer.pad_token_id
    texts = Texts.of(lessons, params, run.seed, pad)
    made = cut(uncut, texts, params, run.seed)
    metrics, domains = _healed(params, run, uncut, made, texts, pad)
    metrics |= sizes(uncut, "_before") | sizes(made.model)
    metrics |= {
        "expert_params_kept": _expert_parameters(made.model) / _expert_parameters(uncut),
        "plan_predicted": made.compression.settled.predicted,
        "plan_measured": made.compression.settled.loss,
        "plans_measured": float(made.compression.settled.measured),
    }
    if params.speed_rounds:
        metrics |= speed.speeds(uncut, made.model, params.speed_rounds, length)
    done = [str(action) for action in made.compression.actions]
    after = observe(made.model, texts.calibration, keep=1024, seed=run.seed)
    tables = {
        "domains": domains,
        "actions": made.compression.table,
        "layers": inspect(made.model, after, done),
        "layers_before": inspect(uncut, made.evidence),
        "experts": expert_rows(made.evidence),
    }
    _save(made.model, tokenizer, after, done, params, run, model, out)
    return Outcome(metrics, tables)


def _healed(
    params: PruneParams,
    run: Run,
    uncut: OFMoeForCausalLM,
    made: Cut,
    texts: Texts,
    pad: int,
) -> tuple[dict[str, float], list[Row]]:
    """Heal the cut model in place; held-out losses healed, uncut, cut only, and of the control."""
    losses = {"_before": val_losses(uncut, texts.val), "_cut": val_losses(made.model, texts.val)}
    recover(made.model, uncut, texts.train, params.recover, run, pad_id=pad)
    losses[""] = val_losses(made.model, texts.val)
    if params.control:
        control = copy.deepcopy(uncut)
        place = replace(run, checkpoints=run.checkpoints / "control", logger=None)
        recover(control, None, texts.train, params.recover, place, pad_id=pad)
        losses["_control"] = val_losses(control, texts.val)
    means = {end: sum(found.values()) / len(found) for end, found in losses.items()}
    metrics = {f"val_loss{end}": value for end, value in means.items()}
    metrics |= {
        f"val_loss_{domain}{end}": value
        for end, found in losses.items()
        for domain, value in found.items()
    }
    metrics["loss_increase"] = means[""] / means["_before"] - 1
    metrics["loss_increase_cut"] = means["_cut"] / means["_before"] - 1
    if params.control:
        metrics["loss_increase_control"] = means[""] / means["_control"] - 1
    rows: list[Row] = [
        {"domain": domain} | {f"val_loss{end}": found[domain] for end, found in losses.items()}
        for domain in texts.val
    ]
    return metrics, rows


def val_losses(model: OFMoeForCausalLM, val: Mapping[str, Sequence[Batch]]) -> dict[str, float]:
    """Held-out loss (nats a token) of every domain."""
    return {name: mean_loss(model, text) for name, text in val.items()}


def sizes(model: OFMoeForCausalLM, end: str = "") -> dict[str, float]:
    """All weights, and those that a token is multiplied with."""
    return {
        f"params_total{end}": float(models.parameter_count(model)),
        f"params_active{end}": float(active_parameters(model)[0]),
    }


def _expert_parameters(model: OFMoeForCausalLM) -> int:
    return sum(layer.parameters for layer in read_layers(model))


def _save(
    model: OFMoeForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    evidence: Sequence[Evidence],
    done: Sequence[str],
    params: PruneParams,
    run: Run,
    source: Path,
    out: Path,
) -> None:
    meta: dict[str, Any] = {"params": params.model_dump(mode="json"), "seed": run.seed}
    meta |= {"actions": list(done)}
    if (source / models.META).is_file():
        meta["base"] = models.read_meta(source)
    layers = [one.layer for one in evidence]
    with atomic_folder(out) as folder:
        models.save(model, tokenizer, folder, meta)
        keep_hints(source, folder)
        figure = picture(layers, loads_of(evidence), title="after pruning", done=done)
        draw(folder / "anatomy.svg", figure)
