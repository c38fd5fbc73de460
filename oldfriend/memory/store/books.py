"""Everyone's journals: where they lie, whose they are, and what they say when it is asked."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from oldfriend.memory.store.engine import tenant_key
from oldfriend.memory.store.journal import Journal, owner
from oldfriend.memory.store.lexical import Words
from oldfriend.memory.store.state import State

CACHED_RECORDS = 100_000  # kept in memory of people not lately asked about


@dataclass
class Person:
    """A journal read into memory."""

    user: str
    key: str
    journal: Journal
    state: State
    words: Words = field(default_factory=dict)


class Books:
    """The folder of journals. ``notes`` tells what had to be repaired."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: list[str] = []
        self._people: OrderedDict[str, Person] = OrderedDict()

    def journal(self, key: str) -> Journal:
        """The file of the person with this key."""
        return Journal(self.folder / key[:2] / f"{key}.jsonl")

    def sizes(self) -> Iterator[tuple[str, int]]:
        """The key of everyone with a journal, and its bytes."""
        for path in sorted(self.folder.glob("*/[!.]*.jsonl")):
            if not Journal(path).unborn():
                yield path.stem, path.stat().st_size

    def users(self) -> list[str]:
        """Everyone with a journal, in alphabetical order."""
        return sorted(self.owner(key) for key, _ in self.sizes())

    def owner(self, key: str) -> str:
        """Whose key it is."""
        known = self._people.get(key)
        return known.user if known else owner(self.journal(key).path)

    def person(self, user: str) -> Person:
        """A person's records, read from their journal unless they are at hand."""
        key = tenant_key(user)
        person = self._people.get(key)
        if person is None:
            journal, state = self.journal(key), State()
            if journal.path.exists():
                for entry in journal.read():
                    state.apply(entry)
                self.notes += journal.notes
            person = self._people[key] = Person(user, key, journal, state)
            held = sum(len(other.state) for other in self._people.values())
            while held > CACHED_RECORDS and len(self._people) > 1:
                held -= len(self._people.popitem(last=False)[1].state)
        self._people.move_to_end(key)
        return person

    def close(self, key: str) -> None:
        """Read this journal again when it is next asked for."""
        self._people.pop(key, None)
