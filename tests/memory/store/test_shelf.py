"""Neighbours by arrays are the neighbours that the state knows."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from store_fakes import START, fact, turn

from oldfriend.memory.store.journal import Add, Forget
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.shelf import Shelf
from oldfriend.memory.store.state import State, replay

places = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.integers(0, 12), st.sampled_from(("turn", "note", "none"))
    ),
    unique=True,
    max_size=40,
)


def made(place: tuple[str, int, str]) -> MemoryRecord:
    session, number, what = place
    if what == "turn":
        return turn(f"said {number}", number, session=session)
    note = fact("pet", f"value{number}", number, session=session)
    return note if what == "note" else note.model_copy(
        update={"source": None, "id": turn(f"{session}{number}").id}
    )  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(places, st.integers(0, 40), st.integers(0, 3))
def test_neighbours_are_those_of_the_state(
    told: list[tuple[str, int, str]], cut: int, reach: int
) -> None:
    """Also when the records came in two parts."""
    records = [made(place) for place in told]
    state = replay(Add(at=START, record=record) for record in records[:cut])
    shelf = Shelf(state)
    shelf.take_in(state)
    for record in records[cut:]:
        state.apply(Add(at=START + timedelta(days=1), record=record))
    shelf.take_in(state)
    kept = list(state.values())
    rows = shelf.rows(kept)
    assert shelf.ids(rows) == [record.id for record in kept]
    found: dict[object, set[object]] = {record.id: set() for record in kept}
    for away in range(-reach, reach + 1):
        for record, row in zip(kept, shelf.beside(rows, away).tolist(), strict=True):
            if row >= 0:
                found[record.id].add(kept[row].id)
    for record in kept:
        expected = {other.id for other in state.around(record, reach)}
        assert found[record.id] - {record.id} == expected


def test_a_shelf_is_of_one_state_until_something_is_erased() -> None:
    said = [turn(f"said {n}", n) for n in range(3)]
    state = replay(Add(at=START, record=record) for record in said)
    shelf = Shelf(state)
    assert shelf.of(state) and not shelf.of(State())
    state.apply(Forget(at=START, ids=(said[1].id,)))
    assert not shelf.of(state)
