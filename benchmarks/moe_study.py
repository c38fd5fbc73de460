"""The study of router starts and experts on real domains: `python -m benchmarks.moe_study OUT`.

Trains every cell of the grid that has no result in OUT yet, then writes OUT/summary.json and
OUT/report.html. Stop it at any time; the same command goes on. Domains are unpacked archives
`domain_NAME` in --external, the interpreter's own library (code), and simulated talk.
"""

import sysconfig
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from oldfriend.errors import OldFriendError

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden": 64, "layers": 4, "ffn": 128, "row_tokens": 128, "rows": 16, "vocab": 1024},
    "small": {"hidden": 128, "layers": 4, "ffn": 256, "row_tokens": 128, "rows": 16, "vocab": 2048},
    "gpu": {"hidden": 768, "layers": 12, "ffn": 2048, "row_tokens": 1024, "rows": 32,
            "vocab": 16384},
}  # fmt: skip


def settings(size: str, parent_steps: int, steps: int, lr: float, **grid: Any) -> Any:
    """The study's settings at one of ``SIZES``; the other donor is three quarters as large."""
    from oldfriend.moe.upcycling.settings import StudyParams

    s = SIZES[size]
    shape = {"rows": s["rows"], "row_tokens": s["row_tokens"]}
    precision = "bf16-mixed" if size == "gpu" else "32-true"
    fit = {"steps": steps, "lr": lr, "precision": precision, **shape}
    parent_fit = fit | {"steps": parent_steps, "lr": 2 * lr}
    parent = {"layers": s["layers"], "heads": 4, "vocab": s["vocab"], "fit": parent_fit}
    other = {
        "hidden": max(32, s["hidden"] * 3 // 4 // 32 * 32),
        "layers": max(2, s["layers"] * 3 // 4),
        "ffn": s["ffn"] * 3 // 4,
    }
    return StudyParams.model_validate(
        {
            "vocab": s["vocab"], "fit": fit, "other": parent | other,
            "parent": parent | {"hidden": s["hidden"], "ffn": s["ffn"]}, **grid,
        }
    )  # fmt: skip


def main(
    out: Annotated[Path, typer.Argument(help="Folder of results; goes on with what is there.")],
    external: Annotated[Path, typer.Option(help="Unpacked domain_* archives.")] = Path(
        "data/external"
    ),
    talk: Annotated[Path, typer.Option(help="Simulated talk.")] = Path("data/curated/talk"),
    size: Annotated[str, typer.Option(help=", ".join(SIZES))] = "tiny",
    seeds: Annotated[str, typer.Option(help="Comma-separated.")] = "0,1,2",
    routers: Annotated[
        str, typer.Option(help="Router starts, all on all domains.")
    ] = "random,scaled,kmeans,copy,ridge",
    compared_at: Annotated[int, typer.Option(help="Experts at which they are compared.")] = 8,
    experts: Annotated[str, typer.Option(help="Numbers of experts of the ladder.")] = "2,4,8,16",
    ladder: Annotated[str, typer.Option(help="Router start of the ladder.")] = "kmeans",
    domains: Annotated[str, typer.Option(help="Domains in the order in which they are added.")] = (
        "fiction,code,legal,medical,math"
    ),
    counts: Annotated[str, typer.Option(help="Rungs: how many of the domains.")] = "2,5",
    parent_steps: int = 500,
    steps: int = 240,
    lr: float = 2e-3,
    val_rows: Annotated[int, typer.Option(help="Held-out rows a domain, looked at often.")] = 8,
    looks: Annotated[int, typer.Option(help="Looks during a training.")] = 6,
    level: Annotated[str, typer.Option(help="Routing by token or by sequence.")] = "token",
    method: Annotated[str, typer.Option(help="Of upcycling: copy, drop, noise.")] = "copy",
    donor_share: Annotated[float, typer.Option(help="A donor's steps, relative.")] = 1.0,
    max_chars: Annotated[int, typer.Option(help="Training text a domain.")] = 1_000_000,
    threads: int = 1,
    limit: Annotated[int, typer.Option(help="Train at most so many cells now; 0: all.")] = 0,
) -> None:
    """Train what is missing of the grid and report on all that is there."""
    import torch

    from oldfriend.moe.domain_corpus import read_domains
    from oldfriend.moe.study.grid import Study
    from oldfriend.moe.study.report import write_report

    console = Console()
    torch.set_num_threads(threads)
    names = tuple(domains.split(","))
    params = settings(
        size, parent_steps, steps, lr,
        seeds=_numbers(seeds), experts=_numbers(experts), domain_counts=_numbers(counts),
        routers=tuple(routers.split(",")), compared_at=compared_at, ladder=ladder, domains=names,
        max_chars=max_chars, val_rows=val_rows, looks=looks, donor_share=donor_share,
        plan={"method": method, "routing_level": level, "score": "softmax"},
    )  # fmt: skip
    try:
        code = Path(sysconfig.get_paths()["stdlib"])
        texts = read_domains(external, names, code=code, talk=talk, max_chars=max_chars)
        study = Study(params, texts, out)
        pending = study.pending()
        for number, cell in enumerate(pending[: limit or None], start=1):
            began = time.monotonic()
            found = study.run(cell)["metrics"]
            console.print(
                f"{number}/{len(pending)} {cell.name}: val_loss {found['val_loss']:.4f}, "
                f"churn {found.get('churn', 0):.2f}, {time.monotonic() - began:.0f} s"
            )
        summary = write_report(out)
    except OldFriendError as error:
        console.print(f"error: {error}")
        raise typer.Exit(error.exit_code) from None
    columns = ("arm", "seeds", "val_loss", "vs_scaled", "vs_dense", "churn", "saturation")
    table = Table(*columns)
    for row in summary["arms"]:
        table.add_row(*(str(row[name]) for name in columns))
    console.print(table)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    typer.run(main)
