"""Feelings add up, fade, and come back from JSON as they were."""

from datetime import UTC, datetime, timedelta

import pytest
from felt import feel
from hypothesis import given, settings
from hypothesis import strategies as st

from oldfriend.empathy.labels import LABELS
from oldfriend.empathy.mood import KEPT, LIFE, Mood
from oldfriend.errors import InputError

START = datetime(2025, 3, 1, 20, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

heard = st.lists(
    st.tuples(
        st.sampled_from(LABELS),
        st.floats(0, 1),
        st.integers(-60, 60 * 24 * 30),  # minutes since the one before; clocks go back at times
        st.text(max_size=20),
    ),
    max_size=60,
)


def told(*feelings: tuple[str, float], apart: timedelta = MINUTE, mood: Mood | None = None) -> Mood:
    mood = mood or Mood()
    at = mood.time + apart if mood.time else START
    for label, intensity in feelings:
        mood = mood.heard(feel(label, intensity), at, cause=f"over {label}")
        at += apart
    return mood


@settings(deadline=None)
@given(heard)
def test_mood_stays_in_range_and_survives_json(story: list[tuple[str, float, int, str]]) -> None:
    mood, at = Mood(), START
    for label, intensity, minutes, cause in story:
        at += timedelta(minutes=minutes)
        mood = mood.heard(feel(label, intensity), at, cause)
        assert -1 <= mood.valence <= 1
        assert 0 <= mood.intensity <= 1
        assert len(mood.events) <= KEPT
    assert Mood.from_json(mood.to_json()) == mood
    assert mood.heard_count == len(story)


def test_nothing_heard_is_calm() -> None:
    assert (Mood().valence, Mood().intensity, Mood().trend) == (0, 0, 0)
    assert Mood().last_strong() is None
    assert Mood.from_json(Mood().to_json()) == Mood()


def test_mood_turns_with_the_talk_and_the_trend_says_so() -> None:
    low = told(("sadness", 0.8), ("sadness", 0.7))
    assert low.valence < -0.3
    better = told(("joy", 0.8), ("relief", 0.7), mood=low)
    assert better.valence > low.valence
    assert better.direction == "rising"
    worse = told(("anger", 0.9), ("sadness", 0.9), mood=told(("joy", 0.8), ("joy", 0.8)))
    assert worse.direction == "falling"


def test_what_was_felt_is_carried_to_the_next_session_and_fades() -> None:
    evening = told(("grief", 0.9), ("sadness", 0.8))
    levels = [evening.at(START + timedelta(days=days)).valence for days in (0, 1, 4, 30)]
    assert levels == sorted(levels)
    assert levels[1] < -0.2  # still there the next day
    assert abs(levels[3]) < 0.02


def test_half_of_a_feeling_is_gone_after_its_half_life() -> None:
    mood = told(("grief", 0.8))
    later = mood.at(START + LIFE)
    assert later.life.weight == pytest.approx(mood.life.weight / 2)
    assert mood.events[0].strength(START + LIFE) == pytest.approx(0.4)


def test_reading_the_clock_in_two_steps_is_reading_it_once() -> None:
    mood = told(("grief", 0.8), ("joy", 0.3))
    twice = mood.at(START + timedelta(days=1)).at(START + timedelta(days=3))
    once = mood.at(START + timedelta(days=3))
    assert twice.life.valence == pytest.approx(once.life.valence)


def test_only_strong_feelings_are_events_and_the_last_has_its_cause() -> None:
    mood = told(("grief", 0.9), ("neutral", 0.05), ("annoyance", 0.3))
    assert [event.label for event in mood.events] == ["grief"]
    last = mood.last_strong()
    assert last is not None
    assert last.cause == "over grief"
    assert mood.last_strong(START + timedelta(days=60)) is None
    assert "over grief" in mood.describe()


def test_of_too_many_events_the_faintest_goes() -> None:
    mood = told(("grief", 1.0), apart=MINUTE)
    mood = told(*[("annoyance", 0.6)] * KEPT, mood=mood)
    assert len(mood.events) == KEPT
    assert mood.events[0].label == "grief"


def test_a_clock_that_goes_back_counts_as_standing_still() -> None:
    mood = told(("joy", 0.8))
    assert mood.heard(feel("joy"), START - timedelta(days=1)).time == START


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"version": 9}', "[" * 100_000, "null",
     told(("grief", 0.9)).to_json().replace('"weight": 0.9', '"weight": NaN'),
     told(("grief", 0.9)).to_json().replace("2025-03-01", "2025-13-01"),
     told(("grief", 0.9)).to_json().replace('"talk": {', '"talk": {"more": 1, ')],
)  # fmt: skip
def test_a_broken_mood_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(InputError, match="not a mood"):
        Mood.from_json(text)
