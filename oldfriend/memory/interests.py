"""What matters to one person and to nobody else: a chess player's openings, a nurse's shift names.

Two readers learn it from the records that the person confirmed and rejected: a LoRA on the generic
tagger marks the value, and a linear head on MiniLM's sentence vectors tells turns about it from
other turns. A note is taken where neither speaks against it. What everybody's notes are about stays
with the generic reader, so nothing is forgotten.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oldfriend.corpus.schema import NoteExample
from oldfriend.errors import CheckpointError
from oldfriend.memory import intent, tagger
from oldfriend.memory.grounding import Encode
from oldfriend.memory.intent import NOTHING, Intent
from oldfriend.memory.notes import Note, Slots
from oldfriend.memory.tagger import Tagger

SURE = 0.5  # probability of a mark: as likely as not
ABOUT = 0.15  # and of its topic: the head knows few phrasings and is modest (docs/memory-notes.md)
UNLIKE = 0.35  # cosine: others' turns that come nearer may be about the same, unlabelled
INVERSE_L2 = 10.0


@dataclass(frozen=True)
class Interests:
    """One person's own slots, and the two readers that find them."""

    tagger: Tagger
    topics: Intent  # over the person's own slots and NOTHING
    encode: Encode

    @property
    def slots(self) -> Slots:
        return {name: self.tagger.slots[name] for name in self.topics.topics if name != NOTHING}

    def read(self, texts: Sequence[str]) -> list[list[Note]]:
        """The notes of every text that are in this person's own slots."""
        if not texts:
            return []
        rows = self.topics.odds(self.encode(texts)).tolist()
        about = [dict(zip(self.topics.topics, row, strict=True)) for row in rows]
        return [
            [
                n
                for n, sure in found
                if n.slot in self.slots and sure >= SURE and odds[n.slot] >= ABOUT
            ]
            for found, odds in zip(self.tagger.read(texts), about, strict=True)
        ]


def together(generic: Sequence[Note], own: Sequence[Note]) -> list[Note]:
    """The ``own`` notes and those ``generic`` ones that are about other words, as they stand."""
    rest = [n for n in generic if all(n.end <= o.start or o.end <= n.start for o in own)]
    return sorted([*own, *rest], key=lambda note: note.start)


def fit_topics(
    slots: Sequence[str],
    own: Sequence[NoteExample],
    others: Sequence[str],
    encode: Encode,
) -> Intent:
    """A logistic regression that tells which turns are about one of a person's own ``slots``.

    ``own``: the turns that the person confirmed or rejected; ``others``: texts of other people
    that held nothing for everybody. Of these, what resembles a confirmed turn is left out.
    """
    from sklearn.linear_model import LogisticRegression

    labels = [next((f.slot for f in e.facts if f.slot in slots), NOTHING) for e in own]
    vectors_ND = encode([example.text for example in own])
    confirmed_ND = vectors_ND[[label != NOTHING for label in labels]]
    strangers_ND = encode(others) if others else vectors_ND[:0]
    likeness_N = (strangers_ND @ confirmed_ND.T).max(1, initial=-1)
    strangers_ND = strangers_ND[likeness_N < UNLIKE]
    labels += [NOTHING] * len(strangers_ND)
    topics = sorted(set(labels))
    if len(topics) < 2:  # nothing to tell apart
        return Intent(tuple(topics), vectors_ND[:1] * 0, np.zeros(1, "f4"))
    head = LogisticRegression(C=INVERSE_L2, class_weight="balanced", max_iter=500)
    head.fit(np.vstack([vectors_ND, strangers_ND]), labels)
    weight_TD, bias_T = head.coef_, head.intercept_
    if len(head.classes_) == 2:  # sklearn keeps one row for two classes
        weight_TD, bias_T = _with_zero(weight_TD), _with_zero(bias_T)
    return Intent(tuple(topics), weight_TD.astype("f4"), bias_T.astype("f4"))


def _with_zero(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([np.zeros_like(rows), rows])


def save(interests: Interests, folder: Path, meta: dict[str, object]) -> None:
    """Write a person's two readers into ``folder``: weights, no text."""
    tagger.save(interests.tagger, folder, meta)
    intent.save(interests.topics, folder)


def load(generic_tagger: Path, folder: Path, encode: Encode) -> Interests:
    """What ``save`` wrote on top of ``generic_tagger``; CheckpointError if it did not."""
    if (topics := intent.load(folder)) is None:
        raise CheckpointError(f"{folder} holds no readers of a person; run: dvc repro summarizer")
    return Interests(tagger.load(generic_tagger, folder), topics, encode)
