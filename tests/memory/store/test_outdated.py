"""What was said and is over does not answer a question about now; one about then it does."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from store_fakes import EMBEDDER, START, fact, opened, turn

from oldfriend.memory.store.change import absorb
from oldfriend.memory.store.outdated import Endings, about_now
from oldfriend.memory.store.record import Source
from oldfriend.memory.store.retrieve import Query, Retriever, Weights
from oldfriend.memory.store.user import UserMemory

NOW = START + timedelta(days=9)
OLD = turn("I live in Rome with my books", 0, session="s1")
ANSWER = turn("Rome must be lovely", 1, session="s1").model_copy(
    update={"source": Source(session="s1", turn=1, speaker="friend")}
)
NEW = turn("I moved, home is Oslo", 0, session="s2", created_at=START + timedelta(days=5))
TRIP = turn("we fly to Rome on Friday", 4, session="s2", created_at=START + timedelta(days=5))
SUMMARY = turn("Learnt: home city Rome", 2, session="s1", kind="session")
BOTH = turn("from Rome to Oslo in one day", 6, session="s2")


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[UserMemory]:
    with opened(tmp_path) as pool:
        memory = pool.of("ada")
        memory.add([OLD, ANSWER, NEW, TRIP, SUMMARY, BOTH], START)
        memory.write(absorb(memory.state, [
            fact("home_city", "Rome", 0, session="s1"),
            fact("home_city", "Oslo", 0, session="s2", created_at=NEW.created_at),
            fact("trip", "Rome", 4, session="s2", cardinality="multi", created_at=NEW.created_at),
        ]))  # fmt: skip
        yield memory


def test_what_only_holds_what_has_ended_is_outdated(memory: UserMemory) -> None:
    endings, state = Endings(), memory.state
    over = {r.text for r in state.values() if endings.outdated(r, state, NOW)}
    assert over == {OLD.text, ANSWER.text, SUMMARY.text}
    long_ago = START + timedelta(days=1)
    assert not any(endings.outdated(r, state, long_ago) for r in state.values()), "not yet"


def test_the_old_words_answer_only_questions_about_then(memory: UserMemory) -> None:
    retriever, off = Retriever(EMBEDDER), Retriever(EMBEDDER, Weights(outdated=0))

    def first(by: Retriever, text: str) -> str:
        hits = by.search(memory, Query(text, now=NOW, kinds=("turn",)))
        return hits[0].record.text

    asked = "I live with my books in which city"
    assert first(off, asked) == OLD.text and first(retriever, asked) != OLD.text
    assert first(retriever, f"{asked} before") == OLD.text
    hits = retriever.search(memory, Query("I live in", now=NOW))
    parts = {hit.record.text: hit.parts["outdated"] for hit in hits}
    assert parts[OLD.text] == -Weights().outdated and parts[TRIP.text] == 0
    assert "outdated" not in off.search(memory, Query("I live in", now=NOW))[0].parts


def test_a_value_that_holds_again_is_not_outdated(memory: UserMemory) -> None:
    endings = Endings()
    assert endings.outdated(OLD, memory.state, NOW)
    back = fact("home_city", "Rome", 9, session="s3", created_at=START + timedelta(days=7))
    memory.write(absorb(memory.state, [back]))
    assert not endings.outdated(ANSWER, memory.state, NOW)


@pytest.mark.parametrize(
    "question",
    [
        "Where do I live?", "What did I say my dog was called?", "Who's my boss these days?",
        "Do you remember my sister's name?", "What do I drink in the morning?",
        "Which town am I in?", "Did I tell you what I drive?",
    ],
)  # fmt: skip
def test_questions_about_now(question: str) -> None:
    assert about_now(question)


@pytest.mark.parametrize(
    "question",
    [
        "Where did I live before?", "Who was my previous boss?", "What did I use to drive?",
        "Which town did I leave?", "My old instrument, what was it?", "When did I move to Oslo?",
        "Where was I living back then?", "What was I learning two years ago?",
    ],
)  # fmt: skip
def test_questions_that_may_be_about_then(question: str) -> None:
    assert not about_now(question)
