"""Summaries, profile and portrait say what records say, and a session rewrites only its own."""

import pytest
from change_cases import USER, after, day, fact
from hypothesis import given, settings
from hypothesis import strategies as st

from oldfriend.memory.store.centrality import central
from oldfriend.memory.store.change import absorb, correct
from oldfriend.memory.store.journal import Add, Entry, Forget, Revise
from oldfriend.memory.store.levels import (
    Profile,
    comforting,
    digest,
    portray,
    profile,
    refresh,
    summarise,
    touched,
)  # fmt: skip
from oldfriend.memory.store.record import MemoryRecord, Source, record_id
from oldfriend.memory.store.settings import LevelsParams
from oldfriend.memory.store.state import State

PARAMS = LevelsParams()


def turn(
    session: int, place: int, speaker: str, text: str, emotion: str | None = None
) -> MemoryRecord:
    """What was said at ``place`` of the session of a day."""
    return MemoryRecord(
        id=record_id(USER, str(session), str(place)),
        user=USER,
        kind="turn",
        text=text,
        emotion=emotion,
        created_at=day(session),
        source=Source(session=f"s{session}", turn=place, speaker=speaker),
    )


def hears(state: State, *records: MemoryRecord) -> list[Entry]:
    """``state`` takes the records in; what was written."""
    entries = absorb(state, records)
    after(state, entries)
    return entries


def first_session() -> State:
    state = State()
    hears(
        state,
        turn(3, 0, "user", "I moved to Rome and I love the light in Rome.", "joy"),
        turn(3, 1, "friend", "Rome! Is the light in your kitchen as good as they say?"),
        turn(3, 2, "user", "Rome is loud, and my boss shouts.", "anxiety"),
        turn(3, 3, "friend", "Shouting says more of him than of you."),
        turn(3, 4, "user", "You are right. I feel lighter.", "relief"),
        fact("home_city", "Rome", 3, importance=7),
        fact("likes", "good light", 3, kind="preference", cardinality="multi"),
        fact("promise_made", "a postcard", 3, kind="promise", cardinality="multi"),
        fact("nickname_joke", "Captain Toast", 3, kind="shared joke", cardinality="multi"),
    )
    return state


def test_a_summary_says_what_was_learnt_and_what_was_central() -> None:
    state = first_session()
    (added,) = summarise(state, "s3", day(4), LevelsParams(turns=2))
    assert isinstance(added, Add)
    assert added.record.kind == "session"
    assert added.record.text.split("\n") == [
        "4 January 2024, 5 turns.",
        "Learnt: home city Rome.",
        "Tastes: likes good light.",
        "Promised: promise made a postcard.",
        "Joked: nickname joke Captain Toast.",
        "user: I moved to Rome and I love the light in Rome.",
        "user: Rome is loud, and my boss shouts.",
    ]
    assert all(id in state for id in added.record.evidence)
    assert len(added.record.evidence) == 6


def test_what_the_friend_says_to_everybody_is_not_central() -> None:
    state = State()
    stock = "I'm listening. Tell me more about your day."
    said = ("My day was long.", "The day began with rain.", "Tell me about rain.")
    for place, text in enumerate((*said, "What rain was that?")):
        hears(state, turn(3, 2 * place, "user", text), turn(3, 2 * place + 1, "friend", stock))
    (added,) = summarise(state, "s3", day(4), PARAMS)
    assert isinstance(added, Add)
    assert added.record.text.split("\n")[1:] == [f"user: {text}" for text in said]


def test_a_partner_is_not_the_partners_partner() -> None:
    state = State()
    partner = {"kind": "relationship", "subject": "partner", "cardinality": "single"}
    hears(
        state,
        turn(3, 0, "user", "My partner Ada likes tea, my best friend is Bo."),
        fact("partner_name", "Ada", 3, **partner),
        fact("best_friend_name", "Bo", 3, **{**partner, "subject": "best friend"}),
        fact("favourite_drink", "tea", 3, **{**partner, "kind": "preference"}),
    )
    (added,) = summarise(state, "s3", day(4), PARAMS)
    assert isinstance(added, Add)
    assert "People: best friend name Bo; partner name Ada." in added.record.text
    assert "Tastes: partner's favourite drink tea." in added.record.text
    assert {line.text.partition(":")[0] for line in profile(state, day(4)).lines} == {
        "your partner name", "your best friend name", "partner's favourite drink",
    }  # fmt: skip


def test_the_portrait_is_plain_facts() -> None:
    state = first_session()
    (added,) = portray(state, day(4), PARAMS)
    assert isinstance(added, Add)
    assert added.record.pinned
    assert added.record.text.split("\n") == [
        "Known each other since 4 January 2024: 0 days, 1 session, the last on 4 January 2024.",
        "Jokes between them: nickname joke Captain Toast.",
        "Open promises: promise made a postcard.",
        "Last moods: joy (4 January 2024); anxiety (4 January 2024); relief (4 January 2024).",
        'Felt better after: "Shouting says more of him than of you.".',
    ]


