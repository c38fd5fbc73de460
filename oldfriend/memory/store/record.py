"""A memory: what it says, of whom, from which words, and when it was true and known."""

from datetime import datetime
from typing import Literal
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import Field, model_validator

from oldfriend.corpus.schema import Kind, Row

# The seven kinds of things worth remembering, and the levels of memory: the turn as it was said,
# the summary of a session, and what reflection made of many memories.
MemoryKind = Kind | Literal["turn", "session", "insight"]
Cardinality = Literal["single", "multi"]


class Source(Row):
    """The words that a memory stands on: ``turn.text[start:end]``, of one session."""

    session: str = Field(min_length=1)
    turn: int = Field(ge=0)
    start: int = Field(default=0, ge=0)
    end: int = Field(default=0, ge=0)
    speaker: str = "user"


class MemoryRecord(Row):
    """One bitemporal memory. ``valid_*`` is time in the world, ``created/expired`` in our books.

    ``valid_to`` set: it was true and no longer is. ``expired_at`` set: we no longer hold it to be
    so (superseded, corrected, archived), whatever the world does. ``subject`` is "me" for the
    user themself, else whom the memory is about. ``strength`` and ``last_recalled`` feed
    forgetting: R = exp(-dt / (tau * strength)).
    """

    id: UUID
    user: str = Field(min_length=1)
    kind: MemoryKind
    subject: str = "me"
    slot: str = ""
    cardinality: Cardinality = "multi"
    value: str = ""
    text: str = Field(min_length=1)
    importance: int = Field(default=5, ge=1, le=10)
    emotion: str | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    created_at: datetime
    expired_at: datetime | None = None
    superseded_by: UUID | None = None
    source: Source | None = None
    evidence: tuple[UUID, ...] = ()  # of an insight or a summary: the memories it was made from
    strength: float = Field(default=1.0, gt=0)
    last_recalled: datetime | None = None
    pinned: bool = False
    archived: str = ""  # why it was put away, if it was

    @model_validator(mode="after")
    def _ends_after_it_began(self) -> "MemoryRecord":
        if self.valid_from and self.valid_to and self.valid_to < self.valid_from:
            raise ValueError(f"valid_to {self.valid_to} is before valid_from {self.valid_from}")
        return self

    @property
    def current(self) -> bool:
        """Whether we hold it to be true now."""
        return self.valid_to is None and self.expired_at is None


def record_id(user: str, *parts: str) -> UUID:
    """The id of what ``parts`` describe for ``user``: equal input, equal id, so re-reading a
    session writes nothing twice."""
    return uuid5(NAMESPACE_URL, "\x1f".join(("oldfriend", user, *parts)))
