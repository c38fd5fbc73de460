"""The baseline a trained summarizer must beat: slots by telling words, values by capitals or list.

Telling words of a slot are those whose log-odds in its turns against all others are highest
(informative log-odds without a prior, Monroe et al. 2008).
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from oldfriend.corpus.schema import NoteExample
from oldfriend.memory.notes import Note

_NAME = re.compile(r"(?<![.!?]\s)(?<!^)\b[A-Z]\w+(?:\s(?:and|&|of|the)?\s?[A-Z]\w+)*")
_MIN_COUNT, _MIN_ODDS = 3, 1.0


@dataclass(frozen=True)
class KeywordExtractor:
    """Word weights per slot, and the values each slot had in training."""

    weights: dict[str, dict[str, float]]
    values: dict[str, tuple[str, ...]]

    @classmethod
    def fit(cls, rows: Sequence[NoteExample]) -> "KeywordExtractor":
        """Count words per slot; turns with nothing to note count as a slot of their own."""
        counts: dict[str, Counter[str]] = {}
        values: dict[str, set[str]] = {}
        for row in rows:
            spans = [row.text[fact.start : fact.end] for fact in row.facts]
            text = row.text
            for span in spans:
                text = text.replace(span, " ")
            for slot in {fact.slot for fact in row.facts} or {""}:
                counts.setdefault(slot, Counter()).update(set(_words(text)))
            for fact in row.facts:
                values.setdefault(fact.slot, set()).add(fact.value)
        overall = sum(counts.values(), Counter())
        total = overall.total()
        weights = {}
        for slot, own in counts.items():
            rest = total - own.total()
            weights[slot] = {
                word: odds
                for word, n in own.items()
                if n >= _MIN_COUNT
                and (odds := _log_odds(n, own.total(), overall[word] - n, rest)) > _MIN_ODDS
            }
        return cls(weights, {slot: tuple(sorted(found)) for slot, found in values.items()})

    def read(self, text: str) -> list[Note]:
        """At most one note: the best slot's, if it beats 'nothing' and a value is found."""
        words = set(_words(text))
        scored = {
            slot: sum(weight for word, weight in found.items() if word in words)
            for slot, found in self.weights.items()
        }
        best = max(scored, key=lambda slot: (scored[slot], slot), default="")
        if not best or scored[best] <= 0:
            return []
        known = (re.search(rf"(?<!\w){re.escape(v)}(?!\w)", text) for v in self.values[best])
        found = next((match for match in known if match), None) or _NAME.search(text)
        return [Note(best, found.group(), found.start(), found.end())] if found else []


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def _log_odds(own: int, own_total: int, other: int, other_total: int) -> float:
    return math.log((own + 0.5) / (own_total + 1)) - math.log((other + 0.5) / (other_total + 1))
