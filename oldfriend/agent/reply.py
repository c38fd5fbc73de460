"""What a turn comes to, with everything behind it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

from oldfriend.agent.explain import Explanation
from oldfriend.memory.store.dates import TimeExpression
from oldfriend.memory.store.decide import Decision
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.retrieve import Hit


@dataclass(frozen=True)
class Looked:
    """What memory says to a message: the hits in order with their scores, the time that the message
    speaks of, the decision with its reason, and the notes that a prompt would show."""

    hits: tuple[Hit, ...]
    asked: TimeExpression | None
    decision: Decision
    records: tuple[MemoryRecord, ...]


def unlooked(reason: str) -> Looked:
    """Memory was not asked."""
    return Looked((), None, Decision(False, 0.0, 0.0, (), reason), ())


@dataclass(frozen=True)
class Reply:
    """One turn of the friend's and everything behind it.

    ``quote``: the memory it stands on, as the model wrote it. ``memories``: the records it tells.
    ``noted``: what was remembered of the message, ``undone``: the notes that it took back, as they
    were. ``seconds`` by step. ``notices``: steps that
    went another way than they should, in plain words. ``why``: all other steps.
    """

    text: str
    quote: str
    looked: Looked
    memories: tuple[MemoryRecord, ...] = ()
    noted: tuple[MemoryRecord, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    undone: tuple[MemoryRecord, ...] = ()
    why: Explanation = field(default_factory=Explanation)

    @property
    def hits(self) -> tuple[Hit, ...]:
        return self.looked.hits

    @property
    def decision(self) -> Decision:
        return self.looked.decision


@contextmanager
def timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    """Note how long ``step`` takes, all times together."""
    began = perf_counter()
    yield
    seconds[step] = seconds.get(step, 0.0) + perf_counter() - began
