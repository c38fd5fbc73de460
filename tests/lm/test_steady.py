"""One seed, one result: also in the first call of a process, with several threads at once."""

import subprocess
import sys

import torch

from oldfriend.lm.steady import FUNCTIONS

FIRST_CALL = """
import hashlib, torch
from oldfriend.lm.steady import settle_vector_math
settle_vector_math()
angles = torch.arange(2 * 384 * 32).float().reshape(2, 384, 32) / 7
print(hashlib.md5(angles.cos().numpy().tobytes()).hexdigest())
"""


def test_the_first_cosine_of_a_process_is_like_any_other() -> None:
    angles = torch.arange(2 * 384 * 32).float().reshape(2, 384, 32) / 7
    assert torch.equal(angles.cos(), angles.cos())
    command = [sys.executable, "-c", FIRST_CALL]
    said = {subprocess.run(command, capture_output=True, check=True).stdout for _ in range(4)}
    assert len(said) == 1


def test_every_named_function_exists() -> None:
    assert all(hasattr(torch.Tensor, name) for name in FUNCTIONS.split())
