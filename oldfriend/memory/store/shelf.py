"""Where one person's records stand in their talks, as arrays: neighbours are found without a loop
over records, which would cost more than to compare their words."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any
from uuid import UUID
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.state import State

PEOPLE = 64  # whose shelves are kept
TALK = 1 << 32  # places of a talk: more than it has turns
MARGIN = 16  # places that stay empty between talks

Rows = NDArray[np.int64]


class Shelf:
    """The records of a state by row, in the order in which they were told. Two turns of one talk
    are as many places apart as there are turns from one to the other."""

    def __init__(self, state: State) -> None:
        self._state, self._forgotten = ref(state), len(state.forgotten)
        self._row: dict[int, int] = {}  # by id.int: a UUID hashes ten times as slowly
        self._ids: list[UUID] = []
        self._talks: dict[str, int] = {}
        self._places = np.zeros(0, np.int64)  # of every row
        self._turn_places = np.zeros(0, np.int64)  # of the rows that are turns, in order
        self._turn_rows = np.zeros(0, np.int64)

    def of(self, state: State) -> bool:
        """Whether this is still the shelf of ``state``, from which nothing was erased since."""
        return self._state() is state and len(state.forgotten) == self._forgotten

    def take_in(self, state: State) -> None:
        """Put up what was told since."""
        new = state.newest(len(state) - len(self._row))
        if not new:
            return
        first = len(self._row)
        places = [self._place(record, first + n) for n, record in enumerate(new)]
        self._row |= {record.id.int: first + n for n, record in enumerate(new)}
        self._ids += [record.id for record in new]
        self._places = np.append(self._places, np.array(places, np.int64))
        turns = [n for n, record in enumerate(new) if record.kind == "turn" and record.source]
        if turns:
            rows = np.append(self._turn_rows, np.array(turns, np.int64) + first)
            order = np.argsort(self._places[rows], kind="stable")
            self._turn_rows = rows[order]
            self._turn_places = self._places[self._turn_rows]

    def rows(self, records: Sequence[MemoryRecord]) -> Rows:
        """Where ``records`` stand."""
        return np.array([self._row[record.id.int] for record in records], np.int64)

    def ids(self, rows: Rows) -> list[UUID]:
        """The ids of the records that stand there."""
        return [self._ids[row] for row in rows.tolist()]

    def beside(self, rows: Rows, away: int) -> Rows:
        """The turn that stands so many turns ``away`` from each row (before it, if negative) in
        the same talk; -1 where none does. 0: the turn that a note was taken from."""
        if not len(self._turn_places):
            return np.full(len(rows), -1)
        wanted = self._places[rows] + away
        at = np.minimum(np.searchsorted(self._turn_places, wanted), len(self._turn_places) - 1)
        found: NDArray[Any] = np.where(self._turn_places[at] == wanted, self._turn_rows[at], -1)
        return found

    def _place(self, record: MemoryRecord, row: int) -> int:
        if record.source is None:
            return -MARGIN * (row + 1)  # beside nothing
        talk = self._talks.setdefault(record.source.session, len(self._talks))
        return talk * TALK + MARGIN + min(record.source.turn, TALK - 2 * MARGIN)


class Shelves:
    """The shelves of the people who were asked about last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Shelf] = OrderedDict()

    def of(self, state: State) -> Shelf:
        """The shelf of ``state``, with all that it holds by now."""
        shelf = self._kept.get(state.user)
        if shelf is None or not shelf.of(state):
            shelf = self._kept[state.user] = Shelf(state)
        self._kept.move_to_end(state.user)
        while len(self._kept) > PEOPLE:
            self._kept.popitem(last=False)
        shelf.take_in(state)
        return shelf

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
