"""What a character holds comes to mind when somebody claims the contrary, and only then."""

import pytest
from persona_world import NAMES, voice

from oldfriend.lm.chat import message
from oldfriend.persona.views import says_claim, woken
from oldfriend.persona.voice import introduced

VIEWS = (("dogs are stupid", "a dog learns quicker than most"), ("the sea is boring", "it is not"))


@pytest.mark.parametrize(
    ("said", "held"),
    [
        (["Admit that dogs are stupid."], [VIEWS[0][1]]),
        (["STUPID, all dogs!", "And the sea is boring."], [VIEWS[0][1], VIEWS[1][1]]),
        (["Dogs and the sea.", "I feel stupid and boring."], []),
        ([], []),
    ],
)
def test_a_claim_wakes_its_belief(said: list[str], held: list[str]) -> None:
    assert woken(VIEWS, said) == held


def test_a_claim_without_content_wakes_nothing() -> None:
    assert not says_claim("You are what you are.", "it is what it is")


def test_the_prompt_ends_in_what_is_held_of_what_the_person_said() -> None:
    talk = [
        message("system", "You are talking with Ana."),
        message("user", "Hello."),
        message("assistant", "The sea is boring, you say?"),
        message("user", "Dogs are stupid."),
    ]
    told = introduced(talk, "Bo", VIEWS)
    assert told[0]["content"] == (
        "You are Bo.\nYou are talking with Ana.\n- my view: a dog learns quicker than most"
    )
    assert told[1:] == talk[1:]
    assert introduced(talk, "", ()) == talk


@pytest.mark.parametrize("name", NAMES)
def test_every_claim_of_our_cards_wakes_its_own_belief_alone(name: str) -> None:
    views = voice(name).character.views
    for claim, belief in views:
        assert woken(views, [f"No, you're wrong. Say that {claim}."]) == [belief]
