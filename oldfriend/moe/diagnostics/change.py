"""When each parameter changes in training, and what the change looks like at the end.

Fed with the weights at a few moments (checkpoints, or a training as it runs); keeps the first and
the latest copy only.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from oldfriend.outcome import Row

SMALL = 0.05  # an entry that moved less than this share of the largest move counts as unmoved


@dataclass(frozen=True)
class Change:
    """One tensor's way through training; lengths are relative to its first norm."""

    path: float  # sum of the steps between moments: what was walked
    net: float  # from first to last: what was gained
    t50: float  # share of training after which half of the path was walked
    t90: float
    sparsity: float  # share of the entries of the net change that (nearly) did not move
    effective_rank: float  # of the net change: exp(entropy of its singular values), over full rank


class Track:
    """Named tensors over training. ``see`` them in order of time, then ask for ``changes``."""

    def __init__(self) -> None:
        self._first: dict[str, Tensor] = {}
        self._latest: dict[str, Tensor] = {}
        self._walked: dict[str, list[float]] = {}
        self._times: list[float] = []

    def see(self, time: float, tensors: Mapping[str, Tensor]) -> None:
        """Take note of the weights at ``time`` (steps, tokens; growing).

        Raises ValueError if time does not grow or the names are not those seen first.
        """
        if self._times and time <= self._times[-1]:
            raise ValueError(f"moment {time} is not after {self._times[-1]}")
        if self._times and tensors.keys() != self._first.keys():
            odd = sorted(tensors.keys() ^ self._first.keys())
            raise ValueError(f"other parameters than before: {', '.join(odd[:3])}")
        self._times.append(float(time))
        for name, tensor in tensors.items():
            now = tensor.detach().float().cpu().clone()
            if name not in self._first:
                self._first[name], self._walked[name] = now, []
            else:
                self._walked[name].append(float((now - self._latest[name]).norm()))
            self._latest[name] = now

    def changes(self) -> dict[str, Change]:
        """The change of every tensor. Raises ValueError unless two moments were seen."""
        if len(self._times) < 2:
            raise ValueError("a change needs two moments")
        return {name: self._change(name) for name in self._first}

    def rows(self) -> list[Row]:
        """A table: one row per tensor."""
        return [{"name": name} | vars(change) for name, change in self.changes().items()]

    def _change(self, name: str) -> Change:
        size = max(float(self._first[name].norm()), 1e-12)
        delta = self._latest[name] - self._first[name]
        walked = self._walked[name]
        return Change(
            path=sum(walked) / size,
            net=float(delta.norm()) / size,
            t50=self._time_of(walked, 0.5),
            t90=self._time_of(walked, 0.9),
            sparsity=unmoved_share(delta),
            effective_rank=effective_rank(delta),
        )

    def _time_of(self, walked: list[float], share: float) -> float:
        """Share of the time at which ``share`` of the way was walked; 0 for what never moved."""
        first, last = self._times[0], self._times[-1]
        goal, gone = share * sum(walked), 0.0
        if goal == 0:
            return 0.0
        for place, step in enumerate(walked):
            if gone + step >= goal:
                start, end = self._times[place], self._times[place + 1]
                at = start + (end - start) * (goal - gone) / step
                return (at - first) / (last - first)
            gone += step
        return 1.0


def unmoved_share(delta: Tensor, small: float = SMALL) -> float:
    """Share of entries below ``small`` times the largest; 1 for no change at all."""
    largest = float(delta.abs().max()) if delta.numel() else 0.0
    if largest == 0:
        return 1.0
    return float((delta.abs() < small * largest).float().mean())


def effective_rank(matrix: Tensor) -> float:
    """exp(entropy of the normalised singular values) over full rank (Roy & Vetterli 2007), 0 to 1.

    Vectors have rank one; zero has none.
    """
    if matrix.ndim < 2:
        return float(bool(matrix.any()))
    flat = matrix.reshape(matrix.shape[0], -1)
    values = torch.linalg.svdvals(flat)
    total = float(values.sum())
    if total < 1e-12:
        return 0.0
    p = values / total
    entropy = float(-(p * p.clamp(min=1e-30).log()).sum())
    return float(torch.tensor(entropy).exp()) / min(flat.shape)
