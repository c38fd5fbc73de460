"""How much every expert matters: statistics of routed tokens, gathered in one pass.

Shape suffixes: T tokens, E experts, K chosen a token, D hidden size, F width of an expert, N kept.
Only the experts that a token chose are run, in pieces of ``PIECE`` tokens, so nothing of size
E x T x D exists.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from oldfriend.moe.layer import Layer

PIECE = 1024  # tokens worked on at a time


@dataclass
class Sums:
    """Running sums of one layer."""

    tokens: Tensor  # [], how many were seen
    load_E: Tensor  # tokens that chose an expert
    gate_E: Tensor  # their gates
    gates_EE: Tensor  # gate times gate, over tokens: [i, j] of experts that were chosen together
    norm_E: Tensor  # |f(x)| of routed tokens
    gated_norm_E: Tensor  # g |f(x)|
    square_E: Tensor  # |f(x)|^2
    shares_EE: Tensor  # <g_i f_i(x), g_j f_j(x)>: the second moment of what the layer adds up
    entropy: Tensor  # [], entropy (nats) of the router's softmax
    hidden_FF: list[Tensor]  # g^2 h h^T of every expert's neurons

    @classmethod
    def empty(cls, layer: Layer) -> "Sums":
        """Zeros for ``layer``."""
        count = len(layer.experts)

        def zeros(*shape: int) -> Tensor:
            """In double precision: millions of squares of near-equal size are summed."""
            return torch.zeros(shape, dtype=torch.float64)

        return cls(
            tokens=zeros(), entropy=zeros(), load_E=zeros(count), gate_E=zeros(count),
            gates_EE=zeros(count, count), norm_E=zeros(count), gated_norm_E=zeros(count),
            square_E=zeros(count), shares_EE=zeros(count, count),
            hidden_FF=[torch.zeros(width, width) for width in layer.widths],
        )  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """What is known of a layer: its sums over all tokens and a sample of its inputs [N, D]."""

    layer: Layer
    sums: Sums
    sample: Tensor

    @cached_property
    def target(self) -> Tensor:
        """What the layer says to the sample [N, D]."""
        return self.layer(self.sample)


class Observer:
    """Gathers ``Sums`` and a uniform sample of the inputs of one layer, batch after batch."""

    def __init__(self, layer: Layer, hidden: int, *, keep: int = 0, seed: int = 0) -> None:
        self.layer, self.keep = layer, keep
        self.sums = Sums.empty(layer)
        self.sample_ND = torch.zeros(0, hidden)
        self._keys_N = torch.zeros(0)
        self._random = torch.Generator().manual_seed(seed)

    @property
    def evidence(self) -> Evidence:
        """What was gathered so far."""
        return Evidence(self.layer, self.sums, self.sample_ND)

    def add(self, x_TD: Tensor) -> None:
        """Take in the layer's inputs of more tokens."""
        x_TD = x_TD.detach().float()
        for piece_TD in torch.split(x_TD, PIECE):
            self._count(piece_TD)
        self._remember(x_TD)

    def _remember(self, x_TD: Tensor) -> None:
        """The ``keep`` smallest of random keys are a uniform sample of all tokens so far."""
        keys = torch.rand(len(x_TD), generator=self._random)
        keys, rows = torch.cat([self._keys_N, keys]), torch.cat([self.sample_ND, x_TD])
        kept = keys.topk(min(self.keep, len(keys)), largest=False).indices.sort().values
        self._keys_N, self.sample_ND = keys[kept], rows[kept]

    def _count(self, x_TD: Tensor) -> None:
        layer, sums = self.layer, self.sums
        sums.tokens += len(x_TD)
        if not layer.experts:
            return
        chance_TE = layer.logits(x_TD).log_softmax(dim=-1)
        sums.entropy -= (chance_TE.exp() * chance_TE).sum()
        gates_TE = layer.gates(x_TD)
        sums.load_E += (gates_TE > 0).sum(dim=0)
        sums.gate_E += gates_TE.sum(dim=0)
        sums.gates_EE += gates_TE.T @ gates_TE
        count = layer.top_k if layer.router is not None else 1
        weight_TK, chosen_TK = gates_TE.topk(count, dim=-1)
        output_TKD = x_TD.new_zeros(len(x_TD), count, x_TD.shape[1])
        for number, expert in enumerate(layer.experts):
            tokens, slots = torch.nonzero((chosen_TK == number) & (weight_TK > 0), as_tuple=True)
            hidden = expert.hidden(x_TD[tokens])
            output_TKD[tokens, slots] = out = hidden @ expert.down.T
            gated = hidden * weight_TK[tokens, slots, None]
            sums.hidden_FF[number] += gated.T @ gated
            norm = out.norm(dim=-1)
            sums.norm_E[number] += norm.sum()
            sums.gated_norm_E[number] += (norm * weight_TK[tokens, slots]).sum()
            sums.square_E[number] += norm.square().sum()
        gated_TKD = output_TKD * weight_TK[..., None]
        inner_TKK = gated_TKD @ gated_TKD.transpose(1, 2)
        pairs = chosen_TK[:, :, None] * len(layer.experts) + chosen_TK[:, None, :]
        sums.shares_EE.view(-1).index_add_(0, pairs.flatten(), inner_TKK.flatten().double())


