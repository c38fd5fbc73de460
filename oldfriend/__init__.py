"""oldfriend: companions with personality, memory and empathy, and the models that run them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oldfriend.agent.friend import Friend as Friend

__all__ = ["Friend"]


def __getattr__(name: str) -> object:
    """``oldfriend.Friend``, loaded when first asked for: importing oldfriend costs nothing."""
    if name == "Friend":
        from oldfriend.agent.friend import Friend

        return Friend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
