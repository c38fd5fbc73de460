"""Several personas on one loaded model: swapped in an instant, mixed in one batch, blended.

Every adapted layer holds the factors of the personas in use side by side, and a gate says for
each row of the batch how much of each it gets: y = W x + U (g * (D x)). One row one persona is a
gate of ones and zeros, a blend has other weights, none is zeros. Two dense products a layer serve
all rows, where PEFT's mixed batches loop over the adapters.

Shape suffixes: B rows, L tokens, R summed rank of the personas in use, I inputs, O outputs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from oldfriend.errors import CheckpointError, InputError
from oldfriend.lm import model as models
from oldfriend.lm.chat import Message, render_prompt
from oldfriend.lm.generate import generate
from oldfriend.lm.packing import Document
from oldfriend.persona import adapters, voice
from oldfriend.persona.adapters import Adapter, Factor
from oldfriend.persona.likelihood import nats

# A persona, a blend of several with their weights, or "" for the model as it is.
Mix = str | Mapping[str, float]


class Personas:
    """Personas on one model. ``model`` stays usable by others after ``close`` only."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._adapters: dict[str, Adapter] = {}
        self._called: dict[str, str] = {}  # the name that prompts call a persona
        self._views: dict[str, Sequence[tuple[str, str]]] = {}  # (claim, belief)
        self._layers: dict[str, _Mixed] = {}
        self._used: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The personas that are loaded."""
        return tuple(self._adapters)

    def load(self, name: str, folder: Path) -> None:
        """Load an adapter in PEFT format under a name; one of that name is replaced.

        Its meta.json says what prompts call the persona (without one: ``name``) and what it holds.
        CheckpointError unless every layer of the adapter has its place in the model.
        """
        if not name:
            raise InputError("a persona needs a name")
        adapter = adapters.read(folder)
        for layer, factor in adapter.factors.items():
            linear = self._linear(layer)
            shape = (factor.up_OR.shape[0], factor.down_RI.shape[1])
            if linear is None or tuple(linear.weight.shape) != shape:
                raise CheckpointError(f"{folder} is not an adapter for this model: {layer}")
        if self._adapters and adapter.factors.keys() != self._layers.keys():
            raise CheckpointError(f"{folder} adapts other layers than {', '.join(self.names)}")
        for layer, factor in adapter.factors.items():
            if layer not in self._layers:
                linear = self._linear(layer)
                assert linear is not None
                self._layers[layer] = _Mixed(linear)
                _put(self.model, layer, self._layers[layer])
            self._layers[layer].learn(name, factor)
        self._adapters[name] = adapter
        meta = models.read_meta(folder) if (folder / models.META).is_file() else {}
        self._called[name], self._views[name] = meta.get("persona", name), meta.get("views", ())
        self._forget_selection()

    def unload(self, name: str) -> None:
        """Forget a persona. InputError if there is none of that name."""
        self._known([name])
        del self._adapters[name]
        del self._called[name], self._views[name]
        for mixed in self._layers.values():
            mixed.forget(name)
        self._forget_selection()

    def select(self, rows: Sequence[Mix]) -> None:
        """Who speaks in each row of the batches that follow; one entry stands for all rows.

        InputError names a persona that is not loaded.
        """
        mixes = [{row: 1.0} if isinstance(row, str) else dict(row) for row in rows]
        used = tuple(sorted({name for mix in mixes for name in mix if name}))
        self._known(used)
        ranks = [self._adapters[name].rank for name in used]
        shares_BP = torch.tensor([[mix.get(name, 0.0) for name in used] for mix in mixes])
        gate_BR = (
            shares_BP.repeat_interleave(torch.tensor(ranks), dim=1) if used else None
        )  # no persona: the layers skip their extra work
        gate_B1R = None if gate_BR is None else gate_BR[:, None].to(self.model.device)
        for mixed in self._layers.values():
            if used != self._used:
                mixed.use(used)
            mixed.gate_B1R = gate_B1R
        self._used = used

    def introduced(self, prompt: Sequence[Message], who: Mix) -> list[Message]:
        """The friend's prompt put to a persona: its name, and what it holds of what is said.

        A blend goes by the name and the views of its largest part.
        """
        mix = {who: 1.0} if isinstance(who, str) else who
        name = max(mix, key=lambda one: mix[one], default="")
        self._known([name] if name else [])
        if not name:
            return list(prompt)
        return voice.introduced(prompt, self._called[name], self._views[name])

    def generate(
        self, prompts: Sequence[Sequence[Message]], who: Sequence[Mix], *, max_new_tokens: int
    ) -> list[str]:
        """Greedy replies to the friend's prompts, each by its own persona, all in one batch."""
        if len(prompts) != len(who):
            raise InputError(f"{len(prompts)} prompts, {len(who)} personas")
        prompts = [self.introduced(prompt, one) for prompt, one in zip(prompts, who, strict=True)]
        lengths = [
            len(ids)
            for ids in self.tokenizer(
                [render_prompt(self.tokenizer, prompt) for prompt in prompts],
                add_special_tokens=False,
            )["input_ids"]
        ] if prompts else []  # fmt: skip
        order = sorted(range(len(prompts)), key=lambda i: (-lengths[i], i))  # as generation has it
        self.select([who[i] for i in order] or [""])
        replies = generate(
            self.model,
            self.tokenizer,
            [prompts[i] for i in order],
            max_new_tokens=max_new_tokens,
            batch_size=max(len(prompts), 1),
        )
        by_place = dict(zip(order, replies, strict=True))
        return [by_place[i] for i in range(len(prompts))]

    def nats(self, documents: Sequence[Document], who: Sequence[Mix]) -> list[tuple[float, int]]:
        """Loss (nats) and count of the learnt tokens of every document, each under its persona."""
        self.select(list(who) or [""])
        pad = self.tokenizer.pad_token_id
        return nats(self.model, documents, pad_id=pad, batch_size=max(len(documents), 1))

    def close(self) -> None:
        """Give the model back as it was."""
        for layer, mixed in self._layers.items():
            _put(self.model, layer, mixed.base)
        self._layers.clear()
        self._adapters.clear()
        self._called.clear()
        self._views.clear()
        self._used = ()

    def _forget_selection(self) -> None:
        for mixed in self._layers.values():
            mixed.use(())
            mixed.gate_B1R = None
        self._used = ()

    def _linear(self, layer: str) -> nn.Linear | None:
        """The model's own linear layer of that name."""
        if layer in self._layers:
            return self._layers[layer].base
        try:
            found: Any = self.model.get_submodule(layer)
        except AttributeError:
            return None
        return found if isinstance(found, nn.Linear) else None

    def _known(self, names: Sequence[str]) -> None:
        if unknown := [name for name in names if name not in self._adapters]:
            loaded = ", ".join(self._adapters) or "none"
            raise InputError(f"unknown persona '{unknown[0]}'; loaded: {loaded}")


