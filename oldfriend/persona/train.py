"""The persona stage: character cards to mixer-only LoRAs that speak and stand as they say."""

import shutil
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from oldfriend.errors import MissingDataError
from oldfriend.files import atomic_folder
from oldfriend.lm import lora
from oldfriend.lm import model as models
from oldfriend.lm.fit import Run, fit_model
from oldfriend.outcome import Outcome, Row, spread
from oldfriend.persona import questionnaire, shelf
from oldfriend.persona.attribution import Attribution
from oldfriend.persona.cast import read_voice
from oldfriend.persona.exam import Exam
from oldfriend.persona.hearing import Hearing
from oldfriend.persona.lessons import Sources, card_dialogues, lessons, spoken_replies
from oldfriend.persona.pushback import read_pressure
from oldfriend.persona.settings import PersonaParams
from oldfriend.persona.voice import Voice

PHRASES, TRAITS, CARDS = "pressure.yaml", "traits.yaml", "personas"
COMMON = "common"  # the folder of the adapter that every persona goes on from
AUTHORS = 400  # training replies of each voice that attribution learns from
TARGETS = ("attribution_acc", "hold_rate", "hold_rate_flattery", "yield_rate")


@dataclass(frozen=True)
class School:
    """What all trainings of the stage share."""

    params: PersonaParams
    run: Run
    cards: Path
    taught: Sources
    tested: Sources
    friend: Path
    hearing: Hearing
    inventories: Path | None

    @classmethod
    def open(
        cls, params: PersonaParams, run: Run, seeds: Path, data: Path, friend: Path,
        inventories: Path | None = None,
    ) -> "School":  # fmt: skip
        """Read what is taught and examined; MissingDataError or InputError says what lacks."""
        bank = read_pressure(seeds / PHRASES)
        hearing = Hearing.open(friend)
        ranked = bool(models.read_meta(friend).get("params", {}).get("ranked"))
        rank = hearing.encode if ranked else None
        taught = Sources.read(data, "train", bank, rank=rank)
        tested = Sources.read(data, "test", bank, rank=rank)
        taught = replace(taught, traits=questionnaire.read_traits(seeds / TRAITS))
        return cls(params, run, seeds / CARDS, taught, tested, friend, hearing, inventories)

    def voice(self, name: str) -> Voice:
        """The voice of a card; InputError names those there are."""
        return read_voice(shelf.find(self.cards, name))[0]

    def attribution(self, names: Iterable[str], seed: int) -> Attribution:
        """Learnt from what the cards make of training rows: never from what a model wrote."""
        rows = list(self.taught.grounded)
        rows = Random(f"authors-{seed}").sample(rows, min(AUTHORS, len(rows)))
        voices = [self.voice(name) for name in sorted({*names})]
        return Attribution.fit({v.name: spoken_replies(v, rows, seed) for v in voices}, seed)

    def teach_common(self, seed: int, out: Path) -> None:
        """The adapter that stands and yields as anybody could, saved in ``out``."""
        params, seeded = self.params, replace(self.run, seed=self.run.seed + seed)
        model, tokenizer = models.load(self.friend)
        adapted = lora.attach(model, params.lora, seed=seeded.seed)
        voices = [replace(self.voice(name), name="", mute=True) for name in params.names]
        documents = lessons(
            params.common,
            params.rounds,
            tokenizer,
            self.hearing,
            voices,
            self.taught,
            seeded.seed,
        )
        fit_model(adapted, documents, params.common.fit, seeded, pad_id=tokenizer.pad_token_id)
        self._save(adapted, out, seeded.seed, {})

    def teach(
        self, name: str, seed: int, common: Path, attribution: Attribution, out: Path
    ) -> Outcome:
        """The adapter of a card, from ``common`` on, saved in ``out``, and its examination.

        Keys with ``_before`` are those of the friend without adapter, asked all the same.
        """
        params, seeded = self.params, replace(self.run, seed=self.run.seed + seed)
        voice, examples = read_voice(shelf.find(self.cards, name))
        if not (common / "adapter_config.json").is_file():
            raise MissingDataError(f"{common} is not there; run: dvc repro persona")
        model, tokenizer = models.load(self.friend)
        exam = Exam(params, tokenizer, self.hearing, voice, attribution, self.tested, seeded.seed)
        before, plain_loss = exam.before(model), exam.neutral_loss(model)
        adapted = lora.load(model, common, trainable=True)
        users = [row.user for row in self.taught.grounded]
        taught = replace(self.taught, quoted=card_dialogues(voice, examples, users))
        documents = lessons(
            params.own, params.rounds, tokenizer, self.hearing, [voice], taught, seeded.seed
        )
        result = fit_model(
            adapted, documents, params.own.fit, seeded, pad_id=tokenizer.pad_token_id
        )
        found = exam.after(adapted, plain_loss)
        found.metrics |= {f"{key}_before": value for key, value in before.items()}
        found.metrics["tokens_per_s"] = result.tokens_per_s
        if self.inventories is not None:
            found += _self_report(self.inventories, adapted, tokenizer, voice)
        about = {"persona": voice.name, "card": name, "views": voice.character.views}
        self._save(adapted, out, seeded.seed, about)
        return found

    def _save(self, adapted: Any, out: Path, seed: int, about: Mapping[str, Any]) -> None:
        out.mkdir(parents=True, exist_ok=True)
        lora.save(adapted, out)
        meta = {"params": self.params.model_dump(), "seed": seed, "base": self.friend.name}
        models.write_meta(out, meta | dict(about))


