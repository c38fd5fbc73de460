"""The governor: when a word may be said unasked, and what never happens whatever the input."""

from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from oldfriend.empathy.care import Ledger, Outreach, decide, due, ignored, quiet
from oldfriend.empathy.care_ledger import Consent, Sent
from oldfriend.empathy.care_rules import CareSettings, causes
from oldfriend.memory.store.record import MemoryRecord

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)  # a Monday
ON = Consent(on=True)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland")


def note(slot: str, value: str, kind: str = "event", **more: object) -> MemoryRecord:
    number = hash((slot, value)) & (2**64 - 1)
    base = {
        "id": UUID(int=number), "user": "ana", "kind": kind, "slot": slot, "value": value,
        "text": f"{slot}: {value}", "created_at": NOON - timedelta(days=5),
    }  # fmt: skip
    return MemoryRecord.model_validate(base | more)


def person(*records: MemoryRecord, **more: object) -> Ledger:
    base: dict[str, object] = {
        "user": "ana", "consent": ON, "records": records, "heard": (NOON - timedelta(days=5),)
    }  # fmt: skip
    return Ledger(**(base | more))  # type: ignore[arg-type]


def sent(at: datetime, key: str = "k", priority: int = 2) -> Sent:
    return Sent(at=at, kind="event", priority=priority, key=key)


def only(found: list[Outreach]) -> Outreach:
    assert len(found) == 1
    return found[0]


EXAM = note("exam_subject", "anatomy", valid_from=datetime(2024, 5, 7, tzinfo=UTC))


def test_an_exam_tomorrow_is_a_reason() -> None:
    word = only(due([person(EXAM)], NOON, CareSettings()))
    assert (word.kind, word.user, word.at) == ("event", "ana", NOON)
    assert "anatomy" in word.text and "anatomy" not in word.reason
    assert "2024-05-07" in word.reason


@pytest.mark.parametrize("days", [-4, -1, 2, 9])
def test_not_two_days_before_and_not_late(days: int) -> None:
    at = datetime(2024, 5, 7, 12, tzinfo=UTC) - timedelta(days=days)
    talked = (at - timedelta(hours=5),)
    assert due([person(EXAM, heard=talked)], at, CareSettings()) == []


def test_afterwards_one_asks_unless_they_told() -> None:
    at = datetime(2024, 5, 8, 12, tzinfo=UTC)
    assert only(due([person(EXAM)], at, CareSettings())).kind == "afterwards"
    told = person(EXAM, heard=(datetime(2024, 5, 8, 1, tzinfo=UTC),))
    assert due([told], at, CareSettings()) == []


def test_the_day_is_the_persons_own() -> None:
    # 2:00 UTC on the 7th is still the 6th in New York, so the 5th is the eve there alone.
    exam = note("exam_subject", "law", valid_from=datetime(2024, 5, 7, 2, tzinfo=UTC))
    at = datetime(2024, 5, 5, 15, tzinfo=UTC)
    there, here = Consent(on=True, timezone="America/New_York"), Consent(on=True, timezone="UTC")
    word = only(due([person(exam, consent=there)], at, CareSettings()))
    assert "6 May" in word.text and "2024-05-06" in word.reason
    assert due([person(exam, consent=here)], at, CareSettings()) == []


def test_silence_after_a_loss() -> None:
    loss = note("loss", "Velmora", created_at=NOON - timedelta(days=3))
    grieving = person(loss, heard=(NOON - timedelta(days=3),))
    word = only(due([grieving], NOON, CareSettings()))
    assert word.kind == "loss" and word.priority == 3 and "Velmora" in word.text
    came_back = person(loss, heard=(NOON - timedelta(days=3), NOON - timedelta(days=1)))
    assert due([came_back], NOON, CareSettings()) == []


def test_a_loss_long_past_is_left_in_peace() -> None:
    old = note("loss", "Ada", created_at=NOON - timedelta(days=3),
               valid_from=NOON - timedelta(days=4000))  # fmt: skip
    assert due([person(old, heard=(NOON - timedelta(days=3),))], NOON, CareSettings()) == []


