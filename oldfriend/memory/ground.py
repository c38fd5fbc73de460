"""The grounding stage: fine-tune the base model on memories, distractors and talk into `friend`."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from oldfriend.corpus.schema import GroundExample, NoteExample, read_rows
from oldfriend.errors import MissingDataError
from oldfriend.files import atomic_folder
from oldfriend.lm import lora
from oldfriend.lm import model as models
from oldfriend.lm.chat import answer_documents
from oldfriend.lm.copying import Drills, mixed, portion, scattered
from oldfriend.lm.fit import Run, fit_model
from oldfriend.lm.generate import generate
from oldfriend.lm.packing import Document
from oldfriend.memory import grounding, intent, notes
from oldfriend.memory.quoting import QuoteGrammar
from oldfriend.memory.settings import GroundParams
from oldfriend.memory.store.minilm import MiniLM
from oldfriend.outcome import Outcome, spread


def train(
    params: GroundParams, *, run: Run, data: Path, readings: Path, base: Path, out: Path
) -> Outcome:
    """Fine-tune on ``data/train.jsonl``, score on ``data/test.jsonl``, before and after.

    A share of the lessons is note taking from ``readings/train.jsonl``: to say what a sentence
    tells and to answer from memory need the same understanding, and the adapters that follow touch
    no FFN, where it is kept. One run per seed, means and spread in the metrics; the model of the
    first seed is saved.
    """
    train_rows = list(read_rows(data / "train.jsonl", GroundExample))
    if not train_rows:
        raise MissingDataError(f"{data / 'train.jsonl'} has no examples to learn from")
    read = list(read_rows(readings / "train.jsonl", NoteExample)) if params.notes_share else []
    encode = MiniLM().encode
    hints = intent.fit(train_rows, encode, params.hint_messages) if params.hint_messages else None
    topics = hints.topics if hints else ()

    def prepared(rows: Sequence[GroundExample]) -> list[GroundExample]:
        """As retrieval hands them over: the likest memory last, a hint behind the message."""
        return intent.hinted(hints, in_order(params, rows, encode), encode)

    val_rows = prepared(list(read_rows(data / "val.jsonl", GroundExample)))
    test_rows = prepared(list(read_rows(data / "test.jsonl", GroundExample)))
    model, tokenizer = models.load(base)
    before, _ = evaluate(model, tokenizer, test_rows, params.max_new_tokens, topics)
    scores: list[dict[str, float]] = []
    replies: list[str] = []
    with atomic_folder(out) as folder:
        for place, seed in enumerate(params.seeds):
            seeded = replace(run, seed=run.seed + seed)
            model, tokenizer = models.load(base)
            lessons = mix_lessons(params, tokenizer, train_rows, read, seeded.seed, prepared)
            model, result = _fit(params, model, tokenizer, lessons, val_rows, seeded)
            found, said = evaluate(model, tokenizer, test_rows, params.max_new_tokens, topics)
            scores.append(found | {"val_loss": result.val_loss})
            if place == 0:
                replies, speed = said, result.tokens_per_s
                meta = {"base": models.read_meta(base), "params": params.model_dump(), "seed": seed}
                models.save(model, tokenizer, folder, meta)
                if hints:
                    intent.save(hints, folder)
    metrics = spread(scores) | {f"{key}_before": value for key, value in before.items()}
    return Outcome(
        metrics=metrics | {"tokens_per_s": speed, "seeds": float(len(params.seeds))},
        tables={
            "before_after": _compare(before, scores[0]),
            "samples": _samples(test_rows, replies),
        },
    )


def _fit(
    params: GroundParams,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    lessons: Sequence[Document],
    val_rows: Sequence[GroundExample],
    run: Run,
) -> tuple[PreTrainedModel, Any]:
    validation = answer_documents(tokenizer, map(grounding.dialogue, val_rows))
    trained: Any = (
        lora.attach(model, params.lora, seed=run.seed) if params.method == "lora" else model
    )
    result = fit_model(
        trained, lessons, params.fit, run, pad_id=tokenizer.pad_token_id, validation=validation
    )
    return (trained.merge_and_unload() if params.method == "lora" else trained), result


def mix_lessons(
    params: GroundParams,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[GroundExample],
    readings: Sequence[NoteExample],
    seed: int,
    prepared: Callable[[Sequence[GroundExample]], Sequence[GroundExample]] = list,
) -> list[Document]:
    """Grounding in its order, with notes and drills among it in their shares of the tokens.

    Only as many examples are taken as one pass can see: a curriculum that is cut short never gets
    to what is hard.
    """
    share = 1 - params.notes_share - params.drill_share
    shuffled = random.Random(f"rows-{seed}").sample(list(rows), len(rows))
    documents = answer_documents(tokenizer, map(grounding.dialogue, shuffled))
    seen = min(len(portion(documents, params.fit.tokens * share)), len(rows))
    taught = prepared(ordered(shuffled[:seen], params.curriculum, seed))
    lessons = answer_documents(tokenizer, map(grounding.dialogue, taught))
    total = sum(map(len, lessons)) / share
    if readings:
        read = random.Random(f"notes-{seed}").sample(list(readings), len(readings))
        noted = answer_documents(tokenizer, [notes.dialogue(example, 0) for example in read])
        lessons = scattered(lessons, portion(noted, total * params.notes_share), seed)
    return mixed(Drills(tokenizer, seed), lessons, params.drill_share, seed)


def in_order(
    params: GroundParams, rows: Sequence[GroundExample], encode: grounding.Encode
) -> list[GroundExample]:
    """The examples with their memories in the order in which retrieval hands them over."""
    if not params.ranked:
        return list(rows)
    asked = [(row.user, row.memories, row.message) for row in rows]
    found = grounding.by_likeness(asked, encode)
    return [
        row.model_copy(update={"memories": memories})
        for row, memories in zip(rows, found, strict=True)
    ]


def ordered(rows: Sequence[GroundExample], curriculum: float, seed: int) -> list[GroundExample]:
    """Shuffled, easier examples earlier: ``curriculum`` 0 is no order, 1 a strict one."""
    rng = random.Random(f"ground-{seed}")
    most = max((len(row.memories) for row in rows), default=1) or 1
    keyed = [
        (curriculum * _difficulty(row, most) + (1 - curriculum) * rng.random(), place)
        for place, row in enumerate(rows)
    ]
    return [rows[place] for _, place in sorted(keyed)]


def _difficulty(row: GroundExample, most: int) -> float:
    """From 0 to 1: many memories, and answers that copy nothing.

    Abstaining is the easy way out: a model that meets it before it can copy learns nothing else.
    """
    replies = [turn.text for turn in row.history if turn.speaker == "friend"] + [row.reply]
    abstained = sum(map(grounding.abstains, replies)) / len(replies)
    idle = row.kind in ("plain", "colour")
    return 0.5 * len(row.memories) / most + 0.35 * min(1.0, 2 * abstained) + 0.15 * idle


def evaluate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[GroundExample],
    max_new_tokens: int,
    topics: Sequence[str] = (),
) -> tuple[dict[str, float], list[str]]:
    """Scores of greedy replies to ``rows``, and the replies; quotes are constrained where the
    ``topics`` of hints are known."""
    prompts = [grounding.prompt(r.user, r.memories, r.history, r.message) for r in rows]
    allow = QuoteGrammar(tokenizer, topics).allow(prompts) if topics else None
    replies = generate(model, tokenizer, prompts, max_new_tokens=max_new_tokens, allow=allow)
    return grounding.scores(rows, [grounding.spoken(reply) for reply in replies]), replies


def _compare(before: dict[str, float], after: dict[str, float]) -> list[dict[str, Any]]:
    return [{"metric": key, "before": before[key], "after": after[key]} for key in before]


def _samples(
    rows: Sequence[GroundExample], replies: Sequence[str], count: int = 40
) -> list[dict[str, Any]]:
    return [
        {
            "kind": row.kind,
            "outcome": grounding.outcome(row, grounding.spoken(reply)),
            "memories": "\n".join(grounding.render_memory(m, row.user) for m in row.memories),
            "message": row.message,
            "reply": reply,
            "reference": grounding.reply_text(row.quote, row.reply),
        }
        for row, reply in list(zip(rows, replies, strict=True))[:count]
    ]
