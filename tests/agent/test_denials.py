"""What is taken back in talk is taken back in memory, and nothing else is."""

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
from denial_bank import DEV, KNOWN, LOOKALIKES, UNSEEN, Case
from friend_fakes import START, Table
from hypothesis import given, settings
from hypothesis import strategies as st

from oldfriend.agent.denials import denials
from oldfriend.memory.store import change
from oldfriend.memory.store.journal import Add
from oldfriend.memory.store.record import MemoryRecord, Source, record_id
from oldfriend.memory.store.state import State, replay


@cache
def state_of() -> State:
    """A person with all that is KNOWN, each told in a turn of its own."""
    records: list[MemoryRecord] = []
    for place, (slot, subject, cardinality, kind, value, text) in enumerate(KNOWN):
        at = text.index(value)
        source = Source(session="s", turn=2 * place, start=at, end=at + len(value))
        common = {"user": "ada", "created_at": START, "source": source}
        records.append(
            MemoryRecord.model_validate(
                {**common, "id": record_id("ada", slot), "kind": kind, "subject": subject,
                 "slot": slot, "cardinality": cardinality, "value": value,
                 "text": f"{slot}: {value}"}
            )
        )  # fmt: skip
        records.append(
            MemoryRecord.model_validate(
                {**common, "id": record_id("ada", text), "kind": "turn", "text": text}
            )
        )
    return replay(Add(at=START, record=record) for record in records)


def outcome(case: Case) -> set[tuple[str, str]]:
    """The values of the notes that are taken back, and how."""
    state = state_of()
    told = [r for r in state.values() if r.slot and r.value == case.told]
    return {
        (d.record.value, f"instead:{d.value}" if d.how == "instead" else d.how)
        for d in denials(state, case.said, told)
    }


@pytest.mark.parametrize("case", [*DEV, *UNSEEN, *LOOKALIKES], ids=lambda case: case.said)
def test_what_is_taken_back(case: Case) -> None:
    assert outcome(case) == ({(case.note, case.how)} if case.how else set())


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    with Table(tmp_path) as table:
        yield table


def test_the_banks_are_large_enough_and_share_nothing() -> None:
    assert sum(bool(case.how) for case in UNSEEN) >= 60 and len(LOOKALIKES) >= 60
    said = [case.said for case in (*DEV, *UNSEEN, *LOOKALIKES)]
    assert len({(c.said, c.told) for c in (*DEV, *UNSEEN, *LOOKALIKES)}) == len(said)


def test_a_name_is_put_right_with_its_source(table: Table) -> None:
    table.say("My sister is Anna.")
    reply = table.say("It's not Anna, it's Hanna.")
    assert [record.value for record in reply.undone] == ["Anna"]
    memory = table.friend.memory("ada")
    (right,) = (r for r in memory.records(("relationship",)) if r.current)
    assert right.value == "Hanna" and right.text == "sister name: Hanna"
    assert right.source
    assert "It's not Anna, it's Hanna."[right.source.start : right.source.end] == "Hanna"
    assert not change.believed(memory.state[reply.undone[0].id])
    assert table.say("Who is my sister?").text == "It is Hanna."


def test_what_is_over_stays_answerable_and_what_never_was_does_not(table: Table) -> None:
    table.say("I live in Rome.")
    table.say("My dog is called Rex.")
    assert [r.value for r in table.say("I don't live there any more.").undone] == ["Rome"]
    assert [r.value for r in table.say("I never had a dog.").undone] == ["Rex"]
    state = table.friend.memory("ada").state
    assert change.current(state, "home_city", table.now + timedelta(days=1)).values == ()
    assert change.history(state, "home_city").values == ("Rome",)
    assert change.history(state, "pet_name", "pet").values == ()
    assert not state.forgotten, "nothing is erased"


def test_a_denial_with_a_new_value_is_one_change(table: Table) -> None:
    table.say("I live in Rome.")
    reply = table.say("I don't live in Rome any more, I live in Oslo.")
    assert [r.value for r in reply.noted] == ["Oslo"]
    state = table.friend.memory("ada").state
    assert change.history(state, "home_city").values == ("Rome", "Oslo")
    table.say("I never lived in Oslo, I live in Bergen.")
    assert change.history(state, "home_city").values == ("Rome", "Bergen")


def test_that_is_not_true_means_what_was_just_told(table: Table, tmp_path: Path) -> None:
    table.say("My cat is called Miro.")
    assert table.say("What is my cat called?").text == "It is Miro."
    assert [r.value for r in table.say("I never said that.").undone] == ["Miro"]
    assert table.say("I never said that.").undone == ()
    table.say("My cat is called Mora.")
    table.say("What is my cat called?")
    table.friend._sessions.clear()  # as after a restart: what was told is read from the journal
    assert [r.value for r in table.say("No, it's Nora.").undone] == ["Mora"]
    assert table.say("What is my cat called?").text == "It is Nora."


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_survived(text: str) -> None:
    for denial in denials(state_of(), f"No, I never had {text}. It's not Anna, {text}"):
        assert denial.record in state_of().values()
