"""What turns add up to: the summary of a session, the profile, the portrait of a relationship.

All three are extracts: typed records and the most central turns, in fixed sentences, each with the
ids it stands on. A new session adds its own summary, changes the profile lines of the slots it
spoke of, and retells the portrait; everything else stays as it was written. A writer may turn the
lines of a summary or portrait into prose; what they say stays in the record's ``value``.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from oldfriend.corpus.schema import Kind
from oldfriend.memory.store import change
from oldfriend.memory.store.centrality import central
from oldfriend.memory.store.change import believed, derived_id
from oldfriend.memory.store.journal import Add, Archive, Correct, Entry, Restore, Revise, Supersede
from oldfriend.memory.store.periods import comparable
from oldfriend.memory.store.record import MemoryKind, MemoryRecord, Source
from oldfriend.memory.store.settings import LevelsParams
from oldfriend.memory.store.state import State

Writer = Callable[[list[str]], str]  # the lines of a summary, told as prose
Place = tuple[str, str]  # subject and slot

PORTRAIT = "portrait"
# Feelings by direction: those of the simulator and of GoEmotions that have one.
PLEASANT = frozenset({
    "joy", "pride", "relief", "gratitude", "excitement", "hope", "contentment", "love", "amusement",
    "nostalgia", "optimism", "admiration", "approval", "caring",
})  # fmt: skip
PAINFUL = frozenset({
    "sadness", "grief", "loneliness", "anger", "frustration", "anxiety", "fear", "shame", "guilt",
    "jealousy", "disappointment", "boredom", "overwhelm", "embarrassment", "remorse", "nervousness",
    "annoyance", "disgust", "disapproval",
})  # fmt: skip
_PROFILE: tuple[Kind, ...] = ("profile", "preference", "relationship")
_HEADS: tuple[tuple[MemoryKind, str], ...] = (
    ("profile", "Learnt"), ("relationship", "People"), ("preference", "Tastes"),
    ("event", "Happened"), ("emotion", "Felt"), ("promise", "Promised"), ("shared joke", "Joked"),
)  # fmt: skip


@dataclass(frozen=True)
class ProfileLine:
    """What one slot holds, in words, and the records that say so."""

    subject: str
    slot: str
    text: str
    importance: int
    evidence: tuple[UUID, ...]


@dataclass(frozen=True)
class Profile:
    """What is known of a person now, a line a slot, the most important first."""

    lines: tuple[ProfileLine, ...] = ()

    def text(self, most: int) -> str:
        """At most so many lines, for the prompt."""
        return "\n".join(line.text for line in self.lines[:most])


def digest(
    state: State, session: str, now: datetime, params: LevelsParams, writer: Writer | None = None
) -> list[Entry]:
    """Entries after a session: its summary and the portrait, as far as they say anything new."""
    return [
        *summarise(state, session, now, params, writer),
        *portray(state, now, params, writer),
    ]


def summarise(
    state: State, session: str, now: datetime, params: LevelsParams, writer: Writer | None = None
) -> list[Entry]:
    """The session's summary: what was learnt by kind, and its most central turns."""
    said = _of_session(state, session)
    turns = [r for r in said if r.kind == "turn"]
    if not said:
        return []
    facts = sorted(
        (r for r in said if r.kind in dict(_HEADS) and believed(r)),
        key=lambda r: (-r.importance, _order(r)),
    )[: params.facts]
    first = min((r.created_at for r in said), key=comparable)
    lines = [f"{_date(first)}, {_count(len(turns), 'turn')}."]
    for kind, head in _HEADS:
        if learnt := [_fact(r) for r in facts if r.kind == kind]:
            lines.append(f"{head}: {'; '.join(learnt)}.")
    # What the friend says is often said to everybody, and would be most central of all; a question
    # tells nothing.
    told = [r for r in turns if r.source and r.source.speaker != "friend" and r.text[-1:] != "?"]
    quotes = central(told, params.turns)
    lines += [f"{r.source.speaker if r.source else 'user'}: {r.text}" for r in quotes]
    evidence = [*facts, *quotes]
    record = _record(state, said[0].user, "session", session, lines, evidence, first, now)
    # Its place is behind the last turn: sharing a turn's, it would be forgotten with that turn.
    behind = max(r.source.turn for r in said if r.source) + 1
    source = Source(session=session, turn=behind, speaker="friend")
    return _write(state, record.model_copy(update={"source": source}), writer)


