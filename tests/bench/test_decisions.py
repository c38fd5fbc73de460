"""Fitting the three decisions: the regression, and the whole on a handful of examples."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from zlib import crc32

import numpy as np
import pytest

from oldfriend.bench.decisions import fit, run
from oldfriend.errors import InputError, MissingDataError
from oldfriend.memory.store.decide import Features, decide
from oldfriend.memory.store.embed import Tokens

SLOTS = {"employer": "works for", "fear": "is afraid of", "drink": "loves to drink"}


class Words:
    """Words as word pieces; equal words meet, others do not."""

    vocabulary = 997

    def read(self, texts: Sequence[str], *, content: bool = False) -> list[Tokens]:
        rows = [np.array(ids, np.int64) for ids in self.pieces(texts)]
        return [Tokens(ids, np.eye(997, dtype=np.float16)[ids]) for ids in rows]

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        return [[crc32(w.encode()) % 997 for w in text.lower().split()] for text in texts]


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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    kinds = ("recall", "abstain", "plain", "colour")
    for name in ("train", "test"):
        rows = [json.dumps(example(n, kinds[n % 4])) for n in range(48)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path


def test_the_fit_finds_what_decides() -> None:
    random = Random(0)
    rows: list[Features] = [
        (float(random.random() < 0.5), 0.0, 0.0, random.random(), 0.0, 0.0) for _ in range(400)
    ]
    model = fit(rows, [row[3] > 0.5 for row in rows])
    assert model.weights[3] > 5 * abs(model.weights[0]) and model.weights[1] == 0
    assert model((0.0, 0.0, 0.0, 0.9, 0.0, 0.0)) > 0.9 > 0.1 > model((0, 0, 0, 0.1, 0, 0))


def test_small_talk_is_told_from_questions_and_the_models_can_be_used(folder: Path) -> None:
    calibration, outcome = run(folder, reader=Words(), limit=48)
    assert outcome.metrics["need.auroc"] == 1
    assert 0 <= outcome.metrics["abstain.auroc"] <= 1
    assert outcome.metrics["need.brier"] < 0.05
    assert not decide("lovely weather today", [], calibration).needed
    assert decide("so what works for my employer ?", [], calibration).needed


def test_what_is_fitted_is_the_same_every_time(folder: Path) -> None:
    assert run(folder, reader=Words(), limit=20)[0] == run(folder, reader=Words(), limit=20)[0]


def test_missing_or_malformed_examples_are_named(folder: Path) -> None:
    (folder / "test.jsonl").write_text('{"id": "1"}', encoding="utf-8")
    with pytest.raises(InputError, match=r"test\.jsonl:1"):
        run(folder, reader=Words())
    (folder / "test.jsonl").unlink()
    with pytest.raises(MissingDataError):
        run(folder, reader=Words())
