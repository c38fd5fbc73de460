"""``oldfriend moe``: look into a mixture of experts, cut it, export it, time it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oldfriend.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from oldfriend.moe.modeling import OFMoeForCausalLM
    from oldfriend.moe.pruning.importance import Evidence
    from oldfriend.outcome import Row

app = typer.Typer(no_args_is_help=True, help="Mixtures of experts: inspect, prune, export, bench.")
Model = Annotated[Path, typer.Argument(help="Folder of a model; stock MoEs and dense ones, too.")]
Out = Annotated[Path, typer.Argument(help="Folder to write.")]
Data = Annotated[Path, typer.Option(help="Curated data of `dvc repro`.")]
External = Annotated[Path, typer.Option(help="Folder of unpacked domain_NAME texts.")]
Domain = Annotated[
    list[str] | None, typer.Option("--domain", help="talk, ground, notes or a real one; repeat.")
]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
CURATED, REAL = Path("data/curated"), Path("data/external")


@app.command()
def inspect(
    model: Model,
    picture: Annotated[Path | None, typer.Option(help="Also draw it: .svg, .png or .pdf.")] = None,
    data: Data = CURATED,
    external: External = REAL,
    domain: Domain = None,
    tokens: Annotated[int, typer.Option(min=0, help="Text to read; 0: weights only.")] = 8192,
    experts: Annotated[bool, typer.Option("--experts", help="One row an expert.")] = False,
    as_json: Json = False,
) -> None:
    """Show every layer: experts, widths, how busy and how alike they are, what was done to it."""
    from rich.console import Console

    from oldfriend.moe import importing
    from oldfriend.moe.pruning import anatomy
    from oldfriend.moe.splice import read_layers

    mixture, tokenizer = importing.load(model)
    names = domain or ["talk"]
    evidence = None
    if tokens:
        evidence = _observed(model, mixture, tokenizer, data, external, names, tokens)
    done = _done(model)
    if experts and evidence is None:
        raise InputError("experts are told apart by text: leave --tokens above 0")
    if experts and evidence:
        rows = shown = anatomy.expert_rows(evidence)
    else:
        rows = anatomy.inspect(mixture, evidence, done)
        shown = [_brief(row) for row in rows]
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        Console().print(_table(shown, str(model)))
    if picture:
        loads = anatomy.loads_of(evidence) if evidence else [None] * len(read_layers(mixture))
        figure = anatomy.picture(read_layers(mixture), loads, title=model.name, done=done)
        anatomy.draw(picture, figure)
        if not as_json:
            print(f"drew {picture}")


@app.command()
def prune(
    model: Model,
    out: Out,
    keep: Annotated[float, typer.Option(min=0.01, max=1, help="Share of expert weights.")] = 0.5,
    active: Annotated[bool, typer.Option("--active", help="Budget what a token meets.")] = False,
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps of healing.")] = 100,
    data: Data = CURATED,
    external: External = REAL,
    domain: Domain = None,
    calibrate: Annotated[
        list[str] | None, typer.Option(help="Calibrate on these domains only; repeat.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Cut MODEL to a share of its expert weights, each layer as it earns, heal it, write OUT."""
    from rich.console import Console

    from oldfriend.lm.fit import Run
    from oldfriend.lm.settings import FitParams
    from oldfriend.moe.pruning import prune as pruning
    from oldfriend.moe.pruning.settings import PruneParams, RecoverParams

    fit = FitParams(steps=steps, rows=8, row_tokens=256, lr=1e-3)
    params = PruneParams(
        keep=keep,
        budget="active" if active else "params",
        domains=tuple(domain or ["talk"]),
        calibrate_on=tuple(calibrate or ()),
        control=False,
        recover=RecoverParams(fit=fit),
    )
    run = Run(out.parent / ".checkpoints", seed)
    outcome = pruning.prune(params, run=run, model=model, data=data, out=out, external=external)
    console = Console()
    console.print(_table([_brief(row) for row in outcome.tables["layers"]], str(out)))
    m = outcome.metrics
    console.print(
        f"expert weights kept {m['expert_params_kept']:.0%}; held-out loss "
        f"{m['val_loss_before']:.4f} -> {m['val_loss']:.4f} ({m['loss_increase']:+.2%}); "
        f"decoding x{m['decode_speedup']:.2f}, prefill x{m['prefill_speedup']:.2f}"
    )


