"""What to do with each layer: the least measured loss that a budget allows.

The choice of one option per layer under a common budget is a multiple-choice knapsack. Losses of
single layers do not add up when several layers change, so the plan is measured as a whole and
improved by exchanges between layers, each of which is measured before it is believed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from oldfriend.errors import InputError

STATES = 4000  # undominated (cost, loss) pairs that the knapsack carries along
Plan = tuple[int, ...]  # the option taken in every layer


@dataclass(frozen=True)
class Option:
    """One thing that can be done to one layer."""

    name: str
    cost: float  # parameters or FLOPs that it leaves, in any unit
    loss: float  # measured with only this layer changed (nats a token)


Table = Sequence[Sequence[Option]]  # by layer


def total_cost(table: Table, plan: Plan) -> float:
    """What the plan costs."""
    return sum(options[i].cost for options, i in zip(table, plan, strict=True))


def predicted(table: Table, plan: Plan) -> float:
    """Sum of the single-layer losses."""
    return sum(options[i].loss for options, i in zip(table, plan, strict=True))


def cheapest(table: Table, budget: float, *, states: int = STATES) -> Plan:
    """The plan of least predicted loss within ``budget``; of equals the cheaper.

    Dynamic programming over layers on (cost, loss) pairs that no other pair undercuts in both. It
    is exact while there are at most ``states`` of them; beyond, they are thinned out evenly, and
    the plan is still within the budget. Raises InputError if no plan is.
    """
    least = [min(option.cost for option in row) for row in table]
    room = budget * (1 + 1e-9)  # sums of floats
    if (need := sum(least)) > room:
        raise InputError(
            f"no plan costs less than {need:,.0f}, the budget is {budget:,.0f}; "
            "keep more, or allow stronger actions"
        )
    frontier: list[tuple[float, float, Plan]] = [(0.0, 0.0, ())]
    for layer, row in enumerate(table):
        rest = sum(least[layer + 1 :])
        grown = sorted(
            (cost + option.cost, loss + option.loss, (*plan, i))
            for cost, loss, plan in frontier
            for i, option in enumerate(row)
            if cost + option.cost + rest <= room
        )
        frontier = []
        for state in grown:
            if not frontier or state[1] < frontier[-1][1]:
                frontier.append(state)
        if len(frontier) > states:
            last = len(frontier) - 1
            frontier = [frontier[round(i * last / (states - 1))] for i in range(states)]
    return frontier[-1][2]


@dataclass(frozen=True)
class Settled:
    """A plan with its measured loss, what the table promised, and how many plans were measured."""

    plan: Plan
    loss: float
    predicted: float
    measured: int


def exchange(
    table: Table, plan: Plan, budget: float, measure: Callable[[Plan], float], *, trials: int
) -> Settled:
    """Improve ``plan`` by changing one or two layers at a time, at most ``trials`` measurements.

    Neighbours within the budget are tried in order of predicted loss; one that measures better
    becomes the plan and the search starts over from it.
    """
    best, count = measure(plan), 1
    tried = {plan}
    while count <= trials:
        waiting = [p for p in _neighbours(table, plan, budget) if p not in tried]
        if not waiting:
            break
        candidate = min(waiting, key=lambda p: (predicted(table, p), total_cost(table, p)))
        tried.add(candidate)
        loss = measure(candidate)
        count += 1
        if loss < best:
            best, plan = loss, candidate
    return Settled(plan, best, predicted(table, plan), count)


def _neighbours(table: Table, plan: Plan, budget: float) -> list[Plan]:
    """Plans within the budget that differ from ``plan`` in one layer or two."""
    found = []
    places = [(layer,) for layer in range(len(plan))] + list(combinations(range(len(plan)), 2))
    for layers in places:
        for changed in _changes(table, plan, layers):
            if total_cost(table, changed) <= budget * (1 + 1e-9):
                found.append(changed)
    return found


def _changes(table: Table, plan: Plan, layers: Sequence[int]) -> list[Plan]:
    plans = [plan]
    for layer in layers:
        plans = [
            (*p[:layer], i, *p[layer + 1 :])
            for p in plans
            for i in range(len(table[layer]))
            if i != plan[layer]
        ]
    return plans
