"""What is checked of a draft without a model."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oldfriend.corpus.schema import Speaker, Turn
from oldfriend.empathy.emotion import Feelings
from oldfriend.empathy.judge import PARTS, Character, Draft, Judge, Situation, Verdict
from oldfriend.empathy.judge_rules import names, repeats, unsupported

GRIEF = Feelings({"grief": 0.9}, ("grief",), -0.9, 0.9)
CALM = Feelings({"neutral": 0.9}, ("neutral",), 0.1, 0.1)
LEXICON = frozenset(
    {"sounds", "lovely", "give", "my", "best", "the", "cat", "fine", "tell", "well", "seven"}
)


def talk(*turns: str) -> tuple[Turn, ...]:
    """Turns by turns, the last of them the person's."""
    speakers: tuple[Speaker, Speaker] = ("friend", "user")
    return tuple(
        Turn(speaker=speakers[(len(turns) - n) % 2], text=text) for n, text in enumerate(turns)
    )


def verdict(
    text: str,
    *turns: str,
    feelings: Feelings = CALM,
    strategy: str = "",
    memories: tuple[str, ...] = (),
    claimed: tuple[str, ...] = (),
    who: Character | None = None,
) -> Verdict:
    situation = Situation(talk(*(turns or ("hello there",))), feelings, memories,
                          who or Character())  # fmt: skip
    return Judge().score(situation, [Draft(text, strategy, claimed)])[0]


def test_an_invented_name_is_not_supported() -> None:
    found = verdict("Give my best to Velmora.", "my cat is ill")
    assert found.parts["supported"] <= 0.2
    assert found.reasons == ("claims a memory that is not there: 'Velmora'",)


@pytest.mark.parametrize(
    "text",
    ["Give my best to Velmora.", "How's Velmora's paw?", "That's so like Velmora!"],
)
def test_a_name_that_was_told_is_supported(text: str) -> None:
    assert verdict(text, "my cat is called Velmora").parts["supported"] == 1
    assert verdict(text, "hello", memories=("my pet name: Velmora",)).parts["supported"] == 1
    assert verdict(text, "hello", who=Character(grounds="Has a cat, Velmora.")).parts[
        "supported"] == 1  # fmt: skip
    assert verdict(text, "my cat is ill").parts["supported"] < 1


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("You turn 47 on Monday.", ["47"]),
        ("You told me about the divorce.", ["You told me about the divorce"]),
        ("You called it \"the great escape\".", ["the great escape"]),
        ("I remember your brother's boat.", ["I remember your brother's boat"]),
        ("You never told me that one.", []),
        ("You haven't said, and I don't like to invent you.", []),
        ("Seven. I did it without fingers.", []),
        ("Is it Monday already? I'd love a Christmas dinner.", []),
        ("OK, I'll be quiet. Mum's the word.", []),
        ("3 plus 4 is 7.", []),
    ],
)  # fmt: skip
def test_values(text: str, bad: list[str]) -> None:
    assert unsupported(text, ["hello"], (), (), LEXICON) == bad


def test_a_claimed_memory_must_be_among_those_recalled() -> None:
    known = ("my home city: Thomby",)
    assert verdict("How is town?", memories=known, claimed=known).parts["supported"] == 1
    told = verdict("How is town?", memories=known, claimed=("my home city: Ralstad",))
    assert "Ralstad" in told.whys["supported"]


def test_names_at_the_start_of_a_sentence_need_the_lexicon() -> None:
    assert names("Sounds lovely. Tell me!", LEXICON) == []
    assert names("Zorbel sounds lovely.", LEXICON) == ["Zorbel"]
    assert names("Zorbel sounds lovely.", frozenset()) == []
    assert names("Give Ana Belmonte my best.", LEXICON) == ["Ana Belmonte"]
    assert names("WELL, THE CAT IS FINE", LEXICON) == []


@pytest.mark.parametrize(("strategy", "verb"), [("teasing", "teases"), ("humour", "jokes")])
def test_no_jokes_at_pain(strategy: str, verb: str) -> None:
    said = "my father died"
    hurt = verdict("Well, more cake for you.", said, feelings=GRIEF, strategy=strategy)
    kind = verdict("Well, more cake for you.", said, feelings=CALM, strategy=strategy)
    assert hurt.parts["moment"] < 0.1 < kind.parts["moment"] == 1
    assert hurt.reasons[0].startswith(f"{verb} although they feel very bad")
    assert hurt.total < kind.total