@app.command()
def export(model: Model, out: Out) -> None:
    """Write MODEL as a stock architecture that other software runs, and say which."""
    from oldfriend.moe import importing
    from oldfriend.moe.stock import export as exporting

    mixture, tokenizer = importing.load(model)
    stock = exporting.export(mixture, tokenizer, out)
    print(f"wrote {out}: {stock}")


@app.command()
def bench(
    models: Annotated[list[Path], typer.Argument(help="Folders of models to compare.")],
    prompt: Annotated[int, typer.Option(min=1, max=65_536, help="Tokens to read.")] = 512,
    new: Annotated[int, typer.Option(min=1, max=4096, help="Tokens to write.")] = 32,
    rows: Annotated[int, typer.Option(min=1, max=1024, help="Texts at once.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, max=100)] = 5,
    as_json: Json = False,
) -> None:
    """Time models in turn: reading a prompt (prefill) and writing on (decode)."""
    from rich.console import Console

    from oldfriend.lm.model import parameter_count
    from oldfriend.moe import importing
    from oldfriend.moe.pruning import speed
    from oldfriend.moe.training import active_parameters

    loaded = {str(path): importing.load(path)[0] for path in models}
    found = speed.compare(loaded, prompt=prompt, new=new, rows=rows, rounds=rounds)
    table: list[Row] = [
        {
            "model": name,
            "parameters": parameter_count(model),
            "active": active_parameters(model)[0],
            "prefill tokens/s": found[name].prefill,
            "decode tokens/s": found[name].decode,
        }
        for name, model in loaded.items()
    ]
    if as_json:
        print(json.dumps(table, indent=2))
    else:
        Console().print(_table(table, f"{rows} x {prompt} tokens, {new} new"))


def _observed(
    folder: Path,
    mixture: "OFMoeForCausalLM",
    tokenizer: object,
    data: Path,
    external: Path,
    names: Sequence[str],
    tokens: int,
) -> "list[Evidence]":
    """Statistics over held-out text of these domains."""
    from oldfriend.moe.lessons import read_lessons
    from oldfriend.moe.pruning.calibration import batches, drawn, observe

    lessons = read_lessons(
        tokenizer, names, data, external=external, rows=max(50, tokens // 64), row_tokens=256,
        friend=folder,
    )  # fmt: skip
    texts = {one.name: [d for d in one.val if len(d) <= 256] for one in lessons}
    text = batches(drawn(texts, tokens, 0), 256, 8, tokenizer.pad_token_id)  # type: ignore[attr-defined]
    return observe(mixture, text, keep=1024)


def _done(model: Path) -> list[str]:
    """What pruning did to each layer, if this model was pruned."""
    path = model / "meta.json"
    if not path.is_file():
        return []
    from oldfriend.lm.model import read_meta

    actions = read_meta(model).get("actions", [])
    return [str(action) for action in actions] if isinstance(actions, list) else []


def _brief(row: "Row") -> "Row":
    """A layer's row for eighty columns: routing and widths in one cell, the reach of REAP, too."""
    experts = f"{row['top_k']} of {row['experts']} x {row['width']}" if row["experts"] else "none"
    shared = f" + {row['shared']}" if row["shared"] else ""
    found = {
        "layer": row["layer"], "experts": experts + shared, "weights": row["parameters"],
        "active": row["active"],
    }  # fmt: skip
    if "reap_min" in row:
        found |= {
            "load cv": row["load_cv"], "entropy": row["entropy"], "dead": row["dead"],
            "reap": f"{row['reap_min']:.3g} to {row['reap_max']:.3g}", "alike": row["redundancy"],
        }  # fmt: skip
    return found | ({"done": row["done"]} if row["done"] else {})


def _table(rows: "Sequence[Row]", title: str) -> "Table":
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, padding=(0, 1), pad_edge=False)
    for name, value in rows[0].items():
        table.add_column(name, justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    return table


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}"
    if isinstance(value, int) and value >= 100_000:
        return f"{value / 1e6:.2f} M"
    return f"{value:,}" if isinstance(value, int) else str(value)
