"""A slot holds one value at a time, whatever the order in which it was told."""

from datetime import datetime

from change_cases import after, day, fact
from hypothesis import given, settings
from hypothesis import strategies as st

from oldfriend.memory.store import change
from oldfriend.memory.store.change import absorb, correct, retract
from oldfriend.memory.store.dates import resolve
from oldfriend.memory.store.journal import Correct, Revise
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.state import State

ROME = fact("home_city", "Rome", 10)
OSLO = fact("home_city", "Oslo", 40)


def told(*records: MemoryRecord) -> State:
    """A state that heard one record after the other."""
    state = State()
    for record in records:
        after(state, absorb(state, [record]))
    return state


def test_a_new_value_ends_the_old_one_and_leaves_it_answerable() -> None:
    state = told(ROME, OSLO)
    assert change.current(state, "home_city", day(50)).values == ("Oslo",)
    assert change.at(state, "home_city", day(20)).values == ("Rome",)
    assert change.before(state, "home_city", "Oslo").ids == (ROME.id,)
    assert change.after(state, "home_city", "rome").ids == (OSLO.id,)
    assert change.history(state, "home_city").values == ("Rome", "Oslo")
    old = state[ROME.id]
    assert (old.valid_to, old.superseded_by) == (day(40), OSLO.id)


def test_the_change_happened_when_it_was_said_to_not_when_it_was_told() -> None:
    state = told(ROME, fact("home_city", "Oslo", 40, valid_from=day(30)))
    assert change.at(state, "home_city", day(29)).values == ("Rome",)
    assert change.at(state, "home_city", day(30)).values == ("Oslo",)


def test_an_older_fact_that_arrives_late_goes_into_the_past() -> None:
    late = fact("home_city", "Kyoto", 50, valid_from=day(2))
    state = told(ROME, OSLO, late)
    assert change.current(state, "home_city", day(60)).values == ("Oslo",)
    assert change.history(state, "home_city").values == ("Kyoto", "Rome", "Oslo")
    assert state[late.id].valid_to == day(10)


def test_a_past_stay_told_with_its_end_only_is_certain_for_its_last_day() -> None:
    state = told(OSLO, fact("home_city", "Kyoto", 50, valid_to=day(5)))
    assert change.current(state, "home_city", day(60)).values == ("Oslo",)
    assert change.before(state, "home_city", "Oslo").values == ("Kyoto",)
    assert not change.at(state, "home_city", day(1))


def test_what_was_announced_does_not_hold_yet() -> None:
    state = told(ROME, fact("home_city", "Lima", 20, valid_from=day(90)))
    assert change.current(state, "home_city", day(30)).values == ("Rome",)
    assert change.current(state, "home_city", day(90)).values == ("Lima",)


def test_the_same_value_again_is_stronger_not_double() -> None:
    state = told(ROME, fact("home_city", " rome.", 20), fact("home_city", "Rome", 30))
    assert len(state) == 1
    assert (state[ROME.id].strength, state[ROME.id].last_recalled) == (3.0, day(30))


def test_an_earlier_beginning_of_the_same_value_is_learnt() -> None:
    state = told(ROME, fact("home_city", "Rome", 20, valid_from=day(3)))
    assert change.at(state, "home_city", day(4)).ids == (ROME.id,)
    assert len(state) == 1


def test_several_values_stand_beside_each_other_where_a_slot_takes_several() -> None:
    piano = fact("likes", "piano", 1, cardinality="multi")
    chess = fact("likes", "chess", 2, cardinality="multi")
    state = told(piano, chess, fact("likes", "Piano", 3, cardinality="multi"))
    assert change.current(state, "likes", day(9)).values == ("piano", "chess")
    after(state, retract(state, "likes", day(5), value="chess"))
    assert change.current(state, "likes", day(9)).ids == (piano.id,)


def test_people_and_slots_do_not_touch_each_other() -> None:
    hers = fact("home_city", "Lima", 50, subject="sister")
    state = told(ROME, hers, fact("job", "cook", 60))
    assert change.current(state, "home_city", day(70)).ids == (ROME.id,)
    assert change.current(state, "home_city", day(70), subject="sister").ids == (hers.id,)


def test_a_correction_was_never_true() -> None:
    wrong, right = fact("sister_name", "Ana", 10), fact("sister_name", "Ada", 11)
    state = told(wrong)
    after(state, correct(state, wrong.id, day(11), right))
    assert change.at(state, "sister_name", day(10)).values == ("Ada",)
    assert change.history(state, "sister_name").ids == (right.id,)
    assert state[wrong.id].superseded_by == right.id


def test_a_corrected_past_value_is_replaced_in_the_past() -> None:
    right = fact("home_city", "Bari", 50)
    state = told(ROME, OSLO)
    after(state, correct(state, ROME.id, day(50), right))
    assert change.history(state, "home_city").values == ("Bari", "Oslo")
    assert change.before(state, "home_city", "Oslo").values == ("Bari",)


def test_without_the_false_successor_the_old_value_goes_on() -> None:
    state = told(ROME, OSLO)
    after(state, correct(state, OSLO.id, day(50)))
    assert change.current(state, "home_city", day(60)).ids == (ROME.id,)
    assert change.history(state, "home_city").values == ("Rome",)


