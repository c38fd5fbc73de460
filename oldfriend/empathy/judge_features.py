"""What the judge sees of a reply in its place, and linear heads over it.

Conversation length and position are left out on purpose: they tell how a talk went without telling
anything of the reply.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oldfriend.corpus.schema import Turn
from oldfriend.empathy.encoder import Array
from oldfriend.empathy.strategies import STRATEGIES, Strategy

Bools = NDArray[np.bool_]
Features = Callable[[Sequence[str]], Array]  # unit vectors [texts, D]

AXES = 32  # principal axes of talk by which content is told
SPREAD = 5.0  # brings coordinates on these axes, about 0.1, to the size of the other figures
OWN, EARLIER = 4, 3  # friend's and person's turns before the last that are looked at
FIGURES = (
    "valence", "strength", "reply_valence", "lift", "answers", "near_said", "near_earlier",
    "near_own", "reply_words", "said_words", "questions", "question_streak", "shout",
    *(f"strategy_{name}" for name in STRATEGIES),
    *(f"{part}_{axis}" for part in ("said", "reply", "both") for axis in range(AXES)),
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where a reply stands: the last turns of both, and the reply itself."""

    said: str  # the person's last turn, all messages of it
    reply: str
    own: tuple[str, ...] = ()  # the friend's turns before, oldest first
    earlier: tuple[str, ...] = ()  # the person's turns before ``said``, oldest first
    strategy: Strategy | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything of it that is encoded."""
        return (self.said, self.reply, *self.own[-OWN:], *self.earlier[-EARLIER:])


class Vectors:
    """Unit vectors of texts, each encoded once, all of them in one call."""

    def __init__(self, features: Features, texts: Iterable[str]) -> None:
        unique = list(dict.fromkeys(texts))
        self._rows = {text: place for place, text in enumerate(unique)}
        self.table = features(unique) if unique else np.zeros((0, 1), np.float32)

    def __getitem__(self, texts: Sequence[str]) -> Array:
        """[len(texts), D]."""
        return self.table[[self._rows[text] for text in texts]]


def pair_features(said: Array, reply: Array) -> Array:
    """What heads over vectors see, [n, 3 D]: the reply, its product and distance with what was
    said; ``said`` alone is left out, so that they judge the reply and not the person."""
    return np.concatenate([reply, said * reply * 10, np.abs(said - reply)], 1)


def turns_of(talk: Sequence[Turn]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """What the person said last, the friend's turns and the person's before it. Neighbouring
    messages of one speaker are one turn."""
    merged: list[tuple[str, str]] = []
    for turn in talk:
        if merged and merged[-1][0] == turn.speaker:
            merged[-1] = (turn.speaker, f"{merged[-1][1]} {turn.text}")
        else:
            merged.append((turn.speaker, turn.text))
    own = tuple(text for speaker, text in merged if speaker == "friend")
    theirs = [text for speaker, text in merged if speaker == "user"]
    return (theirs[-1] if theirs else "", own, tuple(theirs[:-1]))


def figures(
    place: Place,
    vectors: Vectors,
    answers: float,
    tone: Callable[[Array], Array],
    content: Callable[[Array], Array],
) -> list[float]:
    """The FIGURES of a place. ``answers``: logit of the head that tells replies from strangers';
    ``tone``: valence [n] of unit vectors [n, D], ``content``: their coordinates [n, AXES]."""
    said, reply = vectors[[place.said]], vectors[[place.reply]]
    about = content(np.concatenate([said, reply]))
    valence, lift = (float(v) for v in tone(np.concatenate([said, reply])))
    own, earlier = place.own[-OWN:], place.earlier[-EARLIER:]
    near_own = float((vectors[own] @ reply[0]).max()) if own else 0.0
    near_earlier = float((vectors[earlier] @ reply[0]).mean()) if earlier else 0.0
    streak = 0
    for text in reversed(own):
        if not text.rstrip().endswith("?"):
            break
        streak += 1
    letters = [c for c in place.reply if c.isalpha()]
    shout = sum(c.isupper() for c in letters) / len(letters) if letters else 0.0
    return [
        valence, abs(valence), lift, lift - valence, answers, float(said[0] @ reply[0]),
        near_earlier, near_own, np.log1p(len(place.reply.split())),
        np.log1p(len(place.said.split())), float(min(place.reply.count("?"), 3)), float(streak),
        float(shout > 0.6), *(float(place.strategy == name) for name in STRATEGIES),
        *about[0].tolist(), *about[1].tolist(), *(about[0] * about[1]).tolist(),
    ]  # fmt: skip


def regress(rows: Array, labels: Bools, strength: float, weights: Array | None = None) -> Array:
    """Logistic regression on standardised ``rows`` [n, D], as weights [D + 1] for raw ones."""
    from sklearn.linear_model import LogisticRegression

    if len(set(labels.tolist())) < 2:  # nothing to tell apart: the prior alone
        bias = 4.0 if labels.all() else -4.0
        return np.append(np.zeros(rows.shape[1]), bias).astype(np.float32)
    mean, scale = rows.mean(0), rows.std(0) + 1e-6
    balance = "balanced" if weights is None else None
    model = LogisticRegression(C=strength, max_iter=300, class_weight=balance)
    model.fit((rows - mean) / scale, labels, sample_weight=weights)
    slope = model.coef_[0] / scale
    return np.append(slope, model.intercept_[0] - slope @ mean).astype(np.float32)


def ridge(rows: Array, values: NDArray[np.float64], penalty: float = 1.0) -> Array:
    """Least squares with an L2 penalty: weights [D + 1]."""
    mean, middle = rows.mean(0), values.mean()
    centred = (rows - mean).astype(np.float64)
    gram = centred.T @ centred + penalty * np.eye(rows.shape[1])
    slope = np.linalg.solve(gram, centred.T @ (values - middle))
    return np.append(slope, middle - slope @ mean).astype(np.float32)


def principal(rows: Array, count: int) -> Array:
    """Mean and principal axes [1 + count, D] of ``rows`` [n, D]; zeros where there are fewer."""
    mean = rows.mean(0)
    gram = (rows - mean).T @ (rows - mean)
    axes = np.linalg.eigh(gram.astype(np.float64))[1][:, ::-1][:, :count].T
    # An axis and its opposite are the same: let the largest coordinate be positive.
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
    found = np.zeros((1 + count, rows.shape[1]), np.float32)
    found[0], found[1 : 1 + len(axes)] = mean, axes
    return found


def auroc(good: Bools, scores: Array) -> float:
    """Area under the ROC curve; ties count half, 0.5 where there is nothing to tell apart."""
    from scipy.stats import rankdata

    positive = int(good.sum())
    negative = len(good) - positive
    if not positive or not negative:
        return 0.5
    ranks = rankdata(scores)
    return float((ranks[good].sum() - positive * (positive + 1) / 2) / (positive * negative))
