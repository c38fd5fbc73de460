"""Grounding examples from real talk: earlier facts at hand, the reply as it was."""

from datetime import UTC, datetime, timedelta

from oldfriend.corpus.grounding import ground_from_talk
from oldfriend.corpus.schema import Conversation, Fact, Turn

START = datetime(2023, 5, 8, 13, 0, tzinfo=UTC)


def session(
    number: int, *texts: str, value: str = "", person: str = "locomo:c1:Ana"
) -> Conversation:
    turns = []
    for place, text in enumerate(texts):
        found = value and value in text and place % 2 == 0
        start = text.index(value) if found else 0
        fact = Fact(slot="event", value=value or "-", start=start, end=start + len(value or "-"))
        speaker = "user" if place % 2 == 0 else "friend"
        turns.append(Turn(speaker=speaker, text=text, facts=(fact,) if found else ()))
    return Conversation(
        id=f"{person}:{number}",
        person=person,
        source="locomo",
        licence="l",
        session=number,
        time=START + timedelta(days=number),
        turns=tuple(turns),
    )


FIRST = session(1, "I planted a fig tree", "Lovely!", value="a fig tree")
LATER = session(2, "Hello!", "Hi. How is a fig tree these days?", "Growing", "Good to hear")


def test_earlier_sessions_give_the_memories() -> None:
    recall, plain = ground_from_talk([LATER, FIRST], 4)
    (memory,) = recall.memories
    assert memory.text == "Ana: a fig tree"
    assert memory.since == START.date() + timedelta(days=1)
    assert (recall.kind, recall.value, recall.slot) == ("recall", "a fig tree", "event")
    assert (plain.kind, plain.value, plain.message) == ("plain", None, "Growing")
    assert [turn.text for turn in plain.history] == ["Hello!", "Hi. How is a fig tree these days?"]


def test_without_earlier_facts_there_is_nothing_to_ground() -> None:
    other = session(2, "Hello!", "Hi.", person="locomo:c1:Ben")
    assert list(ground_from_talk([FIRST, other], 4)) == []


def test_replies_that_recall_come_first() -> None:
    (example,) = ground_from_talk([FIRST, LATER], 1)
    assert example.kind == "recall"


def test_a_part_of_a_word_is_no_recall() -> None:
    first = session(1, "I keep bees", "Oh", value="bees")
    later = session(2, "Tell me something", "Beeswax is flammable.")
    assert [row.kind for row in ground_from_talk([first, later], 4)] == ["plain"]
