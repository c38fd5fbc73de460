"""Whether memory is needed, which, and whether to say it."""

from dataclasses import replace
from math import exp
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_fakes import fact, turn

from oldfriend.memory.store.decide import (
    DEFAULT,
    ENOUGH,
    FEATURES,
    USUAL,
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
    assert decision.reason.startswith("memory needed") and "met in memory" in decision.reason


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
    gap = 0.6 - (0.2 + 7 * USUAL) / ENOUGH
    assert seen == pytest.approx(
        {"asks": 1, "recalls": 1, "own": 1, "match": 0.6, "gap": gap, "theirs": 0, "known": 0,
         "strange": 0, "personal": 0}
    )  # fmt: skip


def test_ones_first_memory_stands_out_from_the_usual_one() -> None:
    """There is nothing to compare it with, and yet it can be told whether it is meant."""
    assert features("?", [hit(0.7)])[FEATURES.index("gap")] == pytest.approx(0.7 - USUAL)
    answered = decide("What is my cat called?", [hit(0.7, "theirs")])
    assert answered.needed and len(answered.choices) == 1
    foreign = decide("Where do I live?", [hit(0.12, "other")])
    assert foreign.choices == ()


@pytest.mark.parametrize(
    ("message", "known", "strange"),
    [
        ("What does Tom do?", 1, 0), ("Has anna called?", 1, 0), ("Did I go to Oslo?", 1, 0),
        ("Who wrote Hamlet?", 0, 1), ("Is it far to Peru?", 0, 1), ("Shall I go in June?", 0, 0),
        ("Tell me about I Claudius", 0, 1), ("What is my job?", 0, 0),
    ],
)  # fmt: skip
def test_names_that_are_met_in_memory_are_known(message: str, known: int, strange: int) -> None:
    hits = [
        replace(FAR[0], record=fact("partner_name", "Tom", 1)),
        replace(FAR[0], record=fact("pet", "Bo", 2, subject="Anna")),
        replace(FAR[0], record=turn("we flew to Oslo", 3)),
    ]
    assert features(message, hits)[6:8] == (known, strange)


def test_what_is_about_the_world_needs_no_memory() -> None:
    """However well its words are met: a memory of eggs does not say how long they boil."""
    hits = [hit(0.6), *FAR]
    assert DEFAULT.informed is not None
    general = decide("How do I boil an egg?", hits, personal=0.02)
    assert not general.needed and "about the world" in general.reason
    assert decide("How do I like my eggs?", hits, personal=0.95).needed
    assert decide("What is the capital of France?", FAR, personal=0.01).choices == ()


def test_a_logit_may_know_fewer_features() -> None:
    assert Logit(1.0, (2.0,))((0.5, 9.0, 9.0)) == pytest.approx(1 / (1 + exp(-2.0)))


@settings(deadline=None)
@given(st.text(max_size=80), st.lists(st.floats(-1, 1), max_size=6))
def test_probabilities_are_probabilities(message: str, matches: list[float]) -> None:
    decision = decide(message, [hit(m, text=str(n)) for n, m in enumerate(matches)])
    assert 0 <= decision.need <= 1 and 0 <= decision.say <= 1 and decision.reason
    assert decision.needed == (decision.need >= DEFAULT.threshold)
    assert decision.needed or not decision.choices
    assert all(0.5 <= choice.probability <= 1 for choice in decision.choices)
