"""Domains as token documents: the curated tasks, or real texts.

The prompts of grounding and note taking are those of ``oldfriend.memory``: a MoE of ``friend``
must keep what the dense model was taught, in the very words.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from oldfriend.corpus.schema import Conversation, GroundExample, NoteExample, read_rows
from oldfriend.errors import InputError
from oldfriend.lm.base import as_messages
from oldfriend.lm.chat import answer_documents, talk_documents
from oldfriend.lm.packing import Document
from oldfriend.memory import grounding, notes
from oldfriend.moe.domain_corpus import domain_documents, read_domains
from oldfriend.moe.upcycling.settings import CURATED


@dataclass(frozen=True)
class Lessons:
    """Documents of one domain."""

    name: str
    train: list[Document]
    val: list[Document]


def read_lessons(
    tokenizer: PreTrainedTokenizerBase,
    names: Sequence[str],
    data: Path,
    *,
    external: Path | None = None,
    rows: int,
    row_tokens: int,
) -> list[Lessons]:
    """Every domain of ``names``: curated ones from ``data``, others from ``external``.

    At most ``rows`` training examples each (of real text, rows of ``row_tokens`` tokens). Raises
    InputError if one of them is not there.
    """
    real = [name for name in names if name not in CURATED]
    texts = {}
    if real:
        chars = rows * row_tokens * 4
        texts = {d.name: d for d in read_domains(external, real, max_chars=chars)}
    found = []
    for name in names:
        if name in CURATED:
            train = _curated(tokenizer, name, data, "train", rows, row_tokens)
            val = _curated(tokenizer, name, data, "val", max(rows // 10, 50), row_tokens)
        elif name in texts:
            train = domain_documents(tokenizer, texts[name].train, row_tokens)[:rows]
            val = domain_documents(tokenizer, texts[name].val, row_tokens)
        else:
            raise InputError(f"domain '{name}' is not in '{external}'")
        found.append(Lessons(name, train, val))
    return found


def _curated(
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    data: Path,
    split: str,
    rows: int,
    row_tokens: int,
) -> list[Document]:
    if name == "talk":
        path = data / "talk" / f"{split}.jsonl"
        talks = [as_messages(c) for c in islice(read_rows(path, Conversation), rows)]
        return talk_documents(tokenizer, talks, row_tokens)
    if name == "ground":
        path = data / "ground" / f"{split}.jsonl"
        asked = islice(read_rows(path, GroundExample), rows)
        return answer_documents(tokenizer, map(grounding.dialogue, asked))
    path = data / "summarizer" / f"{split}.jsonl"
    read = islice(read_rows(path, NoteExample), rows)
    return answer_documents(tokenizer, (notes.dialogue(example, 0) for example in read))


def even_mix(parts: Iterable[Sequence[Document]]) -> list[Document]:
    """One stream with as many tokens of each domain as the smallest has, evenly spread."""
    parts = list(parts)
    least = min(sum(map(len, part)) for part in parts)
    keyed = []
    for number, part in enumerate(parts):
        kept, total = 0, 0
        while kept < len(part) and total + len(part[kept]) <= least:
            total += len(part[kept])
            kept += 1
        keyed += [((i + 0.5) / kept, number, part[i]) for i in range(kept)]
    return [document for _, _, document in sorted(keyed, key=lambda key: key[:2])]
