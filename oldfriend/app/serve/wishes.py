"""What one request asks of whoever writes the reply, beyond the friend's own ways.

It travels with the turn, not through it: the friend hears a message and knows nothing of
temperatures. The voices of this package look here.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field

from oldfriend.persona.card import Card


@dataclass
class Wishes:
    """``temperature`` and ``top_p`` None: as the friend speaks of itself. ``drafts`` beyond those
    that the friend wants are left in ``others``; what writing cost is counted in ``prompt_tokens``
    and ``tokens``. ``cut``: the reply ended because it was as long as allowed."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int = 0
    drafts: int = 1
    persona: Card | None = None
    others: list[str] = field(default_factory=list)
    prompt_tokens: int = 0
    tokens: int = 0
    cut: bool = False

    def most(self, allowed: int) -> int:
        """How many tokens a draft may have."""
        return min(allowed, self.max_tokens) if self.max_tokens else allowed


WISHES: ContextVar[Wishes] = ContextVar("wishes")


def wishes() -> Wishes:
    """Those of the turn under way; none in particular outside of one."""
    return WISHES.get(Wishes())
