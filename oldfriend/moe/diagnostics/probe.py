"""A fixed set of held-out text, and a look at a model with it: losses and routing, by domain.

Shapes: T real tokens of the whole probe, E experts, k chosen, L layers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from oldfriend.lm.fit import stack_rows
from oldfriend.lm.lit import PackedLM
from oldfriend.lm.packing import Document, PackedRows, fitting, plan_rows
from oldfriend.lm.settings import FitParams
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.recording import Routing, record_routing


@dataclass(frozen=True)
class Look:
    """One moment of a model: loss (nats a token) of each domain; routings by layer, if any."""

    losses: dict[str, float]
    routings: dict[int, Routing]

    @property
    def loss(self) -> float:
        """Mean over domains, each counting the same."""
        return sum(self.losses.values()) / len(self.losses)


class Probe:
    """Packed batches of every domain's held-out documents, at most ``rows`` rows each.

    ``domains_T`` and ``documents_T`` label the tokens in the order in which looks hold them; a
    document's number is its place among all that were given and fit a row.
    """

    def __init__(
        self,
        documents: Mapping[str, Sequence[Document]],
        fit: FitParams,
        pad_id: int,
        *,
        rows: int = 8,
    ) -> None:
        self.names = list(documents)
        self.fit = fit.model_copy(update={"compile": False})
        self.batches: list[tuple[int, dict[str, Tensor]]] = []
        domains, pieces, before = [], [], 0  # documents before those of this domain
        for number, name in enumerate(self.names):
            kept = fitting(documents[name], fit.row_tokens)
            packed = PackedRows(kept, plan_rows(kept, fit.row_tokens, 0), fit.row_tokens, pad_id)
            for start in range(0, min(rows, len(packed)), fit.rows):
                indices = range(start, min(start + fit.rows, rows, len(packed)))
                self.batches.append((number, stack_rows(packed, indices)))
                for index in indices:
                    for document in packed.rows[index]:
                        length = len(kept[document])
                        domains.append(torch.full((length,), number))
                        pieces.append(torch.full((length,), before + document))
            before += len(kept)
        self.domains_T = torch.cat(domains)
        self.documents_T = torch.cat(pieces)

    @torch.no_grad()
    def look(self, model: Any, *, inputs: bool = False) -> Look:
        """Losses of ``model`` and, of a MoE, what its routers decided; its mode is kept."""
        training = model.training
        lit = PackedLM(model, self.fit)
        lit.eval()
        device = next(model.parameters()).device
        sums, counts = [0.0] * len(self.names), [0] * len(self.names)
        mixed = self.fit.precision == "bf16-mixed"
        with _recording(model, inputs) as records:
            for number, batch in self.batches:
                placed = {name: tensor.to(device) for name, tensor in batch.items()}
                with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
                    sums[number] += float(lit.loss(placed))
                counts[number] += int((batch["labels"] >= 0).sum())
        model.train(training)
        losses = {n: s / max(c, 1) for n, s, c in zip(self.names, sums, counts, strict=True)}
        return Look(losses, {layer: _on_cpu(records[layer]) for layer in records})

    @torch.no_grad()
    def inputs(self, model: Any) -> list[Tensor]:
        """What the FFN of every layer is given [T, D], of dense models as well."""
        found: list[list[Tensor]] = []
        handles = []
        for place, block in enumerate(feed_forwards(model)):
            found.append([])

            def hear(_: Any, args: tuple[Tensor, ...], place: int = place) -> None:
                found[place].append(args[0].detach().float().flatten(0, -2).cpu())

            handles.append(block.register_forward_pre_hook(hear))
        try:
            self.look(model)
        finally:
            for handle in handles:
                handle.remove()
        real_T = torch.cat([_real(batch) for _, batch in self.batches])
        return [torch.cat(parts)[real_T] for parts in found]

    def in_order(self, values_TX: Tensor) -> Tensor:
        """Rows of ``values_TX``, one per token, in the order of the documents as given.

        Packing depends on lengths and so on the tokenizer; this order does not.
        """
        return values_TX[self.documents_T.argsort(stable=True)]


def feed_forwards(model: Any) -> list[Any]:
    """The FFN module of every layer of a dense model or a MoE."""
    layers = model.model.layers
    return [layer.feed_forward if hasattr(layer, "feed_forward") else layer.mlp for layer in layers]


def norm_gains(model: Any) -> list[Tensor]:
    """Gain [D] of the norm before every layer's FFN."""
    names = ("ffn_norm", "post_attention_layernorm")
    return [
        next(getattr(layer, name) for name in names if hasattr(layer, name)).weight.detach().float()
        for layer in model.model.layers
    ]


def _recording(model: Any, inputs: bool) -> Any:
    if isinstance(model, OFMoeForCausalLM):
        return record_routing(model, inputs=inputs)
    return _Nothing()


class _Nothing(dict[int, Routing]):
    """Records of a model without routers."""

    def __enter__(self) -> "_Nothing":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _real(batch: dict[str, Tensor]) -> Tensor:
    """Which tokens [B * L] are no padding: padding is the last document of a row, all unlearnt."""
    seq_BL, labels_BL = batch["seq_idx"], batch["labels"]
    learnt = torch.zeros_like(seq_BL).scatter_add_(1, seq_BL, (labels_BL >= 0).long())
    return (learnt.gather(1, seq_BL) > 0).flatten()


def _on_cpu(routing: Routing) -> Routing:
    inputs = None if routing.inputs is None else routing.inputs.float().cpu()
    return Routing(routing.logits.cpu(), routing.chosen.cpu(), routing.weights.cpu(), inputs)
