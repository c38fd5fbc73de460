"""Training speed of one MoE layer against a dense FFN that does the same work a token.

    python -m benchmarks.moe_layer --dtype bf16 --threads 2

Router included, forward and backward, fresh inputs every round, so that tokens an expert change
as they do in training (oneDNN compiles a kernel for every new matrix shape). Ours and transformers'
own eager and grouped_mm experts run in turn in one process, beside the dense FFN with k times the
neurons and one bare matrix product of the same FLOPs, so that a slow spell of the machine hits
all. "mixed" holds weights in fp32 under autocast, as our trainer does.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import MistralConfig, MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

from oldfriend.files import write_json
from oldfriend.moe.config import make_config
from oldfriend.moe.experts import Path as ExpertsPath
from oldfriend.moe.feedforward import MoeFeedForward
from oldfriend.moe.recording import Scratch

GOAL = 0.9  # of the dense FFN's tokens a second


class Clock(StrEnum):
    """What is counted."""

    wall = "wall"  # time that passes
    process = "process"  # CPU time of all threads, for a host that others use, too


class Precision(StrEnum):
    """Dtype of weights and of matrix products."""

    fp32 = "fp32"  # fp32 weights and products
    bf16 = "bf16"  # bf16 weights and products
    mixed = "mixed"  # fp32 weights, bf16 products under autocast


@dataclass(frozen=True)
class Shape:
    """Sizes of one layer: hidden, neurons of an expert, experts, experts a token, tokens."""

    hidden: int
    width: int
    experts: int
    top_k: int
    tokens: int

    @property
    def flops(self) -> float:
        """Forward and backward of the experts or of the dense FFN."""
        return 3 * 2 * 3 * self.hidden * self.width * self.top_k * self.tokens


class Dense(nn.Module):
    """The gated FFN with as many neurons as a token meets in the MoE."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_up = nn.Linear(shape.hidden, 2 * shape.width * shape.top_k, bias=False)
        self.down = nn.Linear(shape.width * shape.top_k, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Output, of the shape of ``x``."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        y: Tensor = self.down(F.silu(gate) * up)
        return y


def ours(shape: Shape, path: ExpertsPath) -> nn.Module:
    """Our layer, whose experts run by ``path``."""
    text = MistralConfig(hidden_size=shape.hidden, num_hidden_layers=1, vocab_size=8)
    layer = {
        "num_experts": shape.experts,
        "num_experts_per_tok": shape.top_k,
        "moe_intermediate_size": shape.width,
    }
    return MoeFeedForward(make_config(text, [layer], experts_path=path), 0, Scratch())


def theirs(shape: Shape, implementation: str) -> nn.Module:
    """Mixtral's layer with one of transformers' own ways to run experts."""
    config: Any = MixtralConfig(
        hidden_size=shape.hidden,
        intermediate_size=shape.width,
        num_local_experts=shape.experts,
        num_experts_per_tok=shape.top_k,
    )
    config._experts_implementation = implementation
    block: nn.Module = MixtralSparseMoeBlock(config)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.02)
    return block


def contenders(shape: Shape, device: str) -> dict[str, Callable[[], nn.Module]]:
    """Everything that is timed, by name; the dense FFN comes first."""
    found: dict[str, Callable[[], nn.Module]] = {
        "dense": lambda: Dense(shape),
        "ours": lambda: ours(shape, "auto"),
        "ours_sorted_loop": lambda: ours(shape, "sorted_loop"),
        "ours_grouped_mm": lambda: ours(shape, "grouped_mm"),
        "hf_eager": lambda: theirs(shape, "eager"),
        "hf_grouped_mm": lambda: theirs(shape, "grouped_mm"),
    }
    found.pop("ours_grouped_mm" if device == "cuda" else "ours_sorted_loop")  # which "ours" is
    return found


def measure(
    shape: Shape, precision: Precision, device: str, clock: Clock, rounds: int, warmup: int
) -> dict[str, list[float]]:
    """Seconds of every round by contender, all taking turns; "matmul" is the bare product."""
    weights = torch.bfloat16 if precision == Precision.bf16 else torch.float32
    products = torch.float32 if precision == Precision.fp32 else torch.bfloat16
    torch.manual_seed(0)
    layers = {n: make().to(device, weights) for n, make in contenders(shape, device).items()}
    square = torch.randn(2, 2048, 2048, device=device, dtype=products)
    times: dict[str, list[float]] = {name: [] for name in (*layers, "matmul")}
    for turn, x in enumerate(inputs(shape, device, weights, rounds + warmup)):
        for name, layer in layers.items():
            taken = seconds(partial(train, layer, x, precision, device), device, clock)
            times[name] += [taken] if turn >= warmup else []
        taken = seconds(partial(torch.mm, square[0], square[1]), device, clock)
        times["matmul"] += [taken * shape.flops / (2 * 2048**3)] if turn >= warmup else []
    return times


