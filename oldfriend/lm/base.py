"""The dense base model: from scratch on talk (with a copying warm-up), or loaded."""

import calendar
import random
from collections.abc import Sequence
from pathlib import Path

from oldfriend.corpus.schema import Conversation, read_rows, slot_words
from oldfriend.files import atomic_folder
from oldfriend.lm import model as models
from oldfriend.lm.chat import Message, message, talk_documents
from oldfriend.lm.copying import Drills, curriculum
from oldfriend.lm.embeddings import common_words, warm_start
from oldfriend.lm.fit import Run, fit_model
from oldfriend.lm.settings import BaseParams
from oldfriend.lm.tokenizer import train_tokenizer
from oldfriend.outcome import Outcome

OFTEN = 20  # how often the tokenizer meets what it must know and talk hardly says
ROLES = {"user": "user", "friend": "assistant"}


def train(params: BaseParams, *, run: Run, data: Path, out: Path) -> Outcome:
    """Train on ``data/{train,val}.jsonl`` (Conversations), or continue from ``params.source``.

    A loaded model is fine-tuned on the talk unless ``params.adapt`` is false. ``val_loss`` is in
    nats a token of the held-out talk.
    """
    conversations = list(read_rows(data / "train.jsonl", Conversation))
    talks = [as_messages(c) for c in conversations]
    held_out = [as_messages(c) for c in read_rows(data / "val.jsonl", Conversation)]
    random.Random(f"talk-{run.seed}").shuffle(talks)
    if params.source:
        model, tokenizer = models.load(params.source)
    else:
        said = (m["content"] for talk in talks for m in talk)
        words = [f" {word}" for word in common_words(params.common_words)] * OFTEN
        tokenizer = train_tokenizer([*said, *prompt_texts(conversations), *words], params.vocab)
        model = models.build(params, tokenizer, run.seed)
        if params.embeddings == "minilm":
            warm_start(model, tokenizer, run.seed)
    documents = talk_documents(tokenizer, talks, params.fit.row_tokens)
    if not params.source:
        documents = curriculum(
            Drills(tokenizer, run.seed),
            documents,
            tokens=params.fit.tokens,
            warmup=params.copy_warmup,
            mix=params.copy_mix,
            seed=run.seed,
        )
    as_it_is = params.source and not params.adapt
    fit = params.fit.model_copy(update={"steps": 0}) if as_it_is else params.fit
    validation = talk_documents(tokenizer, held_out, params.fit.row_tokens)
    result = fit_model(
        model, documents, fit, run, pad_id=tokenizer.pad_token_id, validation=validation
    )
    with atomic_folder(out) as folder:
        meta = {"params": params.model_dump(), "seed": run.seed, "family": model.config.model_type}
        models.save(model, tokenizer, folder, meta)
    return Outcome(
        metrics={
            "val_loss": result.val_loss,
            "tokens_per_s": result.tokens_per_s,
            "params": float(models.parameter_count(model)),
            "vocab": float(len(tokenizer)),
        }
    )


def as_messages(conversation: Conversation) -> list[Message]:
    """A conversation as chat messages."""
    return [message(ROLES[turn.speaker], turn.text) for turn in conversation.turns]


def prompt_texts(conversations: Sequence[Conversation], times: int = OFTEN) -> list[str]:
    """What prompts say over and over and talk hardly does: dates and slot names.

    A tokenizer that has not seen them spends half of every memory line on its date.
    """
    slots = {slot_words(f.slot) for c in conversations for t in c.turns for f in t.facts}
    lines = [
        f"\n- ({month} {year}) your {former}{slot}: nothing"
        for slot in sorted(slots) or ["note"]
        for former in ("", "former ")
        for month in calendar.month_name[1:]
        for year in range(2020, 2030)
    ]
    step = max(1, len(lines) // (times * 100))
    return [f"You are talking with her.{line}[your: nothing]" for line in lines[::step]] * times
