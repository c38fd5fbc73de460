"""What a persona hears and may quote: the friend's hints, its own views, what it was just told."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from persona_world import tiny, tokenizer

from oldfriend.lm.chat import Message, message
from oldfriend.lm.generate import generate
from oldfriend.memory.intent import Intent
from oldfriend.persona.hearing import LONGEST, Hearing, PersonaGrammar, spans

SYSTEM = """You are Bo.
You are talking with Ana.
- (May 2024) your former home city: Lund
- (June 2024) your home city: Tavi
- my view: dogs are wise"""


def asked(said: str) -> list[Message]:
    return [message("system", SYSTEM), message("user", said)]


def test_quotes_are_memories_views_and_what_was_just_told() -> None:
    grammar = PersonaGrammar(tokenizer(), ["your home city", "your job"])
    found = grammar.quotes(
        asked("I moved, so now my home city is Ness Point. (about your home city)")
    )
    assert {"[your home city: Tavi]", "[your former home city: Lund]", "[your job: nothing]",
            "[my view: dogs are wise]", "[your home city: Ness Point]"} <= set(found)  # fmt: skip
    assert "[your home city: nothing]" not in found
    assert not any(quote.startswith("[your former home city: N") for quote in found)
    assert not any("about" in quote for quote in found)


def test_a_question_tells_nothing() -> None:
    grammar = PersonaGrammar(tokenizer(), ["your home city"])
    found = grammar.quotes(asked("Do I live in Ness Point?"))
    assert found == [
        "[your former home city: Lund]", "[your home city: Tavi]", "[my view: dogs are wise]"
    ]  # fmt: skip


@given(said=st.text("ab ,.!?\"'", max_size=40))
def test_spans_are_pieces_of_the_message(said: str) -> None:
    found = spans(said)
    assert all(span in said and 1 <= len(span.split()) <= LONGEST for span in found)
    assert not found or not said.rstrip().endswith("?")


def test_every_quote_that_is_written_under_constraint_is_allowed() -> None:
    words, prompts = tokenizer(), [asked("Say it."), asked("Where do I live?")]
    grammar = PersonaGrammar(words, ["your home city"])

    def quoting(place: int, written: list[int]) -> list[int] | None:
        return allow(place, written) if written else [words.encode("[")[-1]]

    allow = grammar.allow(prompts)
    replies = generate(tiny(), words, prompts, max_new_tokens=40, allow=quoting)
    for prompt, reply in zip(prompts, replies, strict=True):
        assert reply.partition("]")[0] + "]" in grammar.quotes(prompt)


def test_hints_stand_behind_what_the_person_says_and_are_asked_for_once() -> None:
    head = Intent(
        ("", "your home city"), np.array([[0.0], [9.0]], np.float32), np.zeros(2, np.float32)
    )
    calls: list[int] = []

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        calls.append(len(texts))
        return np.array([[1.0 if "live" in text else -1.0] for text in texts], np.float32)

    hearing = Hearing(head, encode)
    talk = [*asked("Where do I live?"), message("assistant", "Where do you live?")]
    for _ in range(2):
        heard = hearing.hinted([talk, asked("Hello.")])
        assert heard[0][1]["content"] == "Where do I live? (about your home city)"
        assert heard[0][2] == talk[2] and heard[1] == asked("Hello.")
    assert sum(calls) == 2
    assert hearing.grammar(tokenizer()) is not None


def test_a_friend_that_learnt_no_hints_hears_plainly() -> None:
    deaf = Hearing(None, lambda texts: np.zeros((len(texts), 1), np.float32))
    assert deaf.hinted([asked("Where do I live?")]) == [asked("Where do I live?")]
    assert deaf.grammar(tokenizer()) is None
