"""Hints: what a message asks about, and what a reply may quote."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oldfriend.corpus.schema import GroundExample, MemoryLine, Turn
from oldfriend.errors import CheckpointError
from oldfriend.lm.tokenizer import train_tokenizer
from oldfriend.memory import grounding, intent
from oldfriend.memory.quoting import QuoteGrammar
from oldfriend.memory.store.minilm import MiniLM

CITY, PET = "your home city", "your pet name"
ASKED = {
    CITY: ["Where do I live?", "Which town is my home?", "What city did I say I live in?",
           "Do you know where my house is?", "Where is home for me?"],
    PET: ["What is my dog called?", "What's my cat's name?", "Do you know the name of my pet?",
          "How is my puppy called?", "Tell me my kitten's name."],
    "": ["It rains again.", "I slept badly.", "The bus was late.", "Good morning!", "I'm tired."],
}  # fmt: skip


def example(text: str, topic: str, n: int = 0) -> GroundExample:
    quote = f"{topic}: nothing" if topic else ""
    kind = "abstain" if topic else "plain"
    return GroundExample(
        id=f"{text}{n}", user="Ana", source="s", kind=kind, message=text, reply="Hm.", quote=quote
    )  # fmt: skip


@pytest.fixture(scope="module")
def head() -> intent.Intent:
    rows = [example(text, topic) for topic, texts in ASKED.items() for text in texts]
    found = intent.fit(rows, MiniLM().encode, 100)
    assert found is not None
    return found


def test_it_knows_questions_that_it_never_saw(head: intent.Intent) -> None:
    asked = ["Remind me which town I call home?", "What did I name my puppy?", "It snows today."]
    assert head.hints(asked, MiniLM().encode) == [
        f"{asked[0]} (about {CITY})", f"{asked[1]} (about {PET})", asked[2],
    ]  # fmt: skip


def test_a_month_is_told_too(head: intent.Intent) -> None:
    (said,) = head.hints(["Where did I live in March?"], MiniLM().encode)
    assert said == f"Where did I live in March? (about {CITY} in March)"
    assert intent.month_in("March or May?") == intent.month_in("I may march") == ""


def test_every_message_of_the_talk_gets_its_hint(head: intent.Intent) -> None:
    history = (
        Turn(speaker="user", text="What is my dog called?"),
        Turn(speaker="friend", text="Miro.", quote=f"{PET}: Miro"),
    )
    row = example("Where do I live?", CITY).model_copy(update={"history": history})
    (found,) = intent.hinted(head, [row], MiniLM().encode)
    assert found.message.endswith(f"(about {CITY})")
    assert found.history[0].text.endswith(f"(about {PET})")
    assert found.history[1] == history[1]
    assert intent.hinted(None, [row], MiniLM().encode) == [row]


def test_saved_and_loaded(head: intent.Intent, tmp_path: Path) -> None:
    assert intent.load(tmp_path) is None
    intent.save(head, tmp_path)
    again = intent.load(tmp_path)
    assert again is not None
    vectors = MiniLM().encode(ASKED[CITY])
    assert again.read(vectors) == head.read(vectors)
    (tmp_path / intent.WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="broken intent head"):
        intent.load(tmp_path)


def test_talk_that_asks_nothing_makes_no_head() -> None:
    assert intent.fit([example("Hello.", "")], MiniLM().encode, 10) is None


def test_nothing_is_said_of_what_was_told_and_no_other_month_is_quoted() -> None:
    grammar = QuoteGrammar(train_tokenizer(["nothing"], 300), [CITY, PET])
    line = MemoryLine(
        owner="Ana", slot="home_city", value="Velmora", text="", since=date(2025, 3, 4)
    )
    asked = {
        "Where do I live?": [f"[{CITY}: Velmora]", f"[{PET}: nothing]"],
        f"Where did I live? (about {CITY} in March)": [f"[{CITY}: Velmora]", f"[{PET}: nothing]"],
        f"Where did I live? (about {CITY} in May)": [f"[{CITY}: nothing]", f"[{PET}: nothing]"],
    }
    for text, quotes in asked.items():
        assert grammar.quotes(grounding.prompt("Ana", [line], (), text)) == quotes


values = st.text("abcdefg ", min_size=1, max_size=20).map(str.strip).filter(bool)


@given(values, values)
def test_a_quote_is_a_memory_or_nothing(first: str, second: str) -> None:
    tokenizer = train_tokenizer([f"[{CITY}: nothing] - (March 2025) abc"], 300)
    grammar = QuoteGrammar(tokenizer, [CITY, PET])
    lines = [
        MemoryLine(owner=owner, slot="home_city", value=value, text=value)
        for owner, value in (("Ana", first), ("Boris", second))
    ]
    prompt = grounding.prompt("Ana", lines, (), "Where do I live?")
    assert grammar.quotes(prompt) == [f"[{CITY}: {first}]", f"[{PET}: nothing]"]
    allow, written = grammar.allow([prompt]), list[int]()
    assert allow(0, []) is None
    written.append(tokenizer("[", add_special_tokens=False)["input_ids"][0])
    while (allowed := allow(0, written)) is not None:
        written.append(allowed[-1])
    assert tokenizer.decode(written) in grammar.quotes(prompt)


@given(values)
def test_a_reply_points_to_what_it_quoted(value: str) -> None:
    quote, said = f"{CITY}: {value}", f"It is ({value}), you said; {value}!"
    written = grounding.reply_text(quote, said)
    assert grounding.POINTER in written
    assert grounding.spoken(written) == said
    assert grounding.quoted(written) == value
