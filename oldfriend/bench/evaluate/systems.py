"""Who is evaluated: the whole friend, the friend without one part, and simpler stand-ins on the
same model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from oldfriend.agent import grounded
from oldfriend.agent.friend import Friend
from oldfriend.agent.heart import Heart
from oldfriend.agent.models import FriendModel, NoteTaker
from oldfriend.agent.settings import DraftParams, FriendParams
from oldfriend.bench.evaluate.settings import EvaluateParams
from oldfriend.bench.life_writing import World
from oldfriend.memory.grounding import prompt, quoted, spoken
from oldfriend.memory.store.embed import Embedder
from oldfriend.memory.store.forgetting import TYPED
from oldfriend.memory.store.pool import MemoryPool
from oldfriend.memory.store.retrieve import Query, Retriever
from oldfriend.persona import shelf

if TYPE_CHECKING:
    from oldfriend.lm import generate as lm
    from oldfriend.lm.chat import Message
    from oldfriend.memory.grounding import Encode

PARTS: Mapping[str, Mapping[str, bool]] = {
    "no_memory": {"recall": False},
    "no_strategy": {"strategy": False},
    "no_repertoire": {"repertoire": False},
    "no_judge": {"judge": False},
    "no_persona": {"persona": False},
}
SYSTEMS = ("full", *PARTS, "last_turns", "plain_rag")


class Once(FriendModel):
    """The model, asked the same thing once: systems that differ elsewhere share its drafts."""

    def __init__(self, folder: Path, encode: "Encode", persona: Path | None = None) -> None:
        super().__init__(folder, persona=persona, encode=encode)
        self._written: dict[str, list[lm.Answer]] = {}
        self._replies: dict[str, str] = {}

    def reply(self, prompt: "Sequence[Message]", max_new_tokens: int) -> str:
        key = f"{prompt} {max_new_tokens}"
        if key not in self._replies:
            self._replies[key] = super().reply(prompt, max_new_tokens)
        return self._replies[key]

    def drafts(
        self, prompt: "Sequence[Message]", max_new_tokens: int, count: int, *,
        temperature: float, seed: int,
    ) -> "list[lm.Answer]":  # fmt: skip
        key = f"{prompt} {max_new_tokens} {count} {temperature} {seed}"
        if key not in self._written:
            self._written[key] = super().drafts(
                prompt, max_new_tokens, count, temperature=temperature, seed=seed
            )
        return self._written[key]


@dataclass(frozen=True)
class Answer:
    """What a system says, and the value that it says it remembers."""

    text: str
    value: str = ""


# (the person's user name in the pool, their world, the message, when) -> the reply
System = Callable[[str, World, str, datetime], Answer]


def systems(
    params: EvaluateParams,
    *,
    pool: MemoryPool,
    encoder: Embedder,
    models: Path,
    cards: Path,
    adapters: Path | None = None,
) -> dict[str, System]:
    """All of SYSTEMS. They remember nothing of what they are asked. In ``adapters`` may lie what
    was trained on the persona's card; without it the card speaks for itself alone."""
    card = shelf.find(cards, params.persona) if params.persona else None
    heart = Heart.open(models / "empathy", encoder, card=card)
    voice = Once(models / "friend", encoder.encode)
    own = adapters / params.persona if adapters and params.persona else None
    dressed = Once(models / "friend", encoder.encode, own) if own else voice
    reader = NoteTaker(models)

    def friend(**parts: bool) -> System:
        drafts = DraftParams(seconds=600)  # a busy machine draws no fewer
        settings = FriendParams(max_new_tokens=params.max_new_tokens, drafts=drafts, **parts)
        speaks = dressed if settings.persona else voice
        made = Friend(pool, encoder, speaks, reader, params=settings, heart=heart)

        def says(user: str, world: World, text: str, now: datetime) -> Answer:
            reply = made.would_say(user, text, now=now)
            told = reply.memories[0].value if reply.memories else ""
            return Answer(reply.text, told)

        return says

    def last_turns(user: str, world: World, text: str, now: datetime) -> Answer:
        """No memory but the last turns of the last talk, as a chat has them."""
        recent = world.talks[-1].turns[-params.last_turns :]
        return _plain(voice.reply(prompt(user, (), recent, text), params.max_new_tokens))

    def plain_rag(user: str, world: World, text: str, now: datetime) -> Answer:
        """The notes nearest to the message in every prompt, whatever is asked, true or outdated."""
        query = Query(text, FriendParams().memories, now, "user", TYPED)
        hits = Retriever(encoder).search(pool.of(f"{user} rag"), query)
        lines = [grounded.line(hit.record, user, now) for hit in reversed(hits)]
        return _plain(voice.reply(prompt(user, lines, (), text), params.max_new_tokens))

    return {
        "full": friend(),
        **{name: friend(**off) for name, off in PARTS.items()},
        "last_turns": last_turns,
        "plain_rag": plain_rag,
    }


def _plain(written: str) -> Answer:
    return Answer(spoken(written).strip(), quoted(written))
