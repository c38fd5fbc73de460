"""A DVC project of cheap stages in a git repository: data, left and right of it, and their join."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
BIN = str(Path(sys.executable).parent)

STEP = '''"""One stage: a file of numbers out of other files of numbers, and a metric."""
import json, sys, time
from pathlib import Path
from ruamel.yaml import YAML

name, *inputs = sys.argv[1:]
params = YAML(typ="safe").load(Path("params.yaml").read_text())
for part in name.split("."):
    params = params[part]
print(f"{name} begins", flush=True)
with open("ran.log", "a") as log:
    log.write(name + "\\n")
if params.get("fail"):
    print("something went wrong", file=sys.stderr)
    sys.exit(params["fail"])
if params.get("die_once") and not Path("died").exists():
    Path("died").touch()
    sys.exit(1)
until = time.monotonic() + params.get("sleep", 0)
Path("begun." + name).touch()
while time.monotonic() < until or not Path(params.get("until", ".")).exists():
    time.sleep(0.05)
total = params.get("start", 0) + sum(int(Path(i).read_text()) for i in inputs)
file = Path("out", name.replace(".", "-"))
file.parent.mkdir(exist_ok=True)
file.write_text(str(total * params.get("scale", 1)))
Path("metrics").mkdir(exist_ok=True)
metric = Path("metrics", *name.split(".")).with_suffix(".json")
metric.parent.mkdir(exist_ok=True)
metric.write_text(json.dumps({"total": total * params.get("scale", 1), "unit": "one"}))
'''

DVC_YAML = """stages:
  data:
    cmd: python step.py data
    deps: [step.py]
    params: [data]
    outs: [out/data]
    metrics: [metrics/data.json: {cache: false}]
  side:
    foreach: ${side}
    do:
      cmd: python step.py side.${key} out/data
      deps: [step.py, out/data]
      params: ["side.${key}"]
      outs: ["out/side-${key}"]
      metrics: ["metrics/side/${key}.json": {cache: false}]
      meta: {gpus: 1, retries: 1}
  join:
    cmd: python step.py join out/side-left out/side-right
    deps: [step.py, out/side-left, out/side-right]
    params: [join]
    outs: [out/join]
    metrics: [metrics/join.json: {cache: false}]
"""

PARAMS = """data:
  start: 3  # the number that all others come from
side:
  left: {scale: 2, sleep: 0, fail: 0}
  right: {scale: 5, sleep: 0, fail: 0}
join: {scale: 1, sleep: 0}
"""
IGNORED = "/out\n/ran.log\n/begun.*\n/died\n/mlflow.db\n__pycache__/\n"
ALL = ["data", "side@left", "side@right", "join"]


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    command = ["git", *who, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def dvc(folder: Path, *arguments: str, **more: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment(**more), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment(**more: str) -> dict[str, str]:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "DVC_NO_ANALYTICS": "1"} | more


def write_project(folder: Path, **files: str) -> Path:
    """The project in ``folder``, committed; ``files`` add to it or replace what is there."""
    (folder / ".dvc").mkdir(parents=True)
    content = {
        ".dvc/config": "[core]\n    analytics = false\n    check_update = false\n",
        ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
        ".dvcignore": "__pycache__/\n",
        ".gitignore": IGNORED,
        "dvc.yaml": DVC_YAML,
        "params.yaml": PARAMS,
        "step.py": STEP,
    }
    for name, text in (content | files).items():
        (folder / name).write_text(text, encoding="utf-8")
    # The flows as they are; a clone of the project is then what a worker sees.
    shutil.copytree(ROOT / "flows", folder / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "as it is")


def set_params(folder: Path, key: str, value: Any) -> None:
    yaml = YAML()
    values = yaml.load((folder / "params.yaml").read_text(encoding="utf-8"))
    here = values
    *sections, last = key.split(".")
    for section in sections:
        here = here[section]
    here[last] = value
    with (folder / "params.yaml").open("w", encoding="utf-8") as out:
        yaml.dump(values, out)


def locked(folder: Path) -> dict[str, Any]:
    """Stages in dvc.lock."""
    path = folder / "dvc.lock"
    if not path.is_file():
        return {}
    stages: dict[str, Any] = YAML(typ="safe").load(path.read_text(encoding="utf-8"))["stages"]
    return stages


def ran(folder: Path) -> list[str]:
    """Names of the steps that ran, in the order in which they began."""
    log = folder / "ran.log"
    return log.read_text(encoding="utf-8").split() if log.is_file() else []
