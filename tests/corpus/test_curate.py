"""Curation end to end, on a small simulated world and a small dataset with everything wrong."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oldfriend.corpus import curate as module
from oldfriend.corpus.curate import choose, curate
from oldfriend.corpus.people import Life
from oldfriend.corpus.schema import Conversation, GroundExample, NoteExample, read_rows
from oldfriend.corpus.settings import (
    CurateParams,
    SimulatorParams,
    SourceParams,
    SplitParams,
    TaskParams,
)
from oldfriend.errors import LeakError, MissingDataError, ParamsError

SEEDS = Path(__file__).parents[2] / "data" / "seeds"
SMALL = CurateParams(
    simulator=SimulatorParams(people=30, sessions=(3, 5)),
    tasks=TaskParams(ground={"train": 40, "val": 10, "test": 20}),
)
SPLITS = ("train", "val", "test")


def dialogue(*texts: str) -> str:
    sides = ("usr", "sys")
    lines = [{"speaker": sides[n % 2], "text": text} for n, text in enumerate(texts)]
    talk = {"emotion_type": "joy", "problem_type": "none", "situation": "", "dialog": lines}
    return json.dumps(talk | {"survey_score": {"seeker": {}}})


@pytest.fixture
def external(tmp_path: Path) -> Path:
    """ESConv with good talk, a duplicate, one that is too long, personal data and mojibake."""
    folder = tmp_path / "external" / "esconv"
    folder.mkdir(parents=True)
    good = [
        dialogue(f"I feel number {n} is heavy on my mind today", f"Tell me why {n} * {n} weighs so")
        for n in range(40)
    ]
    bad = [
        good[3].replace("heavy", "HEAVY"),
        dialogue("word " * 2_000, "I see, that is quite a story you have there"),
        dialogue("Write to me at jane@example.org, will you?", "Iâ€™d love to write to you"),
    ]
    (folder / "train.jsonl").write_text("\n".join([*good, *bad]) + "\n")
    return folder.parent


REAL = CurateParams(
    simulator=None,
    sources=(SourceParams(name="esconv", path="esconv", resplit=True),),
    splits=SplitParams(val=0.2, test=0.2),
)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float | int]]:
    out = tmp_path_factory.mktemp("curated") / "out"
    return out, curate(SMALL, seeds=SEEDS, external=out, out=out, seed=1)


def test_every_file_of_the_contract_is_there(
    simulated: tuple[Path, dict[str, float | int]],
) -> None:
    out, metrics = simulated
    for split in SPLITS:
        rows = list(read_rows(out / "talk" / f"{split}.jsonl", Conversation))
        assert len(rows) == metrics[f"talk/simulator/{split}"]
        notes = list(read_rows(out / "summarizer" / f"{split}.jsonl", NoteExample))
        assert len(notes) == metrics[f"summarizer/simulator/{split}"]
        ground = list(read_rows(out / "ground" / f"{split}.jsonl", GroundExample))
        assert len(ground) == metrics[f"ground/simulator/{split}"]
    lives = list(read_rows(out / "lives.jsonl", Life))
    users = sorted(path for path in (out / "users").iterdir() if path.is_dir())
    index = json.loads((out / "users" / "index.json").read_text(encoding="utf-8"))
    assert index == [user.name for user in users]
    assert len(lives) == metrics["persons"] == 30
    assert len(users) == metrics["users"] > 0
    for user in users:
        assert {file.name for file in user.iterdir()} == {"train.jsonl", "test.jsonl"}
    assert metrics["split_leaks"] == 0
    assert (out / "card.html").is_file()


def test_the_truth_stays_true(simulated: tuple[Path, dict[str, float | int]]) -> None:
    out, _ = simulated
    talk = {
        row.id: row
        for split in SPLITS
        for row in read_rows(out / "talk" / f"{split}.jsonl", Conversation)
    }
    for life in read_rows(out / "lives.jsonl", Life):
        for known in life.facts:
            turn = talk[known.conversation].turns[known.turn]
            assert known.value in [fact.value for fact in turn.facts]


def test_meta_tells_what_made_it(simulated: tuple[Path, dict[str, float | int]]) -> None:
    out, metrics = simulated
    meta = json.loads((out / "meta.json").read_text())
    assert CurateParams.model_validate(meta["params"]) == SMALL
    assert meta["counts"] == metrics
    assert len(meta["seeds_hash"]) == len(meta["data_hash"]) == 64


def test_the_same_settings_give_the_same_bytes(
    simulated: tuple[Path, dict[str, float | int]], tmp_path: Path
) -> None:
    out, _ = simulated
    curate(SMALL, seeds=SEEDS, external=tmp_path, out=tmp_path / "again", seed=1)
    for file in out.rglob("*"):
        if file.is_file():
            again = tmp_path / "again" / file.relative_to(out)
            assert again.read_bytes() == file.read_bytes(), file.name


def test_a_real_source_is_cleaned_and_counted(external: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    metrics = curate(REAL, seeds=tmp_path, external=external, out=out, seed=1)
    assert metrics["duplicates_removed"] == 1
    assert metrics["filtered"] == 1
    assert metrics["pii_scrubbed"] == 1
    counts = [metrics.get(f"talk/esconv/{split}", 0) for split in SPLITS]
    assert sum(counts) == 41
    assert min(counts) > 0
    text = "".join((out / "talk" / f"{split}.jsonl").read_text() for split in SPLITS)
    assert "<EMAIL>" in text
    assert "jane@" not in text
    assert "I'd love to write" in text
    card = json.loads((out / "card.json").read_text())
    assert card["sources"][0]["removed"] == {"too_long": 1}


def test_simulator_and_real_sources_go_together(external: Path, tmp_path: Path) -> None:
    params = SMALL.model_copy(update={"sources": REAL.sources})
    metrics = curate(params, seeds=SEEDS, external=external, out=tmp_path / "out", seed=1)
    assert metrics["talk/simulator/train"] > 0
    assert metrics["talk/esconv/train"] > 0


def test_a_missing_dataset_says_how_to_unpack_it(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"esconv is not there.*mkdir -p .* && tar -xJf"):
        curate(REAL, seeds=SEEDS, external=tmp_path, out=tmp_path / "out", seed=1)
    assert not (tmp_path / "out").exists()


def test_an_unknown_importer_names_the_known_ones(tmp_path: Path) -> None:
    params = CurateParams(sources=(SourceParams(name="esconw", path="x"),))
    with pytest.raises(ParamsError, match=r"unknown importer 'esconw'; there are .*esconv"):
        curate(params, seeds=SEEDS, external=tmp_path, out=tmp_path / "out", seed=1)


def test_a_leak_stops_the_stage(
    external: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep_all(rows: list[Conversation], *_: object) -> list[Conversation]:
        return rows

    monkeypatch.setattr(module.dedup, "deduplicate", keep_all)
    params = REAL.model_copy(update={"splits": SplitParams(val=0.45, test=0.45)})
    with pytest.raises(LeakError, match="of train"):
        for seed in range(20):
            curate(params, seeds=tmp_path, external=external, out=tmp_path / "out", seed=seed)


@pytest.mark.parametrize("step", ["write_rows", "write_json", "hash_files"])
def test_a_kill_midway_leaves_the_old_data(
    step: str, external: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("kept")
    real: Callable[..., Any] = getattr(module, step)
    calls = iter(range(100))

    def killed(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == {"write_rows": 4, "write_json": 0, "hash_files": 1}[step]:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(module, step, killed)
    with pytest.raises(KeyboardInterrupt):
        curate(REAL, seeds=tmp_path, external=external, out=out, seed=1)
    assert [path.name for path in out.iterdir()] == ["old"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["external", "out"]


KILL = """
import os, signal, sys
from pathlib import Path
from oldfriend.corpus import curate
from oldfriend.corpus.settings import CurateParams

