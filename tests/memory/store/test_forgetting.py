"""Memories fade by a formula, are put away by rank with a reason, and fold into insights."""

import math
from datetime import timedelta

import pytest
from change_cases import after, day, fact
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from oldfriend.memory.store.change import absorb, correct
from oldfriend.memory.store.forgetting import (
    explain,
    last_reflection,
    make_room,
    protected,
    ranked,
    recall,
    reflect,
    retention,
    tau,
    tier,
    worth,
)  # fmt: skip
from oldfriend.memory.store.journal import Add, Archive, Entry, Pin, Restore, Revise
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.settings import ForgettingParams
from oldfriend.memory.store.state import State, replay

PARAMS = ForgettingParams()
TEA = fact("likes", "tea", 0, kind="preference", cardinality="multi", importance=4)


def heard(*records: MemoryRecord) -> State:
    return after(State(), [Add(at=r.created_at, record=r) for r in records])


def test_the_figures_of_the_documentation() -> None:
    """docs/memory-time.md, "A worked example"."""
    assert tau(TEA, PARAMS) == pytest.approx(48.0)
    assert retention(TEA, day(24), PARAMS) == pytest.approx(0.6065, abs=1e-4)
    assert retention(TEA, day(120), PARAMS) == pytest.approx(0.0821, abs=1e-4)
    state = heard(TEA)
    after(state, recall([TEA], day(24)))
    kept = state[TEA.id]
    assert (kept.strength, kept.last_recalled) == (2.0, day(24))
    assert retention(kept, day(120), PARAMS) == pytest.approx(0.3679, abs=1e-4)
    assert [tier(TEA, day(24), PARAMS), tier(TEA, day(120), PARAMS)] == ["hot", "cold"]
    assert tier(kept, day(120), PARAMS) == "warm"
    assert explain(kept, day(120), PARAMS) == (
        "warm: retention 0.368 = exp(-96.0 days / (48.0 days x strength 2)); last recalled "
        "2024-01-25, preference, importance 4"
    )


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 10), st.floats(0, 900), st.integers(0, 9), st.booleans())
def test_retention_falls_with_time_and_rises_with_recall_and_importance(
    importance: int, days: float, recalls: int, moved: bool
) -> None:
    emotion = "joy" if moved else None
    one = fact("trip", "Oslo", 0, kind="event", importance=importance, emotion=emotion)
    one = one.model_copy(update={"strength": 1.0 + recalls})
    expected = math.exp(-days / (30 * importance / 5 * (1.5 if moved else 1) * (1 + recalls)))
    assert retention(one, day(days), PARAMS) == pytest.approx(expected, rel=1e-6)
    assert retention(one, day(days + 1), PARAMS) < retention(one, day(days), PARAMS)
    more = one.model_copy(update={"strength": one.strength + 1})
    assert retention(more, day(days + 1), PARAMS) > retention(one, day(days + 1), PARAMS)
    assert retention(one, day(-3), PARAMS) == 1.0


def test_what_is_no_longer_true_counts_half_and_what_never_was_nothing() -> None:
    rome, oslo = fact("home_city", "Rome", 0), fact("home_city", "Oslo", 40)
    state = after(State(), absorb(State(), [rome, oslo]))
    past, other = state[rome.id], fact("home_city", "Rome", 0)
    assert retention(past, day(41), PARAMS) == retention(other, day(41), PARAMS) / 2
    after(state, correct(state, oslo.id, day(50)))
    assert retention(state[oslo.id], day(50), PARAMS) == 0.0
    assert explain(state[oslo.id], day(51), PARAMS) == "set right: it was never true"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (fact("birthday", "3 June", 0), "a birthday is never forgotten"),
        (fact("allergy", "nuts", 0, cardinality="multi"), "an allergy is never forgotten"),
        (fact("loss", "Grandad", 0, kind="event"), "a loss is never forgotten"),
        (fact("promise_made", "call mum", 0, kind="promise"), "an open promise"),
        (fact("promise_made", "x", 0, kind="promise", valid_to=day(3)), ""),
        (fact("likes", "tea", 0, pinned=True), "pinned"),
        (fact("likes", "tea", 0, importance=10), "importance 10"),
        (fact("likes", "tea", 0, importance=9), ""),
        (fact("glossary", "terms", 0), ""),
    ],
)
def test_what_is_never_archived(record: MemoryRecord, reason: str) -> None:
    assert protected(record, PARAMS) == reason


