"""What domains and experts know of each other.

Shapes: T tokens, E experts, k chosen, M domains. Labels are whole numbers from 0 on.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from oldfriend.moe.diagnostics.probe import Probe
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.outcome import Row


@dataclass(frozen=True)
class Information:
    """I(domain; expert) / H(domain), 0 to 1, the same for shuffled labels, and the chance of it."""

    value: float
    null: float  # mean over shuffles: what so many tokens and experts show of nothing
    p_value: float  # share of shuffles (and one) that show as much


def domain_information(
    chosen_Tk: Tensor,
    domains_T: Tensor,
    experts: int,
    *,
    documents_T: Tensor | None = None,
    shuffles: int = 50,
    seed: int = 0,
) -> Information:
    """How much a token's expert tells of its domain.

    The null moves whole documents between domains: tokens of one text are alike, and shuffling
    them one by one would call any two texts different domains.
    """
    domains = int(domains_T.max()) + 1
    labels_T = torch.arange(len(domains_T)) if documents_T is None else documents_T
    pieces_T = torch.unique(labels_T, return_inverse=True)[1]
    per_piece = torch.zeros(int(pieces_T.max()) + 1, experts, dtype=torch.float64)
    k = chosen_Tk.shape[1]
    per_piece.index_put_(
        (pieces_T.repeat_interleave(k), chosen_Tk.flatten()),
        torch.ones(chosen_Tk.numel(), dtype=torch.float64),
        accumulate=True,
    )
    of_piece = torch.zeros(len(per_piece), dtype=torch.long).scatter_(0, pieces_T, domains_T)
    value = _information(per_piece, of_piece, domains)
    generator = torch.Generator().manual_seed(seed)
    nulls = [
        _information(
            per_piece, of_piece[torch.randperm(len(of_piece), generator=generator)], domains
        )
        for _ in range(shuffles)
    ]
    above = sum(null >= value - 1e-12 for null in nulls)
    mean = sum(nulls) / len(nulls) if nulls else 0.0
    return Information(value, mean, (above + 1) / (len(nulls) + 1))


def _information(per_piece: Tensor, of_piece: Tensor, domains: int) -> float:
    table = torch.zeros(domains, per_piece.shape[1], dtype=torch.float64)
    table.index_add_(0, of_piece, per_piece)
    return mutual_information(table)


def mutual_information(table_ME: Tensor) -> float:
    """I(row; column) / H(row) of a table of counts; 0 where there is but one row."""
    p = table_ME.double() / table_ME.sum().clamp(min=1)
    rows, columns = p.sum(dim=1), p.sum(dim=0)
    entropy = float(-(rows * rows.clamp(min=1e-30).log()).sum())
    if entropy < 1e-12:
        return 0.0
    ratio = p / (rows[:, None] * columns[None, :]).clamp(min=1e-30)
    return float((p * ratio.clamp(min=1e-30).log()).sum()) / entropy


@contextmanager
def without_expert(model: OFMoeForCausalLM, layer: int, expert: int) -> Iterator[None]:
    """While the block runs, the router of ``layer`` cannot choose ``expert``.

    Raises ValueError if too few experts would be left.
    """
    router = model.feed_forwards[layer].router
    if router is None or router.out_features <= router.top_k:
        raise ValueError(f"layer {layer} cannot do without expert {expert}")
    before = router.expert_bias
    bias = torch.zeros(router.out_features) if before is None else before.clone()
    bias = bias.to(router.weight.device)
    bias[expert] = -math.inf
    router.expert_bias = bias
    try:
        yield
    finally:
        router.expert_bias = before


def ablation_matrix(
    model: OFMoeForCausalLM, probe: Probe, layers: Sequence[int] | None = None
) -> list[Row]:
    """What each domain loses (nats a token) when one expert of one layer is gone.

    One row per (layer, expert) with a column per domain.
    """
    whole = probe.look(model).losses
    rows: list[Row] = []
    for layer, feed_forward in enumerate(model.feed_forwards):
        router = feed_forward.router
        asked = layers is None or layer in layers
        if router is None or not asked or router.out_features <= router.top_k:
            continue
        for expert in range(router.out_features):
            with without_expert(model, layer, expert):
                losses = probe.look(model).losses
            rows.append(
                {"layer": layer, "expert": expert} | {d: losses[d] - whole[d] for d in losses}
            )
    return rows


def specialisation(rows: Sequence[Row], names: Sequence[str]) -> float:
    """Share of an expert's worth that one domain has of it, beyond an even share, 0 to 1.

    Mean over experts, weighted by worth; harm only (a loss that falls is no worth).
    """
    worth = torch.tensor([[max(float(row[name]), 0.0) for name in names] for row in rows])
    total = float(worth.sum())
    if total <= 0 or len(names) < 2:
        return 0.0
    even = 1 / len(names)
    return (float(worth.max(dim=1).values.sum()) / total - even) / (1 - even)
