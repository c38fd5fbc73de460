"""Fitting the three decisions: the regression, and the whole on a handful of examples."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from numpy.typing import NDArray

from oldfriend.bench.decisions import GENERAL, run
from oldfriend.bench.general import general_questions
from oldfriend.bench.logistic import fit, solve
from oldfriend.errors import InputError, MissingDataError
from oldfriend.memory.store.decide import Calibration, Features, decide
from oldfriend.memory.store.embed import HashEmbedder, Tokens
from oldfriend.memory.store.topic import Topic, personal, trained
from oldfriend.outcome import Outcome

SLOTS = {"employer": "works for", "fear": "is afraid of", "drink": "loves to drink"}


class Words:
    """Words as word pieces; equal words meet, others do not."""

    vocabulary = 997

    def read(self, texts: Sequence[str], *, content: bool = False) -> list[Tokens]:
        rows = [np.array(ids, np.int64) for ids in self.pieces(texts)]
        return [Tokens(ids, np.eye(997, dtype=np.float16)[ids]) for ids in rows]

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        return [[crc32(w.encode()) % 997 for w in text.lower().split()] for text in texts]


class BagOfWords:
    """Sums of fixed directions of words."""

    id, size = "bag", 997

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        found = np.zeros((len(texts), self.size), np.float32)
        for row, ids in zip(found, Words().pieces(texts), strict=True):
            row[ids] = 1
        unit: NDArray[np.float32] = found / np.linalg.norm(found, axis=1, keepdims=True)
        return unit


def example(number: int, kind: str) -> dict[str, object]:
    user, slot = f"user{number}", list(SLOTS)[number % 3]
    lines = [
        {"owner": user, "slot": s, "value": f"{s}{number}", "text": f"{user} {says} {s}{number}"}
        for s, says in SLOTS.items()
        if s != slot or kind != "abstain"
    ]
    message = f"so what {SLOTS[slot]} my {slot} ?" if kind != "plain" else "lovely weather today"
    return {
        "id": str(number), "user": user, "source": "test", "kind": kind, "slot": slot,
        "memories": lines, "message": message, "reply": "yes",
    }  # fmt: skip


BANK = (
    "train: [how do clouds form ?, why is ice cold ?]\ntest: [who made pasta ?, what is a fjord ?]"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    kinds = ("recall", "abstain", "plain", "colour")
    for name in ("train", "test"):
        rows = [json.dumps(example(n, kinds[n % 4])) for n in range(48)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "general.yaml").write_text(BANK, encoding="utf-8")
    return tmp_path


def fitted(folder: Path, **options: Any) -> tuple[Calibration, Topic | None, Outcome]:
    return run(folder, general=folder / "general.yaml", reader=Words(), **options)


def test_the_fit_finds_what_decides() -> None:
    random = Random(0)
    rows: list[Features] = [
        (float(random.random() < 0.5), 0.0, 0.0, random.random(), 0.0, 0.0) for _ in range(400)
    ]
    model = fit(rows, [row[3] > 0.5 for row in rows])
    assert model.weights[3] > 5 * abs(model.weights[0]) and model.weights[1] == 0
    assert model((0.0, 0.0, 0.0, 0.9, 0.0, 0.0)) > 0.9 > 0.1 > model((0, 0, 0, 0.1, 0, 0))


def test_small_talk_is_told_from_questions_and_the_models_can_be_used(folder: Path) -> None:
    calibration, topic, outcome = fitted(folder, limit=48)
    assert outcome.metrics["need.auroc"] > 0.95
    assert topic is None and calibration.informed is None
    assert 0 <= outcome.metrics["abstain.auroc"] <= 1
    assert outcome.metrics["need.brier"] < 0.08
    assert not decide("lovely weather today", [], calibration).needed
    assert decide("so what works for my employer ?", [], calibration).needed


def test_what_is_fitted_is_the_same_every_time(folder: Path) -> None:
    assert fitted(folder, limit=20)[0] == fitted(folder, limit=20)[0]


def test_missing_or_malformed_examples_are_named(folder: Path) -> None:
    (folder / "test.jsonl").write_text('{"id": "1"}', encoding="utf-8")
    with pytest.raises(InputError, match=r"test\.jsonl:1"):
        fitted(folder)
    (folder / "test.jsonl").unlink()
    with pytest.raises(MissingDataError):
        fitted(folder)


def test_a_topic_model_tells_the_world_from_a_life(folder: Path) -> None:
    """With vectors of words the two banks have nothing in common but their form."""
    calibration, topic, outcome = fitted(folder, embed=BagOfWords(), limit=48)
    assert topic is not None and calibration.informed is not None
    assert topic.embedder == "bag"
    personal, world = BagOfWords().encode(["what works for my employer ?", "how do clouds form ?"])
    assert topic(personal) > topic(world)
    assert {"informed.auroc", "informed.general_refused", "need.recall"} <= outcome.metrics.keys()


def test_the_bank_has_two_halves_without_a_shared_phrasing() -> None:
    bank = general_questions(GENERAL)
    assert len(bank.train) + len(bank.test) >= 300 and len(bank.test) >= 100
    assert not set(bank.train) & set(bank.test)


def test_mistakes_in_the_bank_are_named(folder: Path) -> None:
    path = folder / "general.yaml"
    for text, field in (("train: [a]", "test"), ("train: [a]\ntest: 3", "test"), ("[", "YAML")):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=rf"general\.yaml.*{field}"):
            general_questions(path)
    with pytest.raises(MissingDataError):
        general_questions(folder / "nowhere.yaml")


def test_the_shipped_topic_model_knows_its_embedder() -> None:
    """It says nothing of vectors that it was not trained on."""
    assert trained().weights.shape == (384,)
    assert personal(HashEmbedder(64), "Where do I live?") is None


def test_the_solver_finds_the_separating_direction() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((300, 20))
    bias, weights = solve(rows, (rows[:, 3] > 0).tolist(), 0.02)
    assert int(np.abs(weights).argmax()) == 3 and abs(bias) < 0.5
