"""The memory pool: journals first, then an engine that can always be made again from them."""

from collections.abc import Sequence
from pathlib import Path
from threading import RLock
from uuid import UUID

from oldfriend.errors import InputError
from oldfriend.memory.store import rights
from oldfriend.memory.store.books import Books
from oldfriend.memory.store.edge import EdgeEngine
from oldfriend.memory.store.engine import Engine, Plan, Scored
from oldfriend.memory.store.follower import Follower
from oldfriend.memory.store.indexing import WINDOW, Cache, Encoder, Indexer
from oldfriend.memory.store.journal import Entry, Opened
from oldfriend.memory.store.lexical import search_lexically
from oldfriend.memory.store.lock import Lock
from oldfriend.memory.store.meta import check_meta
from oldfriend.memory.store.server import ServerEngine
from oldfriend.memory.store.state import State
from oldfriend.memory.store.user import UserMemory

LINE_ENTRIES = 1000  # of one write; more go into several lines
DEPTHS = ("", "*/", "journals/*/", "engine/*/")  # where files are written


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
        self._follower = Follower(engine, indexer, self.books, folder / "marks.json", name)
        self._turn = RLock()
        self._lock: Lock | None = None

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
            for path in (draft for depth in DEPTHS for draft in folder.glob(f"{depth}.*")):
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
        return self._follower.behind

    def catch_up(self) -> int:
        """Bring the engine up to the journals; how many entries it took in."""
        with self._turn:
            before = self.behind
            if self._follower.wake():
                before = max(before, self.behind)
                rights.finish_interrupted(self)
                for key in self._follower.lagging:
                    if not self._follower.settle(self.books.person(self.books.owner(key))):
                        break
            return before - self.behind

    def reindex(self) -> None:
        """Embed everything anew, from the journals."""
        with self._turn:
            self._follower.clear()
            self.catch_up()
            self.flush()

    def flush(self) -> None:
        """Let the engine write to disk. Takes up to some 100 ms: not in the middle of a turn."""
        with self._turn:
            self._follower.flush()

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
            lagging = self._follower.lags(person.key)
            touched, size = set[UUID](), 0
            for start in range(0, len(todo), LINE_ENTRIES):
                line = todo[start : start + LINE_ENTRIES]
                size = person.journal.append(line)
                self._follower.fall_behind(person.key, len(line))
                for entry in line:
                    touched |= person.state.apply(entry, WINDOW)
            if lagging:
                self._follower.settle(person)
            elif self._follower.index(person, sorted(touched)):
                self._follower.caught_up(person.key, size)

    def search(self, user: str, plan: Plan) -> list[Scored]:
        """What ``plan`` finds; by words alone, over the journal, if the engine cannot be asked."""
        with self._turn:
            self._open_or_fail()
            person = self.books.person(user)
            found = self._follower.search(person, plan)
            if found is None:
                return search_lexically(self.indexer, person.state, plan, person.words)
            return found

    def unlearn(self, key: str) -> None:
        """Trust nothing in memory or in the engine of this person: their journal will change."""
        with self._turn:
            self.books.close(key)
            self._follower.distrust(key)

    def learn(self, key: str) -> bool:
        """Make the engine match a changed journal; False if it does not answer."""
        with self._turn:
            if not self.books.journal(key).path.exists():
                return self._follower.drop(key)
            self._follower.start_over(key)
            return self._follower.settle(self.books.person(self.books.owner(key)))

    def awake(self) -> bool:
        """Whether the engine answers."""
        return self._follower.awake()

    def _open_or_fail(self) -> None:
        if self._lock is None:
            raise InputError(f"the memory pool {self.folder} is closed; open it again")
