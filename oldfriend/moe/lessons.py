"""Domains as token documents: the curated tasks, or real texts.

The prompts of grounding and note taking are those of ``oldfriend.memory``, hints and the order of
memories among them: a MoE of ``friend`` must keep what the dense model was taught, word by word.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from oldfriend.corpus.schema import Conversation, GroundExample, NoteExample, read_rows
from oldfriend.errors import InputError
from oldfriend.lm.base import as_messages
from oldfriend.lm.chat import answer_documents, talk_documents
from oldfriend.lm.packing import Document
from oldfriend.memory import grounding, intent, notes
from oldfriend.memory.store.minilm import MiniLM
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
    friend: Path | None = None,
) -> list[Lessons]:
    """Every domain of ``names``: curated ones from ``data``, others from ``external``.

    At most ``rows`` training examples each (of real text, rows of ``row_tokens`` tokens).
    ``friend`` is the folder of the model: where it has hints, they go into its prompts. Raises
    InputError if one of the domains is not there.
    """
    real = [name for name in names if name not in CURATED]
    texts = {}
    if real:
        chars = rows * row_tokens * 4
        texts = {d.name: d for d in read_domains(external, real, max_chars=chars)}
    found = []
    for name in names:
        if name in CURATED:
            read = partial(_curated, tokenizer, name, data, row_tokens=row_tokens, friend=friend)
            train, val = read("train", rows), read("val", max(rows // 10, 50))
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
    *,
    row_tokens: int,
    friend: Path | None,
) -> list[Document]:
    if name == "talk":
        path = data / "talk" / f"{split}.jsonl"
        talks = [as_messages(c) for c in islice(read_rows(path, Conversation), rows)]
        return talk_documents(tokenizer, talks, row_tokens)
    if name == "ground":
        path = data / "ground" / f"{split}.jsonl"
        asked = _hinted(list(islice(read_rows(path, GroundExample), rows)), friend)
        return answer_documents(tokenizer, map(grounding.dialogue, asked))
    path = data / "summarizer" / f"{split}.jsonl"
    read = islice(read_rows(path, NoteExample), rows)
    return answer_documents(tokenizer, (notes.dialogue(example, 0) for example in read))


def _hinted(rows: list[GroundExample], friend: Path | None) -> list[GroundExample]:
    """As retrieval hands them to this friend: the likest memory last, a hint behind the message."""
    if friend is None or (head := intent.load(friend)) is None:
        return rows
    encode = MiniLM().encode
    found = grounding.by_likeness([(r.user, r.memories, r.message) for r in rows], encode)
    pairs = zip(rows, found, strict=True)
    ranked = [row.model_copy(update={"memories": memories}) for row, memories in pairs]
    return intent.hinted(head, ranked, encode)


def keep_hints(friend: Path, folder: Path) -> None:
    """Give a model made of ``friend`` the head that it relies on, if there is one."""
    if head := intent.load(friend):
        intent.save(head, folder)


def even_mix(parts: Iterable[Sequence[Document]]) -> list[Document]:
    """One stream with as many learnt tokens of each domain as the least has, evenly spread.

    Prompts are long and not learnt from: by all tokens, talk would be nearly all of the gradient.
    """
    parts = list(parts)
    least = min(sum(document.learnt() for document in part) for part in parts)
    keyed = []
    for number, part in enumerate(parts):
        kept, total = 0, 0
        while kept < len(part) and total + part[kept].learnt() <= least:
            total += part[kept].learnt()
            kept += 1
        keyed += [((i + 0.5) / kept, number, part[i]) for i in range(kept)]
    return [document for _, _, document in sorted(keyed, key=lambda key: key[:2])]
