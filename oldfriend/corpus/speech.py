"""Utterances under construction: templates filled with values, then spoken in an idiolect."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from oldfriend.corpus.banks import Idiolect
from oldfriend.corpus.schema import Fact


@dataclass(frozen=True)
class Value:
    """A value in an utterance: idiolects leave it alone, so that its span stays exact."""

    text: str
    fact: Fact | None = None  # the fact told by it; start and end are set by ``render``


Draft = tuple[str | Value, ...]

_FIELD = re.compile(r"(\{(?:value|old)\})")
_STOP = re.compile(r"(?<![.])[.](?=\s|$)")  # a full stop that ends a sentence


def fill(template: str, value: Value, old: str = "") -> Draft:
    """Put ``value`` and, where the template names it, the value that it replaces into it."""
    known = {"{value}": value, "{old}": Value(old)}
    return tuple(known.get(part, part) for part in _FIELD.split(template) if part)


def render(draft: Draft) -> tuple[str, tuple[Fact, ...]]:
    """The text of a draft, and its facts with their spans."""
    text, facts = "", []
    for part in draft:
        if isinstance(part, Value):
            if part.fact:
                span = {"start": len(text), "end": len(text) + len(part.text)}
                facts.append(part.fact.model_copy(update=span))
            text += part.text
        else:
            text += part
    return text, tuple(facts)


def speak(draft: Draft, idiolect: Idiolect, rng: Random) -> Draft:
    """The same draft as a person with this idiolect would put it."""
    prefix = rng.choice(idiolect.prefixes) if rng.random() < idiolect.rate else ""
    suffix = rng.choice(idiolect.suffixes) if rng.random() < idiolect.rate else ""
    change = _TRANSFORMS[idiolect.transform]
    return tuple(
        part if isinstance(part, Value) else change(part) for part in (prefix, *draft, suffix)
    )


_TRANSFORMS: dict[str, Callable[[str], str]] = {
    "none": str,
    "lower": str.lower,
    "no_apostrophes": lambda text: text.replace("'", ""),
    "exclaim": lambda text: _STOP.sub("!", text),
    "ellipsis": lambda text: _STOP.sub("...", text),
}