class _Mixed(nn.Module):
    """A linear layer and the factors of all loaded personas."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self._factors: dict[str, tuple[Tensor, Tensor]] = {}
        self._down_IR: Tensor | None = None
        self._up_RO: Tensor | None = None
        self.gate_B1R: Tensor | None = None

    def learn(self, name: str, factor: Factor) -> None:
        """Keep a persona's factors where the layer's weights are."""
        weight = self.base.weight
        self._factors[name] = (
            factor.down_RI.t().to(weight).contiguous(),
            factor.up_OR.t().to(weight).contiguous(),
        )

    def forget(self, name: str) -> None:
        """Drop a persona's factors."""
        self._factors.pop(name, None)

    def use(self, names: Sequence[str]) -> None:
        """Put the factors of these personas side by side, in this order."""
        pairs = [self._factors[name] for name in names]
        self._down_IR = torch.cat([down for down, _ in pairs], dim=1) if pairs else None
        self._up_RO = torch.cat([up for _, up in pairs]) if pairs else None

    def forward(self, x_BLI: Tensor) -> Tensor:
        y_BLO: Tensor = self.base(x_BLI)
        if self.gate_B1R is None or self._down_IR is None or self._up_RO is None:
            return y_BLO
        inner_BLR = (x_BLI @ self._down_IR) * self.gate_B1R
        return y_BLO + inner_BLR.to(x_BLI.dtype) @ self._up_RO


def _put(model: nn.Module, layer: str, module: nn.Module) -> None:
    parent, _, name = layer.rpartition(".")
    setattr(model.get_submodule(parent), name, module)