def inputs(shape: Shape, device: str, dtype: torch.dtype, count: int) -> Iterator[Tensor]:
    """New tokens every round, [1, T, D]."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        x = torch.randn(1, shape.tokens, shape.hidden, generator=generator)
        yield x.to(device, dtype)


def train(layer: nn.Module, x: Tensor, precision: Precision, device: str) -> None:
    """One forward and backward pass, gradients of inputs among them."""
    layer.zero_grad(set_to_none=True)
    x = x.detach().requires_grad_()
    casting: AbstractContextManager[Any] = nullcontext()
    if precision == Precision.mixed:
        casting = torch.autocast(device, torch.bfloat16)
    with casting:
        y = layer(x)
    y.backward(torch.ones_like(y))


def seconds(work: Callable[[], object], device: str, clock: Clock) -> float:
    """Seconds that ``work`` takes, the GPU's among them."""
    now = time.perf_counter if clock == Clock.wall else time.process_time
    if device == "cuda":
        torch.cuda.synchronize()
    start = now()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return now() - start


def summary(shape: Shape, times: dict[str, list[float]]) -> dict[str, float]:
    """Tokens a second (median round), ratio to dense and to the matmul ceiling turn by turn."""
    result: dict[str, float] = {}
    for name, found in times.items():
        beside = zip(times["dense"], found, strict=True)
        ceiling = zip(times["matmul"], found, strict=True)
        if name != "matmul":
            result[f"{name}_tokens_per_s"] = shape.tokens / statistics.median(found)
            result[f"{name}_of_dense"] = statistics.median(d / t for d, t in beside)
            result[f"{name}_of_matmul"] = statistics.median(m / t for m, t in ceiling)
    return result


def main(
    experts: Annotated[str, typer.Option(help="Numbers of experts.")] = "2,4,8,16",
    top_k: Annotated[int, typer.Option(min=1, help="Experts a token.")] = 2,
    hidden: Annotated[int, typer.Option(min=8, help="Width of the residual stream.")] = 512,
    width: Annotated[int, typer.Option(min=8, help="Neurons of an expert.")] = 1024,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens a pass.")] = 4096,
    precision: Annotated[Precision, typer.Option("--dtype", help="Precision.")] = Precision.bf16,
    device: Annotated[str, typer.Option(help="cpu or cuda; auto: a GPU if there is one.")] = "auto",
    clock: Annotated[Clock, typer.Option(help="Time that passes, or CPU time.")] = Clock.wall,
    rounds: Annotated[int, typer.Option(min=1, help="Timed rounds.")] = 8,
    warmup: Annotated[int, typer.Option(min=0, help="Rounds before the clock runs.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    out: Annotated[Path, typer.Option("--json", help="Where the numbers go.")] = Path(
        "metrics/bench/moe_layer.json"
    ),
) -> None:
    """Time MoE layers against a dense FFN of the same active FLOPs."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(threads)
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "dtype": precision.value, "threads": threads, "tokens": tokens, "hidden": hidden,
        "width": width, "top_k": top_k, "rounds": rounds, "clock": clock.value,
        "torch": torch.__version__,
    }  # fmt: skip
    shown = Table("E", "layer", title=f"{precision.value}, {found['device']}: forward and backward")
    for column in ("tokens/s", "of dense", "of matmul"):
        shown.add_column(column, justify="right")
    for count in (int(part) for part in experts.split(",")):
        shape = Shape(hidden, width, count, min(top_k, count), tokens)
        numbers = summary(shape, measure(shape, precision, device, clock, rounds, warmup))
        found |= {f"e{count}_{name}": value for name, value in numbers.items()}
        for name in contenders(shape, device):
            values = [
                numbers[f"{name}_{what}"] for what in ("tokens_per_s", "of_dense", "of_matmul")
            ]
            shown.add_row(str(count), name, f"{values[0]:,.0f}", *(f"{v:.2f}" for v in values[1:]))
        print(f"E={count}: {json.dumps(numbers)}", file=sys.stderr)
    ratios = [value for name, value in found.items() if name.endswith("_ours_of_dense")]
    found["worst_of_dense"] = min(ratios)
    Console().print(shown)
    print(f"ours is {min(ratios):.2f} of dense at worst; the goal is {GOAL}")
    write_json(out, found)


if __name__ == "__main__":
    typer.run(main)
