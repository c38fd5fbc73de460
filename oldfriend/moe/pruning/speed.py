"""How fast models read and write: prefill and greedy decoding, models in turn."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch

from oldfriend.moe.layer import Layer
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.pruning.merge import joined
from oldfriend.moe.splice import read_layers, rebuilt


@dataclass(frozen=True)
class Speed:
    """Tokens a second, medians over rounds."""

    prefill: float
    decode: float


@torch.no_grad()
def compare(
    models: Mapping[str, Any],
    *,
    prompt: int = 512,
    new: int = 32,
    rows: int = 1,
    rounds: int = 5,
    warmup: int = 1,
) -> dict[str, Speed]:
    """Speed of each model on the same random prompt of ``prompt`` tokens in ``rows`` rows.

    The models take turns in every round, so that a busy machine slows all of them alike. Prefill
    is one forward pass over the prompt; decoding goes on token by token with its cache.
    """
    vocab = min(model.config.vocab_size for model in models.values())
    ids = torch.randint(10, vocab, (rows, prompt), generator=torch.Generator().manual_seed(0))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    for turn in range(warmup + rounds):
        for name, model in models.items():
            took = _once(model.eval(), ids.to(model.device), new)
            if turn >= warmup:
                times[name].append(took)
    return {
        name: Speed(
            rows * prompt / statistics.median(one for one, _ in took),
            rows * new / statistics.median(two for _, two in took),
        )
        for name, took in times.items()
    }


def _once(model: Any, ids: torch.Tensor, new: int) -> tuple[float, float]:
    start = _now(model)
    out = model(input_ids=ids, use_cache=True, logits_to_keep=1)
    read = _now(model)
    token = out.logits[:, -1:].argmax(-1)
    for _ in range(new):
        out = model(input_ids=token, past_key_values=out.past_key_values, use_cache=True)
        token = out.logits[:, -1:].argmax(-1)
    return read - start, _now(model) - read


def _now(model: Any) -> float:
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return perf_counter()


def dense_like(model: OFMoeForCausalLM) -> OFMoeForCausalLM:
    """A model with one MLP a layer as wide as all that a token meets in ``model``: equal FLOPs.

    Only its speed means anything: its weights are some of the experts'.
    """
    layers = []
    for layer in read_layers(model):
        chosen = layer.experts[: layer.top_k] + ((layer.shared,) if layer.shared else ())
        layers.append(Layer(experts=(joined(chosen),)) if chosen else Layer())
    return rebuilt(model, layers)


def speeds(
    uncut: OFMoeForCausalLM, pruned: OFMoeForCausalLM, rounds: int, prompt: int
) -> dict[str, float]:
    """Prefill and decoding beside the uncut model and a dense one of its FLOPs."""
    trio = {"": pruned, "_before": uncut, "_dense": dense_like(uncut)}
    found = compare(trio, prompt=prompt, rounds=rounds)
    metrics: dict[str, float] = {}
    for what in ("prefill", "decode"):
        rates = {end: float(getattr(one, what)) for end, one in found.items()}
        metrics |= {f"{what}_tokens_per_s{end}": rate for end, rate in rates.items()}
        metrics[f"{what}_speedup"] = rates[""] / rates["_before"]
    return metrics
