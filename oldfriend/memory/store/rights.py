"""Forgetting for good, and taking one's memories along.

An erasure is written down before it begins, so that a crash in between is finished by the next
open. What is erased is in no file of the pool afterwards; blocks that the file system gave back are
beyond a program's reach.
"""

import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from pydantic import ValidationError

from oldfriend.corpus.schema import Row, read_rows, write_rows
from oldfriend.errors import InputError
from oldfriend.files import atomic_write
from oldfriend.memory.store.engine import EngineDownError, Vector, tenant_key
from oldfriend.memory.store.journal import Forget, sync_folder, without
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.scan import Found, ScanReport, proof_scan, text_needles, vector_needles
from oldfriend.memory.store.state import State

if TYPE_CHECKING:
    from oldfriend.memory.store.pool import MemoryPool
    from oldfriend.memory.store.user import UserMemory

MAX_IMPORT = 4 * 2**30  # bytes
MAX_PROVED = 5000  # records of one erasure that are looked for; of more, evenly chosen ones


class Erasing(Row):
    """An erasure under way. ``ids``: never to return; ``derived``: made from them, gone as well but
    free to be made again. ``person``: everything of this key, and the folder ``adapter``. ``here``:
    journal and adapter are done, only the engine is left."""

    key: str
    at: datetime
    ids: tuple[UUID, ...] = ()
    derived: tuple[UUID, ...] = ()
    person: bool = False
    adapter: str = ""
    here: bool = False


@dataclass(frozen=True)
class Erasure:
    """What was erased, and the proof. ``clean``: found nowhere but where it belongs to others.

    ``kept``: the same words in records that stay, or of other people. ``done`` false: the engine
    does not answer; it will be finished when it does. ``scrubbed`` false: on a server, which
    overwrites its files when it sees fit.
    """

    ids: tuple[UUID, ...]
    derived: tuple[UUID, ...]
    report: ScanReport
    kept: tuple[Found, ...]
    done: bool
    scrubbed: bool

    @property
    def clean(self) -> bool:
        return self.done and not self.report.hits

    def __str__(self) -> str:
        waits = "" if self.done else "\nthe engine does not answer: vectors are erased later"
        server = "" if self.scrubbed or not self.done else "\nfiles of the server: not ours to see"
        same = f"\n{len(self.kept)} places with the same words in other records" * bool(self.kept)
        count = len(self.ids) + len(self.derived)
        return f"erased {count} records; {self.report}{same}{waits}{server}"


def about(state: State, topic: str) -> list[UUID]:
    """Records whose text, value or slot holds ``topic`` as whole words, whatever the case."""
    if not topic.strip():
        raise InputError("say what to forget", field="topic")
    words = re.compile(rf"(?<!\w){re.escape(topic.strip())}(?!\w)", re.IGNORECASE)
    return [
        record.id for record in state.values()
        if any(words.search(part) for part in (record.text, record.value, record.slot))
    ]  # fmt: skip


def forget(pool: "MemoryPool", user: str, ids: Iterable[UUID], at: datetime) -> Erasure:
    """Erase records with what says the same (the turn a note was taken from, the notes of a turn)
    and what was made from them, then look for them in every file."""
    state = pool.state(user)
    asked = list(ids)
    for id in asked:
        if id not in state:
            raise InputError(f"no record {id} of '{user}'; see records()", field="id")
    said = state.said_with(asked)
    derived = state.made_from(said) - said
    erasing = Erasing(
        key=tenant_key(user), at=at, ids=tuple(sorted(said)), derived=tuple(sorted(derived))
    )
    return _erase(pool, user, erasing)


def forget_person(
    pool: "MemoryPool", user: str, at: datetime, adapter: Path | None = None
) -> Erasure:
    """Erase all of a person: journal, vectors, caches and the LoRA in ``adapter``. Nothing is left
    that could tell that they were ever here."""
    if adapter is not None and (
        adapter.is_symlink() or not (adapter / "adapter_config.json").is_file()
    ):
        raise InputError("not the folder of an adapter: no adapter_config.json", path=adapter)
    folder = str(adapter.resolve()) if adapter else ""
    return _erase(pool, user, Erasing(key=tenant_key(user), at=at, person=True, adapter=folder))


def finish_interrupted(pool: "MemoryPool") -> None:
    """Finish erasures that a crash or a dead server cut short."""
    for path in sorted((pool.folder / "erasing").glob("*.json")):
        try:
            erasing = Erasing.model_validate_json(path.read_bytes())
        except ValidationError:
            raise InputError("not an erasure; forget again, then delete this", path=path) from None
        _finish(pool, erasing)


def export(memory: "UserMemory", path: Path) -> int:
    """Write a person's records as JSON Lines, whole or not at all; how many."""
    return write_rows(path, memory.state.values())


def load(memory: "UserMemory", path: Path, at: datetime) -> list[UUID]:
    """Take in exported records of the same person; the ids that are new. Nothing is taken if a
    line is not a record of theirs: InputError names it."""
    if path.is_file() and path.stat().st_size > MAX_IMPORT:
        raise InputError(f"larger than {MAX_IMPORT:,} bytes; split it", path=path)
    records = []
    for number, record in enumerate(read_rows(path, MemoryRecord), start=1):
        if record.user != memory.user:
            raise InputError(
                f"a record of '{record.user}', not of '{memory.user}'",
                path=path, line=number, field="user",
            )  # fmt: skip
        records.append(record)
    return memory.add(records, at)