def test_birthday_of_the_person_only() -> None:
    own = note("birthday", "6 May", kind="profile")
    assert only(due([person(own)], NOON, CareSettings())).kind == "birthday"
    sister = note("birthday", "6 May", kind="profile", subject="sister")
    assert due([person(sister)], NOON, CareSettings()) == []
    assert due([person(own)], NOON + timedelta(days=1), CareSettings()) == []


def test_an_event_without_a_date_is_no_reason() -> None:
    assert due([person(note("exam_subject", "law"))], NOON, CareSettings()) == []


def test_what_is_no_longer_true_is_no_reason() -> None:
    assert due([person(EXAM.model_copy(update={"expired_at": NOON}))], NOON, CareSettings()) == []
    assert due([person(EXAM.model_copy(update={"archived": "x"}))], NOON, CareSettings()) == []


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"consent": None}, "did not ask"),
        ({"consent": Consent(on=False)}, "did not ask"),
        ({"heard": (NOON - timedelta(minutes=20),)}, "just here"),
        ({"sent": (sent(NOON - timedelta(days=3)),)}, "not answered"),
        ({"sent": (sent(NOON - timedelta(hours=20)),), "heard": (NOON - timedelta(hours=19),)},
         "1 a day is enough"),
        ({"sent": tuple(sent(NOON - timedelta(days=d)) for d in (2, 4, 6)),
          "heard": (NOON - timedelta(days=1, hours=20),)}, "3 a week are enough"),
        ({"sent": (sent(NOON + timedelta(days=1)),)}, "clock was set back"),
        ({"records": ()}, "nothing is due"),
    ],
)  # fmt: skip
def test_why_nobody_writes(more: dict[str, object], why: str) -> None:
    decision = decide(person(EXAM, **more), NOON, CareSettings())
    assert decision.outreach is None and why in decision.held


def test_quiet_hours_in_the_persons_own_day() -> None:
    late = datetime(2024, 5, 6, 21, 30, tzinfo=UTC)
    assert "quiet" in decide(person(EXAM), late, CareSettings()).held
    new_york = person(EXAM.model_copy(update={"valid_from": datetime(2024, 5, 7, 12, tzinfo=UTC)}),
                      consent=Consent(on=True, timezone="America/New_York"))  # fmt: skip
    assert decide(new_york, late, CareSettings()).outreach


def test_each_ignored_word_doubles_the_gap() -> None:
    loss = note("loss", "Ada", created_at=NOON - timedelta(days=3))
    rules = CareSettings(per_week=50)
    # Two words without an answer within 48 hours; they came back later, of their own accord.
    words = (sent(NOON - timedelta(days=20)), sent(NOON - timedelta(hours=80)))
    heard = (NOON - timedelta(days=10), NOON - timedelta(hours=75) + timedelta(days=-20))
    assert ignored(words, heard, rules) == 2
    spoke = (NOON - timedelta(hours=31.5),)
    assert ignored(words, spoke, rules) == 2
    late = person(loss.model_copy(update={"created_at": NOON - timedelta(hours=50)}),
                  sent=words, heard=(NOON - timedelta(hours=50),))  # fmt: skip
    assert ignored(words, late.heard, rules) == 0
    slow = CareSettings(per_week=50, answer_hours=24, backoff=10)
    assert "too soon" in decide(late, NOON, slow).held
    assert decide(late, NOON, rules).outreach


def test_the_same_cause_is_never_said_twice() -> None:
    word = only(due([person(EXAM)], NOON, CareSettings()))
    again = Sent(at=NOON, kind=word.kind, priority=word.priority, key=word.key)
    heard = (NOON + timedelta(hours=1),)
    later = NOON + timedelta(hours=30)
    rules = CareSettings(quiet_from=0, quiet_to=0)
    assert decide(person(EXAM, sent=(again,), heard=heard), later, rules).outreach is None


def test_settings_are_checked() -> None:
    for wrong in (
        {"timezone": "Mars/Olympus"}, {"gap_hours": (1, 2, 3)}, {"per_day": -1},
        {"quiet_from": 24}, {"backoff": 0.5}, {"unknown": 1},
    ):  # fmt: skip
        with pytest.raises(ValidationError):
            CareSettings.model_validate(wrong)
    with pytest.raises(ValidationError):
        Consent(on=True, timezone="../../etc/passwd")