def test_beyond_capacity_the_least_retained_go_with_a_reason() -> None:
    few = ForgettingParams(capacity=3)
    old = fact("trip", "Oslo", 0, kind="event", cardinality="multi", importance=2)
    allergy = fact("allergy", "nuts", 0, cardinality="multi")
    state = heard(old, allergy, TEA, fact("likes", "chess", 90), fact("job", "cook", 80))
    entries = make_room(state, day(100), few)
    assert [entry.ids for entry in entries if isinstance(entry, Archive)] == [(old.id,), (TEA.id,)]
    after(state, entries)
    assert state[old.id].archived.startswith(
        "number 1 of 2 beyond a capacity of 3: worth 0.100, retention 0.000 = exp(-100.0 days / ("
    )
    assert explain(state[TEA.id], day(100), few).startswith("archived: number 2 of 2")
    assert not state[allergy.id].archived
    assert make_room(state, day(100), few) == []


def test_an_important_old_fact_outlasts_fresh_small_talk() -> None:
    """At a small capacity too: age takes half of a memory's worth at most."""
    home = fact("home_city", "Rome", 0, importance=7)
    talk = [fact("", f"lovely weather {n}", 300 + n, kind="turn", importance=3) for n in range(20)]
    state = heard(home, *talk)
    few = ForgettingParams(capacity=4)
    assert retention(home, day(330), few) < retention(talk[-1], day(330), few)
    after(state, make_room(state, day(330), few))
    assert not state[home.id].archived
    assert [r.value for r in state.values() if not r.archived][1:] == [
        f"lovely weather {n}" for n in (17, 18, 19)
    ]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10), st.integers(1, 10), st.integers(0, 900), st.integers(0, 900))
def test_twice_as_important_is_never_put_away_first(
    one: int, other: int, age: int, youth: int
) -> None:
    older = fact("likes", "tea", 0, importance=max(one, other))
    newer = fact("likes", "jazz", 0, importance=min(one, other))
    if older.importance >= 2 * newer.importance:
        assert worth(older, day(age), PARAMS) >= worth(newer, day(youth), PARAMS)
    past = older.model_copy(update={"valid_to": day(0)})
    assert worth(past, day(age), PARAMS) < worth(older, day(age), PARAMS)


def test_pinned_records_stay_even_if_they_alone_are_too_many() -> None:
    pinned = [fact("likes", f"thing {n}", n, pinned=True) for n in range(5)]
    state = heard(*pinned, TEA)
    after(state, make_room(state, day(9), ForgettingParams(capacity=2)))
    assert [r.value for r in state.values() if r.archived] == ["tea"]


def test_unpinned_and_restored_records_count_again() -> None:
    few = ForgettingParams(capacity=1)
    state = heard(fact("likes", "chess", 5, pinned=True), TEA)
    after(state, make_room(state, day(9), few))
    after(state, [Restore(at=day(9), ids=(TEA.id,)), Pin(at=day(9), ids=(TEA.id,))])
    assert make_room(state, day(10), few) == []


facts = st.builds(
    fact,
    st.sampled_from(("likes", "trip", "allergy")),
    st.sampled_from("abcdefgh"),
    st.integers(0, 60),
    kind=st.sampled_from(("preference", "event", "emotion")),
    cardinality=st.just("multi"),
    importance=st.integers(1, 10),
    pinned=st.booleans(),
    subject=st.sampled_from(("me", "sister")),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(facts, max_size=30), st.integers(1, 20), st.randoms(use_true_random=False))
def test_ranks_and_archives_do_not_depend_on_the_order_of_records(
    records: list[MemoryRecord], capacity: int, order: object
) -> None:
    few = ForgettingParams(capacity=capacity)
    mixed = list(records)
    order.shuffle(mixed)  # type: ignore[attr-defined]
    one, other = heard(*records), heard(*mixed)
    unique = {r.id: r for r in records}.values()
    assert ranked(unique, day(99), few) == ranked(reversed(list(unique)), day(99), few)
    if dict(one) == dict(other):
        assert make_room(one, day(99), few) == make_room(other, day(99), few)
    after(one, make_room(one, day(99), few))
    assert make_room(one, day(99), few) == []
    left = [r for r in one.values() if not r.archived]
    assert len(left) <= capacity or all(protected(r, few) for r in left)
    assert not any(r.archived and protected(r, few) for r in one.values())


