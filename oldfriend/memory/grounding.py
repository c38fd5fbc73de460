"""Replies that stand on memories: the prompt, the training dialogue, and how replies are judged."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from oldfriend.corpus.schema import GroundExample, MemoryLine, Turn, slot_words
from oldfriend.lm.chat import Message, message

# An honest "I was never told" always says one of these; the phrase bank guarantees it.
ABSTENTION = (
    "never told", "haven't told", "don't know", "didn't tell", "not told", "haven't mentioned",
    "never mentioned", "no idea", "haven't said", "never said",
)  # fmt: skip
POINTER = "{}"  # in a reply: the value that it quoted
NO_VALUE = "nothing"
RECITAL = ("remember", "you told me", "you said", "you mentioned")


def render_memory(memory: MemoryLine, user: str) -> str:
    """One memory as a prompt line, e.g. ``- (July 2024) your former home city: Velmora``.

    When, whose and what stand before the value: a causal model reads the value knowing them.
    """
    since = f"({memory.since:%B %Y}) " if memory.since else ""
    whose = "your" if memory.owner == user else f"{memory.owner}'s"
    former = "former " if memory.until else ""
    return f"- {since}{whose} {former}{slot_words(memory.slot)}: {memory.value}"


Encode = Callable[[Sequence[str]], NDArray[np.float32]]  # texts to unit vectors [n, d]


def by_likeness(
    asked: Sequence[tuple[str, Sequence[MemoryLine], str]], encode: Encode
) -> list[tuple[MemoryLine, ...]]:
    """The memories of every (user, memories, message), the one likest to the message last.

    Likeness is the cosine of the message and what the memory is about ("my former home city"),
    value aside. The model reads them as retrieval hands them over: what matters is nearest.
    """
    topics = [[_topic(memory, user) for memory in memories] for user, memories, _ in asked]
    names = sorted({topic for row in topics for topic in row})
    vectors_ND = dict(zip(names, encode(names), strict=True)) if names else {}
    messages_ND = encode([message for _, _, message in asked]) if asked else ()
    ordered = []
    for (_, memories, _), row, message_D in zip(asked, topics, messages_ND, strict=True):
        likeness = [float(vectors_ND[topic] @ message_D) for topic in row]
        order = sorted(range(len(row)), key=lambda i: (likeness[i], i))
        ordered.append(tuple(memories[i] for i in order))
    return ordered


def _topic(memory: MemoryLine, user: str) -> str:
    whose = "my" if memory.owner == user else f"{memory.owner}'s"
    former = "former " if memory.until else ""
    return f"{whose} {former}{slot_words(memory.slot)}"


def prompt(
    user: str, memories: Sequence[MemoryLine], history: Sequence[Turn], text: str
) -> tuple[Message, ...]:
    """Chat prompt: who one is talking with, what is remembered, the talk so far, the message."""
    lines = [render_memory(memory, user) for memory in memories]
    known = "\n".join([f"You are talking with {user}.", *lines])
    talk = [
        message("user", turn.text)
        if turn.speaker == "user"
        else message("assistant", reply_text(turn.quote, turn.text))
        for turn in history
    ]
    return (message("system", known), *talk, message("user", text))


def reply_text(quote: str, said: str) -> str:
    """What the model writes: the memory it stands on, if any, then what it says.

    Quoting first (RAFT's chain of thought, arXiv:2403.10131) turns one hard step into two easy
    ones: which slot is this about, and what stands there. The reply then points to the value it
    quoted (POINTER) and need not spell it a second time. ``spoken`` turns this back into speech.
    """
    value = quoted(f"[{quote}]")
    if value:
        said = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", POINTER, said)
    return f"[{quote}] {said}" if quote else said


def spoken(reply: str) -> str:
    """A reply without its quote and with the value in place, as the person reads it."""
    said = reply.partition("]")[2].strip() if reply.startswith("[") else reply
    return said.replace(POINTER, quoted(reply))


def quoted(reply: str) -> str:
    """The value in the quote at the head of a reply; empty if it quotes none."""
    head = reply[1:].partition("]")[0] if reply.startswith("[") else ""
    value = head.partition(": ")[2].strip()
    return "" if value == NO_VALUE else value


def dialogue(example: GroundExample) -> tuple[Message, ...]:
    """Training dialogue of one example (RAFT with abstention where the golden is missing)."""
    asked = prompt(example.user, example.memories, example.history, example.message)
    return (*asked, message("assistant", reply_text(example.quote, example.reply)))


def outcome(example: GroundExample, reply: str) -> str:
    """What a reply to ``example`` amounts to.

    Questions: right | abstained | stale | wrong (another memory's value, or an invention).
    Colour: apt | recited | plain. Plain talk: plain | recited.
    """
    if example.kind in ("colour", "plain"):
        return _colour(example, reply)
    if example.value and says(reply, example.value):
        return "right"
    if abstains(reply):
        return "abstained"
    stale = (m.value for m in example.memories if _stale_for(example, m))
    return "stale" if any(says(reply, value) for value in stale) else "wrong"


def scores(examples: Sequence[GroundExample], replies: Sequence[str]) -> dict[str, float]:
    """Rates over examples: recall_acc, past_acc, abstain_acc, hallucination_rate and so on.

    ``hallucination_rate``: of all questions, replies that state a wrong value, be it invented or
    taken from the wrong memory. ``stale_rate``: of recall questions with a superseded value in
    view, replies that state it.
    """
    found = [(e, outcome(e, r)) for e, r in zip(examples, replies, strict=True)]
    asked = [(e, o) for e, o in found if e.kind in ("recall", "past", "abstain")]
    changed = [
        (e, o) for e, o in asked if e.kind == "recall" and any(m.until for m in e.memories)
        and any(_stale_for(e, m) for m in e.memories)
    ]  # fmt: skip
    return {
        "recall_acc": _share(found, ("recall", "past"), "right"),
        "past_acc": _share(found, ("past",), "right"),
        "abstain_acc": _share(found, ("abstain",), "abstained"),
        "over_abstain_rate": _share(found, ("recall", "past"), "abstained"),
        "hallucination_rate": _rate(asked, "wrong"),
        "stale_rate": _rate(changed, "stale"),
        "mechanical_rate": _share(found, ("colour",), "recited"),
        "colour_acc": _share(found, ("colour",), "apt"),
    }


def abstains(reply: str) -> bool:
    """Whether a reply says honestly that the answer was never told."""
    lowered = reply.lower().replace("\u2019", "'")
    return any(marker in lowered for marker in ABSTENTION)


def says(reply: str, value: str) -> bool:
    """Whether ``value`` stands in ``reply`` as whole words, case aside."""
    return re.search(rf"(?<!\w){re.escape(value.lower())}(?!\w)", reply.lower()) is not None


def _colour(example: GroundExample, reply: str) -> str:
    named = any(says(reply, memory.value) for memory in example.memories)
    if named or any(marker in reply.lower() for marker in RECITAL):
        return "recited"
    if not example.contrast:
        return "plain"
    near, far = _overlap(reply, example.reply), _overlap(reply, example.contrast)
    return "apt" if near > far else "plain"


def _overlap(left: str, right: str) -> float:
    """Token F1 of two texts."""
    a, b = (Counter(re.findall(r"\w+", text.lower())) for text in (left, right))
    shared = sum((a & b).values())
    return 2 * shared / max(a.total() + b.total(), 1)


def _stale_for(example: GroundExample, memory: MemoryLine) -> bool:
    """Whether ``memory`` holds the value that is wrong now (or was wrong then, when past)."""
    same = memory.owner == example.user and memory.slot == example.slot
    return same and memory.value != example.value and bool(memory.until) != (example.kind == "past")


def _share(found: Iterable[tuple[GroundExample, str]], kinds: Sequence[str], wanted: str) -> float:
    return _rate([(e, o) for e, o in found if e.kind in kinds], wanted)


def _rate(found: Sequence[tuple[GroundExample, str]], wanted: str) -> float:
    return sum(o == wanted for _, o in found) / len(found) if found else 0.0
