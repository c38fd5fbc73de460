"""The journal is believed only where it is whole, and says the same thing every time."""

import os
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid5
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_fakes import START, fact, turn

from oldfriend.errors import InputError
from oldfriend.memory.store.journal import (
    Add,
    Archive,
    Correct,
    Entry,
    Forget,
    Journal,
    Opened,
    Pin,
    Recall,
    Restore,
    Revise,
    Supersede,
    decode,
    encode,
    owner,
    without,
)
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.state import State, replay

OPENED = Opened(at=START, user="ada")
IDS = [uuid5(UUID(int=0), str(i)) for i in range(6)]
MADE_FROM = {IDS[4]: (IDS[3],), IDS[5]: (IDS[4],)}
RECORDS = [
    turn(f"turn {i} said", i % 3, session="ab"[i // 3], id=id, evidence=MADE_FROM.get(id, ()))
    for i, id in enumerate(IDS)
]


def day(number: int) -> datetime:
    return START + timedelta(days=number)


some = st.lists(st.sampled_from(IDS), min_size=1, max_size=3, unique=True).map(tuple)
one = st.sampled_from(IDS)
times = st.integers(0, 400).map(day)
entries = st.one_of(
    st.builds(Add, at=times, record=st.sampled_from(RECORDS)),
    st.builds(Revise, at=times, record=st.sampled_from(RECORDS)),
    st.builds(Supersede, at=times, old=one, new=st.none() | one, valid_to=st.none() | times),
    st.builds(Correct, at=times, old=one, new=st.none() | one),
    st.builds(Recall, at=times, ids=some, gain=st.sampled_from((0.5, 1.0))),
    st.builds(Pin, at=times, ids=some, pinned=st.booleans()),
    st.builds(Archive, at=times, ids=some, reason=st.text(min_size=1)),
    st.builds(Restore, at=times, ids=some),
    st.builds(Forget, at=times, ids=some),
)
histories = st.lists(entries, max_size=25)


def written(path: Path, lines: list[list[Entry]]) -> Journal:
    journal = Journal(path)
    for line in lines:
        journal.append(line)
    return journal


def same(one: State, other: State) -> bool:
    return dict(one) == dict(other) and one.forgotten == other.forgotten


@settings(deadline=None, derandomize=True, max_examples=60)
@given(histories.filter(bool))
def test_a_line_comes_back_as_it_was_written(history: list[Entry]) -> None:
    assert decode(encode(history), Path("x"), 1) == history


def test_what_was_appended_is_read_in_order(tmp_path: Path) -> None:
    lines = [[OPENED, Add(at=START, record=RECORDS[0])], [Pin(at=day(1), ids=(IDS[0],))]]
    journal = written(tmp_path / "ab" / "x.jsonl", lines)
    assert list(journal.read()) == [entry for line in lines for entry in line]
    assert owner(journal.path) == "ada"
    assert journal.path.stat().st_mode & 0o077 == 0, "nobody else's business"


def test_entries_after_are_counted_whatever_the_texts_say(tmp_path: Path) -> None:
    nasty = turn('{"op":"add"} "op":"pin" \n "op":"', 1)
    journal = Journal(tmp_path / "x.jsonl")
    size = journal.append([OPENED, Add(at=START, record=RECORDS[0])])
    journal.append([Add(at=START, record=nasty), Pin(at=START, ids=(nasty.id,))])
    assert journal.entries_after(0) == 4
    assert journal.entries_after(size) == 2


def test_a_torn_last_line_is_cut_off_wherever_it_tore(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "x.jsonl")
    whole = journal.append([OPENED, Add(at=START, record=RECORDS[0])])
    end = journal.append([Add(at=START, record=RECORDS[1]), Add(at=START, record=RECORDS[2])])
    data = journal.path.read_bytes()
    for cut in {*range(whole, end, 41), whole + 1, end - 2, end - 1}:
        journal.path.write_bytes(data[:cut])
        fresh = Journal(journal.path)
        assert list(replay(fresh.read())) == [IDS[0]], "both of the second line or none"
        assert fresh.path.stat().st_size == whole
        assert len(fresh.notes) == (cut > whole)
    fresh.append([Add(at=START, record=RECORDS[3])])
    assert list(replay(fresh.read())) == [IDS[0], IDS[3]]


def test_a_file_that_never_got_its_first_line_is_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    for data in (b"", encode([OPENED])[:-1]):
        path.write_bytes(data)
        assert Journal(path).unborn()
        assert not path.exists()
    path.write_bytes(encode([OPENED]))
    assert not Journal(path).unborn()


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.data())
def test_one_changed_byte_is_never_believed(data: st.DataObject) -> None:
    lines = [encode([OPENED]), *(encode([Add(at=START, record=r)]) for r in RECORDS[:3])]
    whole = b"".join(lines)
    place = data.draw(st.integers(0, len(whole) - 2))
    change = data.draw(st.integers(1, 255))
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"changed-{os.getpid()}.jsonl"
    path.write_bytes(whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :])
    try:
        with pytest.raises(InputError, match=r"changed-\d+\.jsonl:\d"):
            list(Journal(path).read())
    finally:
        path.unlink()


def test_a_damaged_line_is_named_with_what_to_do(tmp_path: Path) -> None:
    lines: list[list[Entry]] = [[OPENED], [Add(at=START, record=RECORDS[0])], [OPENED]]
    journal = written(tmp_path / "x.jsonl", lines)
    text = journal.path.read_text(encoding="utf-8").replace("turn 0 said", "turn 0 sold")
    journal.path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"x\.jsonl:2: damaged.*backup, or delete this line"):
        list(journal.read())
    assert journal.path.read_text(encoding="utf-8") == text, "nothing is cut but a torn end"


