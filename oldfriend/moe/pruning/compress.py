"""From measured losses of single layers to one compressed model within a budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from oldfriend.moe.layer import Layer
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.pruning.budget import Option, Plan, Settled, cheapest, exchange
from oldfriend.moe.pruning.calibration import Batch, inputs_of, mean_loss
from oldfriend.moe.pruning.candidates import Action, actions, apply
from oldfriend.moe.pruning.importance import Evidence
from oldfriend.moe.pruning.refit import refit_down
from oldfriend.moe.pruning.settings import PruneParams
from oldfriend.moe.splice import tried
from oldfriend.outcome import Row


@dataclass(frozen=True)
class Compression:
    """The layers of the compressed model and how they were come by."""

    layers: list[Layer]
    actions: list[Action]
    settled: Settled
    table: list[Row]  # every action of every layer: loss_increase, parameters, chosen
    base_loss: float  # of the uncut model on the measuring text


def cost_of(layer: Layer, budget: str) -> float:
    """Expert weights of a layer, or those that a token meets."""
    return float(layer.parameters) if budget == "params" else layer.active


def compress(
    model: OFMoeForCausalLM,
    evidence: Sequence[Evidence],
    text: Sequence[Batch],
    params: PruneParams,
) -> Compression:
    """Measure every action of every layer on ``text``, choose within the budget, measure again.

    Raises InputError if no plan fits the budget.
    """
    base = mean_loss(model, text)
    options: list[list[Action]] = []
    table: list[list[Option]] = []
    rows: list[Row] = []
    for index, one in enumerate(evidence):
        options.append([])
        table.append([])
        for action in actions(one.layer, params.grid):
            layer = apply(action, one)
            with tried(model, {index: layer}):
                loss = mean_loss(model, text) - base
            rows.append(_row(index, action, layer, loss))
            if action.deployable:
                options[-1].append(action)
                table[-1].append(Option(str(action), cost_of(layer, params.budget), loss))
    budget = params.keep * sum(cost_of(one.layer, params.budget) for one in evidence)

    @lru_cache(maxsize=2 * len(evidence))  # plans differ in a layer or two
    def made(index: int, action: Action) -> Layer:
        return apply(action, evidence[index])

    def built(plan: Plan) -> list[Layer]:
        return [made(i, options[i][choice]) for i, choice in enumerate(plan)]

    def measure(plan: Plan) -> float:
        with tried(model, dict(enumerate(built(plan)))):
            return mean_loss(model, text) - base

    first = cheapest(table, budget)
    settled = exchange(table, first, budget, measure, trials=params.trials)
    chosen = [options[i][choice] for i, choice in enumerate(settled.plan)]
    for row in rows:
        row["chosen"] = int(str(chosen[row["layer"]]) == row["action"])
    return Compression(built(settled.plan), chosen, settled, rows, base)


def _row(index: int, action: Action, layer: Layer, loss: float) -> Row:
    hidden = layer.experts[0].down.shape[0] if layer.experts else 0
    return {
        "action": str(action),
        "layer": index,
        "parameters": layer.parameters if action.deployable else action.parameters(hidden),
        "active": int(layer.active),
        "loss_increase": loss,
    }


@torch.no_grad()
def refit_in_order(
    model: OFMoeForCausalLM,
    layers: Sequence[Layer],
    before: Sequence[Layer],
    text: Sequence[Batch],
    *,
    keep: int,
    rounds: int = 1,
) -> list[Layer]:
    """Refit layer after layer on what really reaches it through the compressed layers below.

    Single layers were refitted on the inputs of the uncut model; errors below shift them. The
    target is what the uncut layer answers to the shifted inputs.
    """
    mended = list(layers)
    for _ in range(rounds):
        for index, uncut in enumerate(before):
            if mended[index] is uncut or not mended[index].experts:
                continue
            with tried(model, dict(enumerate(mended[:index]))):
                x_ND = inputs_of(model, text, index, keep=keep)
            mended[index] = refit_down(mended[index], x_ND, uncut(x_ND)).layer
    return mended
