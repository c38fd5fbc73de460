"""Questions that no memory of a person helps with, and whether memory keeps out of them."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from oldfriend.bench.locomo import talks
from oldfriend.bench.recall import Talk, auroc, records, scratch_pool
from oldfriend.corpus.banks import Bank
from oldfriend.errors import InputError, MissingDataError
from oldfriend.memory.store.decide import Calibration, decide
from oldfriend.memory.store.embed import Embedder
from oldfriend.memory.store.retrieve import Query, Retriever
from oldfriend.memory.store.topic import Topic, personal
from oldfriend.outcome import Outcome

MAX_BANK = 4 * 2**20  # bytes
HITS = 30  # that the decision looks at, as the friend does


def general_questions(path: Path) -> Bank[str]:
    """The two halves of the bank; they share nothing."""
    if not path.is_file():
        raise MissingDataError(f"{path} is not there; it comes with the project")
    if path.stat().st_size > MAX_BANK:
        raise InputError(f"larger than {MAX_BANK:,} bytes", path=path)
    try:
        found = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        return TypeAdapter(Bank[str]).validate_python(found)
    except YAMLError as error:
        raise InputError(f"not YAML: {error}", path=path) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(first["msg"], path=path, field=where) from None


def on_talks(
    data: Path,
    questions: Sequence[str],
    embed: Embedder,
    calibration: Calibration | None = None,
    topic: Topic | None = None,
) -> Outcome:
    """Memory's first decision on conversations of a public format in ``data`` (see locomo.py):
    ``need.recall``, the share of their questions for which memory is wanted, ``need.refused``, the
    share of ``questions`` for which it is not, asked in the same conversations, and
    ``need.auroc``."""
    own: list[float] = []
    general: list[float] = []
    for talk in talks(data):
        wanted = _needs(talk, questions, embed, calibration, topic)
        own += wanted[: len(talk.questions)]
        general += wanted[len(talk.questions) :]
    labels = [True] * len(own) + [False] * len(general)
    return Outcome({
        "questions": float(len(own)), "general": float(len(general)),
        "need.recall": float(np.mean(np.array(own) >= 0.5)),
        "need.refused": float(np.mean(np.array(general) < 0.5)),
        "need.auroc": auroc([*own, *general], labels),
    })  # fmt: skip


def _needs(
    talk: Talk,
    questions: Sequence[str],
    embed: Embedder,
    calibration: Calibration | None,
    topic: Topic | None,
) -> list[float]:
    """How probably memory is needed for the questions of ``talk``, then for ``questions``."""
    with scratch_pool(embed) as pool:
        memory = pool.of(talk.name)
        told = records(talk.name, talk.lines)
        memory.add(told, at=told[-1].created_at)
        now = max(record.created_at for record in told) + timedelta(days=1)
        retriever, found = Retriever(embed), []
        for text in (*(question.text for question in talk.questions), *questions):
            hits = retriever.search(memory, Query(text, limit=HITS, now=now))
            of_life = topic(embed.encode([text])[0]) if topic else personal(embed, text)
            found.append(decide(text, hits, calibration, personal=of_life).need)
        return found
