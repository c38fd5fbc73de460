"""Two processes train what one does: ddp on the CPU, and a checkpoint of two taken up by one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow
# Sums over rows are taken in another order; AdamW's first steps amplify the last bits.
TOLERANCE = 2e-5
ONE = {"devices": 1, "accumulate": 2, "rows": 2}
TWO = {"devices": 2, "accumulate": 1, "rows": 2, "strategy": "ddp"}

# Lightning starts the other process with the same command line, so it has to be a program.
PROGRAM = """import json, os, sys
from pathlib import Path
import torch
from fit_run import train
from oldfriend.lm.fit import StepBatches

out, checkpoints, settings, cut = sys.argv[1:]
torch.set_num_threads(1)
whole = StepBatches.step_rows
def step_rows(self, step):
    if step == int(cut):
        os._exit(9)  # all at once, as when a machine is lost
    return whole(self, step)
StepBatches.step_rows = step_rows
model, result = train(Path(checkpoints), json.loads(settings))
if os.environ.get("LOCAL_RANK", "0") == "0":
    torch.save({"val_loss": result.val_loss, "weights": model.state_dict()}, out)
"""


def train(folder: Path, checkpoints: Path, settings: dict[str, Any], cut: int = -1) -> Any:
    """Run the program; its loss and weights, or None if it was cut at step ``cut``."""
    folder.mkdir(exist_ok=True)
    program, out = folder / "program.py", folder / "out.pt"
    out.unlink(missing_ok=True)
    program.write_text(PROGRAM, encoding="utf-8")
    paths = [str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, program, out, checkpoints, json.dumps(settings), str(cut)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if cut >= 0:
        assert done.returncode, "it should not have come to its end"
        return None
    assert done.returncode == 0, done.stdout + done.stderr
    return torch.load(out, weights_only=True)


def assert_same(one: Any, two: Any) -> None:
    assert two["val_loss"] == pytest.approx(one["val_loss"], abs=TOLERANCE)
    for name, weight in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], weight, atol=TOLERANCE, rtol=0)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("one")
    return train(folder, folder / "checkpoints", ONE)


def test_two_processes_come_to_the_same_weights_as_one(tmp_path: Path, one: Any) -> None:
    two = train(tmp_path, tmp_path / "checkpoints", TWO)
    assert_same(one, two)
    other = train(tmp_path, tmp_path / "checkpoints", TWO | {"seed": 1, "lr": 1e-3})
    moved = max((other["weights"][n] - w).abs().max() for n, w in one["weights"].items())
    assert moved > 100 * TOLERANCE  # the tolerance would not pass just anything


def test_one_process_continues_what_two_began(tmp_path: Path, one: Any) -> None:
    """The checkpoint is the same; its folder is named by the settings, which differ."""
    train(tmp_path / "two", tmp_path / "began", TWO, cut=5)
    train(tmp_path / "one", tmp_path / "goes-on", ONE, cut=3)
    (began,) = (tmp_path / "began").glob("*/*.ckpt")
    (folder,) = (tmp_path / "goes-on").iterdir()
    for old in folder.glob("*.ckpt"):
        old.unlink()
    shutil.copy(began, folder / began.name)
    assert began.stem == "step=4"
    assert_same(one, train(tmp_path / "one", tmp_path / "goes-on", ONE))


def test_two_processes_continue_what_one_began(tmp_path: Path, one: Any) -> None:
    train(tmp_path / "one", tmp_path / "began", ONE, cut=5)
    train(tmp_path / "two", tmp_path / "goes-on", TWO, cut=3)
    (began,) = (tmp_path / "began").glob("*/*.ckpt")
    (folder,) = (tmp_path / "goes-on").iterdir()
    for old in folder.glob("*.ckpt"):
        old.unlink()
    shutil.copy(began, folder / began.name)
    assert_same(one, train(tmp_path / "two", tmp_path / "goes-on", TWO))
