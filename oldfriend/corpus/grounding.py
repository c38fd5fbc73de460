"""Grounding examples from real talk: what was told in earlier sessions, and the next reply."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from oldfriend.corpus.schema import Conversation, GroundExample, MemoryLine

_MEMORIES = 8  # the latest ones; a prompt holds no more
_HISTORY = 4  # turns before the message
_SHORT = 4  # letters; a shorter value stands in a reply by chance


def ground_from_talk(
    conversations: Iterable[Conversation], per_conversation: int
) -> Iterator[GroundExample]:
    """Yield replies to persons of whom earlier sessions told facts.

    ``recall`` where the reply names a remembered value, else ``plain``: memories at hand, none
    of them needed. Replies that recall come first, the rest by a stable hash.
    """
    lives: dict[str, list[Conversation]] = defaultdict(list)
    for conversation in conversations:
        lives[conversation.person].append(conversation)
    for sessions in lives.values():
        memories: list[MemoryLine] = []
        for conversation in sorted(sessions, key=_order):
            if memories:
                yield from _examples(conversation, memories[-_MEMORIES:], per_conversation)
            memories += _told(conversation)


def _examples(
    conversation: Conversation, memories: Sequence[MemoryLine], number: int
) -> list[GroundExample]:
    turns = conversation.turns
    found = [
        _example(conversation, place, memories)
        for place in range(1, len(turns))
        if turns[place].speaker == "friend" and turns[place - 1].speaker == "user"
    ]
    chosen = sorted(
        found,
        key=lambda row: (row.kind != "recall", hashlib.sha256(row.id.encode()).digest()),
    )[:number]
    return [row for row in found if row in chosen]


def _example(
    conversation: Conversation, place: int, memories: Sequence[MemoryLine]
) -> GroundExample:
    turns = conversation.turns
    reply = turns[place].text
    recalled = next((memory for memory in reversed(memories) if _names(reply, memory)), None)
    return GroundExample(
        id=f"{conversation.id}#{place}",
        user=conversation.person,
        source=conversation.source,
        kind="recall" if recalled else "plain",
        slot=recalled.slot if recalled else "",
        memories=tuple(memories),
        history=turns[max(0, place - 1 - _HISTORY) : place - 1],
        message=turns[place - 1].text,
        reply=reply,
        value=recalled.value if recalled else None,
    )


def _told(conversation: Conversation) -> list[MemoryLine]:
    name = conversation.person.rpartition(":")[2]
    owner = name if name[:1].isalpha() else "user"
    return [
        MemoryLine(
            owner=owner,
            slot=fact.slot,
            value=fact.value,
            text=f"{owner}: {fact.value}",
            since=conversation.time.date() if conversation.time else None,
        )
        for turn in conversation.turns
        if turn.speaker == "user"
        for fact in turn.facts
    ]


def _names(reply: str, memory: MemoryLine) -> bool:
    value = memory.value.casefold()
    pattern = rf"(?<!\w){re.escape(value)}(?!\w)"
    return len(value) >= _SHORT and re.search(pattern, reply.casefold()) is not None


def _order(conversation: Conversation) -> tuple[int, datetime, str]:
    time = conversation.time or datetime.min
    return conversation.session, time.replace(tzinfo=None), conversation.id