def _erase(pool: "MemoryPool", user: str, erasing: Erasing) -> Erasure:
    state = pool.state(user)
    gone = list(state) if erasing.person else [*erasing.ids, *erasing.derived]
    records = [state[id] for id in gone]
    needles = _needles(pool, erasing, records)
    _write_down(pool, erasing)
    done, scrubbed = _finish(pool, erasing)
    report = proof_scan(pool.folder, needles)
    kept = _kept(pool, user, erasing, records, report.hits)
    left = tuple(hit for hit in report.hits if hit not in kept)
    told = () if erasing.person else erasing.derived
    return Erasure(
        tuple(gone[: len(gone) - len(told)]), told,
        ScanReport(report.root, report.needles, report.files, report.bytes, left),
        kept, done, scrubbed,
    )  # fmt: skip


def _finish(pool: "MemoryPool", erasing: Erasing) -> tuple[bool, bool]:
    """Do all that is left of an erasure; whether the engine is through, and scrubbed."""
    pool.unlearn(erasing.key)
    for cache in pool.caches:
        cache.clear()
    if not erasing.here:
        _erase_here(pool, erasing)
        # Not again when the server is back: the person may be, too, with a new journal.
        _save(pool, erasing.model_copy(update={"here": True}))
    try:
        done = pool.learn(erasing.key)
        scrubbed = done and pool.engine.scrub(erasing.key)
    except EngineDownError:
        return False, False
    if done:
        pool.flush()
        path = _path(pool, erasing.key)
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
    return done, scrubbed


def _erase_here(pool: "MemoryPool", erasing: Erasing) -> None:
    """Journal and adapter; harmless a second time."""
    journal = pool.books.journal(erasing.key)
    if erasing.person:
        if journal.path.exists():
            journal.path.unlink()
            sync_folder(journal.path.parent)
        if erasing.adapter and Path(erasing.adapter).exists():
            shutil.rmtree(erasing.adapter)
    elif journal.path.exists():
        entries = list(journal.read())
        tombstones = {id for e in entries if isinstance(e, Forget) for id in e.ids}
        entries = without(entries, frozenset((*erasing.ids, *erasing.derived)))
        if not tombstones.issuperset(erasing.ids):
            entries.append(Forget(at=erasing.at, ids=erasing.ids))
        journal.rewrite(entries)


def _write_down(pool: "MemoryPool", erasing: Erasing) -> None:
    """From here on the erasure is certain. One that failed half-way is taken along."""
    path = _path(pool, erasing.key)
    before = Erasing.model_validate_json(path.read_bytes()) if path.exists() else None
    if before and not before.here and not erasing.person:
        ids = tuple(sorted({*before.ids, *erasing.ids}))
        derived = tuple(sorted({*before.derived, *erasing.derived} - set(ids)))
        erasing = before.model_copy(update={"ids": ids, "derived": derived})
    _save(pool, erasing)


def _save(pool: "MemoryPool", erasing: Erasing) -> None:
    path = _path(pool, erasing.key)
    with atomic_write(path) as out:
        out.write(erasing.model_dump_json())
    sync_folder(path.parent)


def _path(pool: "MemoryPool", key: str) -> Path:
    return pool.folder / "erasing" / f"{key}.json"


def _needles(
    pool: "MemoryPool", erasing: Erasing, records: Sequence[MemoryRecord]
) -> dict[str, set[bytes]]:
    """What must not be found, under the id of its record."""
    step = -(-len(records) // MAX_PROVED) or 1
    chosen = records[::step]
    needles = {f"text of {r.id}": text_needles(r.text) for r in chosen}
    try:
        vectors: Sequence[tuple[UUID, Vector]] = (
            pool.engine.dense(erasing.key, [r.id for r in chosen]) if pool.awake() else ()
        )
    except EngineDownError:
        vectors = ()
    for id, vector in vectors:
        needles.setdefault(f"vector of {id}", set()).update(vector_needles(vector))
    if erasing.person:
        needles["the person's key"] = {erasing.key.encode()}
    return needles


def _kept(
    pool: "MemoryPool",
    user: str,
    erasing: Erasing,
    records: Sequence[MemoryRecord],
    hits: Sequence[Found],
) -> tuple[Found, ...]:
    """Hits that are other memories' own: the same words said by somebody else, or said twice. Equal
    words have equal vectors, so where a text is kept its vectors are."""
    texts = {str(record.id): record.text for record in records}
    others = [record.text for record in pool.state(user).values()]
    journals, own = pool.folder / "journals", pool.books.journal(erasing.key).path
    words: set[str] = set()
    for hit in hits:
        id = hit.name.rpartition(" ")[2]
        if hit.path.is_relative_to(journals) and id in texts:
            theirs = hit.path != own
            if theirs or any(texts[id] in other for other in others):
                words.add(id)
    return tuple(hit for hit in hits if hit.name.rpartition(" ")[2] in words)
