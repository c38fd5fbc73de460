"""Ours beside mem0: the same questions to both, and figures that say what was measured."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from oldfriend.bench import peers
from oldfriend.bench.peers import START, MadeUp, Ours, run
from oldfriend.bench.recall import scratch_pool
from oldfriend.errors import MissingDataError
from oldfriend.memory.store.embed import HashEmbedder, TokenReader
from oldfriend.memory.store.record import MemoryRecord, Source, record_id

INSTALLED = importlib.util.find_spec("mem0") is not None
LOCOMO: dict[str, Any] = {
    "sample_id": "conv-1",
    "conversation": {
        "session_1_date_time": "1:56 pm on 8 May, 2023",
        "session_1": [
            {"speaker": "Ann", "dia_id": "D1:1", "text": "I adopted a beagle called Rufus."},
            {"speaker": "Bob", "dia_id": "D1:2", "text": "I bake sourdough bread."},
        ],
    },
    "qa": [
        {"question": "I bake sourdough bread.", "category": 4, "evidence": ["D1:2"]},
        {"question": "Who adopted Rufus?", "category": 5, "evidence": ["D9:9"]},
    ],
}


class Remembering:
    """What mem0 promises, in a list: stores words as told, finds the nearest vectors."""

    def __init__(self) -> None:
        self.embedding_model: Any = None
        self.told: list[tuple[str, str, Any]] = []

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Remembering":
        assert Path(config["history_db_path"]).parent.is_dir()
        return cls()

    def add(self, messages: list[dict[str, str]], *, user_id: str, infer: bool) -> dict[str, Any]:
        assert not infer
        vector = np.array(self.embedding_model.embed(messages[0]["content"], "add"))
        self.told.append((user_id, f"m{len(self.told)}", vector))
        return {"results": [{"id": self.told[-1][1]}]}

    def search(
        self, query: str, *, top_k: int, filters: dict[str, str], threshold: float
    ) -> dict[str, Any]:
        asked = np.array(self.embedding_model.embed(query, "search"))
        own = [(float(vector @ asked), id) for user, id, vector in self.told
               if user == filters["user_id"]]  # fmt: skip
        return {"results": [{"id": id} for _, id in sorted(own, reverse=True)[:top_k]]}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module = ModuleType("mem0")
    module.Memory = Remembering  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mem0", module)
    monkeypatch.setattr(peers, "WRITES", 3)
    monkeypatch.setattr(peers, "SEARCHES", 2)
    yield


def turn(place: int, text: str) -> MemoryRecord:
    return MemoryRecord(
        id=record_id("ada", str(place)), user="ada", kind="turn", text=text,
        created_at=START + timedelta(minutes=place), source=Source(session="1", turn=place),
    )  # fmt: skip


def locomo(folder: Path) -> Path:
    (folder / "locomo10.json").write_text(json.dumps([LOCOMO]), encoding="utf-8")
    return folder


def test_both_are_asked_and_the_ratio_is_theirs_to_ours(stand_in: None, tmp_path: Path) -> None:
    said: list[str] = []
    outcome = run(locomo(tmp_path), embed=HashEmbedder(64), sizes=(20,), tell=said.append)
    metrics = outcome.metrics
    for name in ("ours", "mem0"):
        assert metrics[f"{name}.recall_at_10.cat1_4"] == 1.0  # of two turns one is the evidence
        assert metrics[f"{name}.recall_at_10.overall"] == 0.5  # an id of no turn is never found
        for what in ("write", "search"):
            assert 0 < metrics[f"{name}.{what}_p50_ms.20"] <= metrics[f"{name}.{what}_p95_ms.20"]
    ratio = metrics["mem0.search_p50_ms.20"] / metrics["ours.search_p50_ms.20"]
    assert metrics["ratio.search_p50_ms.20"] == ratio
    assert metrics["ours.hybrid_p50_ms.20"] > 0 and "mem0.hybrid_p50_ms.20" not in metrics
    assert {row["metric"] for row in outcome.tables["peers"]} >= {"write_p95_ms.20"}
    assert "ours: conv-1" in said and "mem0: 20 memories" in said


def test_without_data_only_times_are_taken(stand_in: None) -> None:
    assert not [key for key in run(sizes=(5,)).metrics if "recall" in key]


def test_the_first_conversations_suffice(stand_in: None, tmp_path: Path) -> None:
    metrics = run(locomo(tmp_path), embed=HashEmbedder(64), sizes=(), conversations=1).metrics
    assert metrics.keys() == {
        f"{name}.recall_at_{k}.{of}"
        for name in ("ours", "mem0") for k in (1, 5, 10) for of in ("overall", "cat1_4")
    }  # fmt: skip


def test_ours_finds_what_was_said() -> None:
    embed = MadeUp()
    with scratch_pool(embed) as pool:
        ours = Ours(pool, embed)
        told = [turn(n, text) for n, text in enumerate(("red bicycle", "old piano", "green tea"))]
        ours.fill(told)
        assert ours.search("ada", "piano", 3, START)[0] == told[1].id
        assert ours.search("bob", "piano", 3, START) == []


def test_made_up_vectors_are_of_one_length_and_of_their_words() -> None:
    embed = MadeUp()
    assert isinstance(embed, TokenReader)
    vectors = embed.encode(["old piano", "piano old", "green tea"])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert np.allclose(vectors[0], vectors[1]) and abs(vectors[0] @ vectors[2]) < 0.5
    assert [len(tokens.ids) for tokens in embed.read(["old piano", "tea"])] == [2, 1]


@pytest.mark.skipif(INSTALLED, reason="mem0 is installed")
def test_without_mem0_it_says_how_to_get_it() -> None:
    with pytest.raises(MissingDataError, match="pip install mem0ai=="):
        run(sizes=(5,))


@pytest.mark.skipif(not INSTALLED, reason="mem0 is not installed: pip install mem0ai, in a venv")
def test_the_real_one_remembers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(peers, "WRITES", 3)
    monkeypatch.setattr(peers, "SEARCHES", 2)
    metrics = run(locomo(tmp_path), embed=HashEmbedder(64), sizes=(20,)).metrics
    assert metrics["mem0.recall_at_10.cat1_4"] == metrics["ours.recall_at_10.cat1_4"] == 1.0
    assert metrics["ratio.write_p50_ms.20"] > 0