# Whatever the memories, the settings and the replies

records = st.builds(
    lambda slot, kind, day, said, number: note(
        slot, "7 May" if slot == "birthday" else f"v{number}", kind,
        created_at=NOON + timedelta(days=said),
        valid_from=NOON + timedelta(days=max(day, 0)) if day else None,
    ),
    st.sampled_from(["exam_subject", "loss", "birthday", "worry", "promise_made", "trip"]),
    st.sampled_from(["event", "emotion", "promise", "profile"]),
    st.integers(-3, 12), st.integers(-10, 5), st.integers(0, 5),
)  # fmt: skip
rules = st.builds(
    CareSettings,
    timezone=st.sampled_from(ZONES), quiet_from=st.integers(0, 23), quiet_to=st.integers(0, 23),
    per_day=st.integers(0, 3), per_week=st.integers(0, 6), silence_days=st.integers(2, 10),
    gap_hours=st.sampled_from([(96.0, 24.0, 12.0), (0.0, 0.0, 0.0), (5.0, 3.0, 1.0)]),
    backoff=st.sampled_from([1.0, 2.0, 10.0]),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    st.lists(records, max_size=6), rules, st.sampled_from(["", *ZONES]), st.booleans(),
    st.lists(st.integers(0, 4), min_size=20, max_size=20), st.integers(3, 11),
)  # fmt: skip
def test_never_against_the_rules(
    memories: list[MemoryRecord],
    chosen: CareSettings,
    timezone: str,
    wanted: bool,
    replies: list[int],
    step: int,
) -> None:
    """Live on for twenty days, looking in every few hours; people reply or do not."""
    heard = [NOON - timedelta(days=d) for d in (1, 4, 9)]
    words: list[Sent] = []
    wish = Consent(on=wanted, timezone=timezone)
    where = ZoneInfo(timezone or chosen.timezone)
    for turn in range(20 * 24 // step):
        now = NOON + timedelta(hours=step * turn)
        ledger = Ledger("ana", wish, tuple(memories), tuple(heard), tuple(words))
        found = due([ledger], now, chosen)
        assert found == due([ledger], now, chosen)
        assert len(found) <= 1
        for word in found:
            assert wanted
            assert not quiet(now, where, chosen)
            recent = [one for one in words if now - one.at < timedelta(days=7)]
            assert len(recent) < chosen.per_week
            assert sum(now - one.at < timedelta(days=1) for one in recent) < chosen.per_day
            if words:
                assert any(words[-1].at < t <= now for t in heard), "two in a row"
                assert now - words[-1].at >= timedelta(hours=chosen.gap_hours[word.priority - 1])
            assert word.key not in {one.key for one in words}
            assert word.reason and word.text
            words.append(Sent(at=now, kind=word.kind, priority=word.priority, key=word.key))
        if words and replies[turn % 20] == 1:
            heard.append(now + timedelta(hours=1))


@settings(max_examples=30, deadline=None)
@given(st.lists(records, max_size=5), rules, st.integers(0, 400))
def test_order_of_memories_does_not_matter(
    memories: list[MemoryRecord], chosen: CareSettings, hours: int
) -> None:
    now = NOON + timedelta(hours=hours)
    unique = list({record.id: record for record in memories}.values())
    where = ZoneInfo(chosen.timezone)
    forward = causes(unique, (NOON,), now, where, chosen)
    assert forward == causes(unique[::-1], (NOON,), now, where, chosen)
    assert all(cause.opens <= now < cause.closes for cause in forward)


@settings(deadline=None)
@given(st.datetimes(timezones=st.just(UTC)), st.integers(0, 23), st.integers(0, 23))
def test_quiet_hours_are_the_hours_named(at: datetime, first: int, last: int) -> None:
    chosen = CareSettings(quiet_from=first, quiet_to=last)
    hours = {(first + n) % 24 for n in range((last - first) % 24)}
    assert quiet(at, UTC, chosen) == (at.hour in hours)


def test_everybody_apart_and_in_order() -> None:
    people = [person(EXAM, user=name) for name in ("zoe", "ana", "mia")]
    assert [word.user for word in due(people, NOON, CareSettings())] == ["ana", "mia", "zoe"]
