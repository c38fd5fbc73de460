"""Curly-braced syntaxes of Character Card V3: ``{{char}}``, ``{{user}}``, ``{{random:a,b}}``..."""

import re
from random import Random

_MACRO = re.compile(r"\{\{([^{}]*)\}\}")
_ANGLE = re.compile(r"<(user|char|bot)>", re.IGNORECASE)
_SPLIT = re.compile(r"(?<!\\),")
_NESTED = 5  # macros in macros that are followed
_SILENT = ("//", "hidden_key:", "comment:")


def expand(text: str, char: str, user: str, seed: int = 0) -> str:
    """``text`` with its macros replaced; unknown ones stay. The same seed gives the same text."""
    rng = Random(seed)
    names = {"char": char, "bot": char, "user": user}
    text = _ANGLE.sub(lambda found: names[found[1].lower()], text)
    for _ in range(_NESTED):
        done = _MACRO.sub(lambda found: _value(found, names, rng, seed), text)
        if done == text:
            break
        text = done
    return text


def _value(found: "re.Match[str]", names: dict[str, str], rng: Random, seed: int) -> str:
    inner = found[1].strip()
    if inner.lower() in names:
        return names[inner.lower()]
    if inner.lower().startswith(_SILENT):
        return ""
    name, _, given = inner.partition(":")
    match name.lower():
        case "random":
            return rng.choice(_choices(given))
        case "pick":  # stays the same wherever the same choice stands
            return Random(f"{seed}:{given}").choice(_choices(given))
        case "reverse":
            return given.strip()[::-1]
        case "roll" if sides := re.fullmatch(r"\s*d?([1-9]\d{0,8})\s*", given, re.IGNORECASE):
            return str(rng.randint(1, int(sides[1])))
    return found[0]


def _choices(given: str) -> list[str]:
    return [part.replace("\\,", ",").strip() for part in _SPLIT.split(given.lstrip(":"))]
