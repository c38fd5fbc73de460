"""Feelings and talks for tests, without a model."""

from oldfriend.corpus.schema import Turn
from oldfriend.empathy.context import StrategyContext
from oldfriend.empathy.emotion import Feelings
from oldfriend.empathy.labels import AFFECT, LABELS


def feel(label: str, intensity: float = 0.5) -> Feelings:
    """Only ``label`` is felt."""
    named = {other: 0.9 if other == label else 0.01 for other in LABELS}
    return Feelings(named, (label,), AFFECT[label][0], intensity)


def talk(*lines: str) -> tuple[Turn, ...]:
    """Turns of lines like ``user: hello`` and ``friend/question: how are you?``."""
    turns = []
    for line in lines:
        who, text = line.split(": ", 1)
        speaker, _, strategy = who.partition("/")
        turns.append(
            Turn.model_validate({"speaker": speaker, "text": text, "strategy": strategy or None})
        )
    return tuple(turns)


LONG = talk(
    "user: hello",
    "friend/others: there you are",
    "user: the bus was late",
    "friend/humour: it always is",
)


def scene(message: str, feelings: Feelings, **more: object) -> StrategyContext:
    """``message`` after some harmless talk."""
    turns = (*LONG, Turn(speaker="user", text=message))
    return StrategyContext(**({"turns": turns, "feelings": feelings} | more))  # type: ignore[arg-type]
