"""Several personas on one model: how fast they swap, mix in one batch, and whom they sound like.

    python -m benchmarks.personas --models models

Eight people talk with five personas. Mixed: all eight in one batch. One after another: the same
prompts, a hot swap before each. PEFT does both too (`set_adapter`, `adapter_names=`), on the same
weights. The ways take turns, and every figure is a median. With trained adapters in
MODELS/personas, each persona's replies are also scored under every adapter: is its own the
likeliest? Without them the timings are those of random adapters.
"""

import itertools
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from oldfriend.corpus.schema import GroundExample, read_rows
from oldfriend.errors import MissingDataError, OldFriendError
from oldfriend.files import write_json
from oldfriend.lm import lora
from oldfriend.lm import model as models
from oldfriend.lm.chat import Message, answer_documents, message, render_prompt, stop_ids
from oldfriend.lm.generate import generate
from oldfriend.lm.settings import LoraParams
from oldfriend.memory import grounding
from oldfriend.persona.serving import Personas

USERS, PERSONAS, SWAPS = 8, 5, 50
DATA = Path("data/curated/ground/test.jsonl")


@dataclass(frozen=True)
class Bench:
    """What is asked, of whom, and with which adapters."""

    friend: Path
    folders: dict[str, Path]
    rows: Sequence[GroundExample]
    max_new_tokens: int

    def prompts(self, start: int = 0) -> list[tuple[Message, ...]]:
        """Held-out messages, one a user."""
        return [
            grounding.prompt(row.user, row.memories, row.history, row.message)
            for row in self.rows[start : start + USERS]
        ]


def main(
    folder: Annotated[Path, typer.Option("--models", help="Where models lie.")] = Path("models"),
    data: Annotated[Path, typer.Option(help="Held-out messages.")] = DATA,
    repeats: Annotated[int, typer.Option(min=1, help="Timed rounds.")] = 7,
    messages: Annotated[int, typer.Option(min=8, help="Messages for attribution.")] = 60,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest reply.")] = 48,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    out: Annotated[Path, typer.Option("--json", help="Where the numbers go.")] = Path(
        "metrics/bench/personas.json"
    ),
) -> None:
    """Time swaps and mixed batches, and attribute replies by likelihood."""
    torch.set_num_threads(threads)
    try:
        with tempfile.TemporaryDirectory() as drafts:
            bench, trained = prepare(folder, data, max_new_tokens, messages, Path(drafts))
            found = timings(bench, repeats)
            if trained:
                found |= by_likelihood(bench)
    except OldFriendError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    found |= {"users": USERS, "personas": len(bench.folders), "trained": float(trained)}
    table = Table("figure", "value", title="personas on one model")
    for name, value in found.items():
        table.add_row(name, f"{value:.3f}")
    Console().print(table)
    write_json(out, found)


def prepare(
    folder: Path, data: Path, max_new_tokens: int, messages: int, drafts: Path
) -> tuple[Bench, bool]:
    """Trained adapters, or random ones in ``drafts`` where fewer than two are there."""
    rows = list(itertools.islice(read_rows(data, GroundExample), messages))
    if len(rows) < USERS:
        raise MissingDataError(f"{data} has fewer than {USERS} messages")
    friend = folder / "friend"
    found = sorted(p.parent for p in (folder / "personas").glob("*/adapter_config.json"))
    folders = {path.name: path for path in found[:PERSONAS]}
    trained = len(folders) > 1
    if not trained:
        folders = {}
        for seed in range(PERSONAS):
            model, _ = models.load(friend)
            fresh = lora.attach(model, LoraParams(rank=32, alpha=64), seed=seed)
            torch.manual_seed(seed)
            for key, weight in fresh.named_parameters():
                if "lora_B" in key:
                    torch.nn.init.normal_(weight, std=0.01)
            folders[f"random{seed}"] = drafts / f"random{seed}"
            lora.save(fresh, folders[f"random{seed}"])
    return Bench(friend, folders, rows, max_new_tokens), trained


