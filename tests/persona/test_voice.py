"""Retelling: the same content in another voice, nothing remembered lost or out of character."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from persona_world import NAMES, abstain, conversation, recall, rows, voice

from oldfriend.corpus.schema import Turn
from oldfriend.memory.grounding import abstains, outcome
from oldfriend.persona.attribution import Attribution
from oldfriend.persona.cast import dialogues
from oldfriend.persona.character import TOPICS
from oldfriend.persona.lessons import spoken_replies
from oldfriend.persona.voice import exchanges, in_full, in_voice, introduced

VALUES = st.text("abcdefgh .,'!-", min_size=1, max_size=14).map(lambda text: f"Q{text}Z")


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=30, deadline=None)
@given(value=VALUES, seed=st.integers(0, 9999))
def test_a_remembered_value_stays_letter_for_letter(name: str, value: str, seed: int) -> None:
    said = voice(name).retell(
        f"You live in {value}. It's a very good place.", Random(seed), [value]
    )
    assert said is not None and value in said


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 9999))
@settings(max_examples=30, deadline=None)
def test_a_retelling_has_a_habit_and_no_slip(name: str, seed: int) -> None:
    said = voice(name).retell("The rain came early today.", Random(seed))
    speech = voice(name).character.speech
    assert said is not None and not voice(name).character.slips(said)
    habits = (*speech.openers, *speech.closers, *speech.interjections, *speech.pet_names)
    assert any(habit in said for habit in habits)


def test_the_same_seed_says_the_same() -> None:
    said = [voice(NAMES[0]).retell("Rain again. What a day.", Random(7)) for _ in range(2)]
    assert said[0] == said[1] is not None


@pytest.mark.parametrize("name", NAMES)
def test_in_the_voice_an_answer_is_worth_what_it_was(name: str) -> None:
    told = [in_voice(voice(name), row, Random(n)) for n, row in enumerate(rows(60))]
    kept = [(row, was) for row, was in zip(told, rows(60), strict=True) if row is not None]
    assert len(kept) > 30
    for row, was in kept:
        assert outcome(row, row.reply) == outcome(was, was.reply)
        assert row.reply != was.reply


@pytest.mark.parametrize("name", NAMES)
def test_honest_ignorance_can_be_said_by_everybody(name: str) -> None:
    told = [in_voice(voice(name), abstain(0), Random(n)) for n in range(8)]
    assert any(row is not None and abstains(row.reply) for row in told)


@pytest.mark.parametrize(
    ("word", "full"),
    [("don't", "do not"), ("Can't", "Cannot"), ("I'm", "I am"), ("It's", "It is"),
     ("Ana's", "Ana's"), ("they've", "they have"), ("won't", "will not"), ("you'd", "you would")],
)  # fmt: skip
def test_contractions_in_full(word: str, full: str) -> None:
    assert in_full(word) == full


def test_who_never_says_dont_contracts_nothing() -> None:
    formal = [name for name in NAMES if not voice(name).contracts]
    assert formal, "a shipped card is without contractions"
    for name in formal:
        said = voice(name).retell("I don't mind. It's fine, and you'll see.", Random(1))
        assert said is not None and "'" not in said.replace("o'clock", "")


@pytest.mark.parametrize("name", NAMES)
def test_lines_are_trained_or_held_out_never_both(name: str) -> None:
    for topic in TOPICS:
        train = voice(name).lines(topic)
        test = voice(name).lines(topic, test=True)
        assert train and test and not set(train) & set(test)
        assert sorted(train + test) == sorted(voice(name).character.lines[topic])


def test_the_persona_is_named_before_all_else() -> None:
    system = {"role": "system", "content": "You are talking with Ana."}
    asked = {"role": "user", "content": "Hi"}
    assert (
        introduced([system, asked], "Bo")[0]["content"] == "You are Bo.\nYou are talking with Ana."
    )
    assert introduced([asked], "Bo") == [{"role": "system", "content": "You are Bo."}, asked]


def test_a_stretch_of_talk_uses_the_lines_of_what_is_done() -> None:
    turns = conversation(1).turns
    talk = [exchanges(voice(NAMES[0]), turns, "Ana", (), Random(n), closes=True) for n in range(30)]
    last = {found[-1]["content"] for found in talk if found}
    assert last & set(voice(NAMES[0]).lines("farewell"))
    assert not last & set(voice(NAMES[0]).lines("farewell", test=True))
    teased = {found[4]["content"] for found in talk if found}
    assert teased & set(voice(NAMES[0]).lines("tease"))


def test_talk_without_the_friend_teaches_nothing() -> None:
    assert (
        exchanges(voice(NAMES[0]), [Turn(speaker="user", text="Hi")], "Ana", (), Random(0)) is None
    )


def test_examples_of_a_card_become_dialogues() -> None:
    text = (
        "<START>\n{{user}}: Hi {{char}}.\n{{char}}: Hello {{user}}!\nnoise\n<start>\n{{user}}: Bye"
    )
    found = dialogues(text, "Bo", "Ana")
    assert [[(turn.speaker, turn.text) for turn in talk] for talk in found] == [
        [("user", "Hi Bo."), ("friend", "Hello Ana!")],
        [("user", "Bye")],
    ]
    assert dialogues("", "Bo") == []


def test_voices_can_be_told_apart_on_messages_that_were_not_learnt() -> None:
    known = {n: spoken_replies(voice(n), [recall(i) for i in range(40)], 0) for n in NAMES}
    told = Attribution.fit(known)
    right = total = 0
    for name in NAMES:
        said = [
            row.reply
            for i, r in enumerate(rows(30))
            if (row := in_voice(voice(name), r, Random(i)))
        ]
        right += sum(found == name for found in told.names(said))
        total += len(said)
    assert right / total > 0.8
    assert told.names([]) == []
