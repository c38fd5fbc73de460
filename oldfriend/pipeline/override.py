"""Sets single values in params.yaml, comments and order kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oldfriend.errors import ParamsError
from oldfriend.files import atomic_write
from oldfriend.params import read_yaml, yaml


def override(path: Path, values: Mapping[str, Any]) -> list[str]:
    """Set ``{"ground.fit.steps": 40}`` in ``path``; return what changed, as ``key: old -> new``.

    Raises ParamsError for a key that is not there or a value of another kind than the one it
    replaces, and changes nothing then.
    """
    document, changes = read_yaml(path), []
    for key, value in values.items():
        section, last = _place(document, key, path)
        old = section[last]
        if _kind(old) != _kind(value) and old is not None:
            raise ParamsError(f"is {old!r}, so {value!r} cannot stand there", path=path, field=key)
        if old != value:
            changes.append(f"{key}: {old} -> {value}")
            section[last] = value
    if changes:
        with atomic_write(path) as out:
            yaml().dump(document, out)
    return changes


def _place(document: Any, key: str, path: Path) -> tuple[Any, str]:
    """The section that holds ``key``, and its name in there."""
    *sections, last = key.split(".")
    here = document
    for depth, name in enumerate([*sections, last]):
        if not isinstance(here, dict) or name not in here:
            known = ", ".join(map(str, here)) if isinstance(here, dict) else "nothing"
            place = ".".join(sections[:depth]) or "it"
            raise ParamsError(f"no such parameter; {place} has {known}", path=path, field=key)
        here = here[name] if depth < len(sections) else here
    return here, last


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "switch"
    if isinstance(value, int | float):
        return "number"
    return "list" if isinstance(value, list) else "section" if isinstance(value, dict) else "text"
