"""Adapters that were trained on the dense friend, worn by mixtures made of it.

    python -m benchmarks.moe_adapters models/moe models/pruned

LoRAs are on the token mixers only, so they apply as they are. The summarizer (its adapter alone,
and with the second reader and the threshold) writes notes of held-out turns; the friend without an
adapter answers from memory. Goal: at least 97% of each metric of the dense model.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from oldfriend.corpus.schema import GroundExample, NoteExample, read_rows
from oldfriend.files import write_json
from oldfriend.lm import lora
from oldfriend.memory import extract, ground, intent
from oldfriend.memory.intent import Intent
from oldfriend.memory.scores import note_scores
from oldfriend.memory.settings import GroundParams
from oldfriend.memory.store.minilm import MiniLM
from oldfriend.moe import importing
from oldfriend.params import PARAMS, Params

NOTES = ("gate_f1", "record_f1")
ANSWERS = ("recall_acc", "abstain_acc")


@dataclass(frozen=True)
class Bench:
    """The dense friend with its adapters, and what all are asked."""

    models: Path
    data: Path
    params: GroundParams
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
        mixture, tokenizer = importing.load(model)
        topics = self.hints.topics if self.hints else ()
        length = self.params.max_new_tokens
        scores, _ = ground.evaluate(mixture, tokenizer, self.asked, length, topics)
        return found | {f"no adapter {name}": scores[name] for name in ANSWERS}


def main(
    mixtures: Annotated[list[Path], typer.Argument(help="Folders of mixtures of experts.")],
    models: Annotated[Path, typer.Option(help="The dense friend and adapters.")] = Path("models"),
    data: Annotated[Path, typer.Option()] = Path("data/curated"),
    most: Annotated[int, typer.Option(min=1, help="Rows asked a task.")] = 600,
    out: Annotated[Path, typer.Option()] = Path("metrics/bench/moe_adapters.json"),
) -> None:
    """Compare MIXTURES with the dense friend, each with the same adapters."""
    bench = Bench(models, data, Params.load(PARAMS).ground, most)
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
