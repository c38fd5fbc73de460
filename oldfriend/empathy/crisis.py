"""First in every turn: is somebody in danger? The answer is written beforehand, never generated.

``Crisis.heard(text)`` listens for words (SIGNS) and, where it was trained, for likeness to
sentences of danger in MiniLM's vectors, so that what is said in other words is heard as well.
Without its model it goes on by words alone and says so in ``notice``.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from oldfriend.empathy.crisis_answers import Resources
from oldfriend.empathy.crisis_patterns import SIGNS
from oldfriend.empathy.crisis_words import DANGERS, Danger, Sign
from oldfriend.empathy.encoder import Array
from oldfriend.errors import CheckpointError
from oldfriend.files import write_json

Features = Callable[[Sequence[str]], Array]  # unit vectors [texts, D]

HARMLESS = "harmless"
CLASSES = (HARMLESS, *DANGERS)
WEIGHTS, FIGURES = "crisis.safetensors", "crisis.json"
ARRAYS = ("support", "weights", "kinds")
LEVELS = ("bias", "gamma", "alone", "maybe", "faint")
WINDOW = 3  # sentences that are listened to together; alone, too many sound like danger
MAX_WINDOWS = 24  # of one message, the last ones
MAX_CHARS = 20_000  # that are read of one message

# Figures of speech: taken out of the text before signs are looked for.
FIGURATIVE = re.compile(
    r"\b(?:dying|dead|died|die) (?:of|from|with|to|for) (?:laugh\w*|heat|boredom|embarrassment|"
    r"shame|"
    r"curiosity|see|know|meet|hear|try|thirst|hunger)\b|\bto die for\b|\bdie(?:d)? laughing\b|"
    r"\b(?:is|are|was|were|be|been|'s|'re) (?:slowly )?kill(?:ing)? (?:me|us)\b(?! (?:and|"
    r"because))|"
    r"\bkill(?:ing|ed)? it\b|\bkill(?:ing)? myself laughing\b|\bkick(?:ing)? myself\b|"
    r"\b(?:mum|mom|dad|boss|wife|husband|sister|brother|teacher|she|he|they|mother|father) "
    r"(?:is going to|will|would|'ll|'s going to|are going to) (?:kill|murder|shoot|"
    r"strangle) me\b(?! if i (?:leave|tell|talk|call|go to|scream|say))|"
    r"\bshot? (?:myself|yourself|himself|herself) in the foot\b|\bshoot me (?:now|an? )|"
    r"\bheart (?:stopped|skipped)|\b(?:nearly|almost|gave me|give me|having kittens)\b.{0,25}"
    r"\bheart attack\b|\bstroke of (?:luck|genius)\b|\bcut myself (?:shaving|on|chopping|slicing)|"
    r"\b(?:can'?t|couldn'?t) breathe (?:for|from|with|in) (?:laugh\w*|th\w+ (?:trousers|jeans|"
    r"dress|"
    r"shoes|heat))|\bcan'?t breathe,? (?:i'?m )?laughing|\bover my dead body\b|\bwill be the "
    r"death of"
)
_SPORT = re.compile(
    r"\b(?:bungee|abseil\w*|parachut\w*|skydiv\w*|charity|diving board|zip ?line|swimming|"
    r"deadlines?|"
    r"rugby|badminton|chess|goal|match)\b"
)
FICTION = re.compile(
    r"\b(?:films?|movies?|books?|novels?|story|stories|series|episodes?|scenes?|chapters?|"
    r"characters?|thrillers?|games?|levels?|songs?|lyrics|podcast|documentary|zombies?|dragons?|"
    r"hero|heroine|villain|plot|essay|article|play|act (?:one|two|three)|quot(?:e|ing)|joke|"
    r"the news|roleplay\w*|larp)\b"
)
PAST = re.compile(
    r"\b(?:years? ago|decades? ago|used to|when i was (?:young|little|a \w+|\d+)|long over|"
    r"as a (?:child|kid|teen\w*|student)|last year|in (?:19|20)\d\d|before i was born|back then|"
    r"(?:he|she|they)'?s? (?:is |are )?(?:fine|safe|well|better|okay|ok) now|i'?m (?:safe|fine) "
    r"now)\b"
)
_DENIAL = re.compile(
    r"\b(?:not|never|wouldn'?t|won'?t|don'?t|do not|didn'?t|no longer|isn'?t)\s+"
    r"(?!joking|know|care|trust|sure|scared|afraid|only|just|the first)(?:[\w']+\s+){0,4}$"
)
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")


@dataclass(frozen=True)
class Alarm:
    """Somebody is in danger or, where not ``sure``, may be: which, why we think so, the answer.

    A sure alarm is answered with ``answer`` and nothing else; of an unsure one it is a question to
    put first, and the talk goes on.
    """

    danger: Danger
    reason: str
    answer: str
    sure: bool
    likeness: float  # score by the model; 0 where it was not asked


@dataclass(frozen=True)
class Likeness:
    """A support vector machine with Gaussian kernel exp(-gamma |x - s|^2).

    ``support`` [S, D] unit vectors of sentences, ``weights`` [S], ``kinds`` [S]: 0 is harmless,
    else the place in DANGERS plus 1. A score of ``alone`` is enough for an alarm, of ``maybe`` with
    a weak sign; ``maybe`` alone, or ``faint`` with a weak sign, for an unsure one.
    """

    support: Array
    weights: Array
    kinds: Array
    bias: float
    gamma: float
    alone: float
    maybe: float
    faint: float

    def scores(self, vectors: Array) -> Array:
        """Signed distance to the border [texts] of unit vectors [texts, D]; danger is positive."""
        return np.asarray(self._kernel(vectors) @ self.weights + self.bias, np.float32)

    def danger(self, vector: Array) -> Danger:
        """Which danger a text [D] is most like."""
        kernel = self._kernel(vector[None])[0] * (self.kinds > 0)
        return DANGERS[int(self.kinds[int(kernel.argmax())]) - 1]

    def _kernel(self, vectors: Array) -> Array:
        """[texts, S]; of unit vectors |x - s|^2 is 2 - 2 x.s."""
        return np.asarray(np.exp(-2 * self.gamma * (1 - vectors @ self.support.T)), np.float32)


@dataclass(frozen=True)
class Found:
    """A sign in a text; ``guard`` names what makes it weak, or ""."""

    sign: Sign
    words: str
    guard: str = ""

    @property
    def strong(self) -> bool:
        """Whether it is enough by itself."""
        return self.sign.strong and not self.guard


class Crisis:
    """Listens to every message before anything else does."""

    def __init__(
        self,
        resources: Resources | None = None,
        likeness: Likeness | None = None,
        features: Features | None = None,
    ) -> None:
        self.resources = resources or Resources()
        self._model = (likeness, features) if likeness and features else None
        self.notice = (
            "" if self._model else "no crisis model: danger is recognised by set words alone"
        )

    @classmethod
    def load(
        cls, folder: Path | None, features: Features | None, resources: Resources | None = None
    ) -> Self:
        """With the model in ``folder``, if there is one. CheckpointError if it is broken."""
        if folder is None or not (folder / FIGURES).is_file():
            return cls(resources)
        return cls(resources, load_likeness(folder), features)

    def heard(self, text: str) -> Alarm | None:
        """The alarm that ``text`` gives, or None."""
        return self.heard_all([text])[0]

    def heard_all(self, texts: Sequence[str]) -> list[Alarm | None]:
        """As ``heard`` for each of ``texts``, in one call of the encoder."""
        found = [signs(text) for text in texts]
        alarms = [self._by_words(own) for own in found]
        left = [n for n, alarm in enumerate(alarms) if alarm is None and texts[n].strip()]
        if self._model is None or not left:
            return alarms
        likeness, features = self._model
        parts = [windows(texts[n]) for n in left]
        unique = list(dict.fromkeys(part for own in parts for part in own))
        vectors = dict(zip(unique, features(unique), strict=True))
        scores = dict(zip(unique, likeness.scores(np.stack(list(vectors.values()))), strict=True))
        for n, own in zip(left, parts, strict=True):
            worst = max(own, key=lambda part: float(scores[part]))
            kind = likeness.danger(vectors[worst])
            alarms[n] = self._by_likeness(found[n], float(scores[worst]), kind, likeness)
        return alarms

    def _by_words(self, found: Sequence[Found]) -> Alarm | None:
        if not found or not found[0].strong:
            return None
        sign = found[0].sign
        return self._alarm(sign.danger, f"{sign.reason}: '{found[0].words}'")

    def _by_likeness(
        self, found: Sequence[Found], score: float, kind: Danger, levels: Likeness
    ) -> Alarm | None:
        """By a message's signs, and score and kind of its part that is most like danger."""
        if found and score >= levels.faint:
            sign = found[0].sign
            guard = f" ({found[0].guard})" if found[0].guard else ""
            told = f"{sign.reason}: '{found[0].words}'{guard}, and it sounds like danger"
            return self._alarm(sign.danger, told, score, sure=score >= levels.maybe)
        if score >= levels.maybe:
            told = "sounds like what people say in danger"
            return self._alarm(kind, told, score, sure=score >= levels.alone)
        return None

    def _alarm(
        self, danger: Danger, reason: str, likeness: float = 0.0, *, sure: bool = True
    ) -> Alarm:
        answer = self.resources.answer(danger) if sure else self.resources.check()
        return Alarm(danger, reason, answer, sure, likeness)