def test_an_entry_of_another_version_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with pytest.raises(InputError, match="another version"):
        line = encode([OPENED]).replace(b'"op":"open"', b'"op":"oqen"')
        body = line[line.index(b"[") : -2]
        path.write_bytes(line.replace(line[8:16], b"%08x" % crc32(body)))
        list(Journal(path).read())


def test_a_failed_write_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "x.jsonl")
    size = journal.append([OPENED])

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            journal.append([Add(at=START, record=RECORDS[0])])
    assert journal.path.stat().st_size == size
    journal.append([Add(at=START, record=RECORDS[1])])
    assert list(replay(journal.read())) == [IDS[1]]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(histories)
def test_replaying_is_the_same_as_having_been_there(history: list[Entry]) -> None:
    live = State()
    for entry in [OPENED, *history]:
        live.apply(entry, reach=1)
    again = replay(decode(encode([OPENED, *history]), Path("x"), 1))
    assert same(live, again)
    for record in live.values():
        assert live.around(record, 1) == again.around(record, 1)
        assert live.near(record.id, 2) == again.near(record.id, 2)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(histories, some)
def test_a_journal_without_records_has_no_trace_of_them(
    history: list[Entry], gone: tuple[UUID, ...]
) -> None:
    left = without([OPENED, *history], frozenset(gone))
    told = encode([e for e in left if not isinstance(e, Forget)])
    assert not [id for id in gone if str(id).encode() in told]
    kept = {id: r for id, r in replay([OPENED, *history]).items() if id not in gone}
    assert replay(left).keys() - set(gone) == kept.keys()


@settings(deadline=None, derandomize=True, max_examples=60)
@given(histories, some)
def test_the_forgotten_never_come_back(history: list[Entry], gone: tuple[UUID, ...]) -> None:
    state = replay([OPENED, Forget(at=START, ids=gone), *history])
    assert not state.keys() & set(gone)


def test_superseded_values_stay_answerable() -> None:
    rome, paris = fact("home_city", "Rome", 1), fact("home_city", "Paris", 2)
    state = replay(
        [Add(at=START, record=rome), Add(at=day(9), record=paris),
         Supersede(at=day(9), old=rome.id, new=paris.id, valid_to=day(5))]
    )  # fmt: skip
    assert [r.value for r in state.history("home_city")] == ["Rome", "Paris"]
    old = state[rome.id]
    assert (old.valid_to, old.expired_at, old.superseded_by) == (day(5), day(9), paris.id)
    assert [r.value for r in state.values() if r.current] == ["Paris"]


def test_nothing_ends_before_it_began() -> None:
    late = fact("job", "baker", valid_from=day(20))
    state = replay([Add(at=START, record=late), Supersede(at=day(3), old=late.id)])
    assert state[late.id].valid_to == day(20)
    assert MemoryRecord.model_validate(state[late.id].model_dump())


def test_what_was_corrected_was_never_true() -> None:
    wrong = fact("pet_name", "Mira")
    state = replay([Add(at=START, record=wrong), Correct(at=day(1), old=wrong.id)])
    assert state[wrong.id].valid_to is None
    assert not state[wrong.id].current


def test_a_known_record_is_not_added_twice_and_not_made_young_again() -> None:
    state = replay(
        [Add(at=START, record=RECORDS[0]), Recall(at=day(2), ids=(IDS[0],)),
         Archive(at=day(3), ids=(IDS[0],), reason="old"), Add(at=day(4), record=RECORDS[0])]
    )  # fmt: skip
    kept = state[IDS[0]]
    assert (kept.strength, kept.last_recalled, kept.archived) == (2.0, day(2), "old")


def test_a_revised_record_keeps_its_life() -> None:
    summary = turn("they talked", kind="session", source=None, evidence=(IDS[0],))
    told = summary.model_copy(update={"text": "they laughed", "evidence": (IDS[1],)})
    state = replay(
        [Add(at=START, record=RECORDS[0]), Add(at=START, record=summary),
         Pin(at=day(1), ids=(summary.id,)), Revise(at=day(2), record=told)]
    )  # fmt: skip
    assert (state[summary.id].text, state[summary.id].pinned) == ("they laughed", True)
    assert state.made_from([IDS[0]]) == {summary.id}, "its first text was made from this"


def test_windows_are_of_the_same_session_and_in_order() -> None:
    state = replay(Add(at=START, record=r) for r in reversed(RECORDS))
    assert [r.text for r in state.around(RECORDS[1], 1)] == ["turn 0 said", "turn 2 said"]
    assert [r.text for r in state.around(RECORDS[3], 1)] == ["turn 4 said"]
    assert state.near(IDS[0], 1) == {IDS[0], IDS[1]}


def test_a_note_and_its_turn_say_the_same() -> None:
    said = turn("I moved to Velmora with my cat Miro", 4)
    city, cat = fact("home_city", "Velmora", 4), fact("pet_name", "Miro", 4)
    again = fact("pet", "a cat called Miro", 4)
    state = replay(Add(at=START, record=r) for r in (said, city, cat, again, RECORDS[0]))
    assert state.said_with([cat.id]) == {cat.id, said.id, again.id}
    assert state.said_with([said.id]) == {said.id, city.id, cat.id, again.id}
