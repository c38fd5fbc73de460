"""A teacher for routers early in training: KL of the router to what a wiser one says.

Router rows and experts start as strangers; a teacher keeps routing still until the experts have
found their tokens, then lets go (TGR-MoE: best in the first half of training).
Shapes: T tokens, E experts, D features.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.router.donor import layers_by_depth
from oldfriend.moe.router.folding import folded_logits
from oldfriend.moe.training import after_every_step

PACKED = ("input_ids", "attention_mask", "position_ids", "seq_idx")


class Teacher(Protocol):
    """Says what the routers should say."""

    def __call__(self, given: Mapping[str, Any], inputs: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Logits [T, E] by layer, from what the model was given and what its routers see [T, D]."""


class Lesson:
    """``weight`` * KL(teacher | router), mean over layers and real tokens; the loss of a pass.

    It is for ``fit_experts(teacher=...)`` inside a ``distilled`` block; after ``steps`` optimizer
    steps it is worth nothing and costs nothing.
    """

    def __init__(
        self, model: OFMoeForCausalLM, teacher: Teacher, *, weight: float, steps: int
    ) -> None:
        self.model, self.teacher = model, teacher
        self.weight, self.steps, self.taken = weight, steps, 0
        self.inputs: dict[int, Tensor] = {}

    def __call__(self, given: Mapping[str, Any]) -> Tensor:
        """The loss of the pass that was just made."""
        inputs, self.inputs = self.inputs, {}
        last = self.model.scratch.last
        if self.taken >= self.steps or last is None or not last.routings:
            return torch.zeros(())
        wanted = self.teacher(given, inputs)
        real_T = None if last.real_BL is None else last.real_BL.flatten()
        losses = [router_kl(last.routings[i].logits, wanted[i], real_T) for i in last.routings]
        return self.weight * torch.stack(losses).mean()


@contextmanager
def distilled(
    model: OFMoeForCausalLM, teacher: Teacher, *, weight: float, steps: int
) -> Iterator[Lesson]:
    """A lesson for the training inside the block."""
    lesson = Lesson(model, teacher, weight=weight, steps=steps)
    handles = []
    for layer, feed_forward in enumerate(model.feed_forwards):
        if feed_forward.router is not None:

            def hear(_: nn.Module, args: tuple[Any, ...], layer: int = layer) -> None:
                if model.training and torch.is_grad_enabled():
                    lesson.inputs[layer] = args[0].detach()

            handles.append(feed_forward.router.register_forward_pre_hook(hear))

    def count(taken: int) -> None:
        lesson.taken = taken

    try:
        with after_every_step(count):
            yield lesson
    finally:
        for handle in handles:
            handle.remove()


def router_kl(logits_TE: Tensor, teacher_TE: Tensor, real_T: Tensor | None = None) -> Tensor:
    """KL(softmax of the teacher | softmax of the router), a mean over real tokens (nats)."""
    wanted = teacher_TE.detach().float().log_softmax(dim=1)
    own = logits_TE.float().log_softmax(dim=1)
    each_T = (wanted.exp() * (wanted - own)).sum(dim=1)
    return each_T.mean() if real_T is None else each_T[real_T].sum() / real_T.sum().clamp(min=1)


class Anchor:
    """A teacher that is the routers as they started, read on what the routers see now."""

    def __init__(self, weights: Mapping[int, Tensor]) -> None:
        self.weights = {layer: weight.detach().clone() for layer, weight in weights.items()}

    @classmethod
    def of(cls, model: OFMoeForCausalLM) -> "Anchor":
        """The routers as they are now."""
        return cls({i: ff.router.weight for i, ff in enumerate(model.feed_forwards) if ff.router})

    def __call__(self, given: Mapping[str, Any], inputs: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Logits of the first weights."""
        return {layer: inputs[layer].float() @ self.weights[layer].T for layer in inputs}


class DonorTeacher:
    """A teacher that is a trained MoE of our tokenizer, read on the same batch.

    Layers are matched by depth. A donor with more experts is folded by ``groups`` (per donor layer
    with a router); one with fewer cannot teach.
    """

    def __init__(self, donor: OFMoeForCausalLM, groups: Sequence[list[list[int]]] = ()) -> None:
        self.donor, self.groups = donor.eval(), groups

    @torch.no_grad()
    def __call__(self, given: Mapping[str, Any], inputs: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """The donor's logits, folded."""
        batch = {name: given[name] for name in PACKED if name in given}
        self.donor.model(**batch, use_cache=False)
        last = self.donor.scratch.last
        assert last is not None
        found = [last.routings[layer].logits for layer in sorted(last.routings)]
        if self.groups:
            found = [folded_logits(one, g) for one, g in zip(found, self.groups, strict=True)]
        places = layers_by_depth(len(inputs), len(found))
        return {layer: found[place] for layer, place in zip(sorted(inputs), places, strict=True)}
