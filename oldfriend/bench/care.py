"""Would care reach people when it matters, and leave them alone when it does not? On lives whose
truth is known.

People of the simulator's test split live on with their talks; notes are the true facts, with a
share of near misses noted by mistake. The simulator does not date exams: a day is drawn, told in
one of several ways, and has to be read from the words. Some answer an unasked word, some never do,
and some never asked for one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta

from oldfriend.corpus.people import Life
from oldfriend.corpus.schema import Conversation, read_rows
from oldfriend.empathy.care import Ledger, due
from oldfriend.empathy.care_ledger import Consent, Sent
from oldfriend.empathy.care_rules import CareSettings, key_of, midnight
from oldfriend.memory.store.dates import resolve
from oldfriend.memory.store.record import MemoryRecord, record_id
from oldfriend.outcome import Outcome, spread

ZONES = ("Europe/London", "America/New_York", "Asia/Tokyo", "Australia/Sydney")
STEP = timedelta(hours=3)  # how often care looks in
KINDS = {"exam_subject": "event", "loss": "event", "worry": "emotion", "promise_made": "promise",
         "birthday": "profile"}  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class Worthy:
    """Something a friend would think of: reached by a word in ``opens <= t < closes``."""

    kind: str
    opens: datetime
    closes: datetime


@dataclass(frozen=True)
class Year:
    """A person to care for, and the truth: what deserved a word, and which notes are false."""

    ledger: Ledger
    until: datetime
    worthy: tuple[Worthy, ...]
    false: frozenset[str]  # keys of causes that would stand on a false note
    answers: bool


def measure(
    curated: Path,
    settings: CareSettings,
    *,
    lives: int = 30,
    seeds: Sequence[int] = (0, 1, 2),
    mistaken: float = 0.1,
) -> Outcome:
    """care_reached_<exam|loss|birthday>: share reached in time of those who opted in, and beside
    it what a weekly message on a fixed day would have reached by chance (care_reached_weekly_...);
    care_per_week: words a person-week; care_false: share of words that stand on a false note, with
    ``mistaken`` of the near misses noted; care_uninvited: words to people who never opted in."""
    people = [life for life in read_rows(curated / "lives.jsonl", Life) if life.split == "test"]
    talks: dict[str, list[Conversation]] = {}
    for talk in read_rows(curated / "talk" / "test.jsonl", Conversation):
        talks.setdefault(talk.person, []).append(talk)
    runs = []
    for seed in seeds:
        rng = Random(f"care {seed}")
        chosen = rng.sample(people, min(lives, len(people)))
        years = [year(life, talks[life.person], settings, mistaken, rng) for life in chosen]
        runs.append(_figures([(one, live(one, settings, rng)) for one in years]))
    return Outcome(spread(runs))


def year(
    life: Life, talks: Sequence[Conversation], settings: CareSettings, mistaken: float, rng: Random
) -> Year:
    """The ledger of a life and what in it deserves a word."""
    where = ZoneInfo(rng.choice(ZONES))
    begins = {
        talk.id: talk.time.replace(tzinfo=where).astimezone(UTC) for talk in talks if talk.time
    }
    heard = tuple(sorted(begins.values()))
    until = heard[-1] + timedelta(days=30)
    records: list[MemoryRecord] = []
    worthy: list[Worthy] = []
    for fact in life.facts:
        if fact.slot not in KINDS:
            continue
        told = begins[fact.conversation]
        ends = [begins[f.conversation] for f in life.facts
                if f.slot == fact.slot == "birthday" and begins[f.conversation] > told]  # fmt: skip
        record = _record(life.person, fact.slot, fact.value, told)
        if fact.slot == "exam_subject":
            days = rng.randint(2, 20)
            record = _dated(record, fact.value, days, where, rng)
            day = (told.astimezone(where) + timedelta(days=days)).date()
            worthy.append(
                Worthy("exam", midnight(day - timedelta(days=1), where),
                       midnight(day + timedelta(days=1), where))
            )  # fmt: skip
        elif fact.slot == "loss":
            opens = told + timedelta(days=settings.loss_days)
            if not any(told < t <= opens + timedelta(days=1) for t in heard):
                worthy.append(Worthy("loss", opens, opens + timedelta(days=1)))
        elif fact.slot == "birthday":
            record = record.model_copy(update={"expired_at": min(ends, default=None)})
            worthy += _birthdays(fact.value, told, min([until, *ends]), where)
        records.append(record)
    wrong = [
        _record(life.person, m.fact.slot, m.fact.value, begins[m.conversation])
        for m in life.moments
        if m.role == "near_miss" and m.fact and m.fact.slot in KINDS and rng.random() < mistaken
    ]
    wish = Consent(on=True, timezone=str(where)) if rng.random() < 0.8 else None
    ledger = Ledger(life.person, wish, tuple(records + wrong), heard)
    false = frozenset(key for record in wrong for key in _keys(record))
    seen = tuple(one for one in worthy if one.closes <= until)
    return Year(ledger, until, seen, false, rng.random() < 0.8)


def live(one: Year, settings: CareSettings, rng: Random) -> list[Sent]:
    """Look in every STEP of the year; what was sent."""
    whole, sent, replies = one.ledger, list[Sent](), list[datetime]()
    now = whole.heard[0].replace(minute=0, second=0, microsecond=0)
    while now < one.until:
        now += STEP
        known = tuple(_known(record, now) for record in whole.records if record.created_at <= now)
        heard = tuple(t for t in (*whole.heard, *replies) if t <= now)
        ledger = replace(whole, records=known, heard=heard, sent=tuple(sent))
        for word in due([ledger], now, settings):
            sent.append(Sent(at=now, kind=word.kind, priority=word.priority, key=word.key))
            if one.answers and rng.random() < 0.7:
                replies.append(now + timedelta(hours=rng.uniform(0.5, 20)))
    return sent


def _known(record: MemoryRecord, now: datetime) -> MemoryRecord:
    """The record as it was held at ``now``: what later replaced it has not been told yet."""
    ahead = record.expired_at is not None and record.expired_at > now
    return record.model_copy(update={"expired_at": None}) if ahead else record


def _record(user: str, slot: str, value: str, told: datetime) -> MemoryRecord:
    return MemoryRecord.model_validate(
        {
            "id": record_id(user, slot, value, told.isoformat()), "user": user,
            "kind": KINDS[slot], "slot": slot, "value": value, "text": f"{slot}: {value}",
            "created_at": told,
        }
    )  # fmt: skip


def _dated(
    record: MemoryRecord, value: str, days: int, where: ZoneInfo, rng: Random
) -> MemoryRecord:
    """The exam as somebody would tell it, its day read from the words as notes do."""
    here = record.created_at.astimezone(where)
    day = here + timedelta(days=days)
    ways = [f"on {day.day} {day:%B}", f"on {day:%B} {day.day}",
            f"in {days} days"]  # fmt: skip
    if days < 7:
        ways.append(f"on {WEEKDAYS[day.weekday()]}")
    found = resolve(f"My {value} exam is {rng.choice(ways)}.", here, otherwise="future")
    return record.model_copy(update={"valid_from": found.interval.start if found else None})


def _birthdays(value: str, told: datetime, until: datetime, where: ZoneInfo) -> Iterator[Worthy]:
    """The birthdays "7 March" between two times, by the calendar alone."""
    first = datetime.strptime(f"{value} 2024", "%d %B %Y")
    for years in range(-1, 4):
        day = (first + relativedelta(years=years)).date()
        opens, closes = midnight(day, where), midnight(day + timedelta(days=1), where)
        if told < opens and closes <= until:
            yield Worthy("birthday", opens, closes)


def _keys(record: MemoryRecord) -> Iterator[str]:
    for kind in ("loss", "worry", "promise"):
        yield key_of(kind, record)
    for year_ in range(2023, 2028):
        for day in range(366):
            when = datetime(year_, 1, 1) + timedelta(days=day)
            if record.slot == "birthday":
                yield key_of("birthday", record, when.date())


def _figures(runs: Sequence[tuple[Year, list[Sent]]]) -> dict[str, float]:
    wanted = [(one, sent) for one, sent in runs if one.ledger.consent]
    metrics: dict[str, float] = {}
    for kind, names in (("exam", ("event",)), ("loss", ("loss",)), ("birthday", ("birthday",))):
        reached = [
            any(word.kind in names and worthy.opens <= word.at < worthy.closes for word in sent)
            for one, sent in wanted for worthy in one.worthy if worthy.kind == kind
        ]  # fmt: skip
        weekly = [
            min((worthy.closes - worthy.opens) / timedelta(days=7), 1.0)
            for one, _ in wanted for worthy in one.worthy if worthy.kind == kind
        ]  # fmt: skip
        metrics[f"care_events_{kind}"] = float(len(reached))
        metrics[f"care_reached_{kind}"] = sum(reached) / max(len(reached), 1)
        metrics[f"care_reached_weekly_{kind}"] = sum(weekly) / max(len(weekly), 1)
    weeks = sum((one.until - one.ledger.heard[0]) / timedelta(days=7) for one, _ in wanted)
    words = [(word, one) for one, sent in wanted for word in sent]
    false = sum(word.key in one.false for word, one in words)
    metrics["care_per_week"] = len(words) / weeks
    metrics["care_false"] = false / max(len(words), 1)
    metrics["care_false_per_100_weeks"] = 100 * false / weeks
    metrics["care_uninvited"] = float(sum(len(s) for one, s in runs if not one.ledger.consent))
    return metrics