def portray(
    state: State, now: datetime, params: LevelsParams, writer: Writer | None = None
) -> list[Entry]:
    """The relationship in plain facts: since when, jokes, open promises, moods, what helped.

    It is told as of the last session, so it changes only when they talk.
    """
    told = (r for r in state.values() if r.source and r.kind != "session" and believed(r))
    said = sorted(told, key=_order)
    if not said:
        return []
    most = params.portrait_items
    sessions = list(dict.fromkeys(r.source.session for r in said if r.source))
    first, last = (said[n].created_at for n in (0, -1))
    days = (comparable(last) - comparable(first)).days
    jokes = [r for r in said if r.kind == "shared joke" and r.current][-most:]
    promises = [r for r in said if r.kind == "promise" and r.current]
    moods = [r for r in said if r.emotion or r.kind == "emotion"][-most:]
    helped = comforting(said)[-most:]
    lines = [
        f"Known each other since {_date(first)}: {_count(days, 'day')}, "
        f"{_count(len(sessions), 'session')}, the last on {_date(last)}."
    ]
    for head, records in (
        ("Jokes between them", [_fact(r) for r in jokes]),
        ("Open promises", [_fact(r) for r in promises]),
        ("Last moods", [f"{r.emotion or r.value} ({_date(r.created_at)})" for r in moods]),
        ("Felt better after", [f'"{r.text}"' for r in helped]),
    ):
        if records:
            lines.append(f"{head}: {'; '.join(records)}.")
    evidence = [*jokes, *promises, *moods, *helped]
    record = _record(state, said[0].user, "insight", PORTRAIT, lines, evidence, first, now)
    return _write(state, record.model_copy(update={"slot": PORTRAIT, "pinned": True}), writer)


def profile(state: State, now: datetime) -> Profile:
    """The whole profile. Needed at first, after an erasure, and when an announced day has come."""
    places = dict.fromkeys((r.subject, r.slot) for r in state.values() if _profiled(r))
    return _arranged(_line(state, place, now) for place in places)


def refresh(known: Profile, state: State, entries: Iterable[Entry], now: datetime) -> Profile:
    """``known`` after ``entries``, which ``state`` holds: the lines of the slots they are about
    are told anew, all others are the same objects."""
    places = touched(state, entries)
    kept = [line for line in known.lines if (line.subject, line.slot) not in places]
    return _arranged([*kept, *(_line(state, place, now) for place in sorted(places))])


def touched(state: State, entries: Iterable[Entry]) -> set[Place]:
    """The places of the profile that ``entries`` may have changed."""
    ids: set[UUID | None] = set()
    for entry in entries:
        match entry:
            case Add(record=record) | Revise(record=record):
                ids.add(record.id)
            case Supersede(old=old, new=new) | Correct(old=old, new=new):
                ids |= {old, new}
            case Archive() | Restore():
                ids.update(entry.ids)
    records = (state[id] for id in ids if id is not None and id in state)
    return {(r.subject, r.slot) for r in records if _profiled(r)}


def comforting(said: Sequence[MemoryRecord]) -> list[MemoryRecord]:
    """The friend's turns after which a painful feeling gave way to a pleasant one, in one session.

    ``said`` is in order. Of several turns in between, the last one counts.
    """
    found: list[MemoryRecord] = []
    hurt, reply, session = False, None, ""
    for record in (r for r in said if r.kind == "turn" and r.source):
        assert record.source
        if record.source.session != session:
            hurt, reply, session = False, None, record.source.session
        if record.source.speaker != "user":
            reply = record if hurt else None
        elif record.emotion in PAINFUL:
            hurt, reply = True, None
        elif record.emotion in PLEASANT:
            if hurt and reply:
                found.append(reply)
            hurt, reply = False, None
    return found


