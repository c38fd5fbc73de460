"""One trial: a dense model upcycled, its routers started in some way, trained and watched."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from oldfriend.lm.fit import Run
from oldfriend.lm.settings import FitParams
from oldfriend.moe.diagnostics.probe import Probe
from oldfriend.moe.diagnostics.watch import Watch, area, moments
from oldfriend.moe.lessons import Lessons, even_mix
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.router.distil import Anchor, distilled
from oldfriend.moe.router.donor import Donor
from oldfriend.moe.router.start import router_start
from oldfriend.moe.router.views import View, donor_of, short_texts, view, view_texts
from oldfriend.moe.training import fit_experts
from oldfriend.moe.upcycling.dense import upcycle
from oldfriend.moe.upcycling.plan import UpcyclePlan
from oldfriend.moe.upcycling.settings import RouterKind, TrialParams
from oldfriend.outcome import Outcome

PROBE_CHARS = 16_384  # of text for a donor with another tokenizer, a document
PROBE_DOCUMENTS = 200  # a domain


@dataclass(frozen=True)
class Trained:
    """What a training was seen to do, and its speed."""

    watch: Watch
    tokens_per_s: float


class Course:
    """Text, settings and probes that all trials of one comparison share."""

    def __init__(
        self,
        lessons: Sequence[Lessons],
        tokenizer: PreTrainedTokenizerBase,
        params: TrialParams,
        checkpoints: Path,
    ) -> None:
        self.lessons, self.tokenizer = lessons, tokenizer
        self.params, self.checkpoints = params, checkpoints
        self.documents = even_mix(one.train for one in lessons)
        pad, fit = tokenizer.pad_token_id, params.fit
        train = {one.name: one.train for one in lessons}
        held_out = {one.name: one.val for one in lessons}
        self.seen = Probe(train, fit, pad, rows=params.router.probe_rows)
        self.held_out = Probe(held_out, fit, pad, rows=params.val_rows)

    def started(
        self,
        dense: PreTrainedModel,
        experts: int,
        kind: RouterKind,
        seed: int,
        donor: tuple[OFMoeForCausalLM, PreTrainedTokenizerBase] | None = None,
    ) -> OFMoeForCausalLM:
        """The MoE at step 0; ``donor``, with its tokenizer, for starts that need one."""
        options = self.params.router
        seen, lent = self._views(dense, donor)
        weights = router_start(
            kind, inputs=seen.inputs, experts=experts, seed=seed, scale=options.scale, donor=lent,
            domains=seen.domains, gains=seen.gains, spans=seen.spans, match=options.match,
            penalty=options.penalty,
        )  # fmt: skip
        return upcycle(
            dense, self.plan(experts), router=weights, calibration=seen.inputs, seed=seed
        )

    def plan(self, experts: int) -> UpcyclePlan:
        """The plan, for so many experts."""
        return self.params.plan.model_copy(update={"experts": experts})

    def trained(
        self, model: Any, name: str, seed: int, steps: int, *, kind: str = "", track: bool = False
    ) -> Trained:
        """Train FFNs and routers in place and look at held-out text on the way.

        Routers started by "distil" go on listening to their start for a while. ``track`` follows
        every parameter, too.
        """
        watch = Watch(model, self.held_out, moments(steps, self.params.looks), track=track)
        with ExitStack() as stack:
            lesson = None
            if kind == "distil":
                options = self.params.router
                share = round(options.teach_share * steps)
                taught = distilled(
                    model, Anchor.of(model), weight=options.teach_weight, steps=share
                )
                lesson = stack.enter_context(taught)
            result = fit_experts(
                model, self.documents, self._fit(steps), Run(self.checkpoints / name, seed),
                pad_id=self.tokenizer.pad_token_id, watch=watch, teacher=lesson,
            )  # fmt: skip
        return Trained(watch, result.tokens_per_s)

    def _fit(self, steps: int) -> FitParams:
        """A training that started again halfway would have missed looks, so a trial is whole."""
        whole = {"steps": steps, "checkpoint_every": steps + 1, "compile": False}
        return self.params.fit.model_copy(update=whole)

    def _views(
        self,
        dense: PreTrainedModel,
        donor: tuple[OFMoeForCausalLM, PreTrainedTokenizerBase] | None,
    ) -> tuple[View, Donor | None]:
        """What our routers will see, and what the donor's see of the same text."""
        if donor is None:
            return view(dense, self.seen), None
        model, tokenizer = donor
        if tokenizer.get_vocab() == self.tokenizer.get_vocab():
            return view(dense, self.seen), donor_of(model, view(model, self.seen))
        texts, fit = self._texts(), self.params.fit
        theirs = donor_of(model, view_texts(model, tokenizer, texts, fit))
        return view_texts(dense, self.tokenizer, texts, fit), theirs

    def _texts(self) -> list[str]:
        """Training text of all domains in pieces that fit a row whatever the tokenizer."""
        pieces = []
        for one in self.lessons:
            some = [d.ids for d in one.train[:PROBE_DOCUMENTS]]
            whole = [self.tokenizer.decode(ids, skip_special_tokens=True) for ids in some]
            count = self.params.router.probe_rows * 4
            texts = [text[:PROBE_CHARS] for text in whole]
            pieces += short_texts(texts, self.params.fit.row_tokens, count)
        return pieces


def figures(trained: Trained, before: float) -> Outcome:
    """Losses, speed and routing of a trial; ``before`` is the dense model's held-out loss."""
    watch = trained.watch
    first, last = watch.looks[0], watch.last
    metrics = {
        "val_loss": last.loss,
        "val_loss_start": first.loss,
        "step0_gap": abs(first.loss - before) / before,
        "area": area(watch.steps, [look.loss for look in watch.looks]),
        "tokens_per_s": trained.tokens_per_s,
        **{f"val_loss_{name}": loss for name, loss in last.losses.items()},
    }
    return Outcome(metrics) + watch.routing()
