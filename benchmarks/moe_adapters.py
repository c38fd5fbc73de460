"""Adapters that were trained on the dense friend, worn by mixtures made of it.

    python -m benchmarks.moe_adapters models/moe models/pruned

LoRAs are on the token mixers only, so they apply as they are. The summarizer (its adapter alone,
and with the second reader and the threshold) writes notes of held-out turns; each persona, where
there are any, is examined as after its training (long talks aside); the friend without an adapter
answers from memory. Goal: at least 97% of each metric of the dense model.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from oldfriend.corpus.schema import GroundExample, NoteExample, read_rows
from oldfriend.files import write_json
from oldfriend.lm import lora
from oldfriend.lm.fit import Run
from oldfriend.memory import extract, ground, intent
from oldfriend.memory.intent import Intent
from oldfriend.memory.scores import note_scores
from oldfriend.memory.settings import GroundParams
from oldfriend.memory.store.minilm import MiniLM
from oldfriend.moe import importing
from oldfriend.params import PARAMS, Params
from oldfriend.persona.exam import Exam
from oldfriend.persona.settings import PersonaParams
from oldfriend.persona.train import School

NOTES = ("gate_f1", "record_f1")
PERSONA = ("attribution_acc", "hold_rate", "yield_rate", "recall_acc")
ANSWERS = ("recall_acc", "abstain_acc")


@dataclass(frozen=True)
class Bench:
    """The dense friend with its adapters, and what all are asked."""

    models: Path
    data: Path
    seeds: Path
    params: GroundParams
    persona: PersonaParams
    most: int

    @cached_property
    def hints(self) -> Intent | None:
        """The head that says what a message asks for, as the friend learnt to read it."""
        return intent.load(self.models / "friend")

    @cached_property
    def asked(self) -> list[GroundExample]:
        """Held-out messages with memories and hints, as retrieval hands them over."""
        encode = MiniLM().encode
        rows = read_rows(self.data / "ground" / "test.jsonl", GroundExample)
        ranked = ground.in_order(self.params, list(islice(rows, self.most)), encode)
        return intent.hinted(self.hints, ranked, encode)

    def measure(self, model: Path) -> dict[str, float]:
        """Every metric of ``model`` with the adapters of the dense friend."""
        found: dict[str, float] = {}
        rows = read_rows(self.data / "summarizer" / "test.jsonl", NoteExample)
        test = list(islice(rows, self.most))
        reader = extract.load(self.models / "friend", self.models / "summarizer")
        mixture, tokenizer = importing.load(model)
        worn = lora.load(mixture, self.models / "summarizer")
        reader = replace(reader, model=worn, tokenizer=tokenizer)
        dictated = [[note for note, _ in notes] for notes in reader.dictated(test)]
        for name, written in (("adapter alone", dictated), ("summarizer", reader.write(test))):
            scores = note_scores(test, written)
            found |= {f"{name} {metric}": scores[metric] for metric in NOTES}
        found |= self.personas(model)
        mixture, tokenizer = importing.load(model)
        topics = self.hints.topics if self.hints else ()
        length = self.params.max_new_tokens
        scores, _ = ground.evaluate(mixture, tokenizer, self.asked, length, topics)
        return found | {f"no adapter {name}": scores[name] for name in ANSWERS}

    def personas(self, model: Path) -> dict[str, float]:
        """Means over the personas of ``models``; nothing if there are none."""
        names = [n for n in self.persona.names if (self.models / "personas" / n).is_dir()]
        if not names:
            return {}
        params = self.persona.model_copy(update={"drift_turns": 0, "prompts": self.most})
        run = Run(Path(), 0)
        school = School.open(params, run, self.seeds, self.data, self.models / "friend")
        attribution, runs = school.attribution(names, 0), []
        for name in names:
            mixture, tokenizer = importing.load(model)
            worn = lora.load(mixture, self.models / "personas" / name)
            voice = school.voice(name)
            exam = Exam(params, tokenizer, school.hearing, voice, attribution, school.tested, 0)
            runs.append(exam.after(worn, 1.0).metrics)
        return {f"persona {key}": fmean(found[key] for found in runs) for key in PERSONA}


def main(
    mixtures: Annotated[list[Path], typer.Argument(help="Folders of mixtures of experts.")],
    models: Annotated[Path, typer.Option(help="The dense friend and adapters.")] = Path("models"),
    data: Annotated[Path, typer.Option()] = Path("data/curated"),
    seeds: Annotated[Path, typer.Option(help="With personas/.")] = Path("data/seeds"),
    most: Annotated[int, typer.Option(min=1, help="Rows asked a task.")] = 600,
    out: Annotated[Path, typer.Option()] = Path("metrics/bench/moe_adapters.json"),
) -> None:
    """Compare MIXTURES with the dense friend, each with the same adapters."""
    params = Params.load(PARAMS)
    bench = Bench(models, data, seeds, params.ground, params.persona, most)
    found = {str(path): bench.measure(path) for path in (models / "friend", *mixtures)}
    dense, *others = found
    table = Table("metric", *found, title="share of the dense model's in brackets")
    for metric, value in found[dense].items():
        rest = [found[name][metric] for name in others]
        shares = [f"{one:.3f} ({one / value:.0%})" if value else f"{one:.3f}" for one in rest]
        table.add_row(metric, f"{value:.3f}", *shares)
    write_json(out, found)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
