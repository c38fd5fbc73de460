"""What a reply amounts to: right, stale, wrong, abstained, recited or apt."""

from datetime import date
from pathlib import Path

import pytest

from oldfriend.corpus.schema import GroundExample, GroundKind, MemoryLine, Turn
from oldfriend.corpus.seeds import Seeds
from oldfriend.memory.grounding import (
    abstains,
    dialogue,
    outcome,
    prompt,
    render_memory,
    reply_text,
    says,
    scores,
    spoken,
)

SEEDS = Path(__file__).parents[2] / "data" / "seeds"


def memory(
    value: str, *, slot: str = "home_city", owner: str = "Ana", over: bool = False
) -> MemoryLine:
    until = date(2024, 7, 1) if over else None
    return MemoryLine(
        owner=owner, slot=slot, value=value, text=value, since=date(2024, 1, 5), until=until
    )


NOW, BEFORE = memory("Lund"), memory("Velmora", over=True)
CAT, BENS = memory("Miro", slot="pet_name"), memory("Tarn", owner="Ben")


def asked(kind: GroundKind, value: str | None, *memories: MemoryLine) -> GroundExample:
    return GroundExample(
        id="g", user="Ana", source="s", kind=kind, slot="home_city", memories=memories,
        message="Where do I live?", reply="You live there.", value=value,
    )  # fmt: skip


def coloured(contrast: str | None, kind: GroundKind = "colour") -> GroundExample:
    return GroundExample(
        id="c", user="Ana", source="s", kind=kind, slot="pet_name", memories=(CAT,),
        message="Rain again.", reply="Curl up with warm fur and tea.", contrast=contrast,
    )  # fmt: skip


RECALL = asked("recall", "Lund", NOW, BEFORE, CAT, BENS)
PAST = asked("past", "Velmora", NOW, BEFORE, CAT, BENS)
ABSTAIN = asked("abstain", None, CAT, BENS)
COLOUR = coloured("Take an umbrella and shoes.")
PLAIN = coloured(None, "plain")


@pytest.mark.parametrize(
    ("example", "reply", "expected"),
    [
        (RECALL, "You live in Lund.", "right"),
        (RECALL, "LUND!", "right"),
        (RECALL, "Lund now, Velmora before.", "right"),
        (RECALL, "You live in Velmora.", "stale"),
        (RECALL, "You live in Tarn.", "wrong"),  # Ben does
        (RECALL, "You live in Paris.", "wrong"),  # an invention
        (RECALL, "You live in Lundby.", "wrong"),  # another word
        (RECALL, "", "wrong"),
        (RECALL, "You never told me.", "abstained"),
        (RECALL, "I don\u2019t know where you live, Velmora perhaps.", "abstained"),
        (PAST, "Velmora it was.", "right"),
        (PAST, "It was Lund.", "stale"),  # what is true now was wrong then
        (PAST, "Miro?", "wrong"),
        (ABSTAIN, "You haven't told me yet.", "abstained"),
        (ABSTAIN, "In Tarn.", "wrong"),
        (ABSTAIN, "In Paris.", "wrong"),
        (COLOUR, "Curl up with tea.", "apt"),
        (COLOUR, "Take your umbrella.", "plain"),
        (COLOUR, "", "plain"),
        (COLOUR, "Curl up with Miro and tea.", "recited"),
        (COLOUR, "Curl up, you told me you like that.", "recited"),
        (PLAIN, "Take your umbrella.", "plain"),
        (PLAIN, "I remember that Miro hates it.", "recited"),
    ],
)
def test_outcome(example: GroundExample, reply: str, expected: str) -> None:
    assert outcome(example, reply) == expected


