"""Summarizer examples cut from simulated talks: what to note, for everybody and for one person."""

from collections.abc import Iterable, Iterator, Mapping
from random import Random

from oldfriend.corpus.people import Life, Moment
from oldfriend.corpus.schema import Conversation, NoteExample
from oldfriend.corpus.script import Place

_HARD = ("near_miss", "passing", "interest")


def notes(
    conversations: Iterable[Conversation],
    lives: Iterable[Life],
    *,
    negatives: float = 0.6,
    seed: int = 0,
) -> list[NoteExample]:
    """One example per user's turn; nothing is to be noted of a niche, whoever mentions it.

    Turns that hold facts, near misses and niches all stay; of the rest only so many that
    ``negatives`` is the share of examples without facts. Mentions by which an enthusiast held
    out for test is to be personalized are left out: their phrasings belong to train.
    """
    rng = Random(f"notes {seed}")
    told, hard, rest = [], [], []
    known = {life.person: life for life in lives}
    moments = _moments(known.values())
    for conversation in conversations:
        life = known.get(conversation.person)
        for place, example in _examples(conversation, rng):
            moment = moments.get(place)
            if example.facts:
                told.append(example)
            elif not moment or moment.role not in _HARD:
                rest.append(example)
            elif not (life and _personalizes(moment, life, conversation)):
                hard.append(example)
    wanted = round(len(told) * negatives / (1 - negatives)) - len(hard)
    kept = rng.sample(rest, min(len(rest), max(0, wanted)))
    return sorted(told + hard + kept, key=lambda example: example.id)


def user_notes(
    conversations: Iterable[Conversation], lives: Iterable[Life], *, seed: int = 0
) -> dict[str, list[NoteExample]]:
    """All turns of enthusiasts held out for test, their interest now worth noting.

    ``train`` holds their early sessions, as if they had confirmed what to remember, ``test`` the
    later ones.
    """
    rng = Random(f"user notes {seed}")
    keen = {life.person: life for life in lives if life.split == "test" and life.interest}
    moments = _moments(keen.values())
    parts: dict[str, list[NoteExample]] = {"train": [], "test": []}
    for conversation in conversations:
        if life := keen.get(conversation.person):
            part = parts["train" if conversation.session < life.early else "test"]
            for place, example in _examples(conversation, rng):
                moment = moments.get(place)
                if moment and moment.role == "interest" and moment.fact:
                    example = example.model_copy(update={"facts": (moment.fact,)})
                part.append(example)
    return parts


def _examples(conversation: Conversation, rng: Random) -> Iterator[tuple[Place, NoteExample]]:
    """Every user's turn with one or two turns before it."""
    for index, turn in enumerate(conversation.turns):
        if turn.speaker == "user":
            before = rng.randint(1, 2)
            yield (
                (conversation.id, index),
                NoteExample(
                    id=f"{conversation.id}-{index:03d}",
                    user=conversation.person,
                    source=conversation.source,
                    session=conversation.session,
                    time=conversation.time,
                    context=conversation.turns[max(0, index - before) : index],
                    text=turn.text,
                    facts=turn.facts,
                ),
            )


def _moments(lives: Iterable[Life]) -> Mapping[Place, Moment]:
    return {(moment.conversation, moment.turn): moment for life in lives for moment in life.moments}


def _personalizes(moment: Moment, life: Life, conversation: Conversation) -> bool:
    """Whether the mention is one that the person's own model is to be trained on."""
    early = conversation.session < life.early
    return moment.role == "interest" and life.split == "test" and early
