"""Each filter rejects what its name says, and nothing else."""

from collections import Counter

import pytest

from oldfriend.corpus.quality import FILTERS, keep_good, reason
from oldfriend.corpus.schema import Conversation, Turn
from oldfriend.corpus.settings import QualityParams

LIMITS = QualityParams(max_chars=3_000, max_turn_chars=400)
GOOD = ("How was your day at work?", "Long, but the new bakery was open.", "Oh, nice!")


def talk(*texts: str, domain: str = "talk", speakers: str = "uf") -> Conversation:
    names = {"u": "user", "f": "friend"}
    turns = tuple(
        Turn(speaker=names[speakers[number % len(speakers)]], text=text)
        for number, text in enumerate(texts)
    )
    return Conversation(id="c", person="p", source="s", licence="l", domain=domain, turns=turns)


REJECTED = {
    "no_letters": talk("12345 67890 12345", "?!?! 1234567"),
    "too_short": talk("hi", "hello"),
    "too_long": talk("What is it? " * 50, "I see what you mean."),
    "not_two_speakers": talk("Is anybody there at all?", "Hello, I am alone.", speakers="u"),
    "unprintable": talk("some words \x01\x02\x03 and more", "broken \ufffd\ufffd text"),
    "mostly_symbols": talk("a ===== +++++ ----- ##### 0101", "b |||||||||||||||||"),
    "repeated_turns": talk(*["Buy it now, my friend!"] * 6),
    "mostly_links": talk("look at https://example.org/a/b/c/d/e/f", "and www.example.org/x/y"),
    "boilerplate": talk("Please subscribe to our newsletter!", "No thank you, I am fine."),
    "assistant_speech": talk("Do you like tea?", "As an AI language model, I do not drink tea."),
}


def test_every_filter_has_a_case() -> None:
    assert REJECTED.keys() == FILTERS.keys()


@pytest.mark.parametrize("name", REJECTED)
def test_what_a_filter_rejects(name: str) -> None:
    assert FILTERS[name](REJECTED[name], LIMITS)
    assert reason(REJECTED[name], LIMITS) == name


@pytest.mark.parametrize("name", FILTERS)
def test_good_talk_passes(name: str) -> None:
    assert not FILTERS[name](talk(*GOOD), LIMITS)


def test_a_document_may_have_one_voice_and_long_paragraphs() -> None:
    document = talk("A paragraph about the law. " * 30, domain="legal", speakers="f")
    assert reason(document, LIMITS) is None


def test_a_labelled_text_needs_no_answer() -> None:
    comment = talk("What a lovely surprise this was!", speakers="u")
    (turn,) = comment.turns
    labelled = comment.model_copy(update={"turns": (turn.model_copy(update={"emotion": "joy"}),)})
    assert reason(comment, LIMITS) == "too_short"
    assert reason(labelled, LIMITS) is None


def test_other_scripts_are_letters() -> None:
    assert (
        reason(talk("\u4f60\u597d\u5417\uff1f" * 4, "\u6211\u5f88\u597d\u3002" * 4), LIMITS) is None
    )
    assert (
        reason(
            talk("\u0915\u094d\u092f\u093e \u0939\u093e\u0932 \u0939\u0948 " * 3, "ठीक हूँ जी"),
            LIMITS,
        )
        is None
    )


def test_reasons_are_counted() -> None:
    removed: Counter[str] = Counter()
    rows = [talk(*GOOD), REJECTED["too_short"], REJECTED["too_short"], REJECTED["boilerplate"]]
    assert list(keep_good(rows, LIMITS, removed)) == [rows[0]]
    assert removed == {"too_short": 2, "boilerplate": 1}
