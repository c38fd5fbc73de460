"""Train the judge on simulated lives, and on how real support talk went where that is present."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from oldfriend.corpus.schema import Conversation
from oldfriend.empathy.crisis_answers import digest
from oldfriend.empathy.data import Support
from oldfriend.empathy.encoder import Array
from oldfriend.empathy.judge import Heads, outcome, save_heads, tone
from oldfriend.empathy.judge_data import (
    HURTS,
    Bank,
    Example,
    Name,
    good_replies,
    lexicon,
    made_wrong,
    outcomes,
    read_talk,
    suits_targets,
    swapped,
)
from oldfriend.empathy.judge_features import (
    AXES,
    FIGURES,
    Features,
    Vectors,
    auroc,
    pair_features,
    principal,
    regress,
    ridge,
)
from oldfriend.empathy.judge_measure import Rows, compare, fit_outcome, simulated_rows
from oldfriend.empathy.labels import valence_of
from oldfriend.empathy.settings import JudgeParams
from oldfriend.files import atomic_folder
from oldfriend.outcome import Outcome

PUBLIC: tuple[Name, ...] = ("improved", "improved_failed", "eased", "feedback")
LEARNT: tuple[Name, ...] = ("improved", "feedback")  # sources that the outcome head learns from


def train_judge(
    talk: Path,
    bank_file: Path,
    features: Features,
    params: JudgeParams,
    out: Path,
    *,
    support: Sequence[Support] = (),
    valence: Callable[[Sequence[str]], Array] | None = None,
    seed: int = 0,
) -> Outcome:
    """Train on ``talk``/train.jsonl, measure on its test.jsonl, write the heads into ``out``.

    ``support``: real support talk, if there is any. ``valence``: what a better reader
    makes of texts, -1 to 1 [texts]; without it the simulator's own emotions teach the tone.
    Metrics: judge_auroc (improved vs not on conversations never seen: of real talk where present,
    else of simulated), with _low and _high of a 95% bootstrap over conversations, and beside it
    judge_auroc_length, _sentiment and _context (blind to the reply); the same for each source as
    judge_auroc_<source>; and judge_fits_auroc, with one figure for each kind of wrong reply.
    """
    bank = Bank.load(bank_file)
    talks, unseen = read_talk(talk / "train.jsonl"), read_talk(talk / "test.jsonl")
    heads = learn_heads(talks, bank, features, params, seed, valence)
    known = _examples(talks, bank.dismissive.train, params.moments, seed)
    test = _examples(unseen, bank.dismissive.test, params.test_moments, seed)
    learnt = simulated_rows(heads, features, [e for e in known if _moves(e)])
    tested = simulated_rows(heads, features, [e for e in test if _moves(e)])
    found = {name: _public_rows(heads, features, support, name, params) for name in PUBLIC}
    real = {name: rows for name, rows in found.items() if len(set(rows.good)) == 2}
    pooled: dict[str, Rows] = {"simulated": learnt}
    pooled |= {name: real[name] for name in LEARNT if name in real}
    heads = replace(heads, moves=fit_outcome(list(pooled.values()), params.outcome_strength))
    with atomic_folder(out) as draft:
        meta = {
            "params": params.model_dump(), "seed": seed, "bank": digest(bank_file),
            "talk": digest(talk / "train.jsonl"), "sources": sorted(pooled),
        }  # fmt: skip
        save_heads(draft, heads, meta)
    result = compare("simulated", learnt, tested, [], params)
    for name, rows in real.items():
        result += compare(name, rows, None, [learnt], params)
    main = "improved" if "improved" in real else "simulated"
    for tail in ("", "_low", "_high", "_length", "_sentiment", "_context"):
        result.metrics[f"judge_auroc{tail}"] = result.metrics[f"judge_auroc_{main}{tail}"]
    return result + _fits(heads, features, test)


def learn_heads(
    talks: Sequence[Conversation],
    bank: Bank,
    features: Features,
    params: JudgeParams,
    seed: int,
    valence: Callable[[Sequence[str]], Array] | None = None,
) -> Heads:
    """The heads over vectors; the outcome head is still zero."""
    good = good_replies(talks, params.moments, seed)
    wrong = made_wrong(good, bank.dismissive.train, seed)
    examples = [*good, *wrong, *swapped(talks, params.public, seed)]
    vectors = Vectors(features, (t for e in examples for t in (e.place.said, e.place.reply)))
    said = vectors[[e.place.said for e in examples]]
    reply = vectors[[e.place.reply for e in examples]]
    labels = np.array([e.good for e in examples])
    fits = regress(pair_features(said, reply), labels, params.strength)
    texts, wanted = suits_targets(good)
    rows, targets = vectors[texts], np.array(wanted)
    suits = np.stack([regress(rows, targets[:, i] > 0, 1.0) for i in range(targets.shape[1])])
    words = lexicon(text for e in examples for text in e.place.texts)
    return Heads(
        moves=np.zeros(len(FIGURES) + 1, np.float32),
        fits=fits,
        suits=suits,
        tone=_tone(good, vectors, valence),
        axes=principal(np.concatenate([said, reply]), AXES),
        lexicon=words,
    )


def _tone(
    good: Sequence[Example],
    vectors: Vectors,
    valence: Callable[[Sequence[str]], Array] | None,
) -> Array:
    """Weights [D + 1] of valence before tanh: of what a better reader says, else of the truth."""
    if valence is None:
        said = {e.place.said: valence_of(e.emotion) for e in good}
    else:
        texts = sorted({text for e in good for text in (e.place.said, e.place.reply)})
        said = dict(zip(texts, valence(texts).tolist(), strict=True))
    values = np.clip(np.array(list(said.values())), -0.98, 0.98)
    return ridge(vectors[list(said)], np.arctanh(values))


def _examples(
    talks: Sequence[Conversation], hurtful: Sequence[str], most: int, seed: int
) -> list[Example]:
    good = good_replies(talks, most, seed)
    return [*good, *made_wrong(good, hurtful, seed + 1)]


def _moves(example: Example) -> bool:
    """Whether it says something of the feeling: a friend's reply to one, or one that hurts."""
    return bool(example.emotion) and (example.good or example.kind in HURTS)


