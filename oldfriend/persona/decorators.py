"""Decorators of Character Card V3: lines such as ``@@depth 4`` at the head of a lore entry.

Of several with one name the first counts. One that is unknown, or whose value makes no sense, gives
way to the ``@@@fallback`` lines under it, and without any is ignored (it stays in the card).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

ROLES = ("system", "user", "assistant")
POSITIONS = ("before_desc", "after_desc", "personality", "scenario")


@dataclass(frozen=True)
class Decorated:
    """An entry's content without its decorators, and those that count, by name."""

    text: str
    rules: Mapping[str, Any]
    ignored: tuple[str, ...] = ()


def undecorate(content: str) -> Decorated:
    """Split the decorators off ``content``. Lines that start with @@ further down are text."""
    lines = content.split("\n")
    groups: list[list[str]] = []
    at = 0
    while at < len(lines) and (not lines[at].strip() or lines[at].startswith("@@")):
        line = lines[at].strip()
        if line.startswith("@@@") and groups:
            groups[-1].append(line[3:])
        elif line:
            groups.append([line.lstrip("@")])
        at += 1
    rules: dict[str, Any] = {}
    ignored: list[str] = []
    for group in groups:
        for line in group:
            name, _, value = line.partition(" ")
            meaning = _meaning(name, value.strip())
            if meaning is not None:
                rules.setdefault(name, meaning)
                break
        else:
            ignored.append(group[0])
    return Decorated("\n".join(lines[at:]).strip("\n") if at else content, rules, tuple(ignored))


def _meaning(name: str, value: str) -> Any:
    """What a decorator says; None if it is unknown or says nothing that could be followed."""
    reader = _READERS.get(name)
    return reader(value) if reader else None


def _count(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else None


def _flag(value: str) -> bool | None:
    return True if value.lower() in ("", "true") else None


def _words(value: str) -> tuple[str, ...] | None:
    return tuple(word for part in value.split(",") if (word := part.strip())) or None


def _one_of(*allowed: str) -> Callable[[str], str | None]:
    return lambda value: value if value in allowed else None


_READERS: Mapping[str, Callable[[str], Any]] = {
    "activate": _flag,
    "dont_activate": _flag,
    "keep_activate_after_match": _flag,
    "dont_activate_after_match": _flag,
    "ignore_on_max_context": _flag,
    "activate_only_after": _count,
    "activate_only_every": _count,
    "is_greeting": _count,
    "scan_depth": _count,
    "depth": _count,
    "reverse_depth": _count,
    "additional_keys": _words,
    "exclude_keys": _words,
    "is_user_icon": lambda value: value or None,
    "role": _one_of(*ROLES),
    "position": _one_of(*POSITIONS),
}
