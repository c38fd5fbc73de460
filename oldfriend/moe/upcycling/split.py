"""Which neurons of an FFN go to which expert.

Shape suffixes: T tokens, F neurons, D hidden, G parts.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from oldfriend.errors import InputError
from oldfriend.moe.layer import Expert
from oldfriend.moe.router.kmeans import spherical_kmeans

Partition = Literal["random", "kmeans", "coactivation"]


def partition(
    expert: Expert, parts: int, how: Partition, seed: int, inputs_TD: Tensor | None = None
) -> list[Tensor]:
    """Neuron numbers of ``parts`` experts whose sizes differ by one at most.

    random; kmeans: balanced clusters of the normalised gate rows (LLaMA-MoE, arXiv:2406.16554);
    coactivation: neurons that fire together on ``inputs_TD``, by a spectral embedding of how often
    they do together. Raises InputError without the inputs or with fewer neurons than parts.
    """
    width = expert.width
    if parts > width:
        raise InputError(f"{width} neurons cannot be split into {parts} experts")
    if parts == 1:
        return [torch.arange(width)]
    if how == "random":
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(width, generator=generator)
        return [part.sort().values for part in order.tensor_split(parts)]
    if how == "kmeans":
        features = F.normalize(expert.gate_up[:width].detach().float().cpu(), dim=1)
    else:
        if inputs_TD is None:
            raise InputError("splitting by co-activation needs calibration inputs")
        features = embedding(coactivation(expert, inputs_TD), parts)
    labels_F = spherical_kmeans(features, parts, seed=seed, balanced=True).labels
    return [torch.nonzero(labels_F == part)[:, 0] for part in range(parts)]


@torch.no_grad()
def coactivation(expert: Expert, inputs_TD: Tensor, chunk: int = 4096) -> Tensor:
    """How much two neurons are active together [F, F]: cosine of their |activations|.

    SwiGLU's neurons are never quite off, so activity is weighed instead of counted as in
    MoEfication (arXiv:2110.01786), and no neuron is left without neighbours.
    """
    together = torch.zeros(expert.width, expert.width)
    for x_TD in torch.split(inputs_TD, chunk):
        hidden_TF = expert.hidden(x_TD.to(expert.down)).abs().float()
        together += (hidden_TF.T @ hidden_TF).cpu()
    length_F = together.diagonal().clamp(min=1e-20).rsqrt()
    return length_F[:, None] * together * length_F[None]


def embedding(together_FF: Tensor, parts: int) -> Tensor:
    """Spectral coordinates [F, parts] of a co-activation graph (Ng, Jordan, Weiss 2001)."""
    graph = together_FF - torch.diag(together_FF.diagonal())
    degree = graph.sum(1).clamp(min=1e-9).rsqrt()
    vectors = torch.linalg.eigh(degree[:, None] * graph * degree[None]).eigenvectors
    return F.normalize(vectors[:, -parts:], dim=1)