def test_rates_over_all_kinds() -> None:
    table = [
        (RECALL, "Lund"), (RECALL, "Velmora"), (RECALL, "Paris"), (RECALL, "I don't know."),
        (asked("recall", "Lund", NOW), "Paris"), (PAST, "Velmora"), (PAST, "Lund"),
        (ABSTAIN, "No idea."), (ABSTAIN, "Tarn"),
        (COLOUR, "Curl up with tea."), (COLOUR, "Miro!"), (PLAIN, "Miro!"),
    ]  # fmt: skip
    found = scores([row for row, _ in table], [reply for _, reply in table])
    assert found == pytest.approx(
        {
            "recall_acc": 2 / 7,
            "past_acc": 1 / 2,
            "abstain_acc": 1 / 2,
            "over_abstain_rate": 1 / 7,
            "hallucination_rate": 3 / 9,
            "stale_rate": 1 / 4,
            "mechanical_rate": 1 / 2,
            "colour_acc": 1 / 2,
        }
    )


def test_no_examples_are_no_division_by_zero() -> None:
    assert set(scores([], []).values()) == {0.0}


@pytest.mark.parametrize(
    ("reply", "value", "expected"),
    [
        ("It is C++, I think.", "C++", True),
        ("O'Brien called", "o'brien", True),
        ("the 12th", "12", False),
        ("(Miro)", "Miro", True),
        ("Miro_x", "Miro", False),
        ("Mirós", "Mir", False),
        ("a.b", "a?b", False),
        ("The  Hague", "The Hague", False),
        ("", "x", False),
    ],
)
def test_a_value_is_said_in_whole_words(reply: str, value: str, expected: bool) -> None:
    assert says(reply, value) is expected


def test_abstaining_needs_the_words() -> None:
    assert abstains("I DON'T KNOW")
    assert abstains("You haven\u2019t mentioned it.")
    assert not abstains("")
    assert not abstains("You told me: Lund.")


@pytest.fixture(scope="module")
def seeds() -> Seeds:
    return Seeds.load(SEEDS)


def test_every_abstention_of_the_bank_is_recognised(seeds: Seeds) -> None:
    assert [line for line in seeds.life.abstain if not abstains(line)] == []


def test_no_answer_of_the_bank_reads_as_an_abstention(seeds: Seeds) -> None:
    answers = [line for slot in seeds.slots.values() for line in slot.answer]
    answers += seeds.glue.past
    assert [line for line in answers if abstains(line)] == []


def test_no_colouring_reply_of_the_bank_reads_as_a_recital(seeds: Seeds) -> None:
    colours = [
        colour
        for slot in seeds.slots.values()
        for colour in (*slot.colour.train, *slot.colour.test)
    ]
    rows = [
        coloured(colour.without).model_copy(update={"reply": colour.with_, "memories": ()})
        for colour in colours
    ]
    assert [row.reply for row in rows if outcome(row, row.reply) != "apt"] == []


def test_a_memory_names_whose_when_and_what_before_its_value() -> None:
    assert render_memory(NOW, "Ana") == "- (January 2024) your home city: Lund"
    assert render_memory(BEFORE, "Ana") == "- (January 2024) your former home city: Velmora"
    undated = MemoryLine(owner="Ben", slot="likes", value="figs", text="Ben likes figs")
    assert render_memory(undated, "Ana") == "- Ben's likes: figs"


@pytest.mark.parametrize("said", ["Lund it is.", "[sic] is how they wrote it", "Two: one, two."])
def test_a_quote_comes_off_and_the_rest_stays(said: str) -> None:
    assert spoken(reply_text("your home city: Lund", said)) == said


def test_without_a_quote_a_reply_is_what_is_said() -> None:
    assert reply_text("", "Rain again.") == "Rain again."
    assert spoken("Rain again.") == "Rain again."


def test_the_quote_alone_is_no_answer() -> None:
    assert outcome(RECALL, spoken("[your home city: Lund] I've no idea, honestly.")) == "abstained"


def test_the_dialogue_is_the_prompt_and_the_reply() -> None:
    history = (Turn(speaker="user", text="Hi"), Turn(speaker="friend", text="Hello"))
    example = RECALL.model_copy(update={"history": history})
    said = dialogue(example)
    assert [part["role"] for part in said] == ["system", "user", "assistant", "user", "assistant"]
    assert said[:-1] == prompt(example.user, example.memories, history, example.message)
    assert said[-1]["content"] == example.reply
    assert said[0]["content"].splitlines()[0] == "You are talking with Ana."
