"""Find the words of a turn that a note was made from: an extractive oracle.

A note says what is worth remembering ("Caroline attended a support group"), but not where it was
said. ``align`` returns the run of clauses within one sentence of the turn whose content words
agree best with the note's, or None where no run agrees well enough. It prefers silence: questions
and clauses of the other polarity ("no chest pain" for "chest pain") are never a match.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations

from oldfriend.corpus.importers.english import Words, words
from oldfriend.corpus.schema import Fact, Kind

THRESHOLD = 0.5  # F1 of content words; below it the span is mostly about something else
LONE_WORD = 0.5  # least F1 where one word is all that agrees; it must be all that the span says

PREFERENCE = re.compile(r"\b(like|love|hate|enjoy|prefer|favou?rite|dislike|fond)", re.IGNORECASE)
RELATION = re.compile(
    r"\b(wife|husband|mother|father|mom|dad|mum|parents?|sisters?|brothers?|sons?|daughters?|"
    r"children|girlfriend|boyfriend|partner|married|cousins?|aunt|uncle|grand(?:ma|pa|mother|"
    r"father|son|daughter|children|parents))\b",
    re.IGNORECASE,
)

# A sentence ends at punctuation, but not after a capital ("J.") or a title ("Dr.").
SENTENCE = re.compile(
    r"(?<!\b[A-Z])(?<!\b[DMJ][rs])(?<!\bMrs)[.!?;\u2026\u3002\uff01\uff1f]+(?=\s|$|[\"'\u201d])|\n+"
)
CLAUSE = re.compile(
    r",(?=\s)|\s[-\u2013\u2014]+\s|\u2014|(?=\s(?:and|but|because|so|although|which|who|then)\s)",
    re.IGNORECASE,
)
ITEM = re.compile(r",|:|\s(?:and|or)\s")
# What may be cut from the front of a span; "no" and "well" only where a comma follows.
OPENING = re.compile(
    r"(?:[\s,.\-\u2013\u2014*\"'\u201c\u201d]|\b(?:and|but|so|because|yes|yeah|yea|ya|yep|yup|um|uh|"
    r"oh|hey|hi|okay|ok|also|haha|i mean|you know)\b[\s,.!]+|"
    r"\b(?:no|nope|well|actually|then|wow|thanks|right|sure)\s*[,.!]+\s*)+",
    re.IGNORECASE,
)
QUESTION = frozenset("?\uff1f")
CLOSING = ' \t\n,.!;:-*"\u2013\u2014\u201c\u201d'


@dataclass(frozen=True)
class Span:
    """Characters ``start`` to ``end`` of a turn, and how well they agree with the note (0-1)."""

    start: int
    end: int
    score: float


@dataclass(frozen=True)
class _Clause:
    start: int
    end: int
    words: Words


@dataclass(frozen=True)
class Notes:
    """Facts found for notes of one slot: ``found`` has them by the number of the turn."""

    slot: str
    kind: Kind = "profile"
    subject: str = "me"
    importance: int = 5
    ignore: Sequence[str] = ()
    threshold: float = THRESHOLD
    found: dict[int, list[Fact]] = field(default_factory=dict)

    def find(self, texts: Sequence[str], notes: Iterable[str]) -> "Notes":
        """Add a fact for each note that one of the turns supports; facts never overlap."""
        for note in notes:
            hit = best_turn(texts, note, ignore=self.ignore, threshold=self.threshold)
            if hit is not None:
                self._add(hit[0], hit[1], texts[hit[0]], note)
        return self

    def _add(self, number: int, span: Span, text: str, note: str) -> None:
        facts = self.found.setdefault(number, [])
        if all(span.end <= fact.start or fact.end <= span.start for fact in facts):
            facts.append(
                Fact(
                    slot=self.slot,
                    value=text[span.start : span.end],
                    kind=kind_of(note, self.kind),
                    subject=self.subject,
                    start=span.start,
                    end=span.end,
                    importance=self.importance,
                )
            )
            facts.sort(key=lambda fact: fact.start)


def align(
    text: str, note: str, *, ignore: Iterable[str] = (), threshold: float = THRESHOLD
) -> Span | None:
    """The best span of ``text`` for ``note``; words to ``ignore`` (names) do not count."""
    skip = words(" ".join(ignore)).content
    wanted = words(note)
    target = wanted.content - skip
    best: Span | None = None
    for sentence in _sentences(text):
        for first, last in combinations(range(len(sentence) + 1), 2):
            span = _rate(sentence[first:last], wanted.negative, target, skip)
            if span and span.score >= threshold and _better(span, best):
                best = span
    span = _trim(text, best) if best else None
    if span is None or words(text[span.start : span.end]).negative != wanted.negative:
        return None
    return span


def best_turn(
    texts: Sequence[str], note: str, *, ignore: Iterable[str] = (), threshold: float = THRESHOLD
) -> tuple[int, Span] | None:
    """The turn that supports ``note`` best, and its span; the earliest of equals."""
    found: tuple[int, Span] | None = None
    for number, text in enumerate(texts):
        span = align(text, note, ignore=ignore, threshold=threshold)
        if span and (found is None or span.score > found[1].score):
            found = number, span
    return found


def kind_of(note: str, default: Kind) -> Kind:
    """What kind of memory a note is, by its own words."""
    if RELATION.search(note):
        return "relationship"
    return "preference" if PREFERENCE.search(note) else default


def sentences(text: str) -> list[str]:
    """The sentences of a note, without empty ones."""
    return [part.strip() for part in SENTENCE.split(text) if part.strip()]


def items(text: str) -> list[str]:
    """The members of a note that is a list: "asthma, hives and gout." has three."""
    parts = (part for sentence in sentences(text) for part in ITEM.split(sentence))
    return [part.strip() for part in parts if part.strip()]


@lru_cache(maxsize=8192)
def _sentences(text: str) -> tuple[tuple[_Clause, ...], ...]:
    """Clauses by sentence; questions are left out, for they state nothing."""
    found, start = [], 0
    for match in [*SENTENCE.finditer(text), None]:
        end = match.start() if match else len(text)
        if end > start and not (match and QUESTION & set(match.group())):
            found.append(tuple(_clauses(text, start, end)))
        start = match.end() if match else end
    return tuple(found)


def _clauses(text: str, start: int, end: int) -> Iterator[_Clause]:
    cuts = [(match.start(), match.end()) for match in CLAUSE.finditer(text, start, end)]
    for stop, following in [*cuts, (end, end)]:
        if text[start:stop].strip():
            yield _Clause(start, stop, words(text[start:stop]))
        start = following


def _rate(
    clauses: Sequence[_Clause], negative: bool, target: frozenset[str], skip: frozenset[str]
) -> Span | None:
    if negative != any(clause.words.negative for clause in clauses):
        return None
    content = frozenset().union(*(clause.words.content for clause in clauses)) - skip
    shared = len(content & target)
    if not shared:
        return None
    score = 2 * shared / (len(content) + len(target))
    if shared == 1 and not (len(content) == 1 and score >= LONE_WORD):
        return None
    return Span(clauses[0].start, clauses[-1].end, score)


def _better(span: Span, best: Span | None) -> bool:
    if best is None:
        return True
    return (span.score, best.end - best.start) > (best.score, span.end - span.start)


def _trim(text: str, span: Span) -> Span | None:
    """Without opening fillers and punctuation around."""
    opening = OPENING.match(text, span.start, span.end)
    start = opening.end() if opening else span.start
    end = start + len(text[start : span.end].rstrip(CLOSING))
    return Span(start, end, span.score) if end > start else None
