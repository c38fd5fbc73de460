"""The study: experts x router starts x seeds x domains, one JSON a cell, resumable.

A small dense parent is trained anew for every seed on all domains; a cell upcycles it, trains
experts and routers on the first so many domains, and watches. What is finished is skipped.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from oldfriend.errors import CheckpointError, InputError
from oldfriend.files import atomic_folder, atomic_write, write_json
from oldfriend.lm import model as models
from oldfriend.lm.fit import Run
from oldfriend.lm.settings import BaseParams
from oldfriend.lm.tokenizer import train_tokenizer
from oldfriend.moe import importing
from oldfriend.moe.diagnostics.watch import Watch
from oldfriend.moe.domain_corpus import Domain, domain_documents
from oldfriend.moe.lessons import Lessons
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.router.start import FROM_DONOR
from oldfriend.moe.training import fit_experts, training_flops
from oldfriend.moe.upcycling.dense import upcycle
from oldfriend.moe.upcycling.settings import RouterKind, StudyParams
from oldfriend.moe.upcycling.trial import Course, figures

DENSE = "dense"
OTHER_SEED = 104_729  # of the donor that is no relation
GROWING = {"seeds", "experts", "ladder", "routers", "compared_at", "domain_counts"}
Lent = tuple[OFMoeForCausalLM, PreTrainedTokenizerBase]


@dataclass(frozen=True)
class Cell:
    """One training of the grid; ``router`` "dense" is the control without experts."""

    seed: int
    domains: int
    experts: int
    router: str

    @property
    def name(self) -> str:
        """File name of its result."""
        return f"s{self.seed}-d{self.domains}-e{self.experts}-{self.router}"


def cells(params: StudyParams) -> Iterator[Cell]:
    """The grid, seeds outermost, so that a study cut short is whole for the first seeds.

    First all router starts on all domains at ``compared_at`` experts, then the numbers of experts
    by one start as domains are added. Dense has one expert, and as many FLOPs as a MoE of any
    number of experts (top-k counts).
    """
    most = max(params.domain_counts)
    for seed in params.seeds:
        found = [Cell(seed, most, 1, DENSE)]
        found += [Cell(seed, most, params.compared_at, router) for router in params.routers]
        for domains in sorted(params.domain_counts, reverse=True):
            found.append(Cell(seed, domains, 1, DENSE))
            found += [Cell(seed, domains, count, params.ladder) for count in params.experts]
        yield from dict.fromkeys(found)


class Study:
    """A grid in a folder: parents, donors, cells; ``texts`` are the domains of ``params``."""

    def __init__(self, params: StudyParams, texts: Sequence[Domain], out: Path) -> None:
        if [domain.name for domain in texts] != list(params.domains):
            there = ", ".join(domain.name for domain in texts)
            raise InputError(f"wanted {', '.join(params.domains)}; of them there are: {there}")
        self.params, self.texts, self.out = params, texts, out
        self._courses: dict[int, Course] = {}
        out.mkdir(parents=True, exist_ok=True)
        self._same(out / "params.json")

    def _same(self, path: Path) -> None:
        """Cells of other settings must not be mixed with these; the grid itself may grow."""
        ours = json.loads(self.params.model_dump_json(exclude=GROWING))
        ours["texts"] = {d.name: sum(map(len, d.train)) for d in self.texts}
        if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != ours:
            raise CheckpointError(f"{path} is of a study with other settings; use another folder")
        write_json(path, ours)

    def pending(self) -> list[Cell]:
        """Cells without a result."""
        return [cell for cell in cells(self.params) if not self.path(cell).is_file()]

    def path(self, cell: Cell) -> Path:
        """Where the result of ``cell`` is or will be."""
        return self.out / "cells" / f"{cell.name}.json"

    def run(self, cell: Cell) -> dict[str, Any]:
        """Train and measure one cell and write its result; or read it, if it is there."""
        if self.path(cell).is_file():
            found: dict[str, Any] = json.loads(self.path(cell).read_text(encoding="utf-8"))
            return found
        parent, course = self.parent(cell.seed), self.course(cell.domains)
        before = course.held_out.look(parent).loss
        steps, ratio = self.params.fit.steps, self._flops_ratio(parent)
        model: Any = parent
        if cell.router == DENSE:
            steps = round(steps * ratio)
        else:
            kind: RouterKind = cell.router  # type: ignore[assignment]
            donor = self._donor_of(cell) if kind in FROM_DONOR else None
            model = course.started(parent, cell.experts, kind, cell.seed, donor)
        trained = course.trained(model, cell.name, cell.seed, steps, kind=cell.router, track=True)
        watch, shown = trained.watch, figures(trained, before)
        assert watch.track is not None
        result = vars(cell) | {
            "metrics": shown.metrics | {"flops_ratio": ratio},
            "curve": watch.loss_rows(self.params.fit.tokens // self.params.fit.steps),
            "layers": shown.tables.get("layers", []),
            "over_time": shown.tables.get("over_time", []),
            "experts_by_domain": watch.domain_rows(),
            "changes": watch.track.rows(),
        }
        self._save_choices(cell, watch)
        write_json(self.path(cell), result)
        return result

    def _flops_ratio(self, parent: PreTrainedModel) -> float:
        """What a token costs a MoE of this plan, in tokens of the dense parent."""
        plan = self.params.plan.model_copy(update={"experts": self.params.compared_at})
        return training_flops(upcycle(parent, plan)) / training_flops(parent)

    def _save_choices(self, cell: Cell, watch: Watch) -> None:
        """Final choices on the probe, for agreement between seeds."""
        if watch.last.routings:
            chosen = np.stack(
                [r.chosen.numpy().astype(np.uint8) for r in watch.last.routings.values()]
            )
            with atomic_write(self.out / "choices" / f"{cell.name}.npy", "wb") as out:
                np.save(out, chosen, allow_pickle=False)

    # what cells start from

    def _donor_of(self, cell: Cell) -> Lent:
        """Copies come from a MoE of the same parent; everything else from one that is unrelated.

        Of the same parent only the routers are taken over, not what its experts became. The other
        has another size, depth and tokenizer.
        """
        if cell.router == "copy":
            parent = self.parent(cell.seed)
            name = f"same-s{cell.seed}"
            return self.donor(name, parent, self.course(len(self.texts)), cell.seed + 7919)
        course = self._course(self.other_tokenizer, len(self.texts))
        source = self._dense("other", self.params.other, course, OTHER_SEED)
        return self.donor("other", source, course, OTHER_SEED + 1)

    def donor(self, name: str, parent: PreTrainedModel, course: Course, seed: int) -> Lent:
        """A MoE with scaled random routers, trained on all domains; made once."""
        folder = self.out / "donors" / name
        if not folder.is_dir():
            model = course.started(parent, self.params.donor_experts, "scaled", seed)
            steps = round(self.params.fit.steps * self.params.donor_share)
            course.trained(model, f"donor-{name}", seed, steps)
            with atomic_folder(folder) as draft:
                models.save(model, course.tokenizer, draft, {"seed": seed, "steps": steps})
        return importing.load(folder)

    def parent(self, seed: int) -> PreTrainedModel:
        """The dense parent of a seed, trained on all domains; made once."""
        return self._dense(f"s{seed}", self.params.parent, self.course(len(self.texts)), seed)

    def _dense(self, name: str, params: BaseParams, course: Course, seed: int) -> PreTrainedModel:
        folder = self.out / "parents" / name
        if not folder.is_dir():
            model = models.build(params, course.tokenizer, seed)
            run = Run(self.out / "checkpoints" / name, seed)
            pad = course.tokenizer.pad_token_id
            result = fit_experts(model, course.documents, params.fit, run, pad_id=pad, mixers=True)
            with atomic_folder(folder) as draft:
                meta = {"seed": seed, "tokens_per_s": result.tokens_per_s}
                models.save(model, course.tokenizer, draft, meta)
        return models.load(folder)[0]

    # text

    def course(self, domains: int) -> Course:
        """The first ``domains`` in our own tokenizer, coded once a process."""
        if domains not in self._courses:
            self._courses[domains] = self._course(self.tokenizer, domains)
        return self._courses[domains]

    def _course(self, tokenizer: PreTrainedTokenizerBase, domains: int) -> Course:
        length = self.params.fit.row_tokens
        lessons = [
            Lessons(
                d.name, *(domain_documents(tokenizer, side, length) for side in (d.train, d.val))
            )
            for d in self.texts[:domains]
        ]
        return Course(lessons, tokenizer, self.params, self.out / "checkpoints")

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Byte-level BPE of all domains."""
        return train_tokenizer(self._sample(), self.params.vocab)

    @cached_property
    def other_tokenizer(self) -> PreTrainedTokenizerBase:
        """Another one, with half of the pieces."""
        return train_tokenizer(self._sample(), max(300, self.params.vocab // 2))

    def _sample(self) -> list[str]:
        """The same amount of text of each domain."""
        return [text[:4000] for d in self.texts for text in d.train[:100]]
