"""How well the judge foresees outcomes, on conversations it never saw, beside what is too simple.

Every figure is of one reply a conversation, drawn by the seed from those in its middle; ``_talk``
is of the mean over all of them. Confidence is by bootstrap over conversations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from oldfriend.empathy.encoder import Array
from oldfriend.empathy.judge import Heads, linear, outcome
from oldfriend.empathy.judge_data import Example
from oldfriend.empathy.judge_features import (
    AXES,
    FIGURES,
    Bools,
    Features,
    Place,
    Vectors,
    auroc,
    regress,
)
from oldfriend.empathy.settings import JudgeParams
from oldfriend.outcome import Outcome, spread

LENGTH = ("reply_words", "said_words")
SENTIMENT = ("valence", "reply_valence")
CONTEXT = (  # nothing of the reply
    "valence", "strength", "said_words", "question_streak", *(f"said_{n}" for n in range(AXES)),
)  # fmt: skip
VIEWS = {"": FIGURES, "_length": LENGTH, "_sentiment": SENTIMENT, "_context": CONTEXT}


@dataclass(frozen=True)
class Rows:
    """Replies as FIGURES [n, FIGURES], whether things went well [n], and the conversation of
    each as a number [n]."""

    figures: Array
    good: Bools
    groups: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        heads: Heads,
        features: Features,
        places: Sequence[Place],
        good: Sequence[bool],
        groups: Sequence[str],
    ) -> Self:
        """Rows of ``places``."""
        if not places:
            return cls(np.zeros((0, len(FIGURES)), np.float32), np.zeros(0, bool),
                       np.zeros(0, np.int64))  # fmt: skip
        vectors = Vectors(features, (text for place in places for text in place.texts))
        _, numbers = np.unique(np.array(groups), return_inverse=True)
        return cls(outcome(heads, places, vectors)[3], np.array(good), numbers.astype(np.int64))

    @property
    def weights(self) -> Array:
        """Good and bad weigh the same, and in these each conversation does; all together 1."""
        share = 1 / np.bincount(self.groups)[self.groups]
        for good in (True, False):
            share[self.good == good] /= 2 * max(share[self.good == good].sum(), 1e-9)
        return np.asarray(share, np.float32)

    def at(self, chosen: Bools) -> "Rows":
        """Some of the rows."""
        return Rows(self.figures[chosen], self.good[chosen], self.groups[chosen])


def fit_outcome(sources: Sequence[Rows], strength: float) -> Array:
    """The outcome head [FIGURES + 1] from all sources, each weighing as much as any other."""
    figures = np.concatenate([rows.figures for rows in sources])
    good = np.concatenate([rows.good for rows in sources])
    weights = np.concatenate([rows.weights for rows in sources]) * len(figures) / len(sources)
    return regress(figures, good, strength, weights.astype(np.float32))


def simulated_rows(heads: Heads, features: Features, examples: Sequence[Example]) -> Rows:
    """Every reply of simulated talk is a case of its own."""
    return Rows.of(heads, features, [e.place for e in examples], [e.good for e in examples],
                   [e.group for e in examples])  # fmt: skip


def compare(
    name: str, rows: Rows, test: Rows | None, others: Sequence[Rows], params: JudgeParams
) -> Outcome:
    """AUROC of the judge and of the simple views on ``test``, or without one by cross-validation
    over conversations. ``others`` are learnt from beside ``rows``, of other conversations."""
    runs = [_run(name, rows, test, others, params, seed) for seed in params.seeds]
    metrics = spread([run for run, _ in runs])
    cases = runs[0][1]
    low, high = bootstrap(*cases, params.bootstrap, params.seeds[0])
    metrics |= {f"judge_auroc_{name}_low": low, f"judge_auroc_{name}_high": high}
    metrics[f"judge_cases_{name}"] = float(len(cases[0]))
    return Outcome(metrics)


def _run(
    name: str,
    rows: Rows,
    test: Rows | None,
    others: Sequence[Rows],
    params: JudgeParams,
    seed: int,
) -> tuple[dict[str, float], tuple[Bools, Array, NDArray[np.int64]]]:
    metrics: dict[str, float] = {}
    shown = rows if test is None else test
    drawn = _one_each(shown, seed)
    cases = (shown.good[drawn], np.zeros(0, np.float32), shown.groups[drawn])
    for view, names in VIEWS.items():
        columns = [FIGURES.index(figure) for figure in names]
        beside = others if not view else []
        scores = _foresee(rows, test, beside, columns, params, seed)
        metrics[f"judge_auroc_{name}{view}"] = auroc(shown.good[drawn], scores[drawn])
        if not view:
            cases = (shown.good[drawn], scores[drawn], shown.groups[drawn])
            counts = np.bincount(shown.groups)
            seen = counts > 0
            mean = (np.bincount(shown.groups, scores)[seen] / counts[seen]).astype(np.float32)
            went = np.bincount(shown.groups, shown.good)[seen] / counts[seen]
            if set(went.tolist()) == {0.0, 1.0}:  # an outcome of the conversation as a whole
                metrics[f"judge_auroc_{name}_talk"] = auroc(went == 1, mean)
    return metrics, cases


def _foresee(
    rows: Rows,
    test: Rows | None,
    others: Sequence[Rows],
    columns: Sequence[int],
    params: JudgeParams,
    seed: int,
) -> Array:
    """A score for each row of ``test``, or of ``rows`` by heads that never saw its conversation."""

    def fitted(sources: Sequence[Rows]) -> Callable[[Array], Array]:
        cut = [Rows(r.figures[:, columns], r.good, r.groups) for r in sources]
        head = fit_outcome(cut, params.outcome_strength)
        return lambda figures: linear(figures[:, columns], head)

    if test is not None:
        return fitted([rows, *others])(test.figures)
    scores = np.zeros(len(rows.good), np.float32)
    fold = _folds(rows, params.folds, seed)
    for number in range(params.folds):
        held = fold[rows.groups] == number
        scores[held] = fitted([rows.at(~held), *others])(rows.figures[held])
    return scores


def _folds(rows: Rows, folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each conversation; good and bad ones are dealt out evenly."""
    rng = np.random.default_rng(seed)
    count = int(rows.groups.max()) + 1
    share = np.bincount(rows.groups, rows.good) / np.maximum(np.bincount(rows.groups), 1)
    order = np.lexsort((rng.random(count), share))
    fold = np.zeros(count, np.int64)
    fold[order] = np.arange(count) % folds
    return fold


def _one_each(rows: Rows, seed: int) -> NDArray[np.int64]:
    """The place of one row of each conversation, by chance; of all if the outcome is the reply's
    own, which shows by good and bad ones in a conversation."""
    by_group = np.bincount(rows.groups, rows.good)
    counts = np.bincount(rows.groups)
    if np.any((by_group > 0) & (by_group < counts)):
        return np.arange(len(rows.good))
    order = np.random.default_rng(seed).permutation(len(rows.good))
    _, first = np.unique(rows.groups[order], return_index=True)
    return np.sort(order[first])


def bootstrap(
    good: Bools, scores: Array, groups: NDArray[np.int64], times: int, seed: int
) -> tuple[float, float]:
    """The 2.5% and 97.5% quantiles of the AUROC over resampled conversations."""
    if not times:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    kinds, numbers = np.unique(groups, return_inverse=True)
    places = [np.flatnonzero(numbers == k) for k in range(len(kinds))]
    found = []
    for _ in range(times):
        drawn = np.concatenate([places[k] for k in rng.integers(0, len(kinds), len(kinds))])
        found.append(auroc(good[drawn], scores[drawn]))
    return float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))