def _public_rows(
    heads: Heads, features: Features, support: Sequence[Support], name: Name, params: JudgeParams
) -> Rows:
    found = outcomes(support, name, params.edge)
    return Rows.of(
        heads, features, [o.place for o in found], [o.good for o in found],
        [o.group for o in found],
    )  # fmt: skip


def _fits(heads: Heads, features: Features, test: Sequence[Example]) -> Outcome:
    """How well true replies are told from wrong ones, all and by kind."""
    vectors = Vectors(features, (t for e in test for t in e.place.texts))
    _, fits, suits, _ = outcome(heads, [e.place for e in test], vectors)
    good = np.array([e.good for e in test])
    metrics = {"judge_fits_auroc": auroc(good, fits)}
    for kind in sorted({e.kind for e in test if not e.good}):
        some = np.array([e.good or e.kind == kind for e in test])
        metrics[f"judge_fits_auroc_{kind}"] = auroc(good[some], fits[some])
    felt = np.array([bool(e.emotion and e.place.strategy) and e.kind in ("good", "strategy")
                     for e in test])  # fmt: skip
    if felt.any():
        metrics["judge_suits_auroc"] = auroc(good[felt], suits[felt])
    said = [e for e in test if e.good and e.emotion]
    mood = tone(heads.tone, vectors[[e.place.said for e in said]])
    pleasant = np.array([valence_of(e.emotion) > 0 for e in said])
    metrics["judge_tone_auroc"] = auroc(pleasant, mood)
    return Outcome(metrics)
