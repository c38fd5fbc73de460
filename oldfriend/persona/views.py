"""What a character holds, brought to mind by what is said: one more line of the prompt.

A belief is looked up like a memory, so that an adapter learns how to stand and not what on: the
card can change without a training.
"""

import re
from collections.abc import Iterable, Sequence

VIEW = "my view"  # how the prompt names a belief and a reply quotes it
WHOLE = 0.8  # of the content words of a claim, from which a text says it
_COMMON = frozenset(
    re.findall(
        r"\S+",
        """the and that this these those with for from are was were been being you your yours
        yourself have has had not but she her his him its they them their there here what when
        where which who whom why how all any can could will would shall should may might must just
        than then too very into onto out off over under again about because does did done doing
        don't isn't it's i'm i've i'll i'd you're you've you'll you'd that's there's who's what's
        let's one some""",
    )
)


def content(text: str) -> set[str]:
    """The words of a text that carry meaning, in lower case."""
    words = re.findall(r"[a-z0-9]+(?:'[a-z]+)?", text.lower().replace("\u2019", "'"))
    return {word for word in words if len(word) > 2 and word not in _COMMON}


def says_claim(text: str, claim: str) -> bool:
    """Whether nearly all content words of a claim stand in a text."""
    wanted = content(claim)
    return bool(wanted) and len(wanted & content(text)) >= WHOLE * len(wanted)


def woken(views: Iterable[tuple[str, str]], said: Sequence[str]) -> list[str]:
    """The beliefs of all (claim, belief) whose claim one of the messages makes."""
    return [
        belief for claim, belief in views if any(says_claim(message, claim) for message in said)
    ]
