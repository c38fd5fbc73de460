"""The dense base model: from scratch on talk (with a copying warm-up), or loaded."""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from oldfriend.corpus.schema import Conversation, read_rows
from oldfriend.files import atomic_folder
from oldfriend.lm import model as models
from oldfriend.lm.chat import Message, message, talk_documents
from oldfriend.lm.fit import Run, fit_model
from oldfriend.lm.packing import Document
from oldfriend.lm.settings import BaseParams
from oldfriend.lm.tokenizer import train_tokenizer
from oldfriend.outcome import Outcome

ROLES = {"user": "user", "friend": "assistant"}
COPY_TOKENS = 64  # length of a copying document


def train(params: BaseParams, *, run: Run, data: Path, out: Path) -> Outcome:
    """Train on ``data/{train,val}.jsonl`` (Conversations), or continue from ``params.source``.

    With ``fit.steps: 0`` is not possible; a loaded model is fine-tuned on the talk unless
    ``params.source`` is set and ``params.adapt`` is false.
    """
    talks = [as_messages(c) for c in read_rows(data / "train.jsonl", Conversation)]
    held_out = [as_messages(c) for c in read_rows(data / "val.jsonl", Conversation)]
    if params.source:
        model, tokenizer = models.load(params.source)
    else:
        texts = (m["content"] for talk in talks for m in talk)
        tokenizer = train_tokenizer(texts, params.vocab)
        model = models.build(params, tokenizer, run.seed)
    row_tokens = params.fit.row_tokens
    documents = talk_documents(tokenizer, shuffled(talks, run.seed), row_tokens)
    validation = talk_documents(tokenizer, held_out, row_tokens)
    if not params.source:
        documents = [*copying_documents(params, tokenizer, run.seed), *documents]
    result = fit_model(
        model, documents, params.fit, run, pad_id=tokenizer.pad_token_id, validation=validation
    )
    with atomic_folder(out) as folder:
        meta = {"params": params.model_dump(), "seed": run.seed, "family": model.config.model_type}
        models.save(model, tokenizer, folder, meta)
    return Outcome(
        metrics={
            "val_loss": result.val_loss or 0.0,
            "tokens_per_s": result.tokens_per_s,
            "params": float(models.parameter_count(model)),
            "vocab": float(len(tokenizer)),
        }
    )


def as_messages(conversation: Conversation) -> list[Message]:
    """A conversation as chat messages."""
    return [message(ROLES[turn.speaker], turn.text) for turn in conversation.turns]


def copying_documents(
    params: BaseParams, tokenizer: PreTrainedTokenizerBase, seed: int
) -> list[Document]:
    """Random token sequences that repeat, loss on the repetition: induction heads form on them.

    They fill the first ``copy_steps`` of the run (arXiv:2209.11895; measured in docs/nano.md).
    """
    rng = random.Random(f"copy-{seed}")
    per_row = params.fit.row_tokens // COPY_TOKENS
    count = int(params.copy_steps * params.fit.steps) * params.fit.rows * params.fit.accumulate
    special = set(tokenizer.all_special_ids)
    ids = [i for i in range(len(tokenizer)) if i not in special]
    return [_repeated(rng, ids) for _ in range(count * per_row)]


def _repeated(rng: random.Random, ids: list[int]) -> Document:
    period = rng.randint(6, 28)
    unit = rng.choices(ids, k=period)
    return Document(tuple((unit * COPY_TOKENS)[:COPY_TOKENS]), supervised_from=period + 1)


def shuffled(talks: Iterable[list[Message]], seed: int) -> Iterator[list[Message]]:
    """Talks in an order that depends on the seed only."""
    rows = list(talks)
    random.Random(f"talk-{seed}").shuffle(rows)
    yield from rows
