"""The trained judge: what it learns, keeps, refuses, and how it is measured."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judge_cases import FELT, vectors, write_talk

from oldfriend.corpus.schema import Turn
from oldfriend.empathy.data import esconv as read_esconv
from oldfriend.empathy.judge import Draft, Judge, Situation, load_heads
from oldfriend.empathy.judge_data import Bank, good_replies, made_wrong, outcomes, read_talk
from oldfriend.empathy.judge_features import FIGURES, auroc
from oldfriend.empathy.judge_measure import Rows, bootstrap, compare
from oldfriend.empathy.judge_train import train_judge
from oldfriend.empathy.settings import JudgeParams
from oldfriend.errors import CheckpointError, InputError, MissingDataError

ROOT = Path(__file__).parents[2]
BANK = ROOT / "data" / "seeds" / "judge.yaml"
PARAMS = JudgeParams(
    moments=240, test_moments=120, bootstrap=50, strength=1.0, outcome_strength=0.1, edge=1, folds=3
)


def esconv(folder: Path, talks: int = 24) -> Path:
    """Support talk in which help comes before relief and its lack before none."""
    folder.mkdir()
    good, failed = [], []
    for number in range(talks):
        helped = number % 2 == 0
        reply = "i hear you, that sounds heavy" if helped else "hello"
        lines: list[dict[str, Any]] = []
        for turn in range(5):
            lines.append(
                {
                    "speaker": "speaker",
                    "content": f"i feel low {turn} {number}\n",
                    "annotation": {"feedback": "5" if helped else "1"} if turn else {},
                }
            )
            lines.append({"speaker": "listener", "content": reply,
                          "annotation": {"strategy": "Questions"}})  # fmt: skip
        survey = {"initial_emotion_intensity": "5", "final_emotion_intensity": "2" if helped else
                  "5"}  # fmt: skip
        failed.append({"survey_score": {"seeker": survey}, "dialog": lines})
        turns = [{"speaker": "usr" if "s" in x["speaker"][:1] else "sys", "text": x["content"]}
                 for x in lines]  # fmt: skip
        good.append(
            {
                "survey_score": {
                    "seeker": {
                        "initial_emotion_intensity": "4",
                        "final_emotion_intensity": "1" if number % 3 else "3",
                    }
                },
                "dialog": turns,
            }
        )
    (folder / "FailedESConv.json").write_text(json.dumps(failed))
    (folder / "train.jsonl").write_text("\n".join(json.dumps(one) for one in good))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    place = tmp_path_factory.mktemp("judge")
    talk, public = write_talk(place / "talk"), esconv(place / "esconv")
    support = list(read_esconv(public))
    found = train_judge(talk, BANK, vectors, PARAMS, place / "out", support=support)
    return place / "out", found.metrics


def test_it_learns_what_helps(trained: tuple[Path, dict[str, float]]) -> None:
    _, metrics = trained
    assert metrics["judge_auroc_simulated"] > 0.8
    assert metrics["judge_fits_auroc"] > 0.7
    assert metrics["judge_tone_auroc"] > 0.9
    for source in ("improved", "improved_failed", "feedback"):
        assert metrics[f"judge_auroc_{source}"] > 0.9
    assert metrics["judge_auroc"] == metrics["judge_auroc_improved"]
    assert {"judge_auroc_length", "judge_auroc_sentiment", "judge_auroc_context",
            "judge_auroc_low", "judge_auroc_high", "judge_auroc_sd"} <= metrics.keys() | {
            "judge_auroc_sd"}  # fmt: skip
    # What the reply is cannot be told from what came before it: the control stays at chance.
    assert metrics["judge_auroc_feedback_context"] < metrics["judge_auroc_feedback"]


def test_good_before_bad(trained: tuple[Path, dict[str, float]]) -> None:
    judge = Judge.load(trained[0], vectors)
    said, (strategy, reply) = FELT["grief"]
    situation = Situation((Turn(speaker="user", text=f"{said} today"),))
    drafts = [Draft(reply, strategy), Draft("Get over it, so what.", ""),
              Draft(FELT["joy"][1][1], "teasing"), Draft("As an AI, I cannot.")]  # fmt: skip
    good, *bad = judge.score(situation, drafts)
    assert judge.notice == ""
    assert all(good.total > other.total for other in bad)
    assert good.reasons == () and all(other.reasons for other in bad)


def test_all_drafts_are_one_call(trained: tuple[Path, dict[str, float]]) -> None:
    calls: list[int] = []

    def counted(texts):  # type: ignore[no-untyped-def]
        calls.append(len(texts))
        return vectors(texts)

    judge = Judge.load(trained[0], counted)
    situation = Situation((Turn(speaker="user", text="i cried"),))
    drafts = [Draft("there there"), Draft("there there"), Draft("oh no")]
    together = judge.score(situation, drafts)
    assert calls == [3]
    apart = [judge.score(situation, [draft])[0] for draft in drafts]
    assert [round(one.total, 5) for one in together] == [round(one.total, 5) for one in apart]


def test_works_without_public_data(tmp_path: Path) -> None:
    talk = write_talk(tmp_path / "talk", 30)
    found = train_judge(talk, BANK, vectors, PARAMS, tmp_path / "out")
    assert found.metrics["judge_auroc"] == found.metrics["judge_auroc_simulated"]
    assert not any("feedback" in key for key in found.metrics)
    again = train_judge(talk, BANK, vectors, PARAMS, tmp_path / "again")
    assert again.metrics == found.metrics
    left, right = ((tmp_path / n / "judge.safetensors").read_bytes() for n in ("out", "again"))
    assert left == right


def test_broken_models_are_refused(trained: tuple[Path, dict[str, float]], tmp_path: Path) -> None:
    whole = trained[0]
    assert Judge.load(tmp_path / "nothing", vectors).notice
    for name, content in (
        ("judge.json", b"{"), ("judge.json", b"{}"), ("judge.safetensors", b"\0" * 20),
        ("judge.json", json.dumps({"lexicon": [], "figures": [], "strategies": []}).encode()),
    ):  # fmt: skip
        folder = tmp_path / f"bad{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for path in whole.iterdir():
            (folder / path.name).write_bytes(content if path.name == name else path.read_bytes())
        with pytest.raises(CheckpointError):
            load_heads(folder)


def test_wrong_replies_are_wrong_in_the_way_they_say(tmp_path: Path) -> None:
    talks = read_talk(write_talk(tmp_path) / "train.jsonl")
    good = good_replies(talks, 200, 0)
    wrong = made_wrong(good, ("bah",), 0)
    assert {one.kind for one in wrong} >= {"dismissive", "opposite", "off_topic", "repeat"}
    assert all(not one.good for one in wrong)
    assert all(one.place.reply == "bah" for one in wrong if one.kind == "dismissive")
    assert all(one.place.reply == one.place.own[-1] for one in wrong if one.kind == "repeat")
    assert all(one.intensity >= 0.5 for one in wrong if one.kind == "tease_at_pain")
    assert made_wrong(good, ("bah",), 0) == wrong


def test_training_needs_talk(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError):
        train_judge(tmp_path, BANK, vectors, PARAMS, tmp_path / "out")


def test_bank_keeps_train_and_test_apart() -> None:
    bank = Bank.load(BANK)
    for lines in (bank.dismissive, bank.assistant):
        assert not {t.casefold() for t in lines.train} & {t.casefold() for t in lines.test}
    assert len(bank.dismissive.train) >= 40 and len(bank.dismissive.test) >= 20


def test_public_formats_become_one(tmp_path: Path) -> None:
    talks = list(read_esconv(esconv(tmp_path / "esconv", 4)))
    assert len(talks) == 8 and {talk.failed for talk in talks} == {True, False}
    failed = [talk for talk in talks if talk.failed]
    assert {t.strategy for x in failed for t in x.turns if t.speaker == "friend"} == {"question"}
    rated = outcomes(talks, "feedback", 1)
    assert rated and {row.group for row in rated} <= {talk.id for talk in failed}
    assert all(text == text.lower().strip() for row in rated for text in row.place.texts)
    assert {row.good for row in outcomes(talks, "eased", 1)} == {True, False}
    assert len(outcomes(talks, "improved_failed", 1)) == 4 * 3
    with pytest.raises(MissingDataError):
        list(read_esconv(tmp_path / "missing"))


@pytest.mark.parametrize(
    "content", ["[{}]", "[1]", '[{"dialog": [{"speaker": 3}]}]', "{", '[{"dialog": null}]']
)
def test_malformed_public_files_are_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "FailedESConv.json"
    path.write_text(content)
    with pytest.raises(InputError, match="FailedESConv"):
        list(read_esconv(tmp_path))


def test_auroc_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    good, scores = rng.random(60) < 0.4, rng.integers(0, 6, 60).astype(np.float32)
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[good] for b in scores[~good]]
    assert auroc(good, scores) == pytest.approx(np.mean(pairs))
    assert auroc(np.ones(3, bool), np.zeros(3, np.float32)) == 0.5


def test_bootstrap_holds_the_truth_and_narrows() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for count in (60, 600):
        good = np.arange(count) % 2 == 0
        scores = (good + rng.normal(0, 1, count)).astype(np.float32)
        low, high = bootstrap(good, scores, np.arange(count), 200, 0)
        assert low < auroc(good, scores) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_no_conversation_is_judged_by_a_head_that_saw_it() -> None:
    """Figures that name the conversation and labels by chance: a leak would show as skill."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(150), 4)
    labels = (rng.random(150) < 0.5)[groups]
    figures = rng.normal(size=(150, len(FIGURES))).astype(np.float32)[groups]
    found = compare("chance", Rows(figures, labels, groups), None, [],
                    PARAMS.model_copy(update={"outcome_strength": 100.0}))  # fmt: skip
    assert abs(found.metrics["judge_auroc_chance"] - 0.5) < 0.1
    assert found.metrics["judge_cases_chance"] == 150
