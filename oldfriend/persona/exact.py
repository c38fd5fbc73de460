"""JSON in and out with nothing rounded, renamed or dropped; refusals name the field.

The standard module reads ``1.10`` as 1.1, ``1E5`` as 100000.0 and ``-0`` as 0, and lets a second
"name" silently win over the first. Here a number keeps its spelling and a double key is an error.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from oldfriend.errors import InputError
from oldfriend.persona.limits import LIMITS, Limits

_LONGEST_INT = 4000  # digits; Python refuses to convert more than 4300
_SHOWN_PARTS = 8
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Number(float):
    """A number whose spelling Python would not give back."""

    text: str

    def __new__(cls, text: str) -> "Number":
        number = super().__new__(cls, text)
        number.text = text
        return number


class _Doubled(dict[str, Any]):
    """An object in which ``key`` stands twice."""

    key = ""


def number(text: str) -> int | float:
    """The value of a JSON number: int, float, or a Number that remembers its spelling."""
    if text.lstrip("-").isdigit() and text != "-0" and len(text) <= _LONGEST_INT:
        return int(text)
    value = float(text)
    return value if repr(value) == text else Number(text)


def loads(payload: bytes, path: Path | None = None, limits: Limits = LIMITS) -> Any:
    """Read UTF-8 JSON.

    InputError names file, line and field: not UTF-8, not JSON, NaN or infinity, a key that stands
    twice, or more than ``limits`` allow.
    """
    text = decode(payload, path, limits.payload_bytes)
    try:
        tree = json.loads(
            text,
            object_pairs_hook=_object,
            parse_float=number,
            parse_int=number,
            parse_constant=_no_constant,
        )
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg}", path=path, line=error.lineno) from None
    except RecursionError:
        raise InputError(f"nested deeper than {limits.depth}", path=path) from None
    except ValueError as error:
        raise InputError(str(error), path=path) from None
    check(tree, path, limits)
    return tree


def decode(payload: bytes, path: Path | None, most: int) -> str:
    """The text of a payload of at most ``most`` bytes, without a byte order mark."""
    if len(payload) > most:
        raise InputError(f"{len(payload):,} bytes of card; at most {most:,} are read", path=path)
    try:
        return payload.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = payload.count(b"\n", 0, error.start) + 1
        problem = f"byte {error.start} is not UTF-8; save the card as UTF-8"
        raise InputError(problem, path=path, line=line) from None


def check(tree: Any, path: Path | None, limits: Limits = LIMITS) -> None:
    """InputError unless ``tree`` is JSON, of bounded depth and size. Safe with cycles."""
    count = 0
    waiting: list[tuple[Any, tuple[Any, ...], int]] = [(tree, (), 1)]
    while waiting:
        value, place, depth = waiting.pop()
        count += 1
        if count > limits.values:
            raise InputError(f"more than {limits.values:,} values", path=path)
        if depth > limits.depth:
            raise InputError(f"nested deeper than {limits.depth}", path=path, field=_name(place))
        if isinstance(value, _Doubled):
            field = _name((place, value.key))
            raise InputError("this key stands twice", path=path, field=field)
        if isinstance(value, dict):
            if odd := [key for key in value if not isinstance(key, str)]:
                problem = f"the key {shown(repr(odd[0]))} is not text; put it in quotes"
                raise InputError(problem, path=path, field=_name(place))
            waiting += [(item, (place, key), depth + 1) for key, item in value.items()]
            count += len(value)
        elif isinstance(value, list):
            waiting += [(item, (place, i), depth + 1) for i, item in enumerate(value)]
        elif not (value is None or isinstance(value, str | int | float)):
            problem = f"a {type(value).__name__} is nothing that JSON could hold"
            raise InputError(problem, path=path, field=_name(place))


def dumps(tree: Any, indent: int | None = 2) -> str:
    """JSON text of ``tree``; without ``indent`` on one line. Numbers keep their spelling."""
    return "".join(_pieces(tree, indent, 0))


def _pieces(value: Any, indent: int | None, level: int) -> Iterator[str]:
    if not isinstance(value, dict | list) or not value:
        yield scalar(value)
        return
    inner = "" if indent is None else "\n" + " " * indent * (level + 1)
    outer = "" if indent is None else "\n" + " " * indent * level
    comma, colon = (",", ":") if indent is None else (",", ": ")
    yield "{" if isinstance(value, dict) else "["
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for place, (key, item) in enumerate(items):
        yield (comma if place else "") + inner
        if isinstance(value, dict):
            yield quoted(key) + colon
        yield from _pieces(item, indent, level + 1)
    yield outer + ("}" if isinstance(value, dict) else "]")


def scalar(value: Any) -> str:
    """A scalar or an empty collection, as JSON and YAML both read it."""
    if isinstance(value, Number):
        return value.text
    return quoted(value) if isinstance(value, str) else json.dumps(value, allow_nan=False)


def quoted(text: str) -> str:
    """``text`` in double quotes, readable, with escapes for what UTF-8 or YAML cannot hold."""
    plain = json.dumps(text, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", plain)


def whole(tree: Any) -> Any:
    """A copy of ``tree`` whose texts are valid Unicode: halves of a cut emoji become U+FFFD."""
    if isinstance(tree, str):
        return _SURROGATE.sub("\ufffd", tree)
    if isinstance(tree, dict):
        return {whole(key): whole(value) for key, value in tree.items()}
    return [whole(value) for value in tree] if isinstance(tree, list) else tree


def shown(name: str, most: int = 40) -> str:
    """A name out of a stranger's file, short and harmless in a message."""
    return "".join(c if c.isprintable() else "?" for c in name[:most])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    keys = [key for key, _ in pairs]
    doubled = _Doubled(made)
    doubled.key = next(key for place, key in enumerate(keys) if key in keys[:place])
    return doubled


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")


def _name(place: tuple[Any, ...]) -> str:
    """The dotted name of a place, which is (the place around it, a key)."""
    parts: list[str] = []
    while place:
        place, part = place
        parts.append(shown(str(part)))
    parts.reverse()
    return ".".join([*parts[:_SHOWN_PARTS], *(["..."] if len(parts) > _SHOWN_PARTS else [])])
