"""Late interaction: how well each word of a question is met by a turn or the turns around it.

ColBERT's MaxSim (Khattab and Zaharia 2020) with the word pieces of an ordinary sentence encoder,
which needs no training, and two changes: a word counts by its rarity in the person's own memories
(inverse document frequency, as BM25 weighs it), and it may be met by a neighbour in the same
session, at a discount that grows with the distance. Conversations say a thing over several turns
("A dog!" - "What breed?" - "A beagle."), and one vector a turn cannot see that.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from oldfriend.memory.store.embed import TokenReader
from oldfriend.memory.store.keys import key
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.shelf import Shelves
from oldfriend.memory.store.state import State

DISCOUNTS = (0.8, 0.7, 0.6)  # of a word met one, two or three turns away
COUNTED = 1024  # records that word frequencies are read from, at most
PEOPLE = 64  # whose frequencies are kept

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Match:
    """Scores [records] in [-1, 1], 1 for every word met word by word: ``own`` by the record alone,
    ``window`` by it or its neighbours."""

    own: Scores
    window: Scores


class LateInteraction:
    """Scores records against questions, remembering the word vectors of records it has scored.

    The latest ``capacity`` turns are kept, at about 18 KB each. Records met for the first time have
    to be read by the model: a millisecond each and more. ``clear`` forgets them all, as erasing
    must.
    """

    def __init__(
        self, reader: TokenReader, capacity: int = 8192, shelves: Shelves | None = None
    ) -> None:
        self._reader, self._capacity = reader, capacity
        self._kept: dict[tuple[int, str], Scores] = {}  # by id.int and text
        self._counts: OrderedDict[tuple[str, int, UUID], NDArray[np.int64]] = OrderedDict()
        self._shelves = shelves or Shelves()

    def match(self, question: str, records: Sequence[MemoryRecord], state: State) -> Match:
        """How well each of ``records``, which are of ``state``, meets ``question``."""
        asked = self._reader.read([question])[0]
        if not records or not len(asked.ids):
            none = np.zeros(len(records), np.float32)
            return Match(none, none)
        shelf = self._shelves.of(state)
        rows = shelf.rows(records)
        reach = len(DISCOUNTS)
        near = [(away, shelf.beside(rows, away)) for away in range(-reach, reach + 1)]
        every = np.unique(np.concatenate([rows, *(beside for _, beside in near)]))
        every = every[every >= 0]
        met = self._met(asked.vectors, [state[id] for id in shelf.ids(every)])
        own = met[np.searchsorted(every, rows)]
        best = own.copy()
        for away, beside in near:
            there = np.flatnonzero(beside >= 0)
            weighed = met[np.searchsorted(every, beside[there])] * _discount(away)
            best[there] = np.maximum(best[there], weighed)
        weights = self._rarity(asked.ids, state)
        return Match(own @ weights, best @ weights)

    def clear(self) -> None:
        """Forget all vectors and counts."""
        self._kept.clear()
        self._counts.clear()
        self._shelves.clear()

    def _met(self, asked: NDArray[np.float16], records: Sequence[MemoryRecord]) -> Scores:
        """Cosine of each question word with its nearest word of each record [records, words]."""
        vectors = self._vectors(records)
        starts = np.cumsum([0, *(len(v) for v in vectors[:-1])])
        near = np.concatenate(vectors) @ asked.astype(np.float32).T
        found: Scores = np.maximum.reduceat(near, starts, axis=0)
        return found

    def _vectors(self, records: Sequence[MemoryRecord]) -> list[Scores]:
        keys = [(record.id.int, record.text) for record in records]
        fresh = [r for r, name in zip(records, keys, strict=True) if name not in self._kept]
        if fresh:
            read = self._reader.read([key(record) for record in fresh], content=True)
            for record, tokens in zip(fresh, read, strict=True):
                self._kept[record.id.int, record.text] = tokens.vectors.astype(np.float32)
        found = [self._kept[name] for name in keys]
        for name in list(islice(self._kept, max(len(self._kept) - self._capacity, 0))):
            del self._kept[name]  # the oldest first: a dict keeps the order of writing
        return found

    def _rarity(self, ids: NDArray[np.int64], state: State) -> Scores:
        """BM25's inverse document frequency of the word pieces ``ids``, summing to 1."""
        counts, total = self._frequency(state)
        seen = counts[ids]
        weights = np.log1p((total - seen + 0.5) / (seen + 0.5)).astype(np.float32)
        normed: Scores = weights / weights.sum()
        return normed

    def _frequency(self, state: State) -> tuple[NDArray[np.int64], int]:
        """In how many of the first records each word piece stands, and of how many records.

        The number of records has two significant bits, so that counts hold while a pool grows.
        """
        total = min(_two_bits(len(state)), COUNTED)
        who = (state.user, total, next(iter(state)))
        if who not in self._counts:
            counts = np.zeros(self._reader.vocabulary, np.int64)
            texts = [key(record) for record in islice(state.values(), total)]
            for ids in self._reader.pieces(texts):
                counts[list(set(ids))] += 1
            self._counts[who] = counts
        self._counts.move_to_end(who)
        while len(self._counts) > PEOPLE:
            self._counts.popitem(last=False)
        return self._counts[who], total


def _two_bits(number: int) -> int:
    """The largest number of at most two significant bits that is not above ``number``."""
    shift = max(number.bit_length() - 2, 0)
    return number >> shift << shift


def _discount(away: int) -> float:
    return DISCOUNTS[abs(away) - 1] if away else 1.0
