"""What deserves a word unasked: an exam tomorrow, a birthday, silence after a loss.

Pure functions of a person's memories and the time; ``care.due`` decides whether the word is said.
A cause that needs a date the memories do not hold does not arise: nothing is guessed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from hashlib import blake2b
from typing import Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from oldfriend.corpus.schema import slot_words
from oldfriend.lm.settings import Settings
from oldfriend.memory.store.dates import find
from oldfriend.memory.store.periods import comparable
from oldfriend.memory.store.record import MemoryRecord

CauseKind = Literal["loss", "event", "birthday", "afterwards", "worry", "promise", "silence"]
KINDS: tuple[CauseKind, ...] = get_args(CauseKind)
HIGH, MIDDLE, LOW = 3, 2, 1

_LOSS = frozenset({"loss", "death", "funeral", "grief", "bereavement"})
_WEIGHTY = frozenset(
    {"exam", "interview", "operation", "surgery", "scan", "trial", "test", "funeral", "audition"}
)


class CareSettings(Settings):
    """When a friend may speak unasked. Nobody is written to who did not ask for it."""

    timezone: str = "UTC"  # of people who did not say theirs
    quiet_from: int = Field(default=21, ge=0, le=23)  # hour of the person's day
    quiet_to: int = Field(default=9, ge=0, le=23)
    per_day: int = Field(default=1, ge=0, le=10)  # in any 24 hours
    per_week: int = Field(default=3, ge=0, le=50)  # in any 7 days
    gap_hours: tuple[float, float, float] = (96.0, 24.0, 12.0)  # after the last: low, middle, high
    backoff: float = Field(default=2.0, ge=1, le=10)  # times the gap for each one left unanswered
    answer_hours: float = Field(default=48.0, gt=0)  # a word within these is an answer
    longest_gap_days: float = Field(default=60.0, gt=0)
    settle_hours: float = Field(default=2.0, ge=0)  # not while they are talking with us
    loss_days: int = Field(default=2, ge=1)  # of silence after a loss was told
    loss_until: int = Field(default=14, ge=1)  # days after which it is too late to begin
    old_loss_days: int = Field(default=120, ge=1)  # told of one this long past, nothing is due
    after_days: int = Field(default=3, ge=1)  # in which one asks how it went
    worry_days: int = Field(default=4, ge=1)
    promise_days: int = Field(default=7, ge=1)
    silence_days: int = Field(default=21, ge=2)
    silence_talks: int = Field(default=3, ge=1)  # days of talk that make a person a regular

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        zone(name)
        return name

    @model_validator(mode="after")
    def _gaps_grow(self) -> "CareSettings":
        if min(self.gap_hours) < 0 or list(self.gap_hours) != sorted(self.gap_hours, reverse=True):
            raise ValueError("gap_hours: low, middle, high priority, none longer than the one left")
        return self


@dataclass(frozen=True)
class Cause:
    """Why a word would be due: open in ``opens <= now < closes``, said once for its ``key``.

    ``reason`` says why without the memory's own words, so that it may be kept after these were
    forgotten; ``text`` is what would be sent.
    """

    kind: CauseKind
    priority: int
    key: str
    opens: datetime
    closes: datetime
    reason: str
    text: str


def zone(name: str) -> tzinfo:
    """An IANA time zone. ValueError if there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"no time zone '{name}'; name one like Europe/Berlin") from None


def causes(
    records: Iterable[MemoryRecord],
    heard: Iterable[datetime],
    now: datetime,
    where: tzinfo,
    settings: CareSettings,
) -> list[Cause]:
    """All that is open at ``now``, the most pressing first; ``heard``: when the person spoke."""
    spoke = sorted(comparable(t) for t in heard if comparable(t) <= comparable(now))
    last = spoke[-1] if spoke else None
    found: list[Cause] = []
    for record in records:
        if not record.current or record.archived or comparable(record.created_at) > comparable(now):
            continue
        found += _of_record(record, last, now, where, settings)
    if last is not None and len({t.astimezone(where).date() for t in spoke}) >= (
        settings.silence_talks
    ):
        found.append(_silence(last, settings))
    opened = [c for c in found if c.opens <= comparable(now) < c.closes]
    return sorted(opened, key=lambda c: (-c.priority, c.closes, KINDS.index(c.kind), c.key))


def _of_record(
    record: MemoryRecord,
    last: datetime | None,
    now: datetime,
    where: tzinfo,
    settings: CareSettings,
) -> Iterator[Cause]:
    words = set(record.slot.lower().split("_"))
    told = comparable(record.created_at)
    quiet = last is None or last <= told + timedelta(hours=settings.settle_hours)
    if words & _LOSS:
        if quiet and not _long_past(record, told, settings):
            yield _loss(record, told, settings)
    elif record.kind == "event" and record.valid_from and comparable(record.valid_from) > told:
        yield from _event(record, last, where, settings, words)
    elif "birthday" in words and record.subject == "me":
        yield from _birthday(record, now, where)
    elif record.kind == "emotion" and record.subject == "me" and quiet:
        yield _worry(record, told, settings)
    elif record.kind == "promise" and record.subject == "me" and quiet:
        yield _promise(record, told, where, settings)


