"""The anatomy of a mixture of experts: what each layer has, what it uses, what was done to it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oldfriend.outcome import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from oldfriend.moe.layer import Layer
    from oldfriend.moe.modeling import OFMoeForCausalLM
    from oldfriend.moe.pruning.importance import Evidence


def layer_rows(layers: "Sequence[Layer]", done: Sequence[str] = ()) -> list[Row]:
    """One row a layer of what can be read off the weights; ``done``: what was done to each."""
    return [
        {
            "layer": index,
            "experts": len(one.experts),
            "top_k": one.top_k if one.router is not None else len(one.experts),
            "width": "/".join(str(width) for width in sorted(set(one.widths))) or "0",
            "shared": 0 if one.shared is None else one.shared.width,
            "parameters": one.parameters,
            "active": int(one.active),
            "done": done[index] if index < len(done) else "",
        }
        for index, one in enumerate(layers)
    ]


def used_rows(evidence: "Sequence[Evidence]") -> list[Row]:
    """One row a layer of how its experts are used, by statistics over text."""
    from oldfriend.moe.pruning.importance import entropy, load_variation, scores

    rows: list[Row] = []
    for one in evidence:
        routed = one.layer.router is not None
        reap = scores(one.sums)["reap"]
        rows.append(
            {
                "load_cv": load_variation(one.sums) if routed else 0.0,
                "entropy": entropy(one.sums) if routed else 0.0,
                "dead": int((one.sums.load_E < 0.1 * one.sums.load_E.mean()).sum())
                if routed
                else 0,
                "reap_min": float(reap.min()) if len(reap) else 0.0,
                "reap_max": float(reap.max()) if len(reap) else 0.0,
                "redundancy": redundancy(one) if len(one.layer.experts) > 1 else 0.0,
            }
        )
    return rows


def expert_rows(evidence: "Sequence[Evidence]") -> list[Row]:
    """One row an expert: width, share of tokens, and saliency by every measure."""
    from oldfriend.moe.pruning.importance import scores

    rows: list[Row] = []
    for index, one in enumerate(evidence):
        found = scores(one.sums)
        for number, width in enumerate(one.layer.widths):
            values = {name: float(value[number]) for name, value in found.items()}
            rows.append({"layer": index, "expert": number, "width": width, **values})
    return rows


def redundancy(one: "Evidence") -> float:
    """Mean cosine between the outputs of two experts on the same tokens (0 unlike, 1 alike)."""
    import torch

    out = torch.stack([expert(one.sample).flatten() for expert in one.layer.experts[:32]])
    unit = torch.nn.functional.normalize(out, dim=1)
    count = len(unit)
    return float(((unit @ unit.T).sum() - count) / (count * (count - 1)))


def inspect(
    model: "OFMoeForCausalLM",
    evidence: "Sequence[Evidence] | None" = None,
    done: Sequence[str] = (),
) -> list[Row]:
    """The table of ``oldfriend moe inspect``: one row a layer; usage if there is evidence."""
    from oldfriend.moe.splice import read_layers

    rows = layer_rows(read_layers(model), done)
    if evidence is None:
        return rows
    return [row | used for row, used in zip(rows, used_rows(evidence), strict=True)]


def picture(
    layers: "Sequence[Layer]",
    loads: "Sequence[Tensor | None]",
    *,
    title: str = "",
    done: Sequence[str] = (),
) -> "Figure":
    """Layers from the bottom up; a box an expert, as wide as it has neurons, as dark as its load.

    ``loads``: share of tokens [E] of every expert by layer; None where it is not known. Shared
    experts and plain MLPs serve every token and are hatched.
    """
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    widest = max((_breadth(one) for one in layers), default=1) or 1
    figure = Figure(figsize=(9, 0.9 + 0.42 * len(layers)), layout="constrained")
    axes = figure.subplots()
    colours, norm = _colours(), Normalize(0, _most(loads))
    for index, one in enumerate(layers):
        x = 0.0
        boxes: list[tuple[int, float | None, bool]] = []
        if one.shared is not None:
            boxes.append((one.shared.width, None, True))
        for number, width in enumerate(one.widths):
            load = loads[index]
            share = None if load is None or one.router is None else float(load[number])
            boxes.append((width, share, one.router is None))
        for width, share, always in boxes:
            colour = "#dddddd" if share is None else colours(norm(share))
            axes.add_patch(
                Rectangle(
                    (x, index - 0.36), width, 0.72, facecolor=colour, edgecolor="#222222",
                    linewidth=0.6, hatch="///" if always else None,
                )
            )  # fmt: skip
            x += width + 0.006 * widest
        if not boxes:
            axes.text(0.01 * widest, index, "no feed-forward network", va="center", fontsize=8)
        if index < len(done):
            axes.text(1.06 * widest, index, done[index], va="center", fontsize=8)
    axes.set_xlim(0, (1.45 if done else 1.1) * widest)
    axes.set_ylim(-0.6, len(layers) - 0.4)
    axes.set_yticks(range(len(layers)), [f"layer {index}" for index in range(len(layers))])
    axes.set_xlabel("hidden neurons, experts side by side (hatched: every token)")
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    if any(load is not None for load in loads):
        from matplotlib.cm import ScalarMappable

        bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes, shrink=0.8)
        bar.set_label("share of tokens")
    return figure


def _breadth(one: "Layer") -> int:
    return sum(one.widths) + (0 if one.shared is None else one.shared.width)


def _most(loads: "Sequence[Tensor | None]") -> float:
    return max((float(load.max()) for load in loads if load is not None and len(load)), default=1.0)


def _colours() -> Any:
    from matplotlib import colormaps

    return colormaps["YlGnBu"]


def draw(path: Path, figure: "Figure") -> None:
    """Save as SVG, PNG or PDF, by the file's ending. Raises InputError for another ending."""
    from matplotlib import rc_context

    from oldfriend.errors import InputError
    from oldfriend.files import atomic_write

    kind = path.suffix.removeprefix(".").lower()
    if kind not in ("svg", "png", "pdf"):
        raise InputError(f"'{path.suffix}' is no picture; use .svg, .png or .pdf", path=path)
    # a date or random ids inside would make the same picture another file every time
    metadata = {"svg": {"Date": None}, "png": {}, "pdf": {"CreationDate": None}}[kind]
    with rc_context({"svg.hashsalt": "oldfriend"}), atomic_write(path, "wb") as out:
        figure.savefig(out, format=kind, dpi=150, metadata=metadata)


def loads_of(evidence: "Sequence[Evidence]") -> "list[Tensor | None]":
    """Share of tokens [E] of every expert, by layer; None where nothing is routed."""
    return [
        one.sums.load_E / one.sums.tokens.clamp(min=1) if one.layer.router is not None else None
        for one in evidence
    ]
