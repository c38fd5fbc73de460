"""How memories fade and when they are put away: a ranking that can be explained, never dice.

Retention follows Ebbinghaus' curve, R = exp(-dt / (tau * S)): dt since the last recall, S = 1 and
one more with each recall, tau by kind, importance and emotion. Over capacity those of least worth
are archived with a reason, where importance weighs more than age; pinned ones never are. When
enough has happened, many small memories of one topic become an insight that names them (reflection
as in Generative Agents, Park et al. 2023). Pure functions of state, time and settings.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, get_args

from oldfriend.corpus.schema import Kind
from oldfriend.memory.store.change import believed, derived_id, start
from oldfriend.memory.store.journal import Add, Archive, Entry, Recall, Revise
from oldfriend.memory.store.periods import comparable
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.settings import ForgettingParams
from oldfriend.memory.store.state import State

Tier = Literal["hot", "warm", "cold"]
TYPED: tuple[str, ...] = get_args(Kind)
REFLECTION = "reflection"  # the slot of insights that reflection made


def retention(record: MemoryRecord, now: datetime, params: ForgettingParams) -> float:
    """R between 0 and 1: how present ``record`` is at ``now``; 0 if it was never true."""
    if not believed(record):
        return 0.0
    weight = 1.0 if _holds(record, now) else params.past_weight
    return weight * math.exp(-idle_days(record, now) / (tau(record, params) * record.strength))


def tau(record: MemoryRecord, params: ForgettingParams) -> float:
    """Days in which R of a memory never recalled falls to 1/e: tau_days * factor of the kind *
    importance / 5, and a share more if the memory carries an emotion."""
    moved = 1 + params.emotion_weight * _moving(record)
    factor = params.kind_factor.get(record.kind, 1.0)
    return params.tau_days * factor * record.importance / 5 * moved


def worth(record: MemoryRecord, now: datetime, params: ForgettingParams) -> float:
    """What would be lost with ``record``, 0 to 1: importance / 10, of which age takes the share
    ``age_weight`` at most, times ``past_weight`` if it is no longer true. What was only said
    (``kind_factor`` below 1) counts by that factor: notes were taken of what mattered in it."""
    if not believed(record):
        return 0.0
    weight = record.importance / 10 * min(params.kind_factor.get(record.kind, 1.0), 1.0)
    weight *= 1.0 if _holds(record, now) else params.past_weight
    return weight * (1 - params.age_weight * (1 - retention(record, now, params)))


def idle_days(record: MemoryRecord, now: datetime) -> float:
    """Days since the last recall, or since it was told; 0 for what was told after ``now``."""
    last = comparable(record.last_recalled or record.created_at)
    return max((comparable(now) - last).total_seconds() / 86_400, 0.0)


def tier(record: MemoryRecord, now: datetime, params: ForgettingParams) -> Tier:
    """Hot, warm or cold by retention."""
    kept = retention(record, now, params)
    return "hot" if kept >= params.hot else "warm" if kept >= params.warm else "cold"


def protected(record: MemoryRecord, params: ForgettingParams) -> str:
    """Why ``record`` is never archived, or ""."""
    if record.pinned:
        return "pinned"
    if not believed(record):
        return ""
    if kept := params.pinned_words & set(record.slot.lower().split("_")):
        word = min(kept)
        return f"{'an' if word[0] in 'aeiou' else 'a'} {word} is never forgotten"
    if record.kind == "promise" and record.current:
        return "an open promise"
    if record.importance >= params.pinned_importance:
        return f"importance {record.importance}"
    return ""


def ranked(
    records: Iterable[MemoryRecord], now: datetime, params: ForgettingParams
) -> list[MemoryRecord]:
    """Best kept first: by worth, importance, time told, id; so ties are no accident."""
    return sorted(
        records,
        key=lambda r: (worth(r, now, params), r.importance, comparable(r.created_at), str(r.id)),
        reverse=True,
    )


def recall(records: Iterable[MemoryRecord], now: datetime) -> list[Entry]:
    """Strengthen what an answer used: S + 1, dt from now."""
    ids = tuple(record.id for record in records)
    return [Recall(at=now, ids=ids)] if ids else []


def make_room(state: State, now: datetime, params: ForgettingParams) -> list[Entry]:
    """Archive the records of least worth beyond the capacity, each with its reason."""
    active = [record for record in state.values() if not record.archived]
    over = len(active) - params.capacity
    if over <= 0:
        return []
    free = ranked((r for r in active if not protected(r, params)), now, params)
    leaving = list(reversed(free))[:over]
    return [
        Archive(
            at=now,
            ids=(record.id,),
            reason=f"number {place} of {over} beyond a capacity of {params.capacity}: "
            f"worth {worth(record, now, params):.3f}, {_fading(record, now, params)}",
        )
        for place, record in enumerate(leaving, 1)
    ]


def explain(record: MemoryRecord, now: datetime, params: ForgettingParams) -> str:
    """Why ``record`` is at hand, or why it is not, with the figures."""
    if record.archived:
        return f"archived: {record.archived}"
    if not believed(record):
        return "set right: it was never true"
    reason = protected(record, params)
    kept = f"kept for good ({reason}); " if reason else ""
    return f"{kept}{tier(record, now, params)}: {_fading(record, now, params)}"


def reflect(state: State, now: datetime, params: ForgettingParams) -> list[Entry]:
    """Insights from what piled up since the last reflection, if it weighs enough.

    One insight a topic, told anew when the topic grows; its evidence are the memories it folds, of
    which the small ones that are not hot any more are archived.
    """
    typed = [r for r in state.values() if r.kind in TYPED and believed(r) and not r.archived]
    last = last_reflection(state)
    fresh = {r.id for r in typed if last is None or comparable(r.created_at) > comparable(last)}
    fresh &= {r.id for r in typed if comparable(r.created_at) <= comparable(now)}
    if sum(state[id].importance for id in fresh) < params.reflection_threshold:
        return []
    entries: list[Entry] = []
    for topic, members in _topics(typed).items():
        if len(members) >= params.reflection_least and fresh & {r.id for r in members}:
            entries += _fold(state, topic, members, now, params)
    return entries


def last_reflection(state: State) -> datetime | None:
    """When an insight was last made: each holds since the reflection that told it."""
    made = (r for r in state.values() if r.kind == "insight" and r.slot.startswith(REFLECTION))
    return max((r.valid_from or r.created_at for r in made), key=comparable, default=None)


def _topics(records: Iterable[MemoryRecord]) -> dict[tuple[str, str], list[MemoryRecord]]:
    """All that is told of another person; of the user each slot, and what was felt."""
    topics: dict[tuple[str, str], list[MemoryRecord]] = {}
    for record in records:
        about = "" if record.subject != "me" else record.slot or record.kind.replace(" ", "_")
        if about and record.kind == "emotion" and record.emotion:
            about = f"feeling_{record.emotion}"
        topics.setdefault((record.subject, about), []).append(record)
    return topics


def _fold(
    state: State,
    topic: tuple[str, str],
    members: Sequence[MemoryRecord],
    now: datetime,
    params: ForgettingParams,
) -> list[Entry]:
    subject, about = topic
    members = sorted(members, key=_told)
    user = members[0].user
    id = derived_id(state, user, REFLECTION, subject, about)
    known = state.get(id)
    # What earlier reflections folded and put away still counts.
    evidence = dict.fromkeys((*(known.evidence if known else ()), *(r.id for r in members)))
    told = sorted((state[i] for i in evidence if i in state), key=_told)
    insight = MemoryRecord(
        id=id,
        user=user,
        kind="insight",
        subject=subject,
        slot=f"{REFLECTION}_{about}".rstrip("_"),
        cardinality="single",
        text=_tell(subject, about, told),
        importance=max(r.importance for r in told),
        valid_from=now,
        created_at=now,
        evidence=tuple(r.id for r in told),
    )
    entries: list[Entry] = [
        Revise(at=now, record=insight) if known else Add(at=now, record=insight)
    ]
    small = tuple(r.id for r in members if _small(r, now, params))
    if small:
        entries.append(Archive(at=now, ids=small, reason=f"folded into the insight {id}"))
    return entries


def _small(record: MemoryRecord, now: datetime, params: ForgettingParams) -> bool:
    """Whether its insight can stand for it: one of many, of little weight, and fading."""
    return (
        record.cardinality == "multi"
        and record.importance <= params.small_importance
        and not protected(record, params)
        and tier(record, now, params) != "hot"
    )


def _told(record: MemoryRecord) -> tuple[datetime, str, str]:
    return start(record), record.slot, str(record.id)


def _tell(subject: str, about: str, told: Sequence[MemoryRecord]) -> str:
    """ "likes: piano, chess (5 memories, 3 January 2024 to 2 March 2024)"."""
    named = (f"{r.slot.replace('_', ' ')} " if r.slot and not about else "" for r in told)
    items = dict.fromkeys(f"{name}{r.value or r.text}" for name, r in zip(named, told, strict=True))
    first, last = (f"{t.day} {t:%B %Y}" for t in (start(told[0]), start(told[-1])))
    when = first if first == last else f"{first} to {last}"
    topic = about.replace("_", " ") or subject
    return f"{topic}: {', '.join(items)} ({len(told)} memories, {when})"


def _fading(record: MemoryRecord, now: datetime, params: ForgettingParams) -> str:
    """The formula with its figures."""
    past = "" if _holds(record, now) else f"{params.past_weight:g} x "
    verb = "last recalled" if record.last_recalled else "told"
    return (
        f"retention {retention(record, now, params):.3f} = {past}exp(-{idle_days(record, now):.1f} "
        f"days / ({tau(record, params):.1f} days x strength {record.strength:g})); {verb} "
        f"{record.last_recalled or record.created_at:%Y-%m-%d}, {record.kind}, "
        f"importance {record.importance}" + (", moving" if _moving(record) else "")
    )


def _moving(record: MemoryRecord) -> bool:
    return record.emotion is not None or record.kind == "emotion"


def _holds(record: MemoryRecord, now: datetime) -> bool:
    return record.valid_to is None or comparable(now) < comparable(record.valid_to)