def test_a_third_question_in_a_row() -> None:
    turns = ("hi", "How are you?", "so so", "Why is that?", "dunno")
    assert "asks a third question in a row" in verdict("What happened?", *turns).reasons
    assert verdict("That's all right.", *turns).parts["moment"] == 1
    assert verdict("What happened?", *turns[2:]).parts["moment"] == 1


def test_repeating_itself() -> None:
    turns = ("hi", "You built that shelf with your own hands.", "yes")
    assert "repeats what it just said" in verdict(turns[1], *turns).reasons
    assert "repeats what it just said" in verdict(
        "With your own hands you built that shelf!", *turns).reasons  # fmt: skip
    older = (*turns, "And it is level.", "indeed")
    assert "repeats what it said before" in verdict(turns[1], *older).reasons
    assert repeats("A different thing entirely, my dear", [turns[1]], "yes") == ""


def test_only_their_own_words() -> None:
    said = "the neighbours dig holes under my garden fence"
    assert repeats("The neighbours dig holes under your garden fence.", [], said)
    assert not repeats("Badgers, then, or the council after your fence.", [], said)


@pytest.mark.parametrize(
    "text",
    ["As an AI language model, I can't.", "How can I assist you today?", "User: hello",
     "I'm ChatGPT.", "<|im_start|> hello", "I am just an AI."],
)  # fmt: skip
def test_out_of_character(text: str) -> None:
    found = verdict(text)
    assert found.parts["character"] < 0.1 and len(found.reasons) >= 1


def test_what_this_character_never_does() -> None:
    who = Character("Tormod", banned=("sweetheart",), teases=False, most_words=5)
    assert "Tormod never says 'sweetheart'" in verdict("There, Sweetheart.", who=who).reasons
    assert verdict("Sweethearts are sweets.", who=who).parts["character"] == 1
    assert "Tormod does not tease" in verdict("Ha.", strategy="teasing", who=who).reasons
    assert "at most 5" in verdict("one two three four five six", who=who).whys["character"]


def test_a_lecture_and_advice_too_early() -> None:
    assert verdict(" ".join(["word"] * 70), "rough day").parts["moment"] == 0.5
    early = verdict("Write a list.", "everything falls apart", feelings=GRIEF,
                    strategy="Providing Suggestions")  # fmt: skip
    assert "advises before they have told their story" in early.whys["moment"]
    asked = verdict("Write a list.", "everything falls apart, what shall i do?", feelings=GRIEF,
                    strategy="suggestions")  # fmt: skip
    assert asked.parts["moment"] == 1


def test_without_heads_it_says_so_and_stays_neutral() -> None:
    judge = Judge()
    found = judge.score(Situation(talk("hello")), [Draft("Hello.")])[0]
    assert "rules alone" in judge.notice
    assert (found.parts["moves"], found.parts["appropriate"]) == (0.5, 0.5)
    assert Judge().score(Situation(talk("hello")), []) == []


texts = st.text(max_size=120) | st.sampled_from(["", "?", "You told me.", "A B C", '"x" you'])


@settings(deadline=None)
@given(st.lists(texts, max_size=4), st.lists(texts.filter(bool), min_size=1, max_size=5), texts)
def test_any_text_is_judged(drafts: list[str], turns: list[str], strategy: str) -> None:
    found = Judge().score(Situation(talk(*turns), GRIEF), [Draft(d, strategy) for d in drafts])
    assert len(found) == len(drafts)
    for one in found:
        assert set(one.parts) == set(one.whys) == set(PARTS)
        assert all(0 <= part <= 1 for part in one.parts.values())
        assert 0 < one.total <= 1 and len(one.reasons) == sum(p < 0.5 for p in one.parts.values())


@settings(deadline=None)
@given(texts)
def test_what_the_person_said_is_always_supported(said: str) -> None:
    assert unsupported(said, [said], (), (), frozenset()) == []