def train(
    params: PersonaParams, *, run: Run, seeds: Path, data: Path, friend: Path, out: Path,
    inventories: Path | None = None,
) -> Outcome:  # fmt: skip
    """Train and examine an adapter for every card in ``params.names``, in ``out/NAME``.

    ``seeds`` holds personas/, pressure.yaml and traits.yaml, ``data`` ground/ and talk/.
    ``inventories`` is a folder of questionnaires in InCharacter's JSON format; without it
    self-report is left out. Metrics are means over personas and seeds, with their spread, and
    ``_least`` of the worst; the adapters of the first seed are saved.
    """
    school = School.open(params, run, seeds, data, friend, inventories)
    found: dict[str, list[Outcome]] = {name: [] for name in params.names}
    with atomic_folder(out) as folder:
        for place, seed in enumerate(params.seeds):
            saved = folder if place == 0 else folder / ".again"
            attribution = school.attribution(params.names, run.seed + seed)
            school.teach_common(seed, saved / COMMON)
            for name in params.names:
                found[name].append(
                    school.teach(name, seed, saved / COMMON, attribution, saved / name)
                )
        shutil.rmtree(folder / ".again", ignore_errors=True)
        models.write_meta(folder, {"params": params.model_dump(), "seed": run.seed})
    return summary(found)


def train_one(
    params: PersonaParams, *, run: Run, name: str, seeds: Path, data: Path, friend: Path,
    personas: Path,
) -> Outcome:  # fmt: skip
    """Train and examine one more card, beside those that the stage left in ``personas``."""
    school = School.open(params, run, seeds, data, friend)
    school.voice(name)  # an unknown one is refused before any work
    attribution = school.attribution([*params.names, name], run.seed)
    with atomic_folder(personas / name) as folder:
        return school.teach(name, params.seeds[0], personas / COMMON, attribution, folder)


def summary(found: Mapping[str, Sequence[Outcome]]) -> Outcome:
    """Personas and seeds together; tables of the first seed."""
    runs = [outcome.metrics for outcomes in found.values() for outcome in outcomes]
    metrics = spread(runs) | {"personas": float(len(found)), "runs": float(len(runs))}
    metrics |= {f"{key}_least": min(run[key] for run in runs) for key in TARGETS}
    each: list[Row] = [
        {"persona": name, **spread([outcome.metrics for outcome in outcomes])}
        for name, outcomes in found.items()
    ]
    tables = {"personas": each}
    for table in next(iter(found.values()))[0].tables:
        tables[table] = [
            {"persona": name} | row for name, outcomes in found.items()
            for row in outcomes[0].tables[table]
        ]  # fmt: skip
    for table, label in (("rounds", "kind"), ("drift", "turns")):
        if table in tables:
            tables[table] = _averaged(tables[table], label)
    return Outcome(metrics, tables)


def _averaged(rows: Sequence[Row], label: str) -> list[Row]:
    """Rows of the same label as one, numbers averaged."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[label], []).append(row)
    return [
        {label: name}
        | {
            key: statistics.fmean(row[key] for row in same)
            for key, value in same[0].items()
            if isinstance(value, int | float)
        }
        for name, same in found.items()
    ]


def _self_report(inventories: Path, model: Any, tokenizer: Any, voice: Voice) -> Outcome:
    with model.disable_adapter():
        plain = questionnaire.answer_all(inventories, model, tokenizer, voice)
    return questionnaire.compare(
        questionnaire.answer_all(inventories, model, tokenizer, voice), plain, voice
    )
