"""From raw talk to clean, deduplicated, leak-free training and test sets with a data card."""

import hashlib
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TypeVar

from oldfriend.corpus import card, dedup, pii, quality, splits
from oldfriend.corpus.answers import grounding
from oldfriend.corpus.grounding import ground_from_talk
from oldfriend.corpus.importers import IMPORTERS, load
from oldfriend.corpus.normalise import normalise
from oldfriend.corpus.people import Life
from oldfriend.corpus.precedents import precedents
from oldfriend.corpus.progress import progress
from oldfriend.corpus.schema import (
    SPLITS,
    Conversation,
    GroundExample,
    NoteExample,
    Precedent,
    Split,
    write_rows,
)
from oldfriend.corpus.seeds import Seeds
from oldfriend.corpus.settings import CurateParams, SourceParams, TaskParams
from oldfriend.corpus.simulator import SOURCE as SIMULATOR
from oldfriend.corpus.simulator import simulate
from oldfriend.corpus.tasks import notes, user_notes
from oldfriend.corpus.unfamiliar import Unfamiliar
from oldfriend.errors import MissingDataError, ParamsError
from oldfriend.files import atomic_folder, write_json

Metrics = dict[str, float | int]
Key = TypeVar("Key", bound=str)


@dataclass
class Corpus:
    """Everything that is written, and the account of what was not."""

    talk: list[Conversation] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    tallies: dict[str, card.Tally] = field(default_factory=lambda: defaultdict(card.Tally))
    duplicates: Counter[str] = field(default_factory=Counter)
    notes: dict[Split, list[NoteExample]] = field(default_factory=dict)
    ground: dict[Split, list[GroundExample]] = field(default_factory=dict)
    users: dict[str, dict[str, list[NoteExample]]] = field(default_factory=dict)
    precedents: list[Precedent] = field(default_factory=list)
    leaks: int = 0
    heard: list[str] = field(default_factory=list)


def curate(params: CurateParams, *, seeds: Path, external: Path, out: Path, seed: int) -> Metrics:
    """Make the corpus and write it to ``out``, whole or not at all; return its counts."""
    check_sources(params.sources, external)
    banks = Seeds.load(seeds) if params.simulator else None
    corpus = Corpus()
    if params.simulator and banks:
        corpus.talk, corpus.lives = simulate(params.simulator, banks)
        corpus.tallies[SIMULATOR].read = len(corpus.talk)
    for source in params.sources:
        corpus.talk += read_source(source, params, external, seed, corpus.tallies)
    separate(corpus, params, seed)
    cut(corpus, params.tasks, banks, seed)
    talk = splits.by_split(corpus.talk)
    corpus.leaks = splits.check_leaks(talk, params.dedup, notes=corpus.notes, ground=corpus.ground)
    corpus.heard = splits.values_heard(talk)
    metrics = count(corpus)
    with atomic_folder(out) as draft:
        write(corpus, draft, samples=params.samples)
        meta = {
            "params": params.model_dump(mode="json"),
            "seed": seed,
            "seeds_hash": hash_files(seeds, "*.yaml"),
            "data_hash": hash_files(draft, "*.jsonl"),
            "counts": metrics,
        }
        write_json(draft / "meta.json", meta)
    return metrics


def check_sources(sources: Iterable[SourceParams], external: Path) -> None:
    """Fail before any work if an importer or a dataset is missing."""
    for source in sources:
        if source.name not in IMPORTERS:
            known = ", ".join(sorted(IMPORTERS))
            raise ParamsError(f"unknown importer '{source.name}'; there are {known}")
        place = external / source.path
        if not place.exists():
            raise MissingDataError(
                f"{place} is not there, which the source '{source.name}' needs; unpack it with: "
                f"mkdir -p {external} && tar -xJf {source.path}.tar.xz -C {external}"
            )


def read_source(
    source: SourceParams,
    params: CurateParams,
    external: Path,
    seed: int,
    tallies: Mapping[str, card.Tally],
) -> list[Conversation]:
    """Import one dataset, then normalise, filter and scrub it, counting per source name."""
    rows: dict[str, list[Conversation]] = defaultdict(list)
    read = list(progress(load(source.name, external / source.path), f"reading {source.name}"))
    for conversation in choose(read, source.limit, seed):
        forgotten = {"split": None} if source.resplit else {}
        rows[conversation.source].append(conversation.model_copy(update=forgotten))
    clean: list[Conversation] = []
    for name, found in rows.items():
        tally = tallies[name]
        tally.read += len(found)
        good = quality.keep_good(normalise(found, tally.repairs), params.quality, tally.removed)
        if source.scrub:
            good = pii.scrub(good, tally.pii)
        clean += progress(good, f"cleaning {name}", len(found))
    return clean


def choose(
    conversations: Sequence[Conversation], limit: int | None, seed: int
) -> list[Conversation]:
    """At most ``limit`` conversations: person after person by a stable hash, the last cut short."""
    if limit is None or len(conversations) <= limit:
        return list(conversations)
    by_person: dict[str, list[int]] = defaultdict(list)
    for place, conversation in enumerate(conversations):
        by_person[conversation.person].append(place)
    order = sorted(by_person, key=lambda person: _hash(f"{seed}:{person}"))
    places = itertools.chain.from_iterable(by_person[person] for person in order)
    return [conversations[place] for place in sorted(itertools.islice(places, limit))]