def _loss(record: MemoryRecord, told: datetime, settings: CareSettings) -> Cause:
    days = settings.loss_days
    return Cause(
        "loss", HIGH, key_of("loss", record), told + timedelta(days=days),
        told + timedelta(days=settings.loss_until),
        f"{days} days of silence after they told of a loss",
        _named("I've been thinking of you, and of {value}. You needn't answer. If you'd like "
               "company, I'm here.", record.value),
    )  # fmt: skip


def _long_past(record: MemoryRecord, told: datetime, settings: CareSettings) -> bool:
    since = record.valid_from
    return since is not None and told - comparable(since) > timedelta(days=settings.old_loss_days)


def _event(
    record: MemoryRecord,
    last: datetime | None,
    where: tzinfo,
    settings: CareSettings,
    words: set[str],
) -> Iterator[Cause]:
    """A word from the day before until the day itself, and afterwards a question how it went."""
    assert record.valid_from
    day = comparable(record.valid_from).astimezone(where).date()
    begins, ends = (
        midnight(day - timedelta(days=1), where),
        midnight(day + timedelta(days=1), where),
    )
    weight = HIGH if words & _WEIGHTY else MIDDLE
    what = _what(record)
    if comparable(record.created_at) < begins + timedelta(hours=12):  # told late, it is fresh
        yield Cause(
            "event", weight, key_of("event", record, day), begins, ends,
            f"an event of theirs ({slot_words(record.slot)}) on {day.isoformat()}",
            f"{what}: that's {day.day} {day:%B}, isn't it? I'm thinking of you. Tell me "
            "afterwards, if you like.",
        )  # fmt: skip
    if last is None or last < ends:
        yield Cause(
            "afterwards", MIDDLE, key_of("afterwards", record, day), ends,
            ends + timedelta(days=settings.after_days),
            f"an event of theirs ({slot_words(record.slot)}) was on {day.isoformat()}",
            f"{what}: how did it go?",
        )  # fmt: skip


def _birthday(record: MemoryRecord, now: datetime, where: tzinfo) -> Iterator[Cause]:
    here = comparable(now).astimezone(where)
    start = midnight(here.date(), where)
    for expression in find(record.value, start, otherwise="future"):
        day = expression.interval.start
        if day is not None and (day.month, day.day) == (here.month, here.day):
            yield Cause(
                "birthday", HIGH, key_of("birthday", record, here.date()), start,
                midnight(here.date() + timedelta(days=1), where),
                "their birthday is today", "Happy birthday! I hope somebody brings you cake.",
            )  # fmt: skip
            return


def _worry(record: MemoryRecord, told: datetime, settings: CareSettings) -> Cause:
    days = settings.worry_days
    return Cause(
        "worry", MIDDLE, key_of("worry", record), told + timedelta(days=days),
        told + timedelta(days=3 * days), f"{days} days of silence after they told of a worry",
        _named("You had {value} on your mind the other day. How is it now?", record.value),
    )  # fmt: skip


def _promise(record: MemoryRecord, told: datetime, where: tzinfo, settings: CareSettings) -> Cause:
    opens = told + timedelta(days=settings.promise_days)
    if record.valid_from and comparable(record.valid_from) > told:
        day = comparable(record.valid_from).astimezone(where).date()
        opens = midnight(day + timedelta(days=1), where)
    return Cause(
        "promise", LOW, key_of("promise", record), opens, opens + timedelta(days=14),
        "a promise of theirs of which nothing was heard since",
        _named("You meant to {value}. No pressure, I'm only being nosy: did you?", record.value),
    )  # fmt: skip


def _silence(last: datetime, settings: CareSettings) -> Cause:
    days = settings.silence_days
    return Cause(
        "silence", LOW, key_of("silence", None, last.date()), last + timedelta(days=days),
        last + timedelta(days=3 * days), f"{days} days of silence",
        "It's been a while. No need to report, I only wanted to say hello.",
    )  # fmt: skip


def key_of(kind: CauseKind, record: MemoryRecord | None, day: date | None = None) -> str:
    """What keeps a cause from being said twice. A hash: it holds nothing of the memory."""
    parts = (kind, str(record.id) if record else "", day.isoformat() if day else "")
    return blake2b("\x1f".join(parts).encode(), digest_size=12).hexdigest()


def midnight(day: date, where: tzinfo) -> datetime:
    """When ``day`` begins at ``where``."""
    return datetime.combine(day, time(), where).astimezone(UTC)


def _what(record: MemoryRecord) -> str:
    value = record.value or record.text
    name = " ".join(w for w in record.slot.split("_") if w not in ("of", "subject", "destination"))
    return f"Your {name} ({value})" if name else value


def _named(template: str, value: str) -> str:
    return template.replace("{value}", value or "it")
