"""The memory pool: journals first, then an engine that can always be made again from them."""

import logging
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from threading import RLock
from time import monotonic
from uuid import UUID

from oldfriend.errors import InputError
from oldfriend.memory.store import rights
from oldfriend.memory.store.books import Books, Person
from oldfriend.memory.store.edge import EdgeEngine
from oldfriend.memory.store.engine import Engine, EngineDownError, Plan, Scored, search
from oldfriend.memory.store.indexing import WINDOW, Cache, Draft, Encoder, Indexer
from oldfriend.memory.store.journal import Entry, Opened
from oldfriend.memory.store.lexical import search_lexically
from oldfriend.memory.store.lock import Lock
from oldfriend.memory.store.meta import check_meta, load_marks, save_marks
from oldfriend.memory.store.server import ServerEngine
from oldfriend.memory.store.state import State
from oldfriend.memory.store.user import UserMemory

RETRY_S = 5.0  # how long a dead server is left alone
LINE_ENTRIES = 1000  # of one write; more go into several lines
PAGE = 1000  # points written to the engine at once

log = logging.getLogger(__name__)


class MemoryPool:
    """A folder of memories. ``of(user)`` is the only way to any of them.

    Layout: ``meta.json``; ``journals/``, the truth; ``engine/``, the vectors; ``marks.json``, how
    many bytes of each journal were in the engine at the last flush; ``erasing/``, erasures under
    way; ``lock``. One process at a time; threads take turns.
    """

    def __init__(self, folder: Path, indexer: Indexer, engine: Engine, name: str) -> None:
        self.folder, self.indexer, self.engine = folder, indexer, engine
        self.books = Books(folder / "journals")
        # Whatever is here is cleared by every erasure; others may add theirs.
        self.caches = [indexer.encoder] if isinstance(indexer.encoder, Cache) else list[Cache]()
        self._engine_name = name
        self._behind: dict[str, int] = {}
        self._down_since: float | None = float("-inf")  # not connected yet
        self._turn = RLock()
        self._lock: Lock | None = None
        self._marks = load_marks(folder / "marks.json", name)
        for key, size in self.books.sizes():
            mark = self._marks.get(key, 0)
            if mark != size:
                self._fall_behind(key, self.books.journal(key).entries_after(mark))

    @classmethod
    def open(
        cls,
        folder: Path,
        embedder: Encoder,
        *,
        url: str | None = None,
        api_key: str | None = None,
        indexer: Indexer | None = None,
        engine: Engine | None = None,
        reindex: bool = False,
    ) -> "MemoryPool":
        """Open or make the pool in ``folder``, with Qdrant embedded or at ``url``.

        StoreLockedError if another process has it. InputError if its vectors are another
        embedder's, unless ``reindex``. Erasures that were interrupted are finished first.
        """
        indexer = indexer or Indexer(embedder)
        lock = Lock(folder / "lock")
        try:
            for path in (*folder.glob(".*"), *folder.glob("*/.*"), *folder.glob("journals/*/.*")):
                path.unlink()  # drafts of a write that was cut short
            meta = check_meta(folder, indexer, reindex)
            if engine is None and url:
                name = f"oldfriend-{meta['pool']}"
                engine = ServerEngine(url, name, indexer.encoder.size, api_key)
            elif engine is None:
                engine = EdgeEngine(folder / "engine", indexer.encoder.size)
            pool = cls(folder, indexer, engine, url or type(engine).__name__)
            pool._lock = lock
            pool.awake()
            rights.finish_interrupted(pool)
            if reindex:
                pool.reindex()
        except BaseException:
            lock.release()
            raise
        return pool

    def of(self, user: str) -> UserMemory:
        """The memories of ``user``, who need not have any yet."""
        return UserMemory(self, user)

    def users(self) -> list[str]:
        """Everyone with a journal, in alphabetical order."""
        return self.books.users()

    @property
    def notes(self) -> list[str]:
        """What had to be repaired since the pool was opened."""
        return self.books.notes

    @property
    def behind(self) -> int:
        """How many entries are not known to be in the engine."""
        return sum(self._behind.values())

    def catch_up(self) -> int:
        """Bring the engine up to the journals; how many entries it took in."""
        with self._turn:
            before = self.behind
            if self._down_since is not None:
                self._down_since = float("-inf")
            if self.awake():
                before = max(before, self.behind)
                rights.finish_interrupted(self)
                for key in list(self._behind):
                    if not self._settle(self.books.person(self.books.owner(key))):
                        break
            return before - self.behind

    def reindex(self) -> None:
        """Embed everything anew, from the journals."""
        with self._turn:
            self._marks = {}
            self.save_marks()
            self.engine.clear()
            self._behind_in_all()
            self.catch_up()
            self.flush()

    def flush(self) -> None:
        """Let the engine write to disk. Takes up to some 100 ms: not in the middle of a turn."""
        with self._turn:
            try:
                self.engine.flush()
            except EngineDownError:
                self._fell_down()
            self.save_marks()

    def close(self) -> None:
        """Flush, and let other processes have the pool."""
        with self._turn:
            if self._lock:
                self.flush()
                self.engine.close()
                self._lock.release()
                self._lock = None

    def __enter__(self) -> "MemoryPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # For UserMemory and rights, which know whose memories they ask for

    def state(self, user: str) -> State:
        """A person's records, read from the journal if they are not at hand."""
        with self._turn:
            return self.books.person(user).state

    def write(self, user: str, entries: Sequence[Entry]) -> None:
        """Journal, then state, then engine. Without the engine the entries are behind."""
        with self._turn:
            self._open_or_fail()
            person = self.books.person(user)
            todo = list(entries)
            if not person.state.user:
                todo.insert(0, Opened(at=entries[0].at, user=user))
            lagging = person.key in self._behind
            touched, size = set[UUID](), 0
            for start in range(0, len(todo), LINE_ENTRIES):
                line = todo[start : start + LINE_ENTRIES]
                size = person.journal.append(line)
                self._fall_behind(person.key, len(line))
                for entry in line:
                    touched |= person.state.apply(entry, WINDOW)
            if lagging:
                self._settle(person)
            elif self._index(person, sorted(touched)):
                self._caught_up(person.key, size)

    def search(self, user: str, plan: Plan) -> list[Scored]:
        """What ``plan`` finds; by words alone, over the journal, if the engine cannot be asked."""
        with self._turn:
            self._open_or_fail()
            person = self.books.person(user)
            try:
                if (person.key not in self._behind or self._settle(person)) and self.awake():
                    found = search(self.engine, person.key, plan)
                    return [hit for hit in found if hit.id in person.state]
            except EngineDownError:
                self._fell_down()
            return search_lexically(self.indexer, person.state, plan, person.words)

    def unlearn(self, key: str) -> None:
        """Trust nothing in memory or in the engine of this person: their journal will change."""
        with self._turn:
            self.books.close(key)
            self._marks.pop(key, None)
            self.save_marks()

    def learn(self, key: str) -> bool:
        """Make the engine match a changed journal; False if it does not answer."""
        with self._turn:
            journal = self.books.journal(key)
            if journal.path.exists():
                self._behind[key] = journal.entries_after(0)
                return self._settle(self.books.person(self.books.owner(key)))
            self._behind.pop(key, None)
            try:
                if self.awake():
                    self.engine.drop(key)
                    return True
            except EngineDownError:
                self._fell_down()
            return False

    def awake(self) -> bool:
        """Whether the engine answers; a dead one is asked again every RETRY_S seconds."""
        if self._down_since is None:
            return True
        if monotonic() - self._down_since < RETRY_S:
            return False
        try:
            new = self.engine.connect()
        except EngineDownError as error:
            self._fell_down()
            log.warning("%s; going on from the journals", error)
            return False
        self._down_since = None
        if new:
            self._behind_in_all()
        return True

    def save_marks(self) -> None:
        """Write down how much of which journal the engine holds for good."""
        save_marks(self.folder / "marks.json", self._engine_name, self._marks)

    # Within

    def _settle(self, person: Person) -> bool:
        """Mend what differs between engine and records; False if it does not answer."""
        if not self.awake():
            return False
        try:
            held = self.engine.marks(person.key)
            drafts = list(self.indexer.drafts(person.state))
            self.engine.delete(person.key, list(held.keys() - {draft.id for draft in drafts}))
            self._embed(person.key, [d for d in drafts if held.get(d.id) != d.mark])
        except EngineDownError:
            self._fell_down()
            return False
        path = person.journal.path
        self._caught_up(person.key, path.stat().st_size if path.exists() else 0)
        return True

    def _index(self, person: Person, touched: Sequence[UUID]) -> bool:
        """Bring the records ``touched`` into the engine, or out of it."""
        if not self.awake():
            return False
        drafts = list(self.indexer.drafts(person.state, touched))
        try:
            self.engine.delete(person.key, sorted(set(touched) - {draft.id for draft in drafts}))
            self._embed(person.key, drafts)
        except EngineDownError:
            self._fell_down()
            return False
        return True

    def _embed(self, key: str, drafts: Sequence[Draft]) -> None:
        points = self.indexer.points(drafts)
        while page := list(islice(points, PAGE)):
            self.engine.upsert(key, page)

    def _fall_behind(self, key: str, entries: int) -> None:
        self._behind[key] = self._behind.get(key, 0) + entries
        self._marks.pop(key, None)

    def _behind_in_all(self) -> None:
        self._marks = {}
        for key, _ in self.books.sizes():
            self._behind[key] = self.books.journal(key).entries_after(0)

    def _caught_up(self, key: str, size: int) -> None:
        self._behind.pop(key, None)
        self._marks[key] = size

    def _fell_down(self) -> None:
        self._down_since = monotonic()

    def _open_or_fail(self) -> None:
        if self._lock is None:
            raise InputError(f"the memory pool {self.folder} is closed; open it again")
