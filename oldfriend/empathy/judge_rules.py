"""What can be checked of a draft without a model: claims, repetition, questions, hurtful humour.

Every check returns a reason in plain words, or nothing.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from oldfriend.empathy.strategies import PLAYFUL, PUSHING, Strategy
from oldfriend.memory.store.function_words import FUNCTION_WORDS

PAIN = 0.45  # intensity from which jokes hurt
LOW = -0.25  # valence below which a mood is low

# Capitalised without being a name that somebody must have told.
_COMMON = frozenset(
    re.findall(
        r"[\w']+",
        """
        i i'm i'd i'll i've ok okay oh god lord heaven christ mum mom dad mummy daddy gran grandma
        grandad grandpa nan sir monday tuesday wednesday thursday friday saturday sunday january
        february march april may june july august september october november december christmas
        easter english french german spanish italian european american british earth internet tv
        dvd gp usa uk
        """,
    )
)
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019\-][^\W\d_]+)*")
_SENTENCE = re.compile(r"(?:^|[.!?…:\n\"“”]\s*|—\s*)$")
_NUMBER = re.compile(r"(?<![\w.])\d[\d.,:]*\d|\b\d\b")
_QUOTED = re.compile(r"[\"“]([^\"“”]{2,60})[\"”]")
_CLAIM = re.compile(
    r"\b(?:you (?:once |also |even |just )?(?:told me|said|mentioned|were telling me|promised me)|"
    r"(?:as|like) you (?:said|told me|mentioned)|i remember (?:you|your|when|that|how)|"
    r"remember (?:when|how|that time) (?:you|we)|last time (?:you|we)|the other day you)\b"
    r"([^.!?]*)",
    re.IGNORECASE,
)
_NEGATED = re.compile(r"\b(?:never|haven't|hadn't|didn't|not|don't)\b[^.!?]*$", re.IGNORECASE)
_ORDINARY_END = re.compile(r"(?:ing|ly|ous|ed|ful|less|ness|able|ible|est|ive)$")
_ASSISTANT = re.compile(
    r"\b(?:as an? (?:ai|language model|artificial intelligence|virtual assistant|chat ?bot)|"
    r"i(?:'m| am) (?:just |only )?an? (?:ai|language model|virtual assistant)\b|"
    r"how (?:can|may) i (?:assist|help) you (?:today|further)|i apologi[sz]e for any (?:confusion|"
    r"inconvenience)|is there anything else i can (?:help|assist)|happy to assist|"
    r"thank you for (?:sharing that with me|reaching out|contacting)|"
    r"i(?:'m| am) (?:chatgpt|claude|gemini|siri|alexa)\b|my training data|openai)",
    re.IGNORECASE,
)
_MARKUP = re.compile(
    r"^(?:user|human|assistant|system|friend)\s*:|<\|?\w+\|?>|^#{1,4} |\[INST", re.I | re.M
)


@dataclass(frozen=True)
class Check:
    """A fault and how much of the part's score it leaves, 0 to 1."""

    left: float
    reason: str


def names(text: str, lexicon: Collection[str]) -> list[str]:
    """Capitalised words that look like names: anywhere in a sentence, or at its start where the
    word is not in the ``lexicon`` of words seen in lower case; without a lexicon none is found
    there. Neighbouring ones are one name."""
    found: list[tuple[int, int]] = []
    for match in _WORD.finditer(text):
        word = match[0]
        bare = re.sub(r"['\u2019]s$", "", word)
        low = bare.lower().replace("\u2019", "'")
        if not word[0].isupper() or low in _COMMON or low.split("'")[0] in _COMMON:
            continue
        opening = bool(_SENTENCE.search(text[: match.start()]))
        ordinary = not lexicon or low in lexicon or low in FUNCTION_WORDS
        ordinary = ordinary or _contracted(low, lexicon)
        if (opening or bare.isupper()) and (ordinary or bool(_ORDINARY_END.search(low))):
            continue
        start, end = match.start(), match.start() + len(bare)
        if found and text[found[-1][1] : start] == " ":
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return [text[a:b] for a, b in found]