def separate(corpus: Corpus, params: CurateParams, seed: int) -> None:
    """Give every conversation a split and drop duplicates, those in training first."""
    removed: Counter[str] = Counter()
    before = Counter(conversation.source for conversation in corpus.talk)
    placed = splits.assign(corpus.talk, params.splits, seed, removed)
    inside = Counter(conversation.source for conversation in placed)
    corpus.talk = dedup.deduplicate(placed, params.dedup, corpus.duplicates)
    unique = Counter(conversation.source for conversation in corpus.talk)
    for source, tally in corpus.tallies.items():
        if before[source] > inside[source]:
            tally.removed["crosses_split"] += before[source] - inside[source]
        tally.duplicates = inside[source] - unique[source]


def cut(corpus: Corpus, params: TaskParams, banks: Seeds | None, seed: int) -> None:
    """Cut the examples of every task from the talk."""
    for split, talk in splits.by_split(corpus.talk).items():
        noted = [row for row in talk if row.source == SIMULATOR or _has_facts(row)]
        real = [row for row in talk if row.source != SIMULATOR]
        lives = [life for life in corpus.lives if life.split == split]
        corpus.notes[split] = notes(noted, lives, negatives=params.note_negatives, seed=seed)
        if banks and split == "train":
            unfamiliar = Unfamiliar(banks, Random(f"unfamiliar {seed}"))
            corpus.notes[split] = list(unfamiliar.notes(corpus.notes[split], params.unfamiliar))
            lives = unfamiliar.lives(lives, params.unfamiliar)
        corpus.ground[split] = list(ground_from_talk(real, params.ground_per_conversation))
        if banks and lives:
            corpus.ground[split] += grounding(
                lives,
                banks,
                Random(f"ground {seed} {split}"),
                count=params.ground.get(split, 0),
                max_memories=params.ground_memories,
                max_exchanges=params.ground_exchanges if split == "train" else 1,
            )
    corpus.precedents = precedents(corpus.talk, banks)
    for part, examples in user_notes(corpus.talk, corpus.lives, seed=seed).items():
        for example in examples:
            corpus.users.setdefault(example.user, {}).setdefault(part, []).append(example)


def count(corpus: Corpus) -> Metrics:
    """The metrics of the stage: ``talk/SOURCE/SPLIT`` and so on, and what was taken out."""
    counts = Counter(("talk", row.source, row.split or "train") for row in corpus.talk)
    for split in SPLITS:
        counts.update(("summarizer", row.source, split) for row in corpus.notes[split])
        counts.update(("ground", row.source, split) for row in corpus.ground[split])
    metrics: Metrics = {"/".join(key): number for key, number in sorted(counts.items())}
    tallies = corpus.tallies.values()
    return metrics | {
        "users": len(corpus.users),
        "precedents": len(corpus.precedents),
        "persons": len({row.person for row in corpus.talk}),
        "duplicates_removed": corpus.duplicates.total(),
        "split_leaks": corpus.leaks,
        "test_values_heard": len(corpus.heard),
        "filtered": sum(tally.removed.total() for tally in tallies),
        "pii_scrubbed": sum(tally.pii.total() - tally.pii["facts_lost"] for tally in tallies),
        "facts_lost": sum(
            tally.pii["facts_lost"] + tally.repairs["facts_lost"] for tally in tallies
        ),
    }


def write(corpus: Corpus, out: Path, *, samples: int) -> None:
    """Write the rows, the truth and the data card into ``out``."""
    for split, rows in splits.by_split(corpus.talk).items():
        write_rows(out / "talk" / f"{split}.jsonl", rows)
        write_rows(out / "summarizer" / f"{split}.jsonl", corpus.notes[split])
        write_rows(out / "ground" / f"{split}.jsonl", corpus.ground[split])
    write_json(out / "users" / "index.json", sorted(map(_file_name, corpus.users)))
    for user, parts in progress(corpus.users.items(), "writing users"):
        for part, examples in parts.items():
            write_rows(out / "users" / _file_name(user) / f"{part}.jsonl", examples)
    write_rows(out / "lives.jsonl", corpus.lives)
    write_rows(out / "precedents.jsonl", corpus.precedents)
    summary = card.summarise(
        corpus.talk,
        corpus.tallies,
        tasks={
            "talk": _sizes(splits.by_split(corpus.talk)),
            "summarizer": _sizes(corpus.notes),
            "ground": _sizes(corpus.ground),
            f"personal notes ({len(corpus.users)} users)": _sizes(_pooled(corpus.users)),
        },
        duplicates=corpus.duplicates,
        leaks=corpus.leaks,
        heard=corpus.heard,
    )
    card.write(out, summary, corpus.talk, samples=samples)


def hash_files(folder: Path, pattern: str) -> str:
    """Hash the names and bytes of the files below ``folder``; empty if there are none."""
    digest = hashlib.sha256()
    files = sorted(folder.rglob(pattern))
    for file in files:
        name = file.relative_to(folder).as_posix()
        digest.update(f"{name}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return digest.hexdigest() if files else ""


def _has_facts(conversation: Conversation) -> bool:
    return any(turn.facts for turn in conversation.turns)


def _sizes(rows: Mapping[Key, Sequence[object]]) -> dict[str, int]:
    return {str(split): len(found) for split, found in rows.items()}


def _pooled(users: Mapping[str, Mapping[str, list[NoteExample]]]) -> dict[str, list[NoteExample]]:
    pooled: dict[str, list[NoteExample]] = defaultdict(list)
    for parts in users.values():
        for part, examples in parts.items():
            pooled[part] += examples
    return pooled


def _file_name(user: str) -> str:
    return re.sub(r"[^\w.-]+", "_", user)


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
