"""Whether memory is needed, which, and whether to say it."""

from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_fakes import turn

from oldfriend.memory.store.decide import (
    DEFAULT,
    FEATURES,
    Calibration,
    Logit,
    decide,
    features,
)
from oldfriend.memory.store.retrieve import Hit

Whose = Literal["theirs", "other", ""]


def hit(match: float, whose: Whose = "", text: str = "x") -> Hit:
    parts = {"theirs": {"speaker": 0.5}, "other": {"speaker": -0.5}, "": {}}[whose]
    return Hit(turn(f"{text} {match}"), match, match, match, parts, {})


FAR = [hit(0.2, text=str(n)) for n in range(8)]


def test_a_question_that_a_memory_answers_is_answered_with_it() -> None:
    decision = decide("Who is my employer?", [hit(0.7, "theirs"), *FAR])
    assert decision.needed and [c.how for c in decision.choices] == ["say"]
    assert decision.choices[0].hit.match == 0.7
    assert "it speaks of the speaker" in decision.reason or "question" in decision.reason


def test_a_question_that_no_memory_answers_is_not_answered_from_memory() -> None:
    decision = decide("Who is my employer?", FAR)
    assert decision.needed and decision.choices == ()
    assert "nothing known bears on it" in decision.reason


def test_the_same_of_somebody_else_is_not_an_answer() -> None:
    message = "Who is my employer?"
    own, other = (decide(message, [hit(0.42, w), *FAR]) for w in ("theirs", "other"))
    assert own.choices and not other.choices


def test_small_talk_needs_no_memory() -> None:
    decision = decide("Lovely light on the river today.", FAR)
    assert not decision.needed and decision.choices == ()
    assert decision.reason.startswith("no memory needed")


def test_what_is_told_rather_than_asked_only_colours_the_tone() -> None:
    told, asked = (
        decide(message, [hit(0.4, "theirs"), *FAR])
        for message in ("Practised for an hour on my own.", "How long did I practise on my own?")
    )
    assert [c.how for c in told.choices] == ["colour"] and [c.how for c in asked.choices] == ["say"]


def test_no_more_memories_than_allowed_the_likeliest_first() -> None:
    sure = Logit(5.0, (0.0, 0.0, 0.0, 1.0, 0.0, 0.0))
    hits = [hit(0.1 * n, text=str(n)) for n in range(6)]
    decision = decide("?", hits, Calibration(sure, sure, sure), most=2)
    assert [choice.hit for choice in decision.choices] == [hits[5], hits[4]]


def test_without_hits_there_is_nothing_to_choose() -> None:
    assert decide("Who is my employer?", []).choices == ()
    assert decide("", []).needed is False


def test_features_are_named() -> None:
    seen = dict(
        zip(FEATURES, features("Do you remember my dog?", [hit(0.6), hit(0.2)]), strict=True)
    )
    assert seen == pytest.approx(
        {"asks": 1, "recalls": 1, "own": 1, "match": 0.6, "gap": 0.4, "theirs": 0}
    )


@settings(deadline=None)
@given(st.text(max_size=80), st.lists(st.floats(-1, 1), max_size=6))
def test_probabilities_are_probabilities(message: str, matches: list[float]) -> None:
    decision = decide(message, [hit(m, text=str(n)) for n, m in enumerate(matches)])
    assert 0 <= decision.need <= 1 and 0 <= decision.say <= 1 and decision.reason
    assert decision.needed == (decision.need >= DEFAULT.threshold)
    assert decision.needed or not decision.choices
    assert all(0.5 <= choice.probability <= 1 for choice in decision.choices)