def unsupported(
    draft: str,
    grounds: Sequence[str],
    claimed: Sequence[str],
    memories: Sequence[str],
    lexicon: Collection[str],
) -> list[str]:
    """Values in ``draft`` that nobody told: names, figures and quotations that stand in none of
    ``grounds`` (the talk, the memories, the character), memories ``claimed`` that are not among
    ``memories``, and "you told me ..." of which no content word was ever said."""
    known = _plain(" \n ".join(grounds))
    words = set(_WORD.findall(known))
    bad: list[str] = []
    for memory in claimed:
        if not any(_plain(memory) in _plain(own) or _plain(own) in _plain(memory)
                   for own in memories):  # fmt: skip
            bad.append(memory)
    for name in names(draft, lexicon):
        parts = [p.lower() for p in _WORD.findall(name)]
        if _plain(name) not in known and not all(part in words for part in parts):
            bad.append(name)
    about_you = re.search(r"\byou(?:r|rs|'re|'ve)?\b", draft, re.IGNORECASE)
    if about_you:
        bad += [
            n
            for n in _NUMBER.findall(draft)
            if not re.search(rf"(?<!\d){re.escape(n)}(?!\d)", known)
        ]
    bad += [q for q in _QUOTED.findall(draft) if about_you and _plain(q) not in known]
    for match in _CLAIM.finditer(draft):
        told = {w for w in _WORD.findall(_plain(match[1])) if w not in FUNCTION_WORDS}
        before = draft[: match.start()]
        if told and not told & words and not _NEGATED.search(f"{before}{match[0][:20]}"):
            bad.append(match[0].strip())
    return list(dict.fromkeys(bad))


def moment_faults(
    draft: str,
    strategy: Strategy | None,
    own: Sequence[str],
    said: str,
    valence: float,
    intensity: float,
) -> list[Check]:
    """Faults of timing; ``own``: the friend's turns so far, ``said``: the person's last turn."""
    found = []
    if strategy in PLAYFUL and valence < LOW and intensity >= PAIN:
        verb = "teases" if strategy == "teasing" else "jokes"
        found.append(Check(0.05, f"{verb} although they feel {_feeling(intensity)} bad"))
    asked = [turn.rstrip().endswith("?") for turn in own[-2:]]
    if draft.rstrip().endswith("?") and len(asked) == 2 and all(asked):
        found.append(Check(0.3, "asks a third question in a row"))
    if draft.count("?") >= 3:
        found.append(Check(0.4, f"asks {draft.count('?')} questions at once"))
    early = len(own) < 2 and valence < LOW and intensity >= 0.6
    if strategy in PUSHING and early and not said.rstrip().endswith("?"):
        found.append(Check(0.5, "advises before they have told their story"))
    long = len(draft.split())
    if long > 60 and len(said.split()) < 12 and not said.rstrip().endswith("?"):
        found.append(Check(0.5, f"answers {len(said.split())} words with {long}"))
    return found


def repeats(draft: str, own: Sequence[str], said: str) -> str:
    """Why ``draft`` says nothing new, or ""."""
    mine = _content(draft)
    for turn in reversed(own):
        other = _content(turn)
        same = _plain(turn) == _plain(draft)
        if same or (len(mine) >= 3 and len(mine & other) / len(mine | other) >= 0.75):
            return "repeats what it just said" if turn == own[-1] else "repeats what it said before"
    heard = _content(said)
    if len(mine) >= 4 and len(mine & heard) / len(mine) >= 0.85:
        return "only says their own words back"
    return ""


def out_of_character(draft: str, name: str, banned: Iterable[str], most_words: int) -> list[Check]:
    """Faults of voice."""
    found = []
    if match := _ASSISTANT.search(draft):
        found.append(Check(0.05, f"talks like an assistant: '{match[0].lower()}'"))
    if match := _MARKUP.search(draft):
        found.append(Check(0.05, f"shows the prompt's marks: '{match[0].strip()}'"))
    for phrase in banned:
        if _plain(phrase) and re.search(
            rf"(?<!\w){re.escape(_plain(phrase))}(?!\w)", _plain(draft)
        ):
            found.append(Check(0.1, f"{name or 'this character'} never says '{phrase}'"))
    if len(draft.split()) > most_words:
        found.append(Check(0.4, f"{len(draft.split())} words; at most {most_words} fit the voice"))
    return found


def _feeling(intensity: float) -> str:
    return "very" if intensity >= 0.7 else "quite"


def _contracted(word: str, lexicon: Collection[str]) -> bool:
    head = word.split("'")[0]
    return "'" in word and (head in lexicon or head in FUNCTION_WORDS)


def _content(text: str) -> set[str]:
    return {w for w in _WORD.findall(_plain(text)) if w not in FUNCTION_WORDS}


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("\u2019", "'")).strip().casefold()