def test_many_small_memories_become_one_insight_that_names_them() -> None:
    teas = [
        fact("likes", value, n, kind="preference", cardinality="multi", importance=4)
        for n, value in enumerate(("tea", "chess", "jazz", "rain"))
    ]
    sister = [fact(slot, "Ada", 3, subject="sister") for slot in ("name", "nickname", "pet")]
    state = heard(*teas, *sister)
    params = ForgettingParams(reflection_threshold=4 * 4 + 3 * 5)
    entries = reflect(state, day(100), params)
    after(state, entries)
    about_me, about_her = [r for r in state.values() if r.kind == "insight"]
    assert about_me.text == (
        "likes: tea, chess, jazz, rain (4 memories, 1 January 2024 to 4 January 2024)"
    )
    assert set(about_me.evidence) == {r.id for r in teas}
    assert about_her.subject == "sister"
    assert about_her.text.startswith("sister: name Ada, nickname Ada, pet Ada (3 memories, ")
    # The small and faded ones can go: the insight stands for them. A single value never goes.
    assert [r.value for r in state.values() if r.archived] == ["tea", "chess", "jazz", "rain"]
    assert state[teas[0].id].archived == f"folded into the insight {about_me.id}"
    assert last_reflection(state) == day(100)
    assert reflect(state, day(101), params) == []


def test_below_the_threshold_nothing_happens() -> None:
    teas = [fact("likes", v, 1, cardinality="multi", importance=5) for v in "abc"]
    assert reflect(heard(*teas), day(9), ForgettingParams(reflection_threshold=16)) == []
    assert len(reflect(heard(*teas), day(9), ForgettingParams(reflection_threshold=15))) == 1
    assert reflect(heard(*teas), day(0), ForgettingParams(reflection_threshold=15)) == []


def test_an_insight_grows_and_keeps_what_it_folded_before() -> None:
    params = ForgettingParams(reflection_threshold=9)
    first = [fact("likes", v, 1, cardinality="multi", importance=3) for v in "abc"]
    state = heard(*first)
    after(state, reflect(state, day(60), params))
    more = [fact("likes", v, 61, cardinality="multi", importance=3) for v in "def"]
    after(state, [Add(at=r.created_at, record=r) for r in more])
    entries = reflect(state, day(62), params)
    assert [type(e) for e in entries] == [Revise]
    after(state, entries)
    (insight,) = (r for r in state.values() if r.kind == "insight")
    assert set(insight.evidence) == {r.id for r in (*first, *more)}
    assert last_reflection(state) == day(62)
    assert reflect(state, day(63), params) == []


def test_feelings_fold_by_what_was_felt() -> None:
    sad = [
        fact("worry", cause, n, kind="emotion", emotion="sadness", cardinality="multi")
        for n, cause in enumerate(("work", "rent", "Grandad"))
    ]
    state = heard(*sad, fact("worry", "exam", 4, kind="emotion", emotion="fear"))
    after(state, reflect(state, day(9), ForgettingParams(reflection_threshold=5)))
    assert [r.text for r in state.values() if r.kind == "insight"] == [
        "feeling sadness: work, rent, Grandad (3 memories, 1 January 2024 to 3 January 2024)"
    ]


@settings(max_examples=40, deadline=None)
@given(st.lists(facts, max_size=40), st.integers(1, 80))
def test_all_upkeep_is_replayable_and_at_rest_afterwards(
    records: list[MemoryRecord], threshold: int
) -> None:
    params = ForgettingParams(reflection_threshold=threshold, capacity=15)
    journal: list[Entry] = [Add(at=r.created_at, record=r) for r in records]
    state = replay(journal)
    now = day(90)
    for _ in range(2):
        for upkeep in (reflect, make_room):
            entries = upkeep(state, now, params)
            journal += entries
            after(state, entries)
    assert reflect(state, now, params) == make_room(state, now, params) == []
    assert dict(replay(journal)) == dict(state)
    for insight in (r for r in state.values() if r.kind == "insight"):
        assert all(id in state for id in insight.evidence)


def test_recalling_resets_the_clock() -> None:
    state = heard(TEA)
    assert recall([], day(3)) == []
    for n in (10, 20, 30):
        after(state, recall([state[TEA.id]], day(n)))
    assert state[TEA.id].strength == 4.0
    assert retention(state[TEA.id], day(30) + timedelta(hours=6), PARAMS) > 0.99


@pytest.mark.parametrize(
    "wrong",
    [{"warm": 0.6}, {"tau_days": 0}, {"capacity": 0}, {"kind_factor": {"turn": 0.0}}, {"tua": 3}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ForgettingParams.model_validate(wrong)
