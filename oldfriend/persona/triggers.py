"""Whether a key stands in a text: as words, or as a regular expression that may not run away."""

import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import regex  # type: ignore[import-untyped, unused-ignore]

LONGEST_PATTERN = 1000  # characters
_ONE_SEARCH, _ALL_SEARCHES = 0.1, 1.0  # seconds of CPU, so that a busy machine changes nothing
_FLAGS = {"i": regex.IGNORECASE, "m": regex.MULTILINE, "s": regex.DOTALL, "u": 0, "g": 0, "y": 0}
_SPACED = 0x0E00  # scripts below this code point put spaces between words, Thai and CJK do not


class Text:
    """A text to search in, and the same without case."""

    def __init__(self, raw: str) -> None:
        self.raw, self.folded = raw, raw.casefold()

    def has(self, key: str, *, case: bool, whole: bool = True) -> bool:
        """Whether ``key`` stands here, with ``whole`` not inside a longer word."""
        text, key = (self.raw, key) if case else (self.folded, key.casefold())
        at = text.find(key) if key else -1
        while at >= 0:
            if not whole or (_edge(text, at - 1, key[0]) and _edge(text, at + len(key), key[-1])):
                return True
            at = text.find(key, at + 1)
        return False


@dataclass
class Patterns:
    """Regular expressions within one allowance of time; those too slow are remembered."""

    left: float = _ALL_SEARCHES  # seconds
    slow: list[str] = field(default_factory=list)

    def found(self, key: str, text: str, *, case: bool) -> bool:
        """Whether the pattern ``key`` (or ``/key/flags``) matches somewhere in ``text``.

        An invalid pattern never matches, nor does one that needs more than 0.1 s, or any once
        1 s was spent in all.
        """
        pattern = _compiled(key, case)
        if pattern is None or key in self.slow:
            return False
        start = time.thread_time()
        try:
            return self.left > 0 and bool(pattern.search(text, timeout=min(_ONE_SEARCH, self.left)))
        except (TimeoutError, MemoryError, RecursionError):
            self.slow.append(key)
            return False
        finally:
            self.left -= time.thread_time() - start


def slashed(key: str) -> bool:
    """Whether a key is written ``/pattern/flags``, as JavaScript does."""
    body, slash, flags = key[1:].rpartition("/")
    return key.startswith("/") and bool(body and slash) and set(flags) <= _FLAGS.keys()


@lru_cache(maxsize=4096)
def _compiled(key: str, case: bool) -> Any:
    """The compiled pattern; None if it is too long or invalid."""
    flags = 0 if case else regex.IGNORECASE
    if slashed(key):
        key, _, letters = key[1:].rpartition("/")
        flags = sum({_FLAGS[letter] for letter in letters})
    if not key or len(key) > LONGEST_PATTERN:
        return None
    try:
        return regex.compile(key, flags)
    except (regex.error, RecursionError, OverflowError, ValueError, MemoryError):
        return None


def _edge(text: str, at: int, inner: str) -> bool:
    """Whether a word ends between ``inner``, the first or last of a key, and ``text[at]``."""
    if not 0 <= at < len(text):
        return True
    return not (_wordlike(inner) and _wordlike(text[at]))


def _wordlike(char: str) -> bool:
    return char.isalnum() and ord(char) < _SPACED
