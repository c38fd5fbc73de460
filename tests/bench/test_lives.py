"""Simulated lives: true notes make memory right by construction; each part earns its keep."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from oldfriend.bench.life_questions import TEMPORAL, answer, holds, questions
from oldfriend.bench.life_writing import Noise, World, Writing, live, truths, worlds
from oldfriend.bench.lives import NOISY, measure, run
from oldfriend.bench.recall import scratch_pool
from oldfriend.bench.ways import Once, TokensOnce, Way, retriever_of, ways
from oldfriend.corpus.people import Known, Life
from oldfriend.corpus.schema import Conversation, Turn
from oldfriend.corpus.seeds import Seeds
from oldfriend.corpus.simulator import fact_of
from oldfriend.errors import InputError
from oldfriend.memory.store.embed import HashEmbedder, Tokens
from oldfriend.memory.store.record import MemoryRecord, record_id
from oldfriend.memory.store.user import UserMemory
from oldfriend.outcome import Outcome, Row

SEEDS = Path(__file__).parents[2] / "data" / "seeds"
EMBED = HashEmbedder(32)
CAPACITY = 120
# When each home became true, and when it was told.
HOMES = (
    ("Velmora", date(2023, 6, 1), date(2024, 1, 10)),
    ("Tarn Harbour", date(2024, 4, 20), date(2024, 4, 28)),
    ("Quellin", date(2024, 9, 3), date(2024, 9, 12)),
)


@pytest.fixture(scope="module")
def banks() -> Seeds:
    return Seeds.load(SEEDS)


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    only = ("no_supersede", "no_forgetting")
    noise = Noise(missed=0.5, lookalikes=0.5, smalltalk=0.05)
    return run(SEEDS, lives=1, seeds=(0, 1), capacity=CAPACITY, noise=noise, embed=EMBED, only=only)


def row(outcome: Outcome, way: str, notes: str = "true") -> Row:
    found = [r for r in outcome.tables["ablations"] if (r["way"], r["notes"]) == (way, notes)]
    assert len(found) == 1
    return found[0]


def mover(banks: Seeds) -> World:
    """Somebody who moved twice and tells of nothing else."""
    known, talks = [], []
    for number, (city, since, told) in enumerate(HOMES):
        old = HOMES[number - 1][0] if number else None
        until = HOMES[number + 1][1] if number + 1 < len(HOMES) else None
        text = f"I live in {city}."
        fact = fact_of("home_city", banks.slots["home_city"], city, old)
        fact = fact.model_copy(update={"start": 10, "end": 10 + len(city)})
        id = f"mover-{number}"
        talks.append(
            Conversation(
                id=id, person="mover", source="test", licence="ours", session=number,
                time=datetime.combine(told, datetime.min.time()) + timedelta(hours=12),
                turns=(Turn(speaker="friend", text="Hello!"),
                       Turn(speaker="user", text=text, facts=(fact,)),
                       Turn(speaker="friend", text="How nice."),
                       Turn(speaker="user", text="See you soon.")),
            )
        )  # fmt: skip
        known.append(
            Known(slot="home_city", value=city, said_on=told, valid_from=since, valid_to=until,
                  conversation=id, turn=1)
        )  # fmt: skip
    # The last talk is late in the year, so that there are months to ask about.
    talks.append(talks[0].model_copy(update={
        "id": "mover-3", "session": 3, "time": datetime(2024, 12, 20, 12),
        "turns": (Turn(speaker="user", text="Merry Christmas!"),),
    }))  # fmt: skip
    life = Life(person="mover", name="Mo", split="test", idiolect="plain", early=2,
                facts=tuple(known), unsaid=(), moments=())  # fmt: skip
    return World(life, tuple(talks))


def written(memory: UserMemory, world: World, banks: Seeds, **changes: object) -> UserMemory:
    live(memory, world, banks, Writing(**changes))  # type: ignore[arg-type]
    return memory


def test_true_notes_make_true_books(outcome: Outcome) -> None:
    metrics = outcome.metrics
    assert metrics["lives.supersede.accuracy"] == metrics["lives.supersede.kept"] == 1.0
    assert metrics["lives.junk_rate"] == metrics["lives.stale_rate"] == 0.0
    assert metrics["lives.supersede.accuracy_sd"] == 0.0


def test_without_supersede_answers_go_stale(outcome: Outcome) -> None:
    full, without = row(outcome, "full"), row(outcome, "no_supersede")
    assert without["supersede.accuracy"] == 0.0
    assert without["stale_rate"] > full["stale_rate"]
    assert without["temporal.accuracy"] < full["temporal.accuracy"]


def test_noise_costs_what_it_should(outcome: Outcome) -> None:
    metrics = outcome.metrics
    assert 0 < metrics["lives.noisy.junk_rate"] < 1
    assert metrics["lives.noisy.kept_that_matter"] < metrics["lives.kept_that_matter"]
    assert metrics["lives.noisy.supersede.accuracy"] < 1


def test_forgetting_keeps_the_pool_small_and_the_books_whole(outcome: Outcome) -> None:
    full, without = row(outcome, "full"), row(outcome, "no_forgetting")
    sizes = [r["active"] for r in outcome.tables["growth"] if r["notes"] == "true"]
    assert (
        max(sizes)
        <= CAPACITY
        < without["pool.active_per_turn"] * max(r["turns"] for r in outcome.tables["growth"])
    )
    assert full["pool.active_per_turn"] < 1 < without["pool.active_per_turn"]
    assert without["kept_that_matter"] == 1.0
    assert full["supersede.accuracy"] == without["supersede.accuracy"] == 1.0


def test_every_figure_is_a_share_or_a_size(outcome: Outcome) -> None:
    for key, value in outcome.metrics.items():
        if not key.endswith("_sd") and "pool." not in key and key.count(".") > 1:
            assert 0 <= value <= 1, key
    for name in ("recall_at_5", "stale_rate_with_turns", "temporal.before", "temporal.held_in"):
        assert f"lives.{name}" in outcome.metrics and f"lives.noisy.{name}" in outcome.metrics


def test_what_is_said_of_one_slot_is_answered_at_every_time(banks: Seeds) -> None:
    world = mover(banks)
    asked = questions(world.life, banks, world.now)
    assert {one.kind for one in asked} == {"current", *TEMPORAL}
    with scratch_pool(EMBED) as pool:
        memory = written(pool.of("mover"), world, banks)
        retriever = retriever_of(Way(), Once(EMBED))
        for one in asked:
            assert answer(one, memory, retriever, world.now) == one.truth, one.text
        scores = measure(memory, world, banks, retriever)
        assert scores["supersede.accuracy"] == [1.0, 1.0]
        assert scores["stale_rate"] == [0.0]


def test_a_missed_change_leaves_the_old_value_standing(banks: Seeds) -> None:
    world = mover(banks)
    with scratch_pool(EMBED) as pool:
        memory = written(pool.of("mover"), world, banks, noise=Noise(missed=1.0))
        assert not [r for r in memory.state.values() if r.slot == "home_city"]
        scores = measure(memory, world, banks, retriever_of(Way(), Once(EMBED)))
        assert scores["current.accuracy"] == [0.0] and scores["supersede.accuracy"] == [0.0, 0.0]
        assert scores["kept_that_matter"] == [0.0] and scores["junk_rate"] == []


def test_only_months_that_are_sure_are_asked_for(banks: Seeds) -> None:
    world = mover(banks)
    sure = {
        "January": set(), "February": {"Velmora"}, "March": {"Velmora"}, "April": set(),
        "May": {"Tarn Harbour"}, "June": {"Tarn Harbour"}, "July": {"Tarn Harbour"},
        "August": {"Tarn Harbour"}, "September": set(), "October": {"Quellin"},
        "November": {"Quellin"},
    }  # fmt: skip
    for place in range(20):
        life = world.life.model_copy(update={"person": f"mover {place}"})
        by_kind = {one.kind: one for one in questions(life, banks, world.now)}
        held = by_kind["held_in"]
        assert held.truth == sure[held.text.removesuffix(".").split()[-1]]
        assert by_kind["former"].truth == by_kind["before"].truth == {"Tarn Harbour"}
        assert by_kind["current"].truth == {"Quellin"}
        assert by_kind["current"].stale == {"Velmora", "Tarn Harbour"}


def test_questions_are_in_words_held_out(banks: Seeds) -> None:
    for world in worlds(banks, 2, seed=5):
        assert world.life.split == "test" and len(world.talks) >= 8
        for one in questions(world.life, banks, world.now):
            if one.kind == "current":
                assert one.text in banks.slots[one.slot].ask.test
            assert one.truth and not one.truth & one.stale


def test_true_notes_are_the_truth_and_noise_is_not(banks: Seeds) -> None:
    (world,) = worlds(banks, 1, seed=3)
    with scratch_pool(EMBED) as pool:
        noted = {}
        for name, noise in (("true", Noise()), ("noisy", NOISY), ("all", Noise(0, 1, 1))):
            memory = written(pool.of(name), world, banks, noise=noise, supersede=False)
            noted[name] = {(r.slot, r.value) for r in memory.state.values()
                           if r.value and r.kind not in ("session", "insight")}  # fmt: skip
    assert noted["true"] == truths(world.life)
    assert noted["true"] < noted["all"]
    assert noted["noisy"] - noted["true"] and noted["true"] - noted["noisy"]


def test_values_count_as_whole_words() -> None:
    record = MemoryRecord(
        id=record_id("ada", "1"), user="ada", kind="turn", text="We start the art class.",
        created_at=datetime(2024, 1, 1),
    )  # fmt: skip
    assert holds(record, frozenset({"art"})) and not holds(record, frozenset({"tar"}))
    assert not holds(record, frozenset())


def test_ways_differ_from_the_whole_in_one_respect() -> None:
    known = ways(100)
    full = known.pop("full")
    assert all(way != full for way in known.values())
    assert known["no_supersede"].weights == full.weights
    assert known["no_recency_importance"].writing is full.writing


def test_each_text_is_read_once() -> None:
    class Reader(HashEmbedder):
        vocabulary, seen = 10, 0

        def read(self, texts: Sequence[str], *, content: bool = False) -> list[Tokens]:
            Reader.seen += len(texts)
            return [Tokens(np.zeros(1, np.int64), np.ones((1, 32), np.float16)) for _ in texts]

        def pieces(self, texts: Sequence[str]) -> list[list[int]]:
            return [[0] for _ in texts]

    once = Once(Reader(32))
    tokens = once.whole.inner
    assert isinstance(tokens, TokensOnce)
    assert len(tokens.read(["a", "b", "a"])) == 3 and len(tokens.read(["b"])) == 1
    assert Reader.seen == 2
    once.clear()
    tokens.read(["a"])
    assert Reader.seen == 3


def test_nothing_to_live_is_an_error() -> None:
    with pytest.raises(InputError, match="at least one life"):
        run(SEEDS, lives=0, embed=EMBED)
