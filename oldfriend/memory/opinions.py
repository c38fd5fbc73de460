"""Two readers of one turn, the language model and the tagger: how sure are both together?"""

import math
from collections.abc import Sequence

from oldfriend.corpus.schema import NoteExample
from oldfriend.memory.notes import Note

Read = list[tuple[Note, float]]  # notes of one turn with their certainty
Weights = tuple[float, ...]  # of ``features``, the constant last


def together(written: Read, marked: Read, weights: Weights) -> Read:
    """Every note that either reader took, with the probability that it is true.

    Of notes on overlapping words the more probable one stays.
    """
    rated = sorted(
        ((note, _logistic(found, weights)) for note, found in _candidates(written, marked)),
        key=lambda pair: -pair[1],
    )
    kept: Read = []
    for note, sure in rated:
        if all(note.end <= other.start or other.end <= note.start for other, _ in kept):
            kept.append((note, sure))
    return sorted(kept, key=lambda pair: pair[0].start)


def weigh(
    examples: Sequence[NoteExample], written: Sequence[Read], marked: Sequence[Read]
) -> Weights:
    """Logistic regression of "this note is true" on what both readers say, fitted on held-out
    turns. Without both right and wrong notes to learn from, a plain mean of the certainties."""
    from sklearn.linear_model import LogisticRegression

    rows, truth = [], []
    for example, lm, tags in zip(examples, written, marked, strict=True):
        facts = {(fact.slot, fact.value) for fact in example.facts}
        for note, found in _candidates(lm, tags):
            rows.append(found)
            truth.append((note.slot, note.value) in facts)
    if len(set(truth)) < 2:
        return (2.0, 2.0, 0.0, 0.0, -2.0)
    model = LogisticRegression(C=1.0, max_iter=1000).fit(rows, truth)
    return (*map(float, model.coef_[0]), float(model.intercept_[0]))


def _candidates(written: Read, marked: Read) -> list[tuple[Note, list[float]]]:
    lm = {(note.slot, note.value): (note, sure) for note, sure in written}
    tags = {(note.slot, note.value): (note, sure) for note, sure in marked}
    found = []
    for key in dict.fromkeys([*lm, *tags]):
        note = (lm.get(key) or tags[key])[0]
        said, seen = (lm[key][1] if key in lm else 0.0), (tags[key][1] if key in tags else 0.0)
        found.append((note, [said, seen, float(key in lm and key in tags), seen * seen]))
    return found


def _logistic(features: Sequence[float], weights: Weights) -> float:
    total = sum(w * x for w, x in zip(weights, [*features, 1.0], strict=True))
    return 1 / (1 + math.exp(-total))
