"""Progress bars on stderr, where somebody is watching."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def progress(items: Iterable[Item], label: str, total: int | None = None) -> Iterator[Item]:
    """Pass items on; with a bar if stderr is a terminal, else silently."""
    if sys.stderr.isatty():
        console = Console(stderr=True)
        yield from track(items, label, total=total, console=console, transient=True)
    else:
        yield from items
