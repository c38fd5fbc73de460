"""Reaching out unasked: one governor over all causes, and a record of what was said.

``due`` is a pure function: opted in, not in quiet hours, within the budget, not too soon after the
last time, longer after each time that brought no answer, and never again before the person has
said something. What it decides is written down before anybody acts on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from oldfriend.empathy.care_ledger import Asked, CareFile, Consent, Sent
from oldfriend.empathy.care_rules import CareSettings, CauseKind, causes, zone
from oldfriend.errors import MissingDataError
from oldfriend.memory.store.journal import MAX_LINE, decode
from oldfriend.memory.store.lock import Lock
from oldfriend.memory.store.periods import comparable
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.state import State

DAY, WEEK = timedelta(days=1), timedelta(days=7)


@dataclass(frozen=True)
class Ledger:
    """What the governor knows of a person: their wish, memories, when they spoke, what was sent.

    ``sent`` and ``heard`` in any order. Times without a zone count as UTC.
    """

    user: str
    consent: Consent | None = None  # None: never asked for it
    records: tuple[MemoryRecord, ...] = ()
    heard: tuple[datetime, ...] = ()
    sent: tuple[Sent, ...] = ()


@dataclass(frozen=True)
class Outreach:
    """A word to send: to whom, what, and why."""

    user: str
    at: datetime
    kind: CauseKind
    priority: int
    key: str
    reason: str
    text: str


@dataclass(frozen=True)
class Decision:
    """An outreach, or ``held``: why there is none."""

    user: str
    outreach: Outreach | None
    held: str = ""


def due(people: Sequence[Ledger], now: datetime, settings: CareSettings) -> list[Outreach]:
    """Who gets a word now: at most one each, by name."""
    decided = (decide(person, now, settings) for person in people)
    found = [decision.outreach for decision in decided if decision.outreach]
    return sorted(found, key=lambda outreach: outreach.user)


def decide(person: Ledger, now: datetime, settings: CareSettings) -> Decision:
    """The one word that is due to ``person``, or why there is none."""
    now, wish = comparable(now), person.consent
    if wish is None or not wish.on:
        return Decision(person.user, None, "did not ask to be written to")
    where = zone(wish.timezone or settings.timezone)
    if held := _held(person, now, where, settings):
        return Decision(person.user, None, held)
    said = {one.key for one in person.sent}
    open_ = [c for c in causes(person.records, person.heard, now, where, settings)
             if c.key not in said]  # fmt: skip
    if not open_:
        return Decision(person.user, None, "nothing is due")
    for cause in open_:
        since = _since_last(person, now)
        if since >= _gap(person, cause.priority, now, settings):
            word = Outreach(
                person.user, now, cause.kind, cause.priority, cause.key, cause.reason, cause.text
            )
            return Decision(person.user, word)
    return Decision(person.user, None, f"too soon after the last: {open_[0].reason}")


def quiet(now: datetime, where: tzinfo, settings: CareSettings) -> bool:
    """Whether it is a quiet hour of the day at ``where``; none is if both ends are equal."""
    hour, first, last = now.astimezone(where).hour, settings.quiet_from, settings.quiet_to
    return first <= hour < last if first <= last else hour >= first or hour < last


def ignored(sent: Sequence[Sent], heard: Sequence[datetime], settings: CareSettings) -> int:
    """How many of the latest words in a row brought no answer within ``answer_hours``."""
    spoke = sorted(comparable(t) for t in heard)
    count = 0
    for one in sorted(sent, key=lambda one: comparable(one.at), reverse=True):
        at = comparable(one.at)
        limit = at + timedelta(hours=settings.answer_hours)
        if any(at < t <= limit for t in spoke):
            break
        count += 1
    return count


def run_care(
    memory: Path,
    settings: CareSettings | None = None,
    now: datetime | None = None,
    *,
    dry_run: bool = False,
) -> list[Outreach]:
    """Decide for everyone in the folder ``memory`` and write down what goes out, before it does.

    Reads the journals without opening the pool, so it runs beside a process that has it open.
    ``now`` defaults to the clock. With ``dry_run`` nothing is written. A word that was written
    down but not delivered is not said again: better once too few than twice.
    """
    settings, at = settings or CareSettings(), now or datetime.now().astimezone()
    if dry_run:
        return due(ledgers(memory), at, settings)
    with Lock(memory / "care" / "lock"):
        words = due(ledgers(memory), at, settings)
        for word in words:
            CareFile(memory, word.user).append(
                Sent(at=word.at, kind=word.kind, priority=word.priority, key=word.key,
                     reason=word.reason)
            )  # fmt: skip
    return words


def decisions(memory: Path, settings: CareSettings, now: datetime) -> list[Decision]:
    """For everyone in the folder: the word that is due, or why there is none."""
    return [decide(person, now, settings) for person in ledgers(memory)]


def ledgers(memory: Path) -> list[Ledger]:
    """Everyone who has memories in the folder, by name."""
    if not (memory / "meta.json").is_file():
        raise MissingDataError(f"no memories in '{memory}'; talk first (oldfriend chat)")
    people = (_read(path) for path in sorted((memory / "journals").glob("*/[!.]*.jsonl")))
    states = sorted((state for state in people if state.user), key=lambda state: state.user)
    return [ledger(state, memory) for state in states]


def ledger(state: State, memory: Path) -> Ledger:
    """A person's ledger from their memories and what the folder says of care for them."""
    wish, sent = None, list[Sent]()
    for entry in CareFile(memory, state.user).read():
        if isinstance(entry, Asked):
            wish = entry.consent
        else:
            sent.append(entry)
    turns = (r for r in state.values() if r.kind == "turn" and r.source)
    heard = tuple(r.created_at for r in turns if r.source and r.source.speaker == "user")
    kept = tuple(r for r in state.values() if r.kind not in ("turn", "session", "insight"))
    return Ledger(state.user, wish, kept, heard, tuple(sent))


