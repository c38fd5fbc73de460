"""Retrieval through a real pool: what is found, in which order, why, and what may not be found."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from store_fakes import START, fact, turn

from oldfriend.memory.store.embed import HashEmbedder, TokenReader, Tokens
from oldfriend.memory.store.indexing import Indexer
from oldfriend.memory.store.keys import keys
from oldfriend.memory.store.pool import MemoryPool
from oldfriend.memory.store.record import MemoryRecord, Source
from oldfriend.memory.store.rerank import DISCOUNTS, LateInteraction, _two_bits
from oldfriend.memory.store.retrieve import Hit, Query, Retriever, Weights
from oldfriend.memory.store.sparse import document
from oldfriend.memory.store.state import State
from oldfriend.memory.store.user import UserMemory


class WordReader(HashEmbedder):
    """A token reader whose words have orthogonal vectors, so that cosines are 0 or 1."""

    vocabulary = 64

    def __init__(self) -> None:
        super().__init__(64)
        self.known: dict[str, int] = {}
        self.read_texts: list[str] = []

    def read(self, texts: Sequence[str], *, content: bool = False) -> list[Tokens]:
        self.read_texts += texts
        rows = [np.array(ids, np.int64) for ids in self.pieces(texts)]
        return [Tokens(ids, np.eye(64, dtype=np.float16)[ids]) for ids in rows]

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        words = [text.lower().replace("?", "").replace(":", "").split() for text in texts]
        return [[self.known.setdefault(w, len(self.known)) for w in row] for row in words]


@pytest.fixture
def reader() -> WordReader:
    return WordReader()


@pytest.fixture
def pool(tmp_path: Path, reader: WordReader) -> Iterator[MemoryPool]:
    indexer = Indexer(reader, keys=keys, sparse=document, scheme="test")
    with MemoryPool.open(tmp_path / "pool", reader, indexer=indexer) as pool:
        yield pool


def said(place: int, speaker: str, text: str, session: str = "s1") -> MemoryRecord:
    record = turn(text, place, session=session)
    assert record.source
    source = Source(session=session, turn=place, speaker=speaker)
    return record.model_copy(update={"source": source})


TALK = [
    said(0, "Anna", "we got puppy"),
    said(1, "Ben", "what breed"),
    said(2, "Anna", "beagle called Biscuit"),
    said(3, "Ben", "lovely weather here"),
    said(0, "Ben", "my puppy ate shoe", "s2"),
    said(1, "Anna", "piano lesson went well", "s2"),
    said(2, "Ben", "garden needs rain", "s2"),
]


@pytest.fixture
def memory(pool: MemoryPool) -> UserMemory:
    memory = pool.of("ada")
    memory.add(TALK, at=START)
    return memory


def ask(memory: UserMemory, text: str, weights: Weights | None = None, **more: object) -> list[Hit]:
    retriever = Retriever(memory.pool.indexer.encoder, weights or Weights())
    return retriever.search(memory, Query(text, **more))  # type: ignore[arg-type]


def test_the_turn_with_the_words_comes_first(memory: UserMemory) -> None:
    assert ask(memory, "piano lesson")[0].record.text == "piano lesson went well"


def test_the_parts_of_a_score_are_all_of_it_and_hits_stand_in_order(memory: UserMemory) -> None:
    hits = ask(memory, "whose puppy ate shoe?", now=START + timedelta(days=2))
    assert len(hits) > 3
    for hit in hits:
        assert sum(hit.parts.values()) == pytest.approx(hit.score, abs=1e-4)
    assert all(first.score >= second.score for first, second in pairwise(hits))
    assert {"window", "own", "fused", "importance", "recency"} <= hits[0].parts.keys()
    assert "bm25" in hits[0].found


def test_the_one_asked_about_is_preferred(memory: UserMemory) -> None:
    texts = {name: ask(memory, f"{name} puppy")[0].record.text for name in ("anna", "ben")}
    assert texts == {"anna": "we got puppy", "ben": "my puppy ate shoe"}
    parts = [hit.parts["speaker"] for hit in ask(memory, "anna puppy")]
    assert set(parts) == {Weights().speaker, -Weights().speaker}
    assert all("speaker" not in hit.parts for hit in ask(memory, "anna or ben puppy"))


def test_an_answer_beside_its_question_is_met_by_its_neighbours(memory: UserMemory) -> None:
    hits = ask(memory, "puppy breed")
    answer = next(hit for hit in hits if hit.record.text == "beagle called Biscuit")
    assert answer.said == 0 and answer.match > 0.5


def test_only_the_turns_of_the_same_session_are_neighbours(
    memory: UserMemory, reader: WordReader
) -> None:
    match = LateInteraction(reader).match("weather", TALK, memory.state)
    near = match.window / match.window.max()
    assert near[3] == 1 and near[4:].max() == 0
    assert near[2::-1] == pytest.approx(DISCOUNTS, abs=1e-3)


def test_a_rare_word_counts_more_than_a_common_one(memory: UserMemory, reader: WordReader) -> None:
    match = LateInteraction(reader).match("puppy shoe", TALK, memory.state)
    assert match.own[4] == pytest.approx(1, abs=1e-3) and match.own[0] < 0.5


def test_vectors_are_read_once_until_cleared(memory: UserMemory, reader: WordReader) -> None:
    late = LateInteraction(reader)
    late.match("puppy", TALK, memory.state)
    before = len(reader.read_texts)
    late.match("puppy", TALK, memory.state)
    assert len(reader.read_texts) == before + 1  # the question
    late.clear()
    late.match("puppy", TALK, memory.state)
    assert len(reader.read_texts) == before + 2 + len(TALK)


def test_a_small_cache_changes_nothing_but_time(memory: UserMemory, reader: WordReader) -> None:
    whole = LateInteraction(reader).match("puppy breed", TALK, memory.state)
    small = LateInteraction(reader, capacity=1).match("puppy breed", TALK, memory.state)
    np.testing.assert_array_equal(whole.window, small.window)


def test_nothing_asked_or_nothing_known_finds_nothing(
    memory: UserMemory, pool: MemoryPool, reader: WordReader
) -> None:
    assert ask(memory, "  ") == []
    assert ask(pool.of("nobody"), "puppy") == []
    none = LateInteraction(reader).match("puppy", [], State())
    assert none.own.shape == none.window.shape == (0,)


def test_nobody_elses_memories_are_found(memory: UserMemory, pool: MemoryPool) -> None:
    other = pool.of("eve")
    other.add([turn("piano lesson of another", 0, user="eve")], at=START)
    assert {hit.record.user for hit in ask(memory, "piano lesson", limit=50)} == {"ada"}
    assert {hit.record.user for hit in ask(other, "piano lesson", limit=50)} == {"eve"}


def test_limits_of_the_query_hold_for_neighbours_too(memory: UserMemory) -> None:
    memory.add([fact("pet", "puppy", 2)], at=START)
    hits = ask(memory, "puppy", kinds=("profile",), limit=50)
    assert [hit.record.slot for hit in hits] == ["pet"]
    until = START + timedelta(minutes=2)
    hits = ask(memory, "puppy breed", until=until, limit=50)
    assert hits and all(hit.record.created_at < until for hit in hits)


def test_what_is_archived_or_over_is_not_found(memory: UserMemory) -> None:
    memory.archive([TALK[1].id], "old", at=START)
    assert TALK[1].id not in [hit.record.id for hit in ask(memory, "what breed", limit=50)]
    memory.supersede(TALK[0].id, None, at=START + timedelta(days=1))
    now = [hit.record.id for hit in ask(memory, "puppy", current=True, limit=50)]
    assert TALK[0].id not in now and TALK[4].id in now


def test_the_time_that_a_question_names_is_preferred(pool: MemoryPool) -> None:
    memory = pool.of("ada")
    days = [datetime(2026, month, 3, tzinfo=START.tzinfo) for month in (1, 2, 3)]
    memory.add(
        [
            turn("dinner with mother", 0, session=f"s{n}", created_at=day)
            for n, day in enumerate(days)
        ],
        at=START,
    )
    hits = ask(memory, "dinner with mother in February", now=START)
    assert hits[0].record.created_at == days[1] and hits[0].parts["time"] == Weights().time
    assert {hit.parts["time"] for hit in hits[1:]} == {0}


def test_recent_and_important_memories_settle_ties(pool: MemoryPool) -> None:
    memory = pool.of("ada")
    old = turn("dinner", 0, session="a", created_at=START - timedelta(days=200))
    new = turn("dinner", 0, session="b", created_at=START)
    memory.add([old, new], at=START)
    flat = Weights(own=0, window=0, fused=0, importance=0)
    assert ask(memory, "dinner", flat, now=START)[0].record.id == new.id
    vital = turn("dinner", 0, session="c", created_at=START, importance=10)
    memory.add([vital], at=START)
    assert ask(memory, "dinner", Weights(own=0, window=0, fused=0))[0].record.id == vital.id


def test_an_embedder_without_word_vectors_ranks_by_the_engine(tmp_path: Path) -> None:
    plain = HashEmbedder(64)
    assert not isinstance(plain, TokenReader)
    with MemoryPool.open(tmp_path / "plain", plain) as pool:
        memory = pool.of("ada")
        memory.add(TALK, at=START)
        hits = ask(memory, "piano lesson")
    assert hits[0].record.text == "piano lesson went well"
    assert "window" not in hits[0].parts and hits[0].match == 0


@pytest.mark.parametrize(
    ("number", "cut"), [(0, 0), (1, 1), (5, 4), (6, 6), (419, 384), (768, 768)]
)
def test_counts_hold_while_a_pool_grows(number: int, cut: int) -> None:
    assert _two_bits(number) == cut
