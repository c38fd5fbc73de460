"""The empathy stage: emotion, crisis, strategy, repertoire, judge; measured on unseen people."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oldfriend.corpus.schema import Conversation, Precedent, Split, read_rows
from oldfriend.empathy import crisis_train, emotion_train, judge_train, strategy_train
from oldfriend.empathy.data import Support, esconv, life_feelings
from oldfriend.empathy.emotion import Emotion
from oldfriend.empathy.encoder import Array, Encoder
from oldfriend.empathy.models import CRISIS, JUDGE
from oldfriend.empathy.repertoire import Repertoire
from oldfriend.empathy.settings import EmpathyParams
from oldfriend.errors import MissingDataError
from oldfriend.files import atomic_folder, write_json
from oldfriend.lm.fit import Run
from oldfriend.outcome import Outcome

LISTENED = 3000  # turns of people never heard, in which false alarms are counted


def train(
    params: EmpathyParams, *, run: Run, curated: Path, seeds: Path, external: Path, out: Path
) -> Outcome:
    """Train all parts into the folder ``out``.

    ``curated``: the folder of curated talk and lives; ``seeds``: that of the banks crisis.yaml and
    judge.yaml; ``external``: that of the public sets that ``params`` name. Without any, everything
    is learnt from simulated talk and measured on simulated people who use other words. A killed run
    goes on from its checkpoints.
    """
    talk, lives = curated / "talk", curated / "lives.jsonl"
    public = _public(params, external)
    support = list(esconv(public["esconv"])) if "esconv" in public else []
    plain = Encoder()
    with atomic_folder(out) as folder:
        outcome = emotion_train.train(
            params.emotion, run, talk=talk, public=public.get("goemotions"), folder=folder
        )
        reader = Emotion.load(folder)
        outcome.metrics |= _told_intensity(reader, support)
        outcome.metrics["inference_ms"] = inference_ms(reader, talk, run.seed)
        outcome += crisis_train.train_crisis(
            seeds / "crisis.yaml", _said(talk, "train"), plain.encode, params.crisis,
            folder / CRISIS, seed=run.seed, listened=_listened(talk, support),
        )  # fmt: skip
        outcome += strategy_train.train(
            params.strategy, reader, plain,
            talk=talk, lives=lives, support=[one for one in support if not one.failed],
            folder=folder, seed=run.seed,
        )  # fmt: skip

        def valence(texts: Sequence[str]) -> Array:
            return reader.measure(texts)[1][:, 0]

        outcome += judge_train.train_judge(
            talk, seeds / "judge.yaml", plain.encode, params.judge, folder / JUDGE,
            support=support, valence=valence, seed=run.seed,
        )  # fmt: skip
        answered = list(read_rows(curated / "precedents.jsonl", Precedent))
        Repertoire.build(answered, plain.encode).save(folder)
        meta = {"params": params.model_dump(mode="json"), "seed": run.seed}
        write_json(folder / "meta.json", meta)
    return outcome


def inference_ms(reader: Emotion, talk: Path, seed: int, texts: int = 100) -> float:
    """Median milliseconds of processor time to read one turn of simulated talk alone."""
    rows = life_feelings(talk, "test", most=texts, seed=seed)
    reader.read([rows[0].text])
    spent = []
    for row in rows:
        started = time.process_time()
        reader.read([row.text])
        spent.append(1000 * (time.process_time() - started))
    return statistics.median(spent)


def _told_intensity(reader: Emotion, support: Sequence[Support]) -> dict[str, float]:
    """Rank correlation with how bad ESConv's seekers rated it before the talk; not learned."""
    rated = [(one.situation, one.before) for one in support if one.situation and one.before]
    if not rated:
        return {}
    felt = reader.read([situation for situation, _ in rated])
    told = np.array([(one.intensity, before) for one, (_, before) in zip(felt, rated, strict=True)])
    return {"esconv_intensity_spearman": emotion_train.rank_correlation(told[:, 0], told[:, 1])}


def _said(talk: Path, split: Split) -> list[str]:
    """What simulated people say, each text once."""
    return list(
        dict.fromkeys(
            turn.text
            for one in read_rows(talk / f"{split}.jsonl", Conversation)
            for turn in one.turns
            if turn.speaker == "user"
        )
    )


def _listened(talk: Path, support: Sequence[Support]) -> dict[str, list[str]]:
    found = {"lives": _said(talk, "test")[:LISTENED]}
    said = [turn.text for one in support for turn in one.turns if turn.speaker == "user"]
    return found | ({"esconv": said[:LISTENED]} if said else {})


def _public(params: EmpathyParams, external: Path) -> dict[str, Path]:
    """The folders of the public data sets. MissingDataError names one that is not there."""
    found: dict[str, Path] = {name: external / name for name in params.public}
    for folder in found.values():
        if not folder.is_dir():
            raise MissingDataError(f"{folder} is not there; unpack it or leave it out")
    return found
