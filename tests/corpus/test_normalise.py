"""Normalising repairs text and keeps facts at their values."""

from collections import Counter
from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oldfriend.corpus.normalise import normalise, normalise_text, normalise_turn
from oldfriend.corpus.schema import Conversation, Fact, Turn, check_spans

MESS = st.text(
    alphabet=st.sampled_from("ab é\u0301\u00a0\u200b\t\n\r\u2019\u201c\ufb01 &amp;<\ufeff\x00\x1b"),
    max_size=12,
)


def turn_with(before: str, value: str, after: str) -> Turn:
    fact = Fact(slot="pet_name", value=value, start=len(before), end=len(before) + len(value))
    return Turn(speaker="user", text=before + value + after, facts=(fact,))


@pytest.mark.parametrize(
    ("messy", "clean"),
    [
        ("  a \t b\u00a0c  ", "a b c"),
        ("I\u2019m \u201cfine\u201d", 'I\'m "fine"'),
        ("schÃ¶n", "schön"),
        ("cafe\u0301", "café"),
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("line\r\nbreak", "line break"),
        ("\u6211\u5f88\u597d\uff01", "\u6211\u5f88\u597d\uff01"),
        ("\U0001f469\u200d\U0001f467", "\U0001f469\u200d\U0001f467"),
    ],
)
def test_text_is_repaired(messy: str, clean: str) -> None:
    assert normalise_text(messy) == clean


def test_documents_keep_their_paragraphs() -> None:
    assert normalise_text("one \n two\n\n\n\nthree", lines=True) == "one\ntwo\n\nthree"


def test_of_two_equal_values_the_right_one_is_kept() -> None:
    turn = turn_with("Rex  is\u00a0a name,  but my dog is  ", "Rex", " , yes  ")
    clean = normalise_turn(turn, Counter())
    assert clean is not None
    assert clean.text == "Rex is a name, but my dog is Rex , yes"
    assert clean.facts[0].start == clean.text.rindex("Rex")


def test_a_value_is_normalised_with_its_text() -> None:
    clean = normalise_turn(turn_with("I live in ", "Ko\u0308ln  Su\u0308d", "."), Counter())
    assert clean is not None
    assert clean.facts[0].value == "Köln Süd"


def test_a_fact_without_a_place_is_dropped_and_counted() -> None:
    counts: Counter[str] = Counter()
    clean = normalise_turn(turn_with("my dog ", "\u200b", " barks"), counts)
    assert clean is not None
    assert clean.facts == ()
    assert counts["facts_lost"] == 1


def test_empty_turns_and_conversations_are_dropped() -> None:
    counts: Counter[str] = Counter()
    fields = {"person": "p", "source": "s", "licence": "l"}
    rows = [
        Conversation(id="a", turns=(Turn(speaker="user", text="\u200b"),), **fields),
        Conversation(
            id="b",
            turns=(Turn(speaker="user", text="\x00 "), Turn(speaker="friend", text="hello")),
            **fields,
        ),
    ]
    (kept,) = normalise(rows, counts)
    assert [turn.text for turn in kept.turns] == ["hello"]
    assert counts["empty_turns"] == 2
    assert counts["empty_conversations"] == 1


@given(before=MESS, value=st.text(ascii_lowercase, min_size=3, max_size=8), after=MESS)
def test_spans_survive(before: str, value: str, after: str) -> None:
    clean = normalise_turn(turn_with(before + " ", value, " " + after), Counter())
    assert clean is not None
    check_spans(clean.text, clean.facts)
    assert [fact.value for fact in clean.facts] == [value]


@given(text=st.text(max_size=40))
def test_normal_text_has_no_loose_blanks(text: str) -> None:
    clean = normalise_text(text)
    assert clean == " ".join(clean.split())
    assert "\x00" not in clean
