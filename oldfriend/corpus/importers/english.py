"""Words in one spelling, so that a note can be compared with speech: stems, numbers, letters."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

# Words that say nothing by themselves; the last lines are what notes say of everybody.
_STOPWORDS = """
a about after again all also am an and any are as at be because been before being but by can could
did do does doing for from get gets getting go goes going got had has have having he her hers him
his how i if in into is it its just kind know like lot made make makes making many me more most
much my of off on or other our out over really she should so some such take takes than that the
their them then there these they thing things this those to too took up us very was we well were
what when where which while who will with would yeah yes you your im ive id ill thats hes shes its
currently recently user patient states stated reports reported notes noted
"""
_NEGATIONS = """
no not never none without nothing neither nor cannot deny denies denied denying negative nope
hate hates dislike dislikes
"""
_UNITS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"

STOPWORDS = frozenset(_STOPWORDS.split())
NEGATIONS = frozenset(_NEGATIONS.split())
UNITS = {word: number for number, word in enumerate(_UNITS.split())}
TENS = {word: 10 * number for number, word in enumerate(_TENS.split(), start=2)}
ENDINGS = (("ies", 3), ("ing", 4), ("ed", 4), ("es", 4), ("ly", 4), ("s", 3))

# A word with its apostrophe, a number, or one Chinese character.
WORD = re.compile(r"[^\W\d_\u2e80-\u9fff]+(?:['\u2019][^\W\d_]+)?|\d+(?:[./]\d+)*|[\u2e80-\u9fff]")
LETTERS = re.compile(r"\b[A-Z](?: [A-Z])+\b")  # "M R I", as speech is written down


@dataclass(frozen=True)
class Words:
    """The content words of some text, and whether it denies something."""

    content: frozenset[str]
    negative: bool


@lru_cache(maxsize=8192)
def words(text: str) -> Words:
    """Content words of ``text``: "I had two M R I scans" -> 2, mri, scan."""
    tokens = list(_tokens(text))
    negative = any(token in NEGATIONS or token.endswith("n't") for token in tokens)
    content = (token for token in tokens if "'" not in token and token not in STOPWORDS | NEGATIONS)
    return Words(frozenset(map(stem, content)), negative)


def stem(word: str) -> str:
    """``word`` without its commonest English endings."""
    for ending, least in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= least and not word.endswith("ss"):
            word = word.removesuffix(ending) + ("y" if ending == "ies" else "")
            break
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word[:-1] if len(word) > 4 and word[-1] in "ey" else word


def _tokens(text: str) -> Iterator[str]:
    """Lower-case words; number words as digits, spelled-out letters joined."""
    tens = 0
    for match in WORD.finditer(LETTERS.sub(lambda spelled: spelled[0].replace(" ", ""), text)):
        word = match.group().replace("\u2019", "'").lower().removesuffix("'s")
        unit = UNITS.get(word, 0)
        if tens:
            yield str(tens + unit if unit < 10 else tens)
            if 0 < unit < 10:
                tens = 0
                continue
        tens = TENS.get(word, 0)
        if not tens:
            yield str(UNITS[word]) if word in UNITS else word
    if tens:
        yield str(tens)
