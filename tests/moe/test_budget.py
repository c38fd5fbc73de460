"""Choosing within a budget: exact against brute force, and corrected where errors do not add."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oldfriend.errors import InputError
from oldfriend.moe.pruning.budget import Option, Plan, cheapest, exchange, predicted, total_cost

options = st.builds(
    Option,
    name=st.just(""),
    cost=st.integers(0, 40).map(float),
    loss=st.floats(-1, 5, allow_nan=False),
)
tables = st.lists(st.lists(options, min_size=1, max_size=5), min_size=1, max_size=5)


def best_of_all(table: list[list[Option]], budget: float) -> float | None:
    """Least loss within the budget, by trying everything."""
    plans = product(*(range(len(row)) for row in table))
    fitting = [p for p in plans if total_cost(table, p) <= budget]
    return min((predicted(table, p) for p in fitting), default=None)


@given(tables, st.integers(1, 150))
@settings(max_examples=150, deadline=None)
def test_the_knapsack_finds_what_brute_force_finds(table: list[list[Option]], budget: int) -> None:
    expected = best_of_all(table, budget)
    if expected is None:
        with pytest.raises(InputError, match="no plan costs less"):
            cheapest(table, budget)
        return
    plan = cheapest(table, budget)
    assert total_cost(table, plan) <= budget
    assert predicted(table, plan) == pytest.approx(expected, abs=1e-9)


@given(tables, st.floats(1, 150), st.integers(2, 4))
@settings(max_examples=60, deadline=None)
def test_thinned_out_it_still_keeps_to_the_budget(
    table: list[list[Option]], budget: float, states: int
) -> None:
    if best_of_all(table, budget) is not None:
        plan = cheapest(table, budget, states=states)
        assert total_cost(table, plan) <= budget * (1 + 1e-9)


def test_a_plan_that_costs_exactly_the_budget_is_within_it() -> None:
    """Thirds do not add up to one in floats; half of everything must still be half."""
    row = [Option("whole", 0.2, 0.0), Option("half", 0.1, 0.1)]
    assert cheapest([row] * 3, 0.3) == (1, 1, 1)


def test_of_equal_losses_the_cheaper_is_taken() -> None:
    table = [[Option("dear", 5, 1.0), Option("cheap", 2, 1.0)]]
    assert cheapest(table, 10) == (1,)


def test_layers_get_what_they_earn() -> None:
    """A layer that hurts little gives way to one that hurts much; a uniform cut would not."""
    robust = [Option("all", 8, 0.0), Option("half", 4, 0.01), Option("none", 0, 0.02)]
    tender = [Option("all", 8, 0.0), Option("half", 4, 0.5), Option("none", 0, 3.0)]
    assert cheapest([robust, tender], 8) == (2, 0)


def three_layers() -> list[list[Option]]:
    row = [Option("whole", 2, 0.0), Option("half", 1, 0.1), Option("none", 0, 0.3)]
    return [row, row, row]


def test_exchange_corrects_a_table_that_does_not_add_up() -> None:
    """Halving all three layers is worse together than apart; the search must notice."""
    table = three_layers()

    def together(plan: Plan) -> float:
        halved = sum(choice == 1 for choice in plan)
        return predicted(table, plan) + (0.5 if halved == 3 else 0.0)

    first = cheapest(table, 3)
    assert first == (1, 1, 1)
    settled = exchange(table, first, 3, together, trials=20)
    assert settled.loss == pytest.approx(0.4) and sorted(settled.plan) == [0, 1, 2]
    assert total_cost(table, settled.plan) <= 3
    assert settled.predicted == pytest.approx(0.4)


def test_exchange_measures_no_plan_twice_and_keeps_to_its_trials() -> None:
    table, asked = three_layers(), []

    def measure(plan: Plan) -> float:
        asked.append(plan)
        return predicted(table, plan)

    settled = exchange(table, (1, 1, 1), 3, measure, trials=5)
    assert len(asked) == len(set(asked)) == settled.measured <= 6
    assert settled.plan == (1, 1, 1)  # the table was right
    assert exchange(table, (1, 1, 1), 3, measure, trials=0).measured == 1


def test_a_budget_that_nothing_meets_is_refused_with_what_it_would_take() -> None:
    with pytest.raises(InputError, match="no plan costs less than 7"):
        cheapest([[Option("only", 7, 0.0)]], 6)