def timings(bench: Bench, repeats: int) -> dict[str, float]:
    """Medians of swaps (ms) and of eight replies (s), and the ratios between the ways."""
    who = [name for name, _ in zip(itertools.cycle(bench.folders), range(USERS), strict=False)]
    personas, peft, limit = ours(bench), peers(bench), bench.max_new_tokens
    tokenizer, prompts = personas.tokenizer, bench.prompts()
    named = [personas.introduced(p, name) for p, name in zip(prompts, who, strict=True)]

    def one_by_one() -> list[str]:
        return [
            personas.generate([prompt], [name], max_new_tokens=limit)[0]
            for prompt, name in zip(prompts, who, strict=True)
        ]

    def peft_one_by_one() -> list[str]:
        said = []
        for prompt, name in zip(named, who, strict=True):
            peft.set_adapter(name)
            said += generate(peft, tokenizer, [prompt], max_new_tokens=limit)
        return said

    ways: dict[str, Callable[[], list[str]]] = {
        "mixed": lambda: personas.generate(prompts, who, max_new_tokens=limit),
        "one_by_one": one_by_one,
        "peft_mixed": lambda: peft_mixed(peft, tokenizer, named, who, limit),
        "peft_one_by_one": peft_one_by_one,
    }
    said = {name: way() for name, way in ways.items()}  # warm
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            seconds[name].append(timed(way))
    found = {f"{name}_s": statistics.median(times) for name, times in seconds.items()}
    mixed = found["mixed_s"]
    found |= {
        "speedup": found["one_by_one_s"] / mixed,
        "speedup_over_peft_one_by_one": found["peft_one_by_one_s"] / mixed,
        "speedup_over_peft_mixed": found["peft_mixed_s"] / mixed,
        "same_as_one_by_one": share_equal(said["mixed"], said["one_by_one"]),
        "same_as_peft": share_equal(said["one_by_one"], said["peft_one_by_one"]),
    }
    names = list(bench.folders)
    turns = list(itertools.islice(itertools.cycle(names), SWAPS))
    swaps = [timed(partial(personas.select, [name])) for name in turns]
    theirs = [timed(partial(peft.set_adapter, name)) for name in turns]
    return found | {
        "swap_ms": 1000 * statistics.median(swaps),
        "swap_ms_max": 1000 * max(swaps),
        "peft_swap_ms": 1000 * statistics.median(theirs),
    }


def ours(bench: Bench) -> Personas:
    """Every persona on one model, our way."""
    personas = Personas(*models.load(bench.friend))
    for name, path in bench.folders.items():
        personas.load(name, path)
    return personas


def peers(bench: Bench) -> Any:
    """Every persona on one model, PEFT's way."""
    model, _ = models.load(bench.friend)
    names = list(bench.folders)
    peft = lora.load(model, bench.folders[names[0]], name=names[0])
    for name in names[1:]:
        peft.load_adapter(str(bench.folders[name]), adapter_name=name)
    return peft.eval()


@torch.no_grad()
def peft_mixed(
    peft: Any, tokenizer: Any, prompts: Sequence[Sequence[Message]], who: Sequence[str], limit: int
) -> list[str]:
    """Greedy replies of one batch with an adapter a row, by PEFT's ``adapter_names``."""
    texts = [render_prompt(tokenizer, prompt) for prompt in prompts]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    width = max(map(len, ids))
    padded = [[tokenizer.pad_token_id] * (width - len(row)) + row for row in ids]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in ids]
    stops = stop_ids(tokenizer)
    with torch.autocast(peft.device.type, torch.bfloat16):
        output = peft.generate(
            input_ids=torch.tensor(padded), attention_mask=torch.tensor(mask),
            adapter_names=list(who), max_new_tokens=limit, do_sample=False,
            pad_token_id=tokenizer.pad_token_id, eos_token_id=stops,
        )  # fmt: skip
    rows = output[:, width:].tolist()
    ends = [next((i for i, t in enumerate(row) if t in stops), len(row)) for row in rows]
    return [
        tokenizer.decode(row[:end], skip_special_tokens=True).strip()
        for row, end in zip(rows, ends, strict=True)
    ]


def by_likelihood(bench: Bench) -> dict[str, float]:
    """Of every persona's replies, the share that its own adapter finds likelier than the others."""
    personas, names, right = ours(bench), list(bench.folders), list[bool]()
    for start in range(0, len(bench.rows), USERS):
        prompts = bench.prompts(start)
        for name in names:
            said = personas.generate(
                prompts, [name] * len(prompts), max_new_tokens=bench.max_new_tokens
            )
            losses = {
                other: personas.nats(
                    answer_documents(
                        personas.tokenizer,
                        [
                            [*personas.introduced(prompt, other), message("assistant", text)]
                            for prompt, text in zip(prompts, said, strict=True)
                        ],
                    ),
                    [other] * len(said),
                )
                for other in names
            }
            for place in range(len(said)):
                best = min(names, key=lambda other: losses[other][place][0])
                right.append(best == name)
    return {"attribution_by_likelihood": sum(right) / len(right)}


def timed(work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes."""
    began = perf_counter()
    work()
    return perf_counter() - began


def share_equal(left: Sequence[str], right: Sequence[str]) -> float:
    """Share of texts that are the same, letter for letter."""
    return sum(a == b for a, b in zip(left, right, strict=True)) / len(left)


if __name__ == "__main__":
    typer.run(main)