def plain(text: str) -> str:
    """Case, apostrophes, spaces and invisible characters evened out."""
    text = _UNSEEN.sub("", unicodedata.normalize("NFKC", text[:MAX_CHARS])).casefold()
    text = text.replace("\u2019", "'").replace("\u2018", "'").replace("`", "'")
    return re.sub(r"\s+", " ", text).strip()


def sentences(text: str) -> list[str]:
    """The sentences of a message; a run-on message is one."""
    parts = re.split(r"(?<=[.!?;\n])\s+", text[:MAX_CHARS])
    return [part for part in (p.strip() for p in parts) if part]


def signs(text: str) -> list[Found]:
    """All signs in ``text``, strong ones first."""
    found = []
    for sentence in sentences(text):
        heard = plain(sentence)
        literal = FIGURATIVE.sub(" ... ", heard)
        for sign in SIGNS:
            if match := sign.pattern.search(literal):
                found.append(
                    Found(sign, match[0].strip(), _guard(sign, literal, match.start(), heard))
                )
    return sorted(found, key=lambda one: not one.strong)


def _guard(sign: Sign, text: str, at: int, heard: str) -> str:
    clause = re.split(r"[,.;:!?]", text[:at])[-1]
    if sign.deniable and _DENIAL.search(f"{clause.strip()} "):
        return "denied"
    if FICTION.search(heard):
        return "fiction"
    if _SPORT.search(heard):
        return "sport or figure of speech"
    return "long past" if PAST.search(heard) else ""


