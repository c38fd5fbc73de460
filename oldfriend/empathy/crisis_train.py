"""Teach ``Crisis`` what danger sounds like, and measure what it hears and where it cries wolf."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from oldfriend.corpus.schema import Row
from oldfriend.empathy.crisis import (
    CLASSES,
    HARMLESS,
    Crisis,
    Features,
    Likeness,
    save_likeness,
    signs,
)
from oldfriend.empathy.crisis_answers import digest, read_yaml
from oldfriend.empathy.crisis_words import DANGERS, Danger
from oldfriend.empathy.encoder import Array
from oldfriend.empathy.settings import CrisisParams
from oldfriend.errors import InputError
from oldfriend.files import atomic_folder
from oldfriend.outcome import Outcome

_CHOICE = re.compile(r"\{([^{}]*)\}")


class Sentences(Row):
    """Sentences to learn from and others, written apart, to test on."""

    train: tuple[str, ...] = Field(min_length=5)
    test: tuple[str, ...] = Field(min_length=1)


class Bank(Row):
    """What danger sounds like, and what only sounds like it."""

    crisis: dict[Danger, Sentences]
    harmless: Sentences
    grown: dict[Danger | Literal["harmless"], tuple[str, ...]] = Field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> "Bank":
        """Read the bank of data/seeds/crisis.yaml. InputError names the field that is wrong."""
        document = read_yaml(path)
        try:
            bank = cls.model_validate({k: v for k, v in document.items() if k != "resources"})
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise InputError(first["msg"], path=path, field=field) from None
        if missing := set(DANGERS) - bank.crisis.keys():
            raise InputError(f"says nothing of {', '.join(missing)}", path=path, field="crisis")
        learnt, tested = ({t.casefold() for t in bank.texts(part)[0]} for part in ("train", "test"))
        if shared := learnt & tested:
            message = f"{min(shared)!r} stands in train and in test"
            raise InputError(message, path=path, field="test")
        return bank

    def texts(self, part: str) -> tuple[list[str], list[int]]:
        """All written sentences of a part with their class."""
        named = {HARMLESS: self.harmless, **{str(k): own for k, own in self.crisis.items()}}
        pairs = [(text, i) for i, c in enumerate(CLASSES) for text in getattr(named[c], part)]
        return [text for text, _ in pairs], [i for _, i in pairs]

    def grow(self, each: int, seed: int) -> tuple[list[str], list[int]]:
        """Sentences out of the patterns in ``grown``, at most ``each`` a pattern, with their
        class; none that stands in the test."""
        rng, tested = Random(f"grown {seed}"), {t.casefold() for t in self.texts("test")[0]}
        found: dict[str, int] = {}
        for number, name in enumerate(CLASSES):
            for pattern in self.grown.get(cast(Danger, name), ()):
                drawn = (_draw(pattern, rng) for _ in range(each))
                found |= {text: number for text in drawn if text.casefold() not in tested}
        return list(found), list(found.values())


def _draw(pattern: str, rng: Random) -> str:
    """One sentence of a pattern: a choice in each pair of braces."""
    text = _CHOICE.sub(lambda match: rng.choice(match[1].split("|")), pattern)
    text = re.sub(r"\s+([.,;?!])", r"\1", re.sub(r"\s+", " ", text))
    return text[:1].upper() + text[1:]


@dataclass(frozen=True)
class Heard:
    """What a listener made of labelled sentences: shares of those in danger that raised a sure
    alarm or any, and of the harmless ones that raised a sure or an unsure one."""

    recall: float
    recall_or_asked: float
    false_alarms: float
    false_questions: float
    missed: tuple[str, ...]
    cried: tuple[str, ...]


def train_crisis(
    bank_file: Path,
    talk: Sequence[str],
    features: Features,
    params: CrisisParams,
    out: Path,
    *,
    seed: int = 0,
    listened: Mapping[str, Sequence[str]] | None = None,
) -> Outcome:
    """Fit the model, write it into ``out`` and measure it.

    ``talk``: what people say in harmless talk; some of it is learnt as harmless, and a share held
    out sets the levels. ``listened``: further talk by name, never learnt from, in which false
    alarms are counted. Metrics: crisis_recall (sure alarms), crisis_recall_or_asked (unsure ones
    too), crisis_false_alarms and crisis_false_questions on the unseen test sentences, beside words
    alone and the model alone; crisis_per_1000_<name> and crisis_questions_per_1000_<name>.
    """
    bank = Bank.load(bank_file)
    (texts, labels), (grown, kinds) = bank.texts("train"), bank.grow(params.grown, seed)
    harmless = _harmless(talk, params, seed)
    rows = [*texts, *grown, *harmless]
    known = np.array([*labels, *kinds, *[0] * len(harmless)])
    weights = np.where(np.arange(len(rows)) < len(texts), params.emphasis, 1.0)
    held = np.array([_kept(text, params) for text in rows])
    plain = np.arange(len(rows)) >= len(texts) + len(grown)
    hard = (np.arange(len(rows)) < len(texts)) & (known == 0)
    if not (held & hard).any() or not (held & plain).any():
        raise InputError("too little harmless talk to set a threshold")
    vectors = features(rows)
    before = _machine(vectors[~held], known[~held], weights[~held], params)
    alone, maybe, faint = set_levels(
        before.scores(vectors[held & hard]), before.scores(vectors[held & plain]), params
    )
    model = replace(
        _machine(vectors, known, weights, params), alone=alone, maybe=maybe, faint=faint
    )
    with atomic_folder(out) as draft:
        meta = {"params": params.model_dump(), "seed": seed, "bank": digest(bank_file)}
        save_likeness(draft, model, meta)
    return _measure(bank, model, features, listened or {})


def set_levels(hard: Array, talk: Array, params: CrisisParams) -> tuple[float, float, float]:
    """``alone``, ``maybe`` and ``faint`` by the scores of harmless texts that were not learnt:
    of hard ones in the bank, and of plain talk."""
    least = float(np.quantile(talk, 1 - params.alarms_per_1000 / 1000))
    alone, maybe, faint = (
        float(np.quantile(hard, 1 - share)) for share in (params.alone, params.maybe, params.faint)
    )
    return max(alone, least), maybe, min(faint, maybe)


def _machine(
    rows: Array, kinds: NDArray[np.int64], weights: NDArray[np.float64], params: CrisisParams
) -> Likeness:
    from sklearn.svm import SVC

    fitted = SVC(C=params.strength, gamma=params.gamma).fit(rows, kinds > 0, sample_weight=weights)
    return Likeness(
        rows[fitted.support_].astype(np.float32),
        fitted.dual_coef_[0].astype(np.float32),
        kinds[fitted.support_].astype(np.float32),
        float(fitted.intercept_[0]),
        params.gamma,
        alone=0.0,
        maybe=0.0,
        faint=0.0,
    )


def _harmless(talk: Sequence[str], params: CrisisParams, seed: int) -> list[str]:
    """Some of the talk in which no word tells of danger."""
    found = sorted({text for text in talk if not signs(text)})
    Random(f"crisis {seed}").shuffle(found)
    return found[: params.background]


def _kept(text: str, params: CrisisParams) -> bool:
    """Whether the levels are set by this text: by its hash, so that it is for every seed."""
    number = int.from_bytes(sha256(text.casefold().encode()).digest()[:8], "big")
    return number / 2**64 < params.held_out


def _measure(
    bank: Bank, model: Likeness, features: Features, listened: Mapping[str, Sequence[str]]
) -> Outcome:
    both = Crisis(None, model, features)
    texts, labels = bank.texts("test")
    told, by_words = score(both, texts, labels), score(Crisis(), texts, labels)
    metrics = {
        "crisis_recall": told.recall, "crisis_recall_or_asked": told.recall_or_asked,
        "crisis_false_alarms": told.false_alarms, "crisis_false_questions": told.false_questions,
        "crisis_recall_words": by_words.recall, "crisis_false_alarms_words": by_words.false_alarms,
    }  # fmt: skip
    sure = model.scores(features(texts)) >= model.alone
    danger = np.array(labels) > 0
    metrics["crisis_recall_model"] = float(sure[danger].mean())
    metrics["crisis_false_alarms_model"] = float(sure[~danger].mean())
    for number, kind in enumerate(DANGERS, 1):
        own = [text for text, label in zip(texts, labels, strict=True) if label == number]
        metrics[f"crisis_recall_{kind}"] = score(both, own, [number] * len(own)).recall
    samples = [{"set": "test", "mistake": "missed", "text": text} for text in told.missed]
    samples += [{"set": "test", "mistake": "false alarm", "text": text} for text in told.cried]
    for name, lines in listened.items():
        alarms = both.heard_all(lines)
        cried = [line for line, one in zip(lines, alarms, strict=True) if one and one.sure]
        asked = sum(1 for one in alarms if one and not one.sure)
        metrics[f"crisis_per_1000_{name}"] = 1000 * len(cried) / max(len(lines), 1)
        metrics[f"crisis_questions_per_1000_{name}"] = 1000 * asked / max(len(lines), 1)
        samples += [{"set": name, "mistake": "alarm", "text": line} for line in cried[:50]]
    return Outcome(metrics, {"crisis_mistakes": samples})


def score(crisis: Crisis, texts: Sequence[str], labels: Sequence[int]) -> Heard:
    """What ``crisis`` makes of labelled sentences (0 is harmless)."""
    told = list(zip(texts, labels, crisis.heard_all(texts), strict=True))
    danger = [(text, alarm) for text, label, alarm in told if label]
    safe = [(text, alarm) for text, label, alarm in told if not label]
    return Heard(
        recall=_share(alarm is not None and alarm.sure for _, alarm in danger),
        recall_or_asked=_share(alarm is not None for _, alarm in danger),
        false_alarms=_share(alarm is not None and alarm.sure for _, alarm in safe),
        false_questions=_share(alarm is not None and not alarm.sure for _, alarm in safe),
        missed=tuple(text for text, alarm in danger if not alarm),
        cried=tuple(text for text, alarm in safe if alarm and alarm.sure),
    )


def _share(found: Iterable[bool]) -> float:
    flags = list(found)
    return sum(flags) / len(flags) if flags else float("nan")
