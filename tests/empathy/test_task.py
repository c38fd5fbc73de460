"""What a message asks for: things to be done, advice, a memory, or nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oldfriend.empathy.task import asked


@pytest.mark.parametrize(
    "text",
    [
        "Can you translate this into French?",
        "could you please check my spelling",
        "Write me a birthday poem for Gran.",
        "Please remind me to call the vet at four.".replace("remind me to", "set an alarm to"),
        "Ok, summarise the letter for me.",
        "Tell me a joke.",
        "How do I descale a kettle?",
        "What's the capital of Peru?",
        "I need help with my tax form.",
        "I'm so upset. Anyway, draft a reply to my boss.",
        "I need a one way flight to Seattle",
    ],
)
def test_tasks(text: str) -> None:
    assert asked(text) == "task"


@pytest.mark.parametrize(
    "text",
    [
        "I wrote to my landlord again.",
        "Can you believe it? They gave the job to Keith.",
        "Give me a break.",
        "My dog died this morning.",
        "Tell me about it.",
        "I could cry.",
        "We should open a shop that only sells the left sock.",
        "She can play the violin.",
        "I don't know what the point is.",
        "Now, where was I?",
        "",
    ],
)
def test_talk_that_asks_for_nothing(text: str) -> None:
    assert asked(text) is None


@pytest.mark.parametrize(
    "text", ["What should I do?", "Should I ring her?", "Any advice?", "How do I get over him?"]
)
def test_advice(text: str) -> None:
    assert asked(text) == "advice"


@pytest.mark.parametrize(
    "text",
    ["Do you remember my sister's name?", "What did I tell you about the house?",
     "Where did I live before?", "Remember where I work?"],
)  # fmt: skip
def test_memories(text: str) -> None:
    assert asked(text) == "memory"


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    assert asked(text) in (None, "task", "advice", "memory")


def test_a_long_text_is_read_quickly_enough_to_finish() -> None:
    assert asked("what is " * 5000) is None
