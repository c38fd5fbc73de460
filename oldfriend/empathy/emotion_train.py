"""Teach MiniLM to name feelings, from public and simulated texts, and measure how well it does."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oldfriend.empathy.data import Felt, goemotions, life_feelings, share
from oldfriend.empathy.emotion import WEIGHTS, Emotion, save_thresholds
from oldfriend.empathy.encoder import Array, Encoder, Lesson, tune
from oldfriend.empathy.labels import GOEMOTIONS, LABELS, LIFE, NEUTRAL
from oldfriend.empathy.settings import EmotionParams
from oldfriend.lm.fit import Run
from oldfriend.outcome import Outcome

PUBLIC = np.arange(len(GOEMOTIONS))
SIMULATED = np.array([*(LABELS.index(name) for name in LIFE), NEUTRAL])
KNOWN = {"goemotions": PUBLIC, "life": SIMULATED}  # labels that an origin could have given


def train(
    params: EmotionParams, run: Run, *, talk: Path, public: Path | None, folder: Path
) -> Outcome:
    """Tune into an existing ``folder``. ``emotion_macro_f1`` is that of GoEmotions' dev set where
    there is one (``public``: its folder), else that of simulated people never heard."""
    rows = life_feelings(talk, "train", most=params.lives, seed=run.seed)
    test = life_feelings(talk, "test", most=params.lives, seed=run.seed)
    said = list(goemotions(public / "train.tsv")) if public else []
    kept = [row for row in (*said, *rows) if share(row.text) < params.held_out]
    learnt = [row for row in (*said, *rows) if share(row.text) >= params.held_out]
    lessons: list[Lesson] = [(row.text, row.labels) for row in learnt]
    result = tune(lessons, len(LABELS), params.fit, run, folder / WEIGHTS)
    encoder = Encoder(folder / WEIGHTS)
    least = _thresholds(encoder, kept)
    save_thresholds(folder, least, {"params": params.model_dump(mode="json"), "seed": run.seed})
    reader = Emotion(encoder, least)
    metrics = life_scores(*reader.measure([row.text for row in test]), test)
    metrics["life_baseline_f1"] = life_baseline(rows, test)
    metrics["emotion_macro_f1"] = metrics["life_macro_f1"]
    if public:
        unseen = list(goemotions(public / "dev.tsv"))
        found = reader.measure([row.text for row in unseen])[0]
        metrics |= public_scores(found, least, unseen)
        metrics["emotion_macro_f1"] = metrics["goemotions_macro_f1"]
    texts = float(len(learnt))
    return Outcome(metrics | {"emotion_texts": texts, "tokens_per_s": result.tokens_per_s})


def thresholds(probabilities: Array, truth: Array) -> Array:
    """For each label the probability from which it stands, for the best F1 of ``truth``.

    With calibrated probabilities the best threshold is half the best F1 (Lipton et al. 2014,
    arXiv:1402.1892): steady, but only as right as the calibration. The threshold at which that F1
    was found needs none, but is chance for a rare label. Their mean did better than either on
    halves of the held-out part. A label without an example stands from 0.5.
    """
    found = np.full(truth.shape[1], 0.5, np.float32)
    for label in range(truth.shape[1]):
        positives = truth[:, label].sum()
        if not positives:
            continue
        order = np.argsort(-probabilities[:, label], kind="stable")
        hits = np.cumsum(truth[order, label])
        f1 = 2 * hits / (np.arange(1, len(order) + 1) + positives)
        reached = probabilities[order[f1.argmax()], label]
        found[label] = np.clip((f1.max() / 2 + reached) / 2, 0.02, 0.98)
    return found


def truth_of(rows: Sequence[Felt]) -> Array:
    """Labels of rows as 0 and 1, [rows, labels]."""
    truth = np.zeros((len(rows), len(LABELS)), np.float32)
    for place, row in enumerate(rows):
        truth[place, list(row.labels)] = 1
    return truth


def _thresholds(encoder: Encoder, rows: Sequence[Felt]) -> Array:
    """From each origin's held-out texts, the labels that it knows; public ones come first."""
    least = np.full(len(LABELS), 0.5, np.float32)
    for origin in ("life", "goemotions"):
        own = [row for row in rows if row.origin == origin]
        if own:
            found = encoder.read([row.text for row in own])[0]
            known = KNOWN[origin]
            least[known] = thresholds(found, truth_of(own))[known]
    return least


def public_scores(probabilities: Array, least: Array, rows: Sequence[Felt]) -> dict[str, float]:
    """F1 over GoEmotions' 28 labels, several to a text, each from its threshold."""
    from sklearn.metrics import f1_score

    truth, said = truth_of(rows)[:, PUBLIC], probabilities[:, PUBLIC] >= least[PUBLIC]
    return {
        "goemotions_macro_f1": float(f1_score(truth, said, average="macro", zero_division=0)),
        "goemotions_micro_f1": float(f1_score(truth, said, average="micro", zero_division=0)),
    }


def life_scores(probabilities: Array, affect: Array, rows: Sequence[Felt]) -> dict[str, float]:
    """The one feeling of a simulated turn, its valence and intensity.

    ``*_mean``: from the mean of these rows, which no reader may do worse than.
    """
    from sklearn.metrics import accuracy_score, f1_score

    truth = np.array([row.labels[0] for row in rows])
    said = SIMULATED[probabilities[:, SIMULATED].argmax(1)]
    felt = truth != NEUTRAL
    real = np.array([(row.valence, row.intensity) for row in rows], np.float32)
    scores = {
        "life_macro_f1": float(f1_score(truth, said, average="macro", zero_division=0)),
        "life_acc": float(accuracy_score(truth, said)),
        "intensity_spearman_felt": rank_correlation(real[felt, 1], affect[felt, 1]),
    }
    for place, name in enumerate(("valence", "intensity")):
        truly = real[:, place]
        scores[f"{name}_spearman"] = rank_correlation(truly, affect[:, place])
        scores[f"{name}_mae"] = float(np.abs(affect[:, place] - truly).mean())
        scores[f"{name}_mae_mean"] = float(np.abs(truly.mean() - truly).mean())
    return scores


def life_baseline(train: Sequence[Felt], test: Sequence[Felt]) -> float:
    """Macro-F1 of TF-IDF over words with a logistic regression, on simulated turns."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        LogisticRegression(class_weight="balanced", C=10, max_iter=300),
    )
    model.fit([row.text for row in train], [row.labels[0] for row in train])
    said = model.predict([row.text for row in test])
    truth = [row.labels[0] for row in test]
    return float(f1_score(truth, said, average="macro", zero_division=0))


def rank_correlation(one: Array, other: Array) -> float:
    """Spearman's; 0 where one of them never changes."""
    from scipy.stats import spearmanr

    if len(set(one.tolist())) < 2 or len(set(other.tolist())) < 2:
        return 0.0
    return float(spearmanr(one, other).statistic)
