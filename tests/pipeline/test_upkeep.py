"""Memories put in order: what is written down, and that nothing is lost by it."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from friend_fakes import START, Table, WordEncoder
from hypothesis import given
from hypothesis import strategies as st

from oldfriend.errors import MissingDataError
from oldfriend.memory.store.journal import Add, Entry, Forget, Journal, Opened, Recall
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.state import replay
from oldfriend.pipeline.upkeep import folded, upkeep

IDS = [UUID(int=n) for n in range(4)]


def record(id: UUID) -> MemoryRecord:
    return MemoryRecord(id=id, user="ada", kind="profile", text=f"note {id.int}", created_at=START)


def recalls() -> st.SearchStrategy[list[Entry]]:
    times = st.integers(0, 50).map(lambda n: START + timedelta(hours=n))
    some = st.lists(st.sampled_from(IDS), min_size=1, max_size=4, unique=True).map(tuple)
    recall = st.builds(Recall, at=times, ids=some, gain=st.sampled_from([0.5, 1.0, 2.0]))
    forget = st.builds(Forget, at=times, ids=st.sampled_from(IDS).map(lambda id: (id,)))
    return st.lists(st.one_of(recall, recall, recall, forget), max_size=20)


@given(recalls())
def test_a_folded_journal_says_the_same(entries: Sequence[Entry]) -> None:
    head: list[Entry] = [Opened(at=START, user="ada")]
    head += [Add(at=START, record=record(id)) for id in IDS]
    before = replay([*head, *entries])
    shorter = folded([*head, *entries])
    after = replay(shorter)
    assert dict(after) == dict(before)
    assert after.forgotten == before.forgotten
    assert folded(shorter) == shorter


def test_what_ended_is_summed_up_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    table = Table(tmp_path)
    for text in ("my cat is called Miro", "i live in Lund", "my sister is called Ada"):
        table.say(text)
    table.pool.close()  # as if the program had been stopped in the middle of the talk
    now = START + timedelta(days=3)
    (kept,) = upkeep(tmp_path / "memory", now, encoder=WordEncoder())
    assert (kept.user, kept.summaries) == ("ada", 1)
    (again,) = upkeep(tmp_path / "memory", now, encoder=WordEncoder())
    assert (again.summaries, again.insights, again.archived, again.folded) == (0, 0, 0, 0)


def test_a_journal_of_recalls_gets_shorter_and_is_found_as_before(tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    with Table(tmp_path) as table:
        table.say("my cat is called Miro")
        own = table.friend.memory("ada")
        note = next(r for r in own.records() if r.slot)
        for hour in range(40):
            own.recall([note.id], START + timedelta(hours=hour))
        before = dict(own.state)
    (path,) = (folder / "journals").glob("*/*.jsonl")
    size = path.stat().st_size
    (kept,) = upkeep(folder, START, encoder=WordEncoder())
    assert kept.folded == 39
    assert path.stat().st_size < size
    state = replay(Journal(path).read())
    assert {id: state[id] for id in before} == before
    with Table(tmp_path) as table:
        assert "my cat is called Miro" in table.texts("ada")


def test_a_folder_without_memories_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no memories"):
        upkeep(tmp_path, START)
