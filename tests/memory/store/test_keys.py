"""What is embedded of a record, and whom a question asks about."""

from datetime import UTC, datetime

import pytest

from oldfriend.memory.store.keys import asked_about, key, keys
from oldfriend.memory.store.record import MemoryRecord, Source, record_id

MAY = datetime(2023, 5, 8, 13, 56, tzinfo=UTC)


def turn(number: int, speaker: str, text: str) -> MemoryRecord:
    source = Source(session="1", turn=number, speaker=speaker)
    return MemoryRecord(
        id=record_id("u", str(number)), user="u", kind="turn", text=text, created_at=MAY,
        source=source,
    )  # fmt: skip


def test_a_key_says_who_when_and_what() -> None:
    assert key(turn(0, "Melanie", "I ran.")) == "Melanie (8 May 2023): I ran."


def test_a_record_that_nobody_said_is_of_its_subject_and_of_when_it_was_true() -> None:
    record = turn(0, "x", "likes tea").model_copy(
        update={"source": None, "subject": "Anna", "valid_from": datetime(2020, 1, 2, tzinfo=UTC)}
    )
    assert key(record) == "Anna (2 January 2020): likes tea"


def test_a_window_stands_in_the_order_of_talk() -> None:
    first, mid, last = turn(3, "A", "One?"), turn(4, "B", "Two."), turn(5, "A", "Three!")
    own, window = keys(mid, [last, first])
    assert own == key(mid)
    assert window == "(8 May 2023)\nA: One?\nB: Two.\nA: Three!"


def test_a_turn_alone_is_its_own_window() -> None:
    assert keys(turn(0, "A", "Hi"), [])[1] == "(8 May 2023)\nA: Hi"


@pytest.mark.parametrize(
    ("question", "about"),
    [
        ("What did Melanie paint?", "Melanie"),
        ("What is MEL's job?", "Melanie"),
        ("What did Caroline and Melanie do?", ""),
        ("What did they do?", ""),
        ("Is Me the name?", ""),  # two letters are no nickname
        ("Where did Khan go?", ""),  # first names only: families share the others
        ("Where did Fahim go?", "Fahim Khan"),
        ("", ""),
    ],
)
def test_whom_a_question_is_about(question: str, about: str) -> None:
    assert asked_about(question, ["Melanie", "Caroline", "Fahim Khan", ""]) == about


def test_i_means_the_one_who_asks_unless_somebody_is_named() -> None:
    assert asked_about("What is my job?", ["user", "friend"], asker="user") == "user"
    assert asked_about("What is my job?", ["user", "friend"]) == ""
    assert asked_about("What did I say to Anna?", ["Anna", "user"], asker="user") == "Anna"