def _of_session(state: State, session: str) -> list[MemoryRecord]:
    said = (r for r in state.values() if r.source and r.source.session == session)
    return sorted((r for r in said if r.kind != "session"), key=_order)


def _order(record: MemoryRecord) -> tuple[datetime, int, str]:
    turn = record.source.turn if record.source else 0
    return comparable(record.created_at), turn, str(record.id)


def _profiled(record: MemoryRecord) -> bool:
    return bool(record.slot) and record.kind in _PROFILE


def _line(state: State, place: Place, now: datetime) -> ProfileLine | None:
    """ "your home city: Oslo since 10 February 2024, before Rome"; None if nothing is known."""
    subject, slot = place
    told = change.history(state, slot, subject).records
    holds = [r for r in change.current(state, slot, now, subject).records if not r.archived]
    if not told or not (holds or told[-1].cardinality == "single"):
        return None
    name = f"{_owner(subject, slot) or 'your'} {slot.replace('_', ' ')}"
    earlier = [r for r in told if r not in holds][-1:] if told[-1].cardinality == "single" else []
    if holds:
        values = ", ".join(dict.fromkeys(r.value for r in holds))
        since = f" since {_date(holds[0].valid_from)}" if holds[0].valid_from else ""
        since = since if len(holds) == 1 else ""
        text = f"{name}: {values}{since}"
    else:
        text = f"{name}: not known now"
    text += "".join(f", before {r.value}" for r in earlier if r.value not in text)
    shown = (*earlier, *holds)
    importance = max((r.importance for r in shown), default=1)
    return ProfileLine(subject, slot, text, importance, tuple(r.id for r in shown))


def _arranged(lines: Iterable[ProfileLine | None]) -> Profile:
    told = (line for line in lines if line)
    return Profile(tuple(sorted(told, key=lambda x: (-x.importance, x.subject, x.slot))))


def _fact(record: MemoryRecord) -> str:
    felt = f"{record.emotion}, " if record.kind == "emotion" and record.emotion else ""
    name = f"{_owner(record.subject, record.slot)} {record.slot.replace('_', ' ')}".strip()
    return f"{felt}{name} {record.value or record.text}".strip()


def _owner(subject: str, slot: str) -> str:
    """Whose the slot is, in words: nobody's of one's own, nor where its name says it already (the
    partner's "partner name")."""
    own = subject == "me" or slot.replace("_", " ").startswith(subject)
    return "" if own else f"{subject}'s"


def _write(state: State, record: MemoryRecord, writer: Writer | None) -> list[Entry]:
    """Nothing if it says what it said before; the writer is only asked when it does not."""
    known = state.get(record.id)
    if known and (known.value, known.evidence) == (record.value, record.evidence):
        return []
    if writer:
        record = record.model_copy(update={"text": writer(record.value.split("\n")) or record.text})
    at = record.created_at
    return [Revise(at=at, record=record) if known else Add(at=at, record=record)]


def _record(
    state: State,
    user: str,
    kind: MemoryKind,
    name: str,
    lines: Sequence[str],
    evidence: Iterable[MemoryRecord],
    since: datetime,
    now: datetime,
) -> MemoryRecord:
    return MemoryRecord(
        id=derived_id(state, user, kind, name),
        user=user,
        kind=kind,
        cardinality="single",
        value="\n".join(lines),
        text="\n".join(lines),
        importance=7,
        valid_from=since,
        created_at=now,
        evidence=tuple(dict.fromkeys(record.id for record in evidence)),
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _date(t: datetime | None) -> str:
    return f"{t.day} {t:%B %Y}" if t else ""