def scores(sums: Sums) -> dict[str, Tensor]:
    """Saliency [E] of every expert by six measures, the larger the more it matters.

    frequency: share of tokens. ean: sum of |f| over routed tokens. reap: mean of g |f| over them
    (arXiv:2510.13999, g renormalised over the chosen). man, msan: mean of |f| and |f|^2, no gate
    (arXiv:2606.15716). energy: sum of g^2 |f|^2, the squared error of leaving the expert out.
    """
    load_E = sums.load_E.clamp(min=1)
    return {
        "frequency": sums.load_E / sums.tokens.clamp(min=1),
        "ean": sums.norm_E,
        "reap": sums.gated_norm_E / load_E,
        "man": sums.norm_E / load_E,
        "msan": sums.square_E / load_E,
        "energy": sums.shares_EE.diagonal().clone(),
    }


def entropy(sums: Sums) -> float:
    """Mean entropy of the router over that of an even one: 1 undecided, 0 certain."""
    even = torch.tensor(float(max(len(sums.load_E), 2))).log()
    return float(sums.entropy / sums.tokens.clamp(min=1) / even)


def load_variation(sums: Sums) -> float:
    """Standard deviation of the experts' loads over their mean."""
    mean = sums.load_E.mean().clamp(min=1e-12)
    return float(sums.load_E.std(correction=0) / mean)


def merge_weights(sums: Sums) -> tuple[Tensor, Tensor]:
    """For every pair (i, j): the best share of i in a common expert, and the error that stays.

    One expert a f_i + (1 - a) f_j with gate g_i + g_j misses, per unit of |f_i - f_j|^2, the sum
    over tokens of (g_i (1 - a) - g_j a)^2 = s^2 (r - a)^2 with s = g_i + g_j, r = g_i / s. Its
    minimum is the s^2-weighted variance of the gate ratio r, the irreducible error of merging
    (arXiv:2510.13999); with G the sums of gate products,
    a = (G_ii + G_ij) / (G_ii + 2 G_ij + G_jj) and error (G_ii G_jj - G_ij^2) / (the same).
    """
    own = sums.gates_EE.diagonal()
    whole = (own[:, None] + 2 * sums.gates_EE + own[None, :]).clamp(min=1e-12)
    share = (own[:, None] + sums.gates_EE) / whole
    error = (own[:, None] * own[None, :] - sums.gates_EE.square()).clamp(min=0) / whole
    return share, error.fill_diagonal_(0.0)


def output_distances(layer: Layer, x_ND: Tensor) -> Tensor:
    """Mean squared distance [E, E] between what two experts say to the same tokens."""
    count = len(layer.experts)
    inner_EE = torch.zeros(count, count, dtype=torch.float64)
    for piece_TD in torch.split(x_ND, PIECE // 4):  # every expert on every token: smaller pieces
        out = torch.stack([expert(piece_TD).flatten() for expert in layer.experts])
        inner_EE += out @ out.T
    own = inner_EE.diagonal()
    return ((own[:, None] + own[None, :] - 2 * inner_EE) / max(len(x_ND), 1)).clamp(min=0)


def mean_outputs(layer: Layer, x_ND: Tensor) -> Tensor:
    """Mean output [E, D] of every expert over all tokens, routed to it or not (HC-SMoE)."""
    return torch.stack([expert(x_ND).mean(dim=0) for expert in layer.experts])