def windows(text: str) -> list[str]:
    """A message as it is listened to: a short one whole, a long one in overlapping pieces."""
    parts = sentences(text)
    starts = range(max(len(parts) - WINDOW, 0) + 1)
    return [" ".join(parts[start : start + WINDOW]) for start in starts][-MAX_WINDOWS:]


def save_likeness(folder: Path, model: Likeness, meta: Mapping[str, object]) -> None:
    """Write the arrays and what they are into an existing ``folder``."""
    from safetensors.numpy import save_file

    save_file({name: getattr(model, name) for name in ARRAYS}, folder / WEIGHTS)
    told = {name: getattr(model, name) for name in LEVELS}
    write_json(folder / FIGURES, {**meta, **told, "dangers": list(DANGERS)})


def load_likeness(folder: Path) -> Likeness:
    """Read what ``save_likeness`` wrote. CheckpointError says what is wrong with it."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        told = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
        arrays = load_file(folder / WEIGHTS)
        support, weights, kinds = (arrays[name].astype(np.float32) for name in ARRAYS)
        model = Likeness(support, weights, kinds, *(float(told[name]) for name in LEVELS))
        rows = model.support.shape[0]
        if tuple(told["dangers"]) != DANGERS or not (model.kinds > 0).any():
            raise ValueError("made for other dangers")
        if model.support.ndim != 2 or {a.shape for a in (model.weights, model.kinds)} != {(rows,)}:
            raise ValueError("arrays of another shape")
        if not 0 <= model.kinds.min() <= model.kinds.max() <= len(DANGERS):
            raise ValueError("unknown kinds")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder}: broken crisis model ({error}); train it again") from None
    return model
