"""Fit the strategy head and measure it on talks never seen, beside what needs no model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oldfriend.empathy.context import COURSE, course, texts
from oldfriend.empathy.data import Support, share
from oldfriend.empathy.emotion import Emotion
from oldfriend.empathy.encoder import Array, Encoder
from oldfriend.empathy.settings import StrategyParams
from oldfriend.empathy.strategies import ESCONV, STRATEGIES
from oldfriend.empathy.strategy import SUPPORT, Maps, save_maps, vectors
from oldfriend.empathy.strategy_data import Moment, life_moments, support_moments
from oldfriend.outcome import Outcome

Labels = NDArray[np.int64]


def train(
    params: StrategyParams,
    reader: Emotion,
    encoder: Encoder,
    *,
    talk: Path,
    lives: Path,
    support: Sequence[Support],
    folder: Path,
    seed: int,
) -> Outcome:
    """Fit both maps into an existing ``folder``.

    ``strategy_*`` is ESConv's where there is any, else the simulator's. A dialogue of ESConv is for
    test if the hash of its file and line says so, so the split never moves.
    """
    most = params.lives
    learn = life_moments(talk, lives, "train", reader, most=most, seed=seed)
    unseen = life_moments(talk, lives, "test", reader, most=most, seed=seed)
    life = fit(_courses(learn), _labels(learn), len(STRATEGIES), params)
    said = apply(life, _courses(unseen))
    found = {f"life_{key}": value for key, value in scores(_labels(unseen), said).items()}
    found |= _baselines("life_strategy", learn, unseen)
    found |= {key.removeprefix("life_"): found[key] for key in list(found)}
    outcome = Outcome(found)
    public = np.zeros((0, 0), np.float32)
    if support:
        public, outcome = _support(params, reader, encoder, support, found)
    meta = {"params": params.model_dump(mode="json"), "seed": seed}
    save_maps(folder, Maps(life, public), params.persona, meta)
    return outcome


def fit(rows: Array, labels: Labels, classes: int, params: StrategyParams) -> Array:
    """Multinomial logistic regression as a map [classes, rows' width + 1], bias last.

    Columns past COURSE are vectors and scaled by ``vector_scale``: how far they are trusted.
    Prior shift: ``balance`` times the log share of each class is taken off its bias, between the
    most accurate (0) and the most even-handed (1) decision.
    """
    from sklearn.linear_model import LogisticRegression

    scale = np.ones(rows.shape[1], np.float32)
    scale[COURSE:] = params.vector_scale
    model = LogisticRegression(C=params.c, max_iter=300).fit(rows * scale, labels)
    found = np.zeros((classes, rows.shape[1] + 1), np.float32)
    found[:, -1] = -20.0  # a class that was never seen
    shares = np.bincount(labels, minlength=classes)[model.classes_] / len(labels)
    found[model.classes_, :-1] = model.coef_ * scale
    found[model.classes_, -1] = model.intercept_ - params.balance * np.log(shares)
    return found


def apply(weights: Array, rows: Array) -> Labels:
    """The likeliest class of each row."""
    return np.asarray((rows @ weights[:, :-1].T + weights[:, -1]).argmax(1), np.int64)


def scores(truth: Labels, said: Labels) -> dict[str, float]:
    """Accuracy, and macro-F1 over the classes that occur in ``truth``."""
    from sklearn.metrics import accuracy_score, f1_score

    classes = np.unique(truth)
    macro = f1_score(truth, said, labels=classes, average="macro", zero_division=0)
    return {"strategy_acc": float(accuracy_score(truth, said)), "strategy_macro_f1": float(macro)}


def _support(
    params: StrategyParams,
    reader: Emotion,
    encoder: Encoder,
    support: Sequence[Support],
    known: dict[str, float],
) -> tuple[Array, Outcome]:
    moments = support_moments(support, reader)
    rows = np.concatenate((_courses(moments), vectors([m.context for m in moments], encoder)), 1)
    test = np.array([share(f"esconv {moment.source}") < params.test_share for moment in moments])
    labels = _labels(moments)
    weights = fit(rows[~test], labels[~test], SUPPORT, params)
    said = apply(weights, rows[test])
    found = scores(labels[test], said)
    learn = [m for m, held in zip(moments, test, strict=True) if not held]
    unseen = [m for m, held in zip(moments, test, strict=True) if held]
    found |= _baselines("strategy", learn, unseen)
    found |= {
        "strategy_test_turns": float(test.sum()),
        "strategy_train_turns": float((~test).sum()),
    }
    bare = params.model_copy(update={"vector_scale": 0.0})
    alone = scores(labels[test], apply(fit(rows[~test][:, :COURSE], labels[~test], SUPPORT, bare),
                                       rows[test][:, :COURSE]))  # fmt: skip
    found |= {f"{key}_course_only": value for key, value in alone.items()}
    return weights, Outcome(known | found, {"strategies": _table(labels[test], said)})


def _table(truth: Labels, said: Labels) -> list[dict[str, object]]:
    from sklearn.metrics import f1_score

    each = f1_score(truth, said, labels=np.arange(SUPPORT), average=None, zero_division=0)
    return [
        {"strategy": name, "f1": float(each[i]), "turns": int((truth == i).sum())}
        for i, name in enumerate(ESCONV)
    ]


def _baselines(prefix: str, learn: Sequence[Moment], unseen: Sequence[Moment]) -> dict[str, float]:
    """The commonest strategy, and TF-IDF over the last turns with a logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    labels, truth = _labels(learn), _labels(unseen)
    common = np.full_like(truth, np.bincount(labels).argmax())
    found = {"majority": scores(truth, common)}
    for name, weight in (("tfidf", None), ("tfidf_balanced", "balanced")):
        model = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
            LogisticRegression(class_weight=weight, max_iter=300),
        )
        model.fit([_words(moment) for moment in learn], labels)
        found[name] = scores(truth, model.predict([_words(moment) for moment in unseen]))
    return {
        f"{prefix}_{key.removeprefix('strategy_')}_{name}": value
        for name, both in found.items()
        for key, value in both.items()
    }


def _words(moment: Moment) -> str:
    """The talk as a bag of words sees it, the strategies so far being words too."""
    used = [f"strategy_{turn.strategy}" for turn in moment.context.replies[-2:] if turn.strategy]
    return " ".join((texts(moment.context)[2], *used))


def _courses(moments: Sequence[Moment]) -> Array:
    return np.stack([course(moment.context) for moment in moments])


def _labels(moments: Sequence[Moment]) -> Labels:
    return np.array([moment.strategy for moment in moments], np.int64)
