"""Training on a handful of texts: it learns to name feelings, and its folder can be read."""

import json
from pathlib import Path

import numpy as np
import pytest

from oldfriend.corpus.schema import Conversation, Turn, write_rows
from oldfriend.empathy.data import goemotions
from oldfriend.empathy.emotion import FIGURES, WEIGHTS, Emotion
from oldfriend.empathy.emotion_train import train, truth_of
from oldfriend.empathy.encoder import tune
from oldfriend.empathy.labels import LABELS
from oldfriend.empathy.settings import EmotionParams
from oldfriend.lm.fit import Run
from oldfriend.lm.settings import FitParams

SAID = {
    "sadness": ("I miss my {}", "my {} died", "I cried about my {}", "I lost my {} for ever"),
    "joy": ("what a lovely {}", "I danced with my {}", "my {} won, hooray", "I adore this {}"),
}
TRAIN, TEST = ("cat", "horse", "garden", "uncle", "boat", "song"), ("dog", "parrot", "house")
FIT = FitParams(steps=40, rows=2, row_tokens=128, lr=5e-4, warmup=0.1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    place = tmp_path_factory.mktemp("emotion")
    out, talk, public = place / "out", place / "talk", place / "public"
    for folder in (out, talk, public):
        folder.mkdir()
    for split, things in (("train", TRAIN), ("test", TEST), ("dev", TEST)):
        said = [(name, way.format(thing)) for name, ways in SAID.items() for way in ways
                for thing in things]  # fmt: skip
        turns = [
            Turn(speaker="user", text=text, emotion=name, intensity=0.8) for name, text in said
        ]
        plain = [Turn(speaker="user", text=f"the {thing} is over there") for thing in things]
        talks = Conversation(id=split, person=split, source="simulator", licence="ours",
                             turns=(*turns, *plain))  # fmt: skip
        write_rows(talk / f"{split}.jsonl", [talks])
        rows = [f"{text}\t{LABELS.index(name)}\tid" for name, text in said]
        (public / f"{split}.tsv").write_text("\n".join(rows), encoding="utf-8")
    params = EmotionParams(lives=60, held_out=0.3, fit=FIT)
    run = Run(place / "checkpoints", seed=0)
    found = train(params, run, talk=talk, public=public, folder=out)
    return out, found.metrics


def test_it_learns_what_it_is_shown_and_reads_it_from_its_folder(
    trained: tuple[Path, dict[str, float]],
) -> None:
    folder, metrics = trained
    sad, glad = Emotion.load(folder).read(["my poor parrot died", "what a lovely house, hooray"])
    assert sad.probabilities["sadness"] > 0.5 > sad.probabilities["joy"]
    assert glad.probabilities["joy"] > 0.5 > glad.probabilities["sadness"]
    assert sad.valence < 0 < glad.valence
    assert metrics["life_acc"] > 0.7
    assert metrics["emotion_macro_f1"] == metrics["goemotions_macro_f1"]
    assert {path.name for path in folder.iterdir()} == {WEIGHTS, FIGURES}
    assert json.loads((folder / FIGURES).read_text())["seed"] == 0


def test_labels_that_no_text_had_stay_out(trained: tuple[Path, dict[str, float]]) -> None:
    (felt,) = Emotion.load(trained[0]).read(["I miss my dog"])
    rare = [p for name, p in felt.probabilities.items() if name not in (*SAID, "neutral")]
    assert max(rare) < 0.1


def test_the_same_run_gives_the_same_weights(tmp_path: Path) -> None:
    lessons = [("I miss her", (0,)), ("we won", (1, 2)), ("the bus", (2,))]
    fit = FIT.model_copy(update={"steps": 2})
    for name in ("one", "two"):
        tune(lessons, 3, fit, Run(tmp_path / "checkpoints", seed=0), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_truth_has_one_row_a_text(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("x\t1,2\tid\ny\t3\tid\n", encoding="utf-8")
    truth = truth_of(list(goemotions(tmp_path / "a.tsv")))
    assert truth.shape == (2, len(LABELS))
    assert np.flatnonzero(truth[0]).tolist() == [1, 2]
