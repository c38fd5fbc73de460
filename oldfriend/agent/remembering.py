"""What stays of a turn: one write, so that after a crash all of it is there or nothing."""

from collections.abc import Sequence
from datetime import datetime

from oldfriend.agent import denials, moods, noting
from oldfriend.agent.heart import SHAKEN, Felt
from oldfriend.agent.noting import Place
from oldfriend.agent.reply import Reply
from oldfriend.agent.sessions import QUIET, Session
from oldfriend.agent.speaking import Scene
from oldfriend.corpus.schema import Turn
from oldfriend.memory.store import forgetting
from oldfriend.memory.store.journal import Add, Archive
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.user import UserMemory


def heard(text: str, felt: Felt) -> Turn:
    """The person's turn with what it feels like."""
    if felt.feelings is None:
        return Turn(speaker="user", text=text)
    label = felt.feelings.top[0]
    named = None if label == "neutral" else label
    return Turn(speaker="user", text=text, emotion=named, intensity=felt.feelings.intensity)


def remember(
    memory: UserMemory,
    session: Session,
    scene: Scene,
    reply: Reply,
    noted: Sequence[MemoryRecord],
) -> tuple[tuple[MemoryRecord, ...], tuple[MemoryRecord, ...]]:
    """Write a turn down at once; the notes that are new, and those that were taken back."""
    message, felt, now, state = scene.talk[-1], scene.felt, scene.now, memory.state
    asked = Place(memory.user, session.name, session.turn, now)
    answered = Place(memory.user, session.name, session.turn + 1, now)
    told = [record.id for record in reply.memories]
    own = noting.turn_record(asked, message.text, noting.USER)
    own = own.model_copy(update={"emotion": message.emotion})
    answer = noting.turn_record(
        answered, reply.text, noting.FRIEND, quote=reply.quote, evidence=told
    )
    before = [state[id] for id in session.told if id in state]
    taken_back = denials.denials(state, message.text, before)
    changes = denials.entries(state, taken_back, asked, message.text, noted)
    recalled = forgetting.recall(reply.memories, now)
    if felt.feelings:
        recalled += moods.entries(state, memory.user, felt.mood, now, own.id, felt.strong)
    memory.write([*(Add(at=now, record=r) for r in (own, answer)), *changes, *recalled])
    session.turn, session.last, session.told = session.turn + 2, now, tuple(told)
    why = reply.why
    strategy = why.drafts[why.chosen].strategy if why.chosen >= 0 else ""
    said = Turn(speaker="friend", text=reply.text, quote=reply.quote, strategy=strategy or None)
    session.talk += [message, said]
    return tuple(noting.added(changes)), tuple(denial.record for denial in taken_back)


def keep_quiet(memory: UserMemory, session: Session, text: str, answer: str, now: datetime) -> None:
    """Keep what was said in danger, but put away: no notes are taken of it, no search finds it and
    no prompt shows it. The mood remembers that there was something, without its words."""
    places = [Place(memory.user, session.name, session.turn + n, now) for n in (0, 1)]
    own = noting.turn_record(places[0], text, noting.USER)
    reply = noting.turn_record(places[1], answer, noting.FRIEND)
    mood = moods.read(memory.state, memory.user).heard(SHAKEN, now)
    memory.write([
        *(Add(at=now, record=record) for record in (own, reply)),
        Archive(at=now, ids=(own.id, reply.id), reason=QUIET),
        *moods.entries(memory.state, memory.user, mood, now, own.id, True),
    ])  # fmt: skip
    session.turn, session.last, session.told = session.turn + 2, now, ()
