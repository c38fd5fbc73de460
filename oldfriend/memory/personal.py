"""One person's own readers: they start from the generic ones and learn what matters to this person.

Confirmed records are answers to learn, turns whose records were rejected hold nothing; generic
examples are replayed among them against forgetting (arXiv:1811.11682). A dozen records would be
learnt by heart, so each comes again with other values in its place.
"""

import random
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from oldfriend.corpus.schema import NoteExample, read_rows, retold
from oldfriend.errors import MissingDataError
from oldfriend.files import atomic_folder
from oldfriend.lm.fit import Run
from oldfriend.memory import interests, notes, tagger
from oldfriend.memory.extract import Summarizer, load, sample
from oldfriend.memory.grounding import Encode
from oldfriend.memory.interests import Interests
from oldfriend.memory.notes import Note
from oldfriend.memory.scores import note_scores
from oldfriend.memory.settings import SummarizerParams
from oldfriend.memory.store.minilm import MiniLM
from oldfriend.memory.tagger import Tagger
from oldfriend.outcome import Outcome

STRANGERS = 6000  # turns of other people that hold nothing for everybody


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
    """Train readers of their own for each of the first ``params.users`` people in ``users``.

    Scores the generic reader alone and with the personal ones on the person's later sessions and
    on everyone else's held-out turns. Nobody gets any without a tagger beside ``base``.
    """
    reader = load(base, generic)
    people = sorted(p for p in users.iterdir() if p.is_dir()) if users.is_dir() else []
    replayed = list(read_rows(data / "train.jsonl", NoteExample))
    everyone = sample(list(read_rows(data / "test.jsonl", NoteExample)), params.max_eval, run.seed)
    chosen = people[: params.users] if reader.second else []
    heard = reader.write(everyone) if chosen else []
    table = []
    encode = MiniLM().encode
    with atomic_folder(out) as folder:
        for person in chosen:
            own, later = _examples(person)
            mine = personalize(params, run, reader, person.name, own, replayed, encode)
            others = [i for i, example in enumerate(everyone) if example.user != person.name]
            row = _gain(later, reader.write(later), mine)
            strangers = _gain([everyone[i] for i in others], [heard[i] for i in others], mine)
            table.append({"user": person.name, **row, "others_loss": -strangers["gain"]})
            meta = {"params": params.model_dump(), "seed": run.seed, "user": person.name}
            (folder / person.name).mkdir()
            interests.save(mine, folder / person.name, meta)
    metrics = {f"user_{key}": value for key, value in _summary(table).items()} if table else {}
    return Outcome(metrics=metrics | {"users": float(len(table))}, tables={"users": table})


def personalize(
    params: SummarizerParams,
    run: Run,
    reader: Summarizer,
    user: str,
    own: Sequence[NoteExample],
    replayed: Sequence[NoteExample],
    encode: Encode,
) -> Interests:
    """Readers of ``user``'s own from what they confirmed and rejected, beside ``replayed``.

    Raises MissingDataError if there is no generic tagger to start from.
    """
    if reader.second is None:
        raise MissingDataError("personal readers start from the tagger; run: dvc repro tagger")
    rng = random.Random(f"{run.seed}-{user}")
    slots = dict(sorted((reader.slots | notes.slot_types(own)).items()))
    # Turns that hold nothing for everybody may hold something for this person: not replayed.
    telling = [example for example in replayed if example.facts]
    lessons = [*own, *varied(own, telling, params.variants, rng)]
    lessons += rng.sample(telling, min(len(telling), params.replay * len(own)))
    seeded = replace(run, checkpoints=run.checkpoints / user, logger=None)
    fit, adapter = params.user_fit, params.user_lora
    marks: Tagger = tagger.personal(reader.second, slots, lessons, fit, adapter, seeded)
    idle = [example.text for example in replayed if not example.facts]
    strangers = rng.sample(idle, min(len(idle), STRANGERS))
    new = [name for name in slots if name not in reader.slots]
    return Interests(marks, interests.fit_topics(new, own, strangers, encode), encode)


def _examples(person: Path) -> tuple[list[NoteExample], list[NoteExample]]:
    own = list(read_rows(person / "train.jsonl", NoteExample))
    later = list(read_rows(person / "test.jsonl", NoteExample))
    if not own or not later:
        raise MissingDataError(f"{person} has no examples; run: dvc repro curate")
    return own, later


def _gain(
    examples: Sequence[NoteExample], before: Sequence[list[Note]], mine: Interests
) -> dict[str, float]:
    """Record F1 of the generic notes ``before`` and with this person's own."""
    found = mine.read([example.text for example in examples])
    after = [interests.together(*both) for both in zip(before, found, strict=True)]
    start = note_scores(examples, before)["record_f1"]
    end = note_scores(examples, after)["record_f1"]
    return {"record_f1_generic": start, "record_f1": end, "gain": end - start}


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


def _summary(table: Sequence[dict[str, Any]]) -> dict[str, float]:
    result = {}
    for key in ("record_f1_generic", "record_f1", "gain", "others_loss"):
        values = [float(row[key]) for row in table]
        result[key] = statistics.fmean(values)
        if len(values) > 1:
            result[f"{key}_sd"] = statistics.stdev(values)
    return result
