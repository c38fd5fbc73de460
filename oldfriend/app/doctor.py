"""What this machine lacks, and how to get it."""

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

MIN_FREE_GB = 3.0


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, what was found, and the remedy if it is not well."""

    what: str
    found: str
    well: bool
    remedy: str = ""
    needed: bool = True  # False: the pipeline runs without it


def checkup() -> bool:
    """Print all findings; True if nothing that is needed is missing."""
    table = Table("", "what", "found", "how to get it")
    findings = list(_findings())
    for f in findings:
        mark = "[green]ok" if f.well else "[red]missing" if f.needed else "[yellow]optional"
        table.add_row(mark, f.what, f.found, "" if f.well else f.remedy)
    Console().print(table)
    return all(f.well or not f.needed for f in findings)


def _findings() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", version, sys.version_info >= (3, 11), "install Python 3.11 or newer")
    for name in ("torch", "lightning", "transformers", "peft", "dvc", "mlflow"):
        there = importlib.util.find_spec(name) is not None
        yield Finding(name, importlib.metadata.version(name) if there else "-", there, "make repro")
    git = shutil.which("git")
    yield Finding("git", git or "-", git is not None, "apt-get install git")
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    yield Finding(
        "C++ compiler", compiler or "-", compiler is not None,
        "apt-get install g++ (only for fit.compile: true)", needed=False,
    )  # fmt: skip
    yield Finding("CPU cores", str(os.cpu_count()), True)
    free = shutil.disk_usage(".").free / 1e9
    yield Finding("free disk", f"{free:.0f} GB", free > MIN_FREE_GB, f"free {MIN_FREE_GB:.0f} GB")
    for path, remedy in (("params.yaml", "run in the repository's root"), (".dvc", "git clone")):
        yield Finding(path, "there" if Path(path).exists() else "-", Path(path).exists(), remedy)
    public = Path("data/external")
    datasets = sorted(p.name for p in public.iterdir() if p.is_dir()) if public.is_dir() else []
    yield Finding(
        "public datasets", f"{len(datasets)} in {public}", bool(datasets),
        "only for preset real-data: see docs/datasets.md", needed=False,
    )  # fmt: skip
    from torch import cuda

    gpu = cuda.get_device_name(0) if cuda.is_available() else "none"
    yield Finding("GPU", gpu, gpu != "none", "not needed; nano trains on the CPU", needed=False)
