"""Personal data goes, innocent numbers stay, facts keep their place."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oldfriend.corpus.pii import find, iban_length, luhn, scrub, scrub_text, scrub_turn
from oldfriend.corpus.schema import Conversation, Fact, Turn, check_spans

PERSONAL = {
    "EMAIL": ["jane.doe+x@mail.example.co.uk", "j_d@example.org"],
    "PHONE": ["(415) 555-2671", "+44 20 7946 0958", "415-555-2671", "+49 30 901820"],
    "CARD": ["4111 1111 1111 1111", "5500-0000-0000-0004"],
    "IBAN": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432"],
    "SSN": ["219-09-9999"],
    "ADDRESS": [
        "742 Evergreen Terrace, Springfield, IL 62704",
        "12 Baker Street, London NW1 6XE",
        "1600 Amphitheatre Parkway",
        "221B Baker Street",
    ],
    "URL": [
        "https://www.facebook.com/jane.doe.7",
        "https://user:secret@example.org/x",
        "https://example.org/~jane/notes.html",
        "linkedin.com/in/jane-doe",
    ],
}
INNOCENT = [
    "We met in 1999 and again in 2003-2004, then 2010 2015 2020.",
    "It costs $1,234.56, or 1 299,00 €, not £1,000,000.",
    "They won 3-2 after 90 minutes, then 21-14, 7-6 6-4 10-8.",
    "My blood pressure is 120/80 and I weigh 183.5 pounds.",
    "On 12/05/2019 at 10:45, or 2019-05-12 10:45:30, we left.",
    "The book has 1234567890 words on 512 pages.",
    "Version 3.11.4 is faster than 2.7.18 by 15.5%.",
    "About 7,800,000,000 people, 100 000 dogs and 1 000 000 cats.",
    "I ran 5 miles on the road in 45 minutes, 2 years down the road.",
    "The order number is 0000 1111 2222 3333.",
    "Read https://example.org/recipes/soup?page=2 for more.",
    "Pi is 3.14159265358979 and e is 2.718281828459045.",
    "One light at the end of the tunnel, at least for me, is knowing that.",
    "Iam a mother of 2 year old son and he is giving me a hard time to finish.",
    "I make 45000 a year and paid 25,000 for the car.",
    "Room 101, gate 22, bus 54, chapter 7, 9 lives, 3 Wise Men.",
    "She took 500 mg 3 times a day for 10-14 days.",
]


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, values in PERSONAL.items() for value in values]
)
def test_personal_data_is_replaced(kind: str, value: str) -> None:
    counts: Counter[str] = Counter()
    text = scrub_text(f"Well, you can have it: {value} and that is all.", counts)
    assert text == f"Well, you can have it: <{kind}> and that is all."
    assert counts == {kind: 1}


@pytest.mark.parametrize("text", INNOCENT)
def test_innocent_numbers_stay(text: str) -> None:
    assert find(text) == []


def test_seven_digits_are_a_phone_number_where_the_talk_says_so() -> None:
    assert scrub_text("call me at 555-1234", Counter()) == "call me at <PHONE>"
    assert find("it was 555-1234 in the poll") == []


def test_wrong_check_digits_are_no_bank_data() -> None:
    assert luhn("4111111111111111")
    assert not luhn("4111111111111112")
    assert iban_length("DE89 3704 0044 0532 0130 00") == 27
    assert iban_length("DE88 3704 0044 0532 0130 00") == 0


def test_capitals_after_an_iban_stay() -> None:
    text = scrub_text("send it to DE89 3704 0044 0532 0130 00 THANKS", Counter())
    assert text == "send it to <IBAN> THANKS"


def test_facts_behind_a_replacement_move_and_facts_in_it_go() -> None:
    counts: Counter[str] = Counter()
    text = "Mail me at jane@example.org, I live in Velmora."
    facts = tuple(
        Fact(slot=slot, value=value, start=text.index(value), end=text.index(value) + len(value))
        for slot, value in (("mail", "jane@example.org"), ("home", "Velmora"))
    )
    turn = scrub_turn(Turn(speaker="user", text=text, facts=facts), counts)
    check_spans(turn.text, turn.facts)
    assert [fact.value for fact in turn.facts] == ["Velmora"]
    assert counts == {"EMAIL": 1, "facts_lost": 1}


def test_situation_and_cause_are_scrubbed_too() -> None:
    row = Conversation(
        id="c",
        person="p",
        source="s",
        licence="l",
        situation="mail to a@example.org",
        turns=(Turn(speaker="user", text="oh no", cause="call (415) 555-2671"),),
    )
    (clean,) = scrub([row], Counter())
    assert clean.situation == "mail to <EMAIL>"
    assert clean.turns[0].cause == "call <PHONE>"


@given(
    words=st.lists(st.sampled_from(["well", "I", "said", "blue", "so,", "1999", "$5"]), max_size=6),
    planted=st.lists(
        st.sampled_from([value for values in PERSONAL.values() for value in values]), max_size=3
    ),
    place=st.integers(0, 6),
)
def test_nothing_planted_is_left_and_spans_survive(
    words: list[str], planted: list[str], place: int
) -> None:
    place = min(place, len(words))
    before = " ".join([*words[:place], *(f"{value} ," for value in planted), "in "])
    text = before + "Velmora " + " ".join(words[place:])
    fact = Fact(slot="home", value="Velmora", start=len(before), end=len(before) + 7)
    turn = scrub_turn(Turn(speaker="user", text=text, facts=(fact,)), Counter())
    check_spans(turn.text, turn.facts)
    assert [fact.value for fact in turn.facts] == ["Velmora"]
    assert not any(value in turn.text for value in planted)
    assert find(turn.text) == []
