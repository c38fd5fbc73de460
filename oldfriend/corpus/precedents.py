"""Replies that suited a message once: what a friend may say again to one that is like it."""

from collections.abc import Iterable, Iterator
from itertools import islice, pairwise

from oldfriend.corpus.schema import Conversation, Precedent, Suited
from oldfriend.corpus.seeds import Seeds
from oldfriend.corpus.simulator import SOURCE as SIMULATOR

MOST = 20_000  # of real talk


def precedents(talk: Iterable[Conversation], banks: Seeds | None) -> list[Precedent]:
    """Of the training split alone: the simulator's own, then replies of real talk that were given
    on purpose, which is those with a strategy."""
    return [*(_simulated(banks) if banks else ()), *islice(_real(talk), MOST)]


def _simulated(banks: Seeds) -> Iterator[Precedent]:
    life = banks.life
    for name, emotion in life.emotions.items():
        replies = tuple(Suited(text=one.text, strategy=one.strategy) for one in emotion.replies)
        for outburst in emotion.train:
            yield Precedent(source=SIMULATOR, message=outburst.say, emotion=name, replies=replies)
    situations = life.situations.values()
    for bank in (life.courtesies, life.smalltalk, *(one.followups for one in situations)):
        for exchange in bank.train:
            reply = Suited(text=exchange.reply)
            yield Precedent(source=SIMULATOR, message=exchange.say, replies=(reply,))
    yield Precedent(source=SIMULATOR, replies=tuple(Suited(text=nod) for nod in banks.glue.nods))


def _real(talk: Iterable[Conversation]) -> Iterator[Precedent]:
    for conversation in talk:
        if conversation.source == SIMULATOR or conversation.split != "train":
            continue
        for said, reply in pairwise(conversation.turns):
            if said.speaker == "user" and reply.speaker == "friend" and reply.strategy:
                suited = Suited(text=reply.text, strategy=reply.strategy)
                yield Precedent(
                    source=conversation.source, message=said.text, emotion=said.emotion,
                    replies=(suited,),
                )  # fmt: skip
