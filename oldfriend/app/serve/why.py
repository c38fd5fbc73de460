"""What is behind a reply, for whoever wants to know."""

from typing import Any

from oldfriend.agent.reply import Reply
from oldfriend.app.shown import reasons, what
from oldfriend.memory.store.record import MemoryRecord

MOST_HITS = 8


def explained(reply: Reply) -> dict[str, Any]:
    """A turn's steps, the memories that it looked at, what it noted, and how long it took."""
    return {
        "reasons": [*reply.why.lines(), *reasons(reply.looked)],
        "quote": reply.quote,
        "told": [brief(record) for record in reply.memories],
        "noted": [brief(record) for record in reply.noted],
        "undone": [brief(record) for record in reply.undone],
        "hits": [
            {**brief(hit.record), "score": round(hit.score, 3), "match": round(hit.match, 3)}
            for hit in reply.hits[:MOST_HITS]
        ],
        "notices": list(reply.notices),
        "seconds": {step: round(took, 4) for step, took in reply.seconds.items()},
    }


def brief(record: MemoryRecord) -> dict[str, Any]:
    """A memory in a line."""
    return {"id": str(record.id), "kind": record.kind, "text": what(record)}