params, external, out = CurateParams.model_validate_json(sys.argv[1]), *map(Path, sys.argv[2:])
curate.card.write = lambda *args, **rest: os.kill(os.getpid(), signal.SIGKILL)
curate.curate(params, seeds=external, external=external, out=out, seed=1)
"""


def test_a_hard_kill_leaves_the_old_data(external: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("kept")
    command = [sys.executable, "-c", KILL, REAL.model_dump_json(), str(external), str(out)]
    ended = subprocess.run(command, cwd=SEEDS.parents[1], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert [path.name for path in out.iterdir()] == ["old"]


def test_a_limit_takes_person_after_person_and_is_stable() -> None:
    def row(person: int, session: int) -> Conversation:
        return Conversation.model_validate(
            {
                "id": f"{person}-{session}",
                "person": str(person),
                "source": "s",
                "licence": "l",
                "turns": [{"speaker": "user", "text": "hi"}],
            }
        )

    rows = [row(person, session) for person in range(30) for session in range(4)]
    chosen = choose(rows, 22, seed=1)
    assert len(chosen) == 22
    assert len({row.person for row in chosen}) == 6
    more = rows + [row(person, 0) for person in range(30, 40)]
    assert {row.id for row in choose(more, 80, seed=1)} >= {row.id for row in chosen}
    assert choose(rows, None, seed=1) == rows
