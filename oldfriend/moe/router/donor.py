"""Router weights out of a MoE that is trained already: copied, fitted or rotated.

Shapes: T tokens, D recipient features, d donor features, E experts, L layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Spans = Sequence[Sequence[int]]  # per document, the character at which each of its tokens ends


@dataclass(frozen=True)
class Donor:
    """A trained MoE's routers and what they saw of the probe text.

    weights: per layer [E, d]. inputs: per layer [T, d], the documents one after the other.
    gains: per layer [d], the norm before the router. spans: where tokens end, for donors with
    another tokenizer; empty if the recipient's tokens are the donor's. top_k: experts a token.
    """

    weights: Sequence[Tensor]
    inputs: Sequence[Tensor]
    gains: Sequence[Tensor] = ()
    spans: Spans = ()
    top_k: int = 2

    def logits(self, layer: int) -> Tensor:
        """What the donor's router said to the probe text [T, E]."""
        return self.inputs[layer].float() @ self.weights[layer].float().T


def copied(weight_ED: Tensor, donor_gain_D: Tensor, gain_D: Tensor) -> Tensor:
    """The donor's rows, corrected so that logits survive another gain of the norm before them.

    x = gain * n, with n the normalised state that both share: W_rec = W_don * g_don / g_rec.
    """
    safe_D = torch.where(gain_D.abs() < 1e-6, torch.full_like(gain_D, 1e-6), gain_D)
    return weight_ED.float() * (donor_gain_D / safe_D).float()


def ridge(
    inputs_TD: Tensor, targets_TE: Tensor, penalty: float = 1e-2, *, centre: bool = True
) -> Tensor:
    """Rows [E, D] whose logits come nearest to ``targets_TE``, centred over experts by default.

    W = Y^T X (X^T X + lam I)^-1, lam = ``penalty`` times the mean square of a feature times T. In
    double precision: activations of a trained model are far from orthogonal.
    """
    x, y = inputs_TD.double(), targets_TE.double()
    y = centred(y) if centre else y
    gram = x.T @ x
    gram = gram + penalty * float(gram.diagonal().mean()) * torch.eye(len(gram), dtype=x.dtype)
    weight: Tensor = torch.linalg.solve(gram, x.T @ y).T
    return weight.float()


def procrustes(inputs_TD: Tensor, donor_inputs_Td: Tensor, donor_weight_Ed: Tensor) -> Tensor:
    """The donor's rows, turned into the recipient's space: W A^T.

    A [D, d] has orthonormal columns (or rows, where D < d) and carries the donor's states nearest
    to the recipient's (Schoenemann 1966). Unlike ``ridge`` it cannot stretch or forget a direction.
    """
    x = inputs_TD.double() - inputs_TD.double().mean(dim=0)
    z = donor_inputs_Td.double() - donor_inputs_Td.double().mean(dim=0)
    left, _, right = torch.linalg.svd(x.T @ z, full_matrices=False)
    scale = (x.square().sum() / z.square().sum().clamp(min=1e-12)).sqrt()
    turned: Tensor = donor_weight_Ed.double() @ (left @ right).T / scale.clamp(min=1e-12)
    return turned.float()


def centred(logits_TE: Tensor) -> Tensor:
    """Logits less their mean over experts: softmax sees no other part of them."""
    return logits_TE - logits_TE.mean(dim=-1, keepdim=True)


def logit_std(inputs_TD: Tensor, weight_ED: Tensor) -> float:
    """Standard deviation of a router's centred logits: how sure of itself it is."""
    return float(centred(inputs_TD.float() @ weight_ED.float().T).std())


def align(ends: Spans, donor_ends: Spans) -> tuple[Tensor, Tensor]:
    """Indices [N] of tokens and [N] of donor tokens that have read up to the same character.

    A token's partner is the donor's last token that ends no later than it does, so the donor never
    knows text that the recipient has yet to read. Tokens before the donor's first end have none.
    Raises ValueError if the documents are not the same in number.
    """
    if len(ends) != len(donor_ends):
        raise ValueError(f"{len(ends)} documents here, {len(donor_ends)} of the donor")
    mine, theirs = [], []
    start = donor_start = 0
    for own, other in zip(ends, donor_ends, strict=True):
        own_ends, other_ends = torch.tensor(own), torch.tensor(other)
        place = torch.searchsorted(other_ends, own_ends, right=True) - 1
        has = place >= 0
        mine.append(start + torch.nonzero(has)[:, 0])
        theirs.append(donor_start + place[has])
        start, donor_start = start + len(own), donor_start + len(other)
    return torch.cat(mine), torch.cat(theirs)


def linear_cka(one_TD: Tensor, other_Td: Tensor) -> float:
    """Linear centred kernel alignment of two views of the same tokens (arXiv:1905.00414), 0 to 1.

    Blind to rotation and scale, so it compares layers of different models.
    """
    x = one_TD.double() - one_TD.double().mean(dim=0)
    z = other_Td.double() - other_Td.double().mean(dim=0)
    cross = (x.T @ z).square().sum()
    own = (x.T @ x).square().sum().sqrt() * (z.T @ z).square().sum().sqrt()
    return float(cross / own.clamp(min=1e-30))


def layers_by_depth(layers: int, donor_layers: int) -> list[int]:
    """The donor's layer at the same relative depth as each of ``layers``."""
    return [min(donor_layers - 1, int((i + 0.5) * donor_layers / layers)) for i in range(layers)]


def layers_by_cka(inputs: Sequence[Tensor], donor_inputs: Sequence[Tensor]) -> list[int]:
    """The donor's layer that sees the (aligned) tokens most alike, for each layer."""
    table = [[linear_cka(x, z) for z in donor_inputs] for x in inputs]
    return [max(range(len(row)), key=row.__getitem__) for row in table]


def agreement(logits_TE: Tensor, other_TE: Tensor) -> float:
    """Mean cosine of two routers' centred logits: how well a transfer carried over."""
    return float(F.cosine_similarity(centred(logits_TE), centred(other_TE), dim=1).mean())
