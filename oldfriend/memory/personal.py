"""One adapter per user: starts from the generic one, learns what matters to this person.

A chess player's openings and a nurse's shift names are worth remembering to them and to nobody
else. Confirmed records are answers to learn, turns whose records were rejected are answered with
``nothing``; generic examples are replayed among them against forgetting (arXiv:1811.11682). A dozen
records would be learnt by heart, so each comes again with other values in its place.
"""

import random
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict

from oldfriend.corpus.schema import NoteExample, read_rows, retold
from oldfriend.errors import MissingDataError
from oldfriend.files import atomic_folder
from oldfriend.lm import lora
from oldfriend.lm import model as models
from oldfriend.lm.chat import answer_documents
from oldfriend.lm.fit import Run, fit_model
from oldfriend.memory import notes, tagger
from oldfriend.memory.extract import SLOTS, TAGGER, THRESHOLD, WEIGHTS, Summarizer, load, sample
from oldfriend.memory.scores import note_scores
from oldfriend.memory.settings import SummarizerParams
from oldfriend.outcome import Outcome


def train(
    params: SummarizerParams,
    *,
    run: Run,
    data: Path,
    users: Path,
    base: Path,
    generic: Path,
    out: Path,
) -> Outcome:
    """Train an adapter for each of the first ``params.users`` people in ``users``.

    Scores the generic and the personal adapter on the person's later sessions and on everyone
    else's held-out turns.
    """
    summarizer = load(base, generic, trainable=True)
    start = {k: v.clone() for k, v in get_peft_model_state_dict(summarizer.model).items()}
    replayed = list(read_rows(data / "train.jsonl", NoteExample))
    everyone = sample(list(read_rows(data / "test.jsonl", NoteExample)), params.max_eval, run.seed)
    generic_everyone = note_scores(everyone, summarizer.write(everyone))["record_f1"]
    people = sorted(p for p in users.iterdir() if p.is_dir()) if users.is_dir() else []
    table = []
    with atomic_folder(out) as folder:
        for person in people[: params.users]:
            set_peft_model_state_dict(summarizer.model, start)
            row, reader = _personalize(params, run, summarizer, person, replayed, everyone)
            row["others_loss"] = generic_everyone - row.pop("others")
            table.append({"user": person.name} | row)
            meta = {"params": params.model_dump(), "seed": run.seed, "user": person.name}
            _save(reader, folder / person.name, meta)
    metrics = {f"user_{key}": value for key, value in _summary(table).items()} if table else {}
    return Outcome(metrics=metrics | {"users": float(len(table))}, tables={"users": table})


def _personalize(
    params: SummarizerParams,
    run: Run,
    summarizer: Summarizer,
    person: Path,
    replayed: Sequence[NoteExample],
    everyone: Sequence[NoteExample],
) -> tuple[dict[str, Any], Summarizer]:
    """Train on one person's early sessions; record F1 on the later ones before and after, and the
    reader that they have now."""
    own = list(read_rows(person / "train.jsonl", NoteExample))
    later = list(read_rows(person / "test.jsonl", NoteExample))
    if not own or not later:
        raise MissingDataError(f"{person} has no examples; run: dvc repro curate")
    personal = replace(summarizer, slots=known_slots(summarizer, person))
    before = note_scores(later, summarizer.write(later))["record_f1"]
    rng = random.Random(f"{run.seed}-{person.name}")
    # Turns that hold nothing for everybody may hold something for this person: not replayed.
    telling = [example for example in replayed if example.facts]
    new = own + varied(own, telling, params.variants, rng)
    lessons = new + rng.sample(telling, min(len(telling), params.replay * len(own)))
    rng.shuffle(lessons)
    documents = answer_documents(
        summarizer.tokenizer, [notes.dialogue(e, params.context_turns) for e in lessons]
    )
    seeded = replace(run, checkpoints=run.checkpoints / person.name, logger=None)
    if personal.second and params.user_tag_fit:
        fit, adapter = params.user_tag_fit, params.user_lora
        kept = rng.sample(telling, min(len(telling), params.tag_replay * len(own)))
        second = tagger.personal(personal.second, personal.slots, new + kept, fit, adapter, seeded)
        personal = replace(personal, second=second)
    fit_model(
        summarizer.model,
        documents,
        params.user_fit,
        seeded,
        pad_id=summarizer.tokenizer.pad_token_id,
    )
    after = note_scores(later, personal.write(later))["record_f1"]
    others = [e for e in everyone if e.user != person.name]
    row = {
        "record_f1_generic": before,
        "record_f1": after,
        "gain": after - before,
        "others": note_scores(others, personal.write(others))["record_f1"],
    }
    return row, personal


def _save(reader: Summarizer, folder: Path, meta: dict[str, Any]) -> None:
    lora.save(reader.model, folder)
    notes.save_slots(reader.slots, folder / SLOTS)
    models.write_meta(folder, meta | {THRESHOLD: reader.threshold, WEIGHTS: reader.weights})
    if reader.second and isinstance(reader.second.network, PeftModel):
        tagger.save(reader.second, folder / TAGGER, meta)


def varied(
    own: Sequence[NoteExample], others: Sequence[NoteExample], count: int, rng: random.Random
) -> list[NoteExample]:
    """``count`` copies of every example that notes something, with values out of ``others``.

    A value is replaced by one of as many words, capitalized or not as it was.
    """
    pool: dict[tuple[int, bool], list[str]] = {}
    for fact in (fact for example in others for fact in example.facts):
        pool.setdefault(_shape(fact.value), []).append(fact.value)
    return [
        retold(example, lambda fact: rng.choice(pool.get(_shape(fact.value), [fact.value])))
        for example in own
        if example.facts
        for _ in range(count)
    ]


def _shape(value: str) -> tuple[int, bool]:
    return len(value.split()), value[:1].isupper()


def known_slots(summarizer: Summarizer, person: Path) -> notes.Slots:
    """The generic slots and those that this person confirmed."""
    own = notes.slot_types(read_rows(person / "train.jsonl", NoteExample))
    return dict(sorted((summarizer.slots | own).items()))


def _summary(table: Sequence[dict[str, Any]]) -> dict[str, float]:
    result = {}
    for key in ("record_f1_generic", "record_f1", "gain", "others_loss"):
        values = [float(row[key]) for row in table]
        result[key] = statistics.fmean(values)
        if len(values) > 1:
            result[f"{key}_sd"] = statistics.stdev(values)
    return result
