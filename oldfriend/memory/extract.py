"""The summarizer: a LoRA that reads a turn and writes what is worth remembering, or nothing."""

import itertools
import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from oldfriend.corpus.schema import NoteExample, read_rows
from oldfriend.errors import CheckpointError, MissingDataError
from oldfriend.files import atomic_folder
from oldfriend.lm import lora
from oldfriend.lm import model as models
from oldfriend.lm.chat import answer_documents
from oldfriend.lm.fit import Run, fit_model
from oldfriend.lm.generate import Answer, generate_scored
from oldfriend.memory import interests, notes, opinions, tagger
from oldfriend.memory.interests import Interests
from oldfriend.memory.keywords import KeywordExtractor
from oldfriend.memory.notes import Note, NoteGrammar, Slots
from oldfriend.memory.opinions import Read, Weights
from oldfriend.memory.scores import note_scores
from oldfriend.memory.settings import SummarizerParams
from oldfriend.memory.store.minilm import MiniLM
from oldfriend.memory.tagger import Tagger
from oldfriend.outcome import Outcome

SLOTS, THRESHOLD, WEIGHTS = "slots.json", "threshold", "weights"


@dataclass(frozen=True)
class Summarizer:
    """A model with its note grammar; notes less certain than ``threshold`` are not written.

    Where there is a ``second`` reader, ``weights`` say how much each is believed.
    """

    model: Any
    tokenizer: PreTrainedTokenizerBase
    slots: Slots
    context_turns: int
    max_new_tokens: int
    threshold: float = 0.0
    second: Tagger | None = None
    weights: Weights = ()
    own: Interests | None = None  # of the person whose turns are read

    def read(self, examples: Sequence[NoteExample]) -> list[Read]:
        """Generic notes of every example with their certainty, before the threshold."""
        written = self.dictated(examples)
        if self.second is None:
            return written
        marked = self.second.read([example.text for example in examples])
        return [
            opinions.together(*both, self.weights) for both in zip(written, marked, strict=True)
        ]

    def dictated(self, examples: Sequence[NoteExample]) -> list[Read]:
        """What the language model alone notes, with its probability."""
        grammar = NoteGrammar(self.tokenizer, self.slots)
        texts = [example.text for example in examples]
        turns = self.context_turns
        prompts = [notes.prompt(e.text, e.context[-turns:] if turns else ()) for e in examples]
        answers = generate_scored(
            self.model,
            self.tokenizer,
            prompts,
            max_new_tokens=self.max_new_tokens,
            allow=lambda i, ids: grammar.allow(texts[i], ids),
        )
        return [
            list(
                {
                    note: (note, certainty)
                    for line, certainty in reversed(_lines(answer))
                    for note in notes.parse(line, text)
                }.values()
            )[::-1]
            for answer, text in zip(answers, texts, strict=True)
        ]

    def write(self, examples: Sequence[NoteExample]) -> list[list[Note]]:
        """Notes of every example that are certain enough, the person's own among them."""
        generic = self.certain(self.read(examples))
        if self.own is None:
            return generic
        own = self.own.read([example.text for example in examples])
        return [interests.together(*both) for both in zip(generic, own, strict=True)]

    def certain(self, read: Sequence[Read]) -> list[list[Note]]:
        """The notes whose certainty reaches the threshold."""
        return [[note for note, sure in found if sure >= self.threshold] for found in read]


def load(
    base: Path, adapter: Path, second: Path | None = None, *, own: Path | None = None
) -> Summarizer:
    """The summarizer saved in ``adapter`` on the model in ``base``.

    ``second`` is the tagger it was calibrated with, if it was (default: ``tagger`` beside
    ``base``); ``own`` the folder of a person's own readers. Raises MissingDataError if one of them
    is not there.
    """
    model, tokenizer = models.load(base)
    meta = models.read_meta(adapter)
    try:
        params = SummarizerParams.model_validate(meta["params"])
    except (KeyError, ValueError) as error:
        message = f"{adapter} was made by another version ({error}); run: dvc repro summarizer"
        raise CheckpointError(message) from None
    marks = second or base.parent / "tagger"
    generic = Summarizer(
        lora.load(model, adapter),
        tokenizer,
        notes.load_slots(adapter / SLOTS),
        params.context_turns,
        params.max_new_tokens,
        float(meta[THRESHOLD]),
        tagger.load(marks) if meta.get(WEIGHTS) else None,
        tuple(meta.get(WEIGHTS, ())),
    )
    return for_person(generic, marks, own) if own else generic


def for_person(generic: Summarizer, marks: Path, own: Path) -> Summarizer:
    """The ``generic`` summarizer with the readers in ``own``, made from the tagger ``marks``."""
    mine = interests.load(marks, own, MiniLM().encode)
    return replace(generic, slots=generic.slots | mine.slots, own=mine)


