"""What must be equal is equal: step 0 of upcycling and export, on a real model and its own text.

    python -m benchmarks.moe_equal models/friend

Held-out loss of every upcycled model beside its dense parent's, and of every export beside ours;
the methods that promise no equality stand below as what it is worth.
"""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from oldfriend.files import write_json

PROMISED: dict[str, dict[str, Any]] = {
    "copy, 2 experts": {"method": "copy", "experts": 2},
    "copy, 16 experts": {"method": "copy", "experts": 16},
    "copy, softmax": {"method": "copy", "experts": 8, "score": "softmax"},
    "copy, expert bias": {"method": "copy", "experts": 8, "expert_bias": True},
    "copy, by sequence": {"method": "copy", "experts": 8, "routing_level": "sequence"},
    "split, all on": {"method": "split", "experts": 8, "top_k": 8},
    "split, k-means": {"method": "split", "experts": 8, "top_k": 8, "partition": "kmeans"},
    "split, co-activation": {
        "method": "split", "experts": 8, "top_k": 8, "partition": "coactivation",
    },
    "split, shared": {"method": "split", "experts": 6, "top_k": 6, "shared": 0.25},
    "virtual, down": {"method": "virtual", "experts": 16, "segments": 4, "top_k": 4},
    "virtual, up and down": {
        "method": "virtual", "experts": 16, "segments": 4, "top_k": 4, "scaled": "up_down",
    },
    "virtual, shared": {"method": "virtual", "experts": 8, "segments": 2, "shared": 0.25},
}  # fmt: skip
OTHERS: dict[str, dict[str, Any]] = {
    "noise": {"method": "noise", "experts": 8},
    "drop": {"method": "drop", "experts": 8},
    "split, 2 of 8": {"method": "split", "experts": 8},
    "segments": {"method": "segments", "experts": 16, "segments": 4, "top_k": 4},
}
EXPORTED: dict[str, list[int]] = {"uniform": [8], "layers that differ": [1, 2, 4, 8]}


def main(
    model: Annotated[Path, typer.Argument(help="Folder of a dense model.")],
    data: Annotated[Path, typer.Option(help="Curated data.")] = Path("data/curated"),
    rows: Annotated[int, typer.Option(help="Packed rows a domain.")] = 2,
    out: Annotated[Path, typer.Option("--json", help="Where the numbers go.")] = Path(
        "metrics/bench/moe_equal.json"
    ),
) -> None:
    """Measure relative gaps of the held-out loss and of logits."""
    from transformers import AutoModelForCausalLM

    from oldfriend.lm import model as models
    from oldfriend.lm.settings import FitParams
    from oldfriend.moe.diagnostics.probe import Probe
    from oldfriend.moe.lessons import read_lessons
    from oldfriend.moe.router.views import view
    from oldfriend.moe.stock.export import export
    from oldfriend.moe.upcycling.dense import upcycle
    from oldfriend.moe.upcycling.plan import UpcyclePlan

    dense, tokenizer = models.load(model)
    names = ("talk", "ground", "notes")
    lessons = read_lessons(tokenizer, names, data, rows=200, row_tokens=512)
    fit = FitParams(steps=1, lr=1e-3, rows=rows, row_tokens=512, precision="32-true")
    text = Probe({one.name: one.val for one in lessons}, fit, tokenizer.pad_token_id, rows=rows)
    inputs, before = view(dense, text).inputs, text.look(dense).loss
    found: dict[str, float] = {}
    for group, plans in (("step0", PROMISED), ("step0_other", OTHERS)):
        for name, fields in plans.items():
            moe = upcycle(dense, UpcyclePlan.model_validate(fields), calibration=inputs)
            found[f"{group}: {name}"] = abs(text.look(moe).loss - before) / before
    ids = text.batches[0][1]["input_ids"][:, :128]
    for name, counts in EXPORTED.items():
        layers = (counts * dense.config.num_hidden_layers)[: dense.config.num_hidden_layers]
        plan = UpcyclePlan(method="drop", experts=layers, top_k=2)
        moe = upcycle(dense, plan, seed=1)
        with tempfile.TemporaryDirectory() as folder:
            stock_name = export(moe, tokenizer, Path(folder) / "stock")
            stock = AutoModelForCausalLM.from_pretrained(Path(folder) / "stock").eval()
        with torch.no_grad():
            gap = (moe.eval()(input_ids=ids).logits - stock(input_ids=ids).logits).abs().max()
        found[f"export: {name} as {stock_name}"] = float(gap)
    shown = Table("what", "relative gap of the loss; of exports: largest gap of a logit")
    for name, value in found.items():
        shown.add_row(name, f"{value:.1e}")
    Console().print(shown)
    write_json(out, found)


if __name__ == "__main__":
    typer.run(main)