def opt(memory: Path, user: str, consent: Consent, at: datetime) -> None:
    """Write down whether ``user`` wants to be written to. The last wish counts."""
    CareFile(memory, user).append(Asked(at=at, consent=consent))


def forget_care(memory: Path, user: str) -> bool:
    """Erase all that is kept of care for ``user``; whether there was anything."""
    return CareFile(memory, user).erase()


def _held(person: Ledger, now: datetime, where: tzinfo, settings: CareSettings) -> str:
    """Why nobody writes to ``person`` now, whatever the cause; "" if one may."""
    if quiet(now, where, settings):
        return f"quiet hours, {settings.quiet_from}:00 to {settings.quiet_to}:00 in {where}"
    spoke = [t for t in map(comparable, person.heard) if t <= now]
    last_word = max(spoke, default=None)
    if last_word and now - last_word < timedelta(hours=settings.settle_hours):
        return "they were just here"
    times = sorted(comparable(one.at) for one in person.sent)
    if times and times[-1] > now:
        return "the last word lies ahead: the clock was set back"
    if times and (last_word is None or last_word <= times[-1]):
        return "the last word was not answered"
    for span, most, name in ((DAY, settings.per_day, "day"), (WEEK, settings.per_week, "week")):
        if sum(now - at < span for at in times) >= most:
            return f"{most} a {name} {'is' if most == 1 else 'are'} enough"
    return ""


def _gap(person: Ledger, priority: int, now: datetime, settings: CareSettings) -> timedelta:
    """How long after the last word the next of this priority may follow."""
    if not person.sent:
        return timedelta(0)
    hours = settings.gap_hours[priority - 1]
    hours *= settings.backoff ** min(ignored(person.sent, person.heard, settings), 32)
    return min(timedelta(hours=min(hours, 1e6)), timedelta(days=settings.longest_gap_days))


def _since_last(person: Ledger, now: datetime) -> timedelta:
    last = max((comparable(one.at) for one in person.sent), default=None)
    return now - last if last else timedelta.max


def _read(path: Path) -> State:
    """A person's records as far as their journal is whole. Nothing is written or repaired: another
    process may be in the middle of a line."""
    state = State()
    with path.open("rb") as lines:
        for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE), b""), 1):
            if not line.endswith(b"\n"):
                break
            for entry in decode(line, path, number):
                state.apply(entry)
    return state
