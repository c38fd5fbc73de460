"""What Prefect costs on top of `dvc repro`, and what stages side by side give back.

    python -m benchmarks.flows

A project of COUNT stages that do nothing, and two that work for WORK seconds each, run by bare
`dvc repro` and by `flows.pipeline` against a server on loopback. Wall and CPU seconds (of the
process and its children, the server left out) go to metrics/bench/flows.json.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from flows import services
from oldfriend.files import write_json

COUNT, WORK = 7, 20
HERE = Path(__file__).parents[1]
# Work is CPU time, not sleep: two of these share what the machine has.
BUSY = "import time; b = time.process_time()\\nwhile time.process_time() - b < {}: pass"
CHAIN = """stages:
  s0:
    cmd: echo 0 > o0
    params: [x]
    outs: [o0]
"""
LINK = """  s{n}:
    cmd: cp o{m} o{n}
    deps: [o{m}]
    outs: [o{n}]
"""
PAIR = """stages:
  left:
    cmd: python busy.py && echo left > left
    deps: [busy.py]
    params: [x]
    outs: [left]
  right:
    cmd: python busy.py && echo right > right
    deps: [busy.py]
    params: [x]
    outs: [right]
"""


def project(folder: Path, dvc_yaml: str) -> Path:
    """A DVC project in a git repository, with the flows."""
    (folder / ".dvc").mkdir(parents=True)
    shutil.copytree(HERE / "flows", folder / "flows")
    files = {
        ".dvc/config": "[core]\n    analytics = false\n    check_update = false\n",
        "dvc.yaml": dvc_yaml,
        "params.yaml": "x: 1\n",
        "busy.py": BUSY.format(WORK).replace("\\n", "\n"),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return folder


def timed(command: list[str], cwd: Path, env: Mapping[str, str]) -> dict[str, float]:
    """Wall and CPU seconds of a command."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(
        [sys.executable, "-m", *command], cwd=cwd, env=dict(env), check=True, capture_output=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {"wall": time.monotonic() - start, "cpu": cpu}


def main(
    out: Annotated[Path, typer.Option(help="Where to write.")] = Path("metrics/bench/flows.json"),
) -> None:
    """Measure, print and write."""
    port = services.free_port()
    chain = CHAIN + "".join(LINK.format(n=n, m=n - 1) for n in range(1, COUNT))
    found: dict[str, float] = {"load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = services.environment(folder / "prefect", port, PYTHONPATH=str(HERE))
        command, answers = services.prefect_server(port)
        with services.service(command, env=env, log=folder / "log", answers=answers):
            for kind, text in (("chain", chain), ("pair", PAIR)):
                for how, run in (("dvc", ["dvc", "repro"]), ("flow", ["flows.pipeline"])):
                    place = project(folder / f"{kind}-{how}", text)
                    for what in ("full", "noop")[: 2 if kind == "chain" else 1]:
                        for unit, value in timed(run, place, env).items():
                            found[f"{kind}_{what}_{how}_{unit}_s"] = value
    overhead = found["chain_full_flow_cpu_s"] - found["chain_full_dvc_cpu_s"]
    found["overhead_per_stage_cpu_s"] = overhead / COUNT
    found["pair_speedup"] = found["pair_full_dvc_wall_s"] / found["pair_full_flow_wall_s"]
    write_json(out, found)
    print("\n".join(f"{key:32s} {value:8.2f}" for key, value in found.items()))


if __name__ == "__main__":
    typer.run(main)
