"""YAML that means exactly what some JSON means, in and out."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from oldfriend.errors import InputError
from oldfriend.persona.exact import check, decode, number, quoted, scalar
from oldfriend.persona.limits import LIMITS, Limits

_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_BARE_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_BARE = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_LONGEST_KEY = 1000  # characters; YAML reads 1024 before the colon
# a block keeps text as it is only where nothing needs an escape and the first line is not indented
_BLOCK = re.compile("(?![ \n\t])[\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd"
                    "\U00010000-\U0010ffff]*(?<!\\s)")  # fmt: skip


def loads(payload: bytes, path: Path | None = None, limits: Limits = LIMITS) -> Any:
    """Read UTF-8 YAML 1.2 that holds nothing but JSON's types; dates stay text.

    InputError names file, line and field. Aliases are counted each time they are used.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    text = decode(payload, path, limits.yaml_bytes)
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _constructor()
    try:
        tree = yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        problem = " ".join(str(error.problem or error.context).split())
        raise InputError(f"not YAML: {problem}", path=path, line=line) from None
    except RecursionError:
        raise InputError(f"nested deeper than {limits.depth}", path=path) from None
    except (YAMLError, ValueError, TypeError, AttributeError) as error:  # ruamel lets some through
        problem = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"not YAML: {problem}", path=path) from None
    check(tree, path, limits)
    return tree


def dumps(tree: Any) -> str:
    """Block-style YAML of a JSON tree; texts of several lines become blocks where that is exact."""
    return "\n".join(_lines(tree, "")) + "\n"


def _lines(value: Any, pad: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _entry(f"{pad}{_key(key, pad)}:", item, pad + "  ")
    elif isinstance(value, list) and value:
        for item in value:
            yield from _item(item, pad)
    else:
        yield pad + _scalar(value, pad)


def _entry(head: str, value: Any, pad: str) -> Iterator[str]:
    if isinstance(value, dict | list) and value:
        yield head
        yield from _lines(value, pad)
    else:
        yield f"{head} {_scalar(value, pad)}"


def _item(value: Any, pad: str) -> Iterator[str]:
    inner = iter(_lines(value, pad + "  "))
    yield f"{pad}- {next(inner)[len(pad) + 2 :]}"
    yield from inner


def _scalar(value: Any, pad: str) -> str:
    if isinstance(value, str) and "\n" in value and _BLOCK.fullmatch(value):
        return "|-\n" + "\n".join(pad + line if line else "" for line in value.split("\n"))
    return scalar(value)


def _key(key: str, pad: str) -> str:
    if _BARE_KEY.fullmatch(key) and len(key) <= _LONGEST_KEY and key.lower() not in _NOT_BARE:
        return key
    text = quoted(key)
    return text if len(text) <= _LONGEST_KEY else f"? {text}\n{pad}"


def _constructor() -> type:
    """ruamel's safe constructor, less the types that JSON has not."""
    from ruamel.yaml.constructor import ConstructorError, SafeConstructor

    class Plain(SafeConstructor):  # type: ignore[misc, unused-ignore]
        def flatten_mapping(self, node: Any) -> None:
            # merges of merges grow without bound, and JSON has none
            for key, _ in node.value:
                if key.tag == "tag:yaml.org,2002:merge":
                    problem = "'<<' merges are not read; write the keys out"
                    raise ConstructorError(None, None, problem, key.start_mark)

        def construct_number(self, node: Any) -> Any:
            text = self.construct_scalar(node)
            if _JSON_NUMBER.fullmatch(text):
                return number(text)
            kind = node.tag.rpartition(":")[2]
            value = getattr(SafeConstructor, f"construct_yaml_{kind}")(self, node)
            if isinstance(value, float) and not abs(value) < float("inf"):
                raise ValueError(f"{text} is not a JSON number")
            return value

    Plain.add_constructor("tag:yaml.org,2002:int", Plain.construct_number)
    Plain.add_constructor("tag:yaml.org,2002:float", Plain.construct_number)
    Plain.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)
    return Plain