def test_correcting_a_successor_keeps_what_it_had_ended() -> None:
    right = fact("home_city", "Bergen", 50)
    state = told(ROME, OSLO)
    after(state, correct(state, OSLO.id, day(50), right))
    assert change.at(state, "home_city", day(39)).values == ("Rome",)
    assert change.at(state, "home_city", day(40)).values == ("Bergen",)
    assert state[ROME.id].superseded_by == right.id


def test_a_retraction_ends_without_a_successor() -> None:
    car = fact("car", "Fiat", 5)
    state = told(car)
    after(state, retract(state, "car", day(30), since=day(20)))
    assert not change.current(state, "car", day(30))
    assert change.at(state, "car", day(19)).values == ("Fiat",)
    assert state[car.id].superseded_by is None


def test_a_question_with_a_date_is_answered_from_the_interval() -> None:
    state = told(ROME, OSLO)  # 11 January and 10 February 2024
    asked = datetime(2024, 5, 15, 14, 30)
    for question, cities in (
        ("Where did I live in January?", ("Rome",)),
        ("Where did I live between January and March?", ("Rome", "Oslo")),
        ("Where did I live before February?", ("Rome",)),
        ("Where have I lived since the 20th of February?", ("Oslo",)),
        ("Where did I live last summer?", ()),
    ):
        when = resolve(question, asked, otherwise="past")
        assert when is not None
        assert change.during(state, "home_city", when.interval).values == cities


def test_naive_and_aware_times_compare() -> None:
    naive = OSLO.model_copy(update={"created_at": datetime(2024, 2, 10)})
    state = told(ROME, naive)
    assert change.current(state, "home_city", datetime(2024, 3, 1)).values == ("Oslo",)


def test_records_without_a_slot_are_simply_kept() -> None:
    turn = fact("", "", 3, kind="turn")
    state = told(turn)
    assert list(state) == [turn.id]
    assert absorb(state, [turn]) == []


def test_nothing_is_new_the_second_time() -> None:
    records = [ROME, OSLO, fact("home_city", "oslo", 44), fact("likes", "tea", 3)]
    state = State()
    after(state, absorb(state, records))
    assert absorb(state, records) == []
    ended = retract(state, "home_city", day(50), since=day(60))
    after(state, ended)
    assert len(ended) == 1
    assert retract(state, "home_city", day(50), since=day(60)) == []
    after(state, correct(state, ROME.id, day(70), fact("home_city", "Bari", 70)))
    assert correct(state, ROME.id, day(70), fact("home_city", "Bari", 70)) == []


# One statement: value, when it began, when it ended if that was said.
statements = st.lists(
    st.tuples(st.sampled_from("ABC"), st.integers(0, 12), st.none() | st.integers(1, 6)),
    max_size=9,
)


def timeline(said: list[tuple[str, int, int | None]], days: int = 20) -> list[str | None]:
    """Painted day by day: a statement holds from its day to its end, or to the next beginning.

    Where the value holds already, only an end can be new, unless the older one had its own.
    """
    held: list[str | None] = [None] * days
    begins: set[int] = set()
    for value, begin, length in said:
        end = days if length is None else begin + length
        rest = range(begin, days)
        over = next((d for d in rest if held[d] != value or (d > begin and d in begins)), days)
        if held[begin] == value and (over == days or over in begins or end <= over):
            for d in range(end, over):
                held[d] = None
            continue
        bound = min((d for d in begins if d > begin), default=days)
        for d in range(begin, bound):
            held[d] = value if d < end else None
        begins.add(begin)
        if end >= bound < days and held[bound] == value:
            begins.discard(bound)
    return held


@settings(max_examples=400, deadline=None)
@given(statements)
def test_the_same_timeline_as_painting_day_by_day(
    said: list[tuple[str, int, int | None]],
) -> None:
    state = State()
    records = [
        fact("home_city", value, 30 + n, valid_from=day(begin),
             valid_to=None if length is None else day(begin + length))
        for n, (value, begin, length) in enumerate(said)
    ]  # fmt: skip
    for record in records:
        after(state, absorb(state, [record]))
        assert absorb(state, [record]) == []
    seen = [change.at(state, "home_city", day(d)).values for d in range(20)]
    assert seen == [(value,) if value else () for value in timeline(said)]
    told_once = change.history(state, "home_city").records
    assert not any(change.contradict(a, b) for a in told_once for b in told_once if a.id != b.id)


@settings(max_examples=200, deadline=None)
@given(statements)
def test_one_call_with_all_records_does_what_one_call_each_does(
    said: list[tuple[str, int, int | None]],
) -> None:
    records = [fact("home_city", v, 30 + n, valid_from=day(b)) for n, (v, b, _) in enumerate(said)]
    one, each = State(), State()
    after(one, absorb(one, records))
    for record in records:
        after(each, absorb(each, [record]))
    assert dict(one) == dict(each)


def test_a_correction_of_a_past_value_stands_on_its_own_entry() -> None:
    """Whoever writes it: no second entry has to say that there is no past either."""
    state = told(ROME, OSLO)
    assert state[ROME.id].valid_to is not None
    entries = correct(state, ROME.id, day(70))
    assert not any(isinstance(entry, Revise) and entry.record.id == ROME.id for entry in entries)
    state.apply(Correct(at=day(70), old=ROME.id))
    assert not change.believed(state[ROME.id])
    assert change.history(state, "home_city").values == ("Oslo",)
    assert change.before(state, "home_city", "Oslo").values == ()