def test_a_new_session_rewrites_its_summary_its_profile_lines_and_the_portrait_only() -> None:
    state = first_session()
    after(state, digest(state, "s3", day(4), PARAMS))
    before = profile(state, day(4))
    kept = dict(state)
    entries = hears(
        state,
        turn(30, 0, "user", "I moved to Oslo."),
        fact("home_city", "Oslo", 30),
        fact("likes", "good light", 30, kind="preference", cardinality="multi"),
    )
    written = digest(state, "s30", day(31), PARAMS)
    after(state, written)
    assert [(type(e), e.record.kind) for e in written if isinstance(e, Add | Revise)] == [
        (Add, "session"),
        (Revise, "insight"),
    ]
    assert len(written) == 2
    changed = {r.kind for id, r in state.items() if kept.get(id) not in (None, r)}
    assert changed == {"profile", "preference", "insight"}  # Rome ended, light is stronger
    assert touched(state, entries) == {("me", "home_city"), ("me", "likes")}
    now = refresh(before, state, entries, day(31))
    assert now == profile(state, day(31))
    assert digest(state, "s30", day(32), PARAMS) == digest(state, "s3", day(32), PARAMS) == []


def test_lines_that_did_not_change_are_not_told_anew() -> None:
    state = State()
    hears(state, *(fact(f"slot_{n}", "x", n) for n in range(20)))
    known = profile(state, day(21))
    entries = hears(state, fact("slot_7", "y", 22))
    now = refresh(known, state, entries, day(22))
    old = {id(line) for line in known.lines}
    assert [line.slot for line in now.lines if id(line) not in old] == ["slot_7"]


def test_the_profile_tells_what_holds_and_what_held_before() -> None:
    state = first_session()
    hears(
        state,
        fact("home_city", "Oslo", 30, valid_from=day(20), importance=8),
        fact("name", "Ada", 30, subject="sister", kind="relationship"),
        fact("likes", "snow", 30, kind="preference", cardinality="multi"),
    )
    told = profile(state, day(40))
    assert told.text(9).split("\n") == [
        "your home city: Oslo since 21 January 2024, before Rome",
        "your likes: good light, snow",
        "sister's name: Ada",
    ]
    assert told.text(1) == "your home city: Oslo since 21 January 2024, before Rome"
    assert all(id in state for line in told.lines for id in line.evidence)


def test_corrected_values_leave_the_profile() -> None:
    state = first_session()
    wrong = next(r for r in state.values() if r.value == "Rome")
    known = profile(state, day(5))
    entries = correct(state, wrong.id, day(6), fact("home_city", "Bari", 6))
    after(state, entries)
    now = refresh(known, state, entries, day(6))
    assert now == profile(state, day(6))
    assert "your home city: Bari since 4 January 2024" in now.text(9)
    assert "Rome" not in now.text(9)


def test_an_erased_summary_is_made_anew_under_another_id() -> None:
    state = first_session()
    after(state, digest(state, "s3", day(4), PARAMS))
    old = {r.id for r in state.values() if r.kind in ("session", "insight")}
    after(state, [Forget(at=day(5), ids=tuple(old))])
    written = digest(state, "s3", day(6), PARAMS)
    assert len(written) == 2
    assert old.isdisjoint(e.record.id for e in written if isinstance(e, Add))


def test_a_writer_is_asked_only_when_there_is_news() -> None:
    asked: list[list[str]] = []

    def writer(lines: list[str]) -> str:
        asked.append(lines)
        return "prose"

    state = first_session()
    after(state, digest(state, "s3", day(4), PARAMS, writer))
    assert digest(state, "s3", day(5), PARAMS, writer) == []
    assert len(asked) == 2
    told = [r for r in state.values() if r.kind in ("session", "insight")]
    assert [r.text for r in told] == ["prose", "prose"]
    assert all(r.value.startswith(("4 January", "Known each other")) for r in told)


def test_comfort_is_what_stood_between_pain_and_relief_in_one_session() -> None:
    said = [
        turn(1, 0, "user", "a", "joy"),
        turn(1, 1, "friend", "not this"),
        turn(1, 2, "user", "b", "grief"),
        turn(1, 3, "friend", "nor this"),
        turn(1, 4, "user", "c", "sadness"),
        turn(2, 0, "friend", "nor across sessions"),
        turn(2, 1, "user", "d", "joy"),
        turn(2, 2, "user", "e", "fear"),
        turn(2, 3, "friend", "overtaken"),
        turn(2, 4, "friend", "this"),
        turn(2, 5, "user", "f"),
        turn(2, 6, "user", "g", "hope"),
    ]
    assert [r.text for r in comforting(said)] == ["this"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.sampled_from("abc xyz"), min_size=1, max_size=30), max_size=12),
       st.integers(0, 5))  # fmt: skip
def test_central_turns_are_some_of_them_in_order(texts: list[str], count: int) -> None:
    turns = [turn(1, n, "user", text) for n, text in enumerate(texts)]
    chosen = central(turns, count)
    assert len(chosen) == min(count, len(turns))
    assert [r.source.turn for r in chosen if r.source] == sorted(
        r.source.turn for r in chosen if r.source
    )
    assert central(turns, count) == chosen


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(("home_city", "likes", "job")), st.sampled_from("AB"),
                          st.integers(1, 6)), max_size=15))  # fmt: skip
def test_refreshing_step_by_step_is_the_same_as_telling_it_whole(
    said: list[tuple[str, str, int]],
) -> None:
    state, known = State(), Profile()
    for n, (slot, value, told) in enumerate(said):
        many = "multi" if slot == "likes" else "single"
        entries = hears(state, fact(slot, value, told + n / 100, cardinality=many))
        known = refresh(known, state, entries, day(9))
    assert known == profile(state, day(9))


@pytest.mark.parametrize("session", ["s9", ""])
def test_an_unknown_session_has_no_summary(session: str) -> None:
    assert summarise(first_session(), session, day(9), PARAMS) == []
    assert digest(State(), session, day(9), PARAMS) == []
