"""Keeps an engine in step with the journals: what it holds, what it lacks, and whether it answers.

The engine is only ever a copy. How many bytes of each journal it holds for good is written down at
every flush, so that a start has to look only at the journals that grew since.
"""

import logging
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from time import monotonic
from uuid import UUID

from oldfriend.memory.store.books import Books, Person
from oldfriend.memory.store.engine import Engine, EngineDownError, Plan, Scored, search
from oldfriend.memory.store.indexing import Draft, Indexer
from oldfriend.memory.store.meta import load_marks, save_marks

RETRY_S = 5.0  # how long a dead server is left alone
PAGE = 1000  # points written to the engine at once

log = logging.getLogger(__name__)


class Follower:
    """The engine behind ``books``. Marks are kept in the file ``marks`` for the engine ``name``."""

    def __init__(
        self, engine: Engine, indexer: Indexer, books: Books, marks: Path, name: str
    ) -> None:
        self.engine, self._indexer, self._books = engine, indexer, books
        self._path, self._name = marks, name
        self._behind: dict[str, int] = {}  # entries by person
        self._down_since: float | None = float("-inf")  # not connected yet
        self._marks = load_marks(marks, name)
        for key, size in books.sizes():
            mark = self._marks.get(key, 0)
            if mark != size:
                self.fall_behind(key, books.journal(key).entries_after(mark))

    @property
    def behind(self) -> int:
        """How many entries are not known to be in the engine."""
        return sum(self._behind.values())

    @property
    def lagging(self) -> list[str]:
        """The keys of those whose entries they are."""
        return list(self._behind)

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
            self.behind_in_all()
        return True

    def wake(self) -> bool:
        """As ``awake``, but a dead engine is asked again at once."""
        if self._down_since is not None:
            self._down_since = float("-inf")
        return self.awake()

    def search(self, person: Person, plan: Plan) -> list[Scored] | None:
        """What ``plan`` finds, after catching up; None if the engine cannot be asked."""
        try:
            if (person.key not in self._behind or self.settle(person)) and self.awake():
                found = search(self.engine, person.key, plan)
                return [hit for hit in found if hit.id in person.state]
        except EngineDownError:
            self._fell_down()
        return None

    def settle(self, person: Person) -> bool:
        """Mend what differs between engine and records; False if it does not answer."""
        if not self.awake():
            return False
        try:
            held = self.engine.marks(person.key)
            drafts = list(self._indexer.drafts(person.state))
            self.engine.delete(person.key, list(held.keys() - {draft.id for draft in drafts}))
            self._embed(person.key, [d for d in drafts if held.get(d.id) != d.mark])
        except EngineDownError:
            self._fell_down()
            return False
        path = person.journal.path
        self.caught_up(person.key, path.stat().st_size if path.exists() else 0)
        return True

    def index(self, person: Person, touched: Sequence[UUID]) -> bool:
        """Bring the records ``touched`` into the engine, or out of it."""
        if not self.awake():
            return False
        drafts = list(self._indexer.drafts(person.state, touched))
        try:
            self.engine.delete(person.key, sorted(set(touched) - {draft.id for draft in drafts}))
            self._embed(person.key, drafts)
        except EngineDownError:
            self._fell_down()
            return False
        return True

    def drop(self, key: str) -> bool:
        """Delete all of a person whose journal is gone; False if the engine does not answer."""
        self._behind.pop(key, None)
        try:
            if self.awake():
                self.engine.drop(key)
                return True
        except EngineDownError:
            self._fell_down()
        return False

    def lags(self, key: str) -> bool:
        """Whether the engine is known to lack something of this person."""
        return key in self._behind

    def fall_behind(self, key: str, entries: int) -> None:
        """So many more entries of this person are not in the engine."""
        self._behind[key] = self._behind.get(key, 0) + entries
        self._marks.pop(key, None)

    def start_over(self, key: str) -> None:
        """All of this person's journal is to be compared again."""
        self._behind[key] = self._books.journal(key).entries_after(0)

    def behind_in_all(self) -> None:
        """Everybody's journal is to be compared again."""
        self._marks = {}
        for key, _ in self._books.sizes():
            self.start_over(key)

    def caught_up(self, key: str, size: int) -> None:
        """The engine holds the first ``size`` bytes of this person's journal, which is all."""
        self._behind.pop(key, None)
        self._marks[key] = size

    def distrust(self, key: str) -> None:
        """Write down that what the engine holds of this person is of no journal."""
        self._marks.pop(key, None)
        self.save_marks()

    def clear(self) -> None:
        """Empty the engine; everybody is behind."""
        self._marks = {}
        self.save_marks()
        self.engine.clear()
        self.behind_in_all()

    def flush(self) -> None:
        """Let the engine write to disk, then write down how far it is."""
        try:
            self.engine.flush()
        except EngineDownError:
            self._fell_down()
        self.save_marks()

    def save_marks(self) -> None:
        """Write down how much of which journal the engine holds for good."""
        save_marks(self._path, self._name, self._marks)

    def _embed(self, key: str, drafts: Sequence[Draft]) -> None:
        points = self._indexer.points(drafts)
        while page := list(islice(points, PAGE)):
            self.engine.upsert(key, page)

    def _fell_down(self) -> None:
        self._down_since = monotonic()