def train(
    params: SummarizerParams,
    *,
    run: Run,
    data: Path,
    friend: Path,
    base: Path,
    out: Path,
    second: Path | None = None,
) -> Outcome:
    """Train the generic adapter on ``data/train.jsonl``; score it beside its parts and baselines.

    Parts: the adapter without the ``second`` reader, that reader alone, both without a threshold.
    Baselines: ``friend`` without the adapter and ``base``, both asked the same way, and a keyword
    extractor fitted on the same training rows.
    """
    rows = list(read_rows(data / "train.jsonl", NoteExample))
    if not rows:
        raise MissingDataError(f"{data / 'train.jsonl'} has no examples to learn from")
    val = sample(list(read_rows(data / "val.jsonl", NoteExample)), params.max_eval, run.seed)
    test = sample(list(read_rows(data / "test.jsonl", NoteExample)), params.max_eval, run.seed)
    slots = notes.slot_types(rows)
    scores = {}
    for name, folder in (("base", base), ("friend", friend)):  # ends with friend: trained on below
        model, tokenizer = models.load(folder)
        untrained = Summarizer(model, tokenizer, slots, params.context_turns, params.max_new_tokens)
        scores[name] = note_scores(test, untrained.write(test))
    keywords = KeywordExtractor.fit(rows)
    scores["keywords"] = note_scores(test, [keywords.read(example.text) for example in test])
    adapted = lora.attach(model, params.lora, seed=run.seed)
    order = list(rows)
    random.Random(f"notes-{run.seed}").shuffle(order)
    result = fit_model(
        adapted,
        answer_documents(tokenizer, [notes.dialogue(e, params.context_turns) for e in order]),
        params.fit,
        run,
        pad_id=tokenizer.pad_token_id,
        validation=answer_documents(
            tokenizer, [notes.dialogue(e, params.context_turns) for e in val]
        ),
    )
    alone = replace(untrained, model=adapted)
    summarizer = hear(alone, second if params.second_reader else None, val)
    threshold = calibrate(val, summarizer.read(val), params.max_false_memories)
    summarizer = replace(summarizer, threshold=threshold)
    read = summarizer.read(test)
    written = summarizer.certain(read)
    scores["summarizer"] = note_scores(test, written)
    scores["ungated"] = note_scores(test, _all(read))
    scores["lm"] = note_scores(test, _all(alone.dictated(test)))
    if summarizer.second:
        marked = summarizer.second.read([example.text for example in test])
        scores["tagger"] = note_scores(test, _all(marked))
    with atomic_folder(out) as folder:
        lora.save(adapted, folder)
        notes.save_slots(slots, folder / SLOTS)
        meta = {"params": params.model_dump(), "seed": run.seed, "base": str(friend.name)}
        models.write_meta(folder, meta | {THRESHOLD: threshold, WEIGHTS: summarizer.weights})
    metrics = dict(scores["summarizer"])
    for name in scores.keys() - {"summarizer"}:
        metrics |= {f"{key}_{name}": value for key, value in scores[name].items()}
    metrics |= {"val_loss": result.val_loss, "tokens_per_s": result.tokens_per_s}
    return Outcome(
        metrics=dict(sorted(metrics.items())) | {"threshold": threshold},
        tables={
            "baselines": [{"reader": name, **found} for name, found in scores.items()],
            "slots": by_slot(test, written),
            "samples": _samples(test, written),
        },
    )


def hear(summarizer: Summarizer, second: Path | None, val: Sequence[NoteExample]) -> Summarizer:
    """``summarizer`` with the tagger in ``second``, both weighed on ``val``."""
    if second is None:
        return summarizer
    marks = tagger.load(second)
    marked = marks.read([example.text for example in val])
    weights = opinions.weigh(val, summarizer.dictated(val), marked)
    return replace(summarizer, second=marks, weights=weights)


def _all(read: Sequence[Read]) -> list[list[Note]]:
    return [[note for note, _ in found] for found in read]


def calibrate(examples: Sequence[NoteExample], read: Sequence[Read], max_false: float) -> float:
    """The lowest certainty at which at most ``max_false`` of the records written are false.

    If there is none, a certainty just above that of every record: then nothing is written.
    """
    graded = sorted(
        (
            (certainty, (note.slot, note.value) in {(f.slot, f.value) for f in example.facts})
            for example, found in zip(examples, read, strict=True)
            for note, certainty in found
        ),
        reverse=True,
    )
    if not graded:
        return 0.0
    threshold, count, wrong = math.nextafter(graded[0][0], math.inf), 0, 0
    for certainty, equals in itertools.groupby(graded, key=lambda pair: pair[0]):
        rights = [right for _, right in equals]
        count, wrong = count + len(rights), wrong + rights.count(False)
        if wrong <= max_false * count:
            threshold = certainty
    return threshold


def by_slot(
    examples: Sequence[NoteExample], written: Sequence[Sequence[Note]]
) -> list[dict[str, Any]]:
    """Record F1 slot by slot, hardest first."""
    names = sorted({fact.slot for example in examples for fact in example.facts})
    rows = []
    for name in names:
        of_slot = [
            e.model_copy(update={"facts": tuple(f for f in e.facts if f.slot == name)})
            for e in examples
        ]
        only = [[note for note in found if note.slot == name] for found in written]
        rows.append({"slot": name, "record_f1": note_scores(of_slot, only)["record_f1"]})
    return sorted(rows, key=lambda row: float(row["record_f1"]))


def sample(rows: list[NoteExample], most: int, seed: int) -> list[NoteExample]:
    """At most ``most`` rows, by seed."""
    return random.Random(f"sample-{seed}").sample(rows, most) if len(rows) > most else rows


def _lines(answer: Answer) -> list[tuple[str, float]]:
    """The lines of an answer, each with the geometric mean probability of its tokens.

    A line's break, or the answer's end, is its last token: what comes next was a choice too.
    """
    lines: list[list[float]] = [[]]
    for piece, logprob in zip(answer.pieces, answer.logprobs, strict=True):
        lines[-1].append(logprob)
        if "\n" in piece:
            lines.append([])
    certainties = [math.exp(statistics.fmean(line)) for line in lines if line]
    return list(zip(answer.text.split("\n"), certainties, strict=False))


def _samples(
    examples: Sequence[NoteExample], written: Sequence[Sequence[Note]], count: int = 40
) -> list[dict[str, Any]]:
    return [
        {
            "text": example.text,
            "written": "; ".join(f"{n.slot}: {n.value}" for n in found) or notes.NOTHING,
            "truth": notes.write(example.facts).replace("\n", "; "),
        }
        for example, found in list(zip(examples, written, strict=True))[:count]
    ]
