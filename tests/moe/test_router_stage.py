"""The stage `upcycle` end to end on a toy friend and toy lessons."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moe_tiny import tiny_dense

from oldfriend.corpus.schema import (
    Conversation,
    Fact,
    GroundExample,
    MemoryLine,
    NoteExample,
    Turn,
    write_rows,
)
from oldfriend.errors import InputError
from oldfriend.lm import model as models
from oldfriend.lm.fit import Run
from oldfriend.lm.tokenizer import train_tokenizer
from oldfriend.memory import intent
from oldfriend.moe import importing
from oldfriend.moe.lessons import keep_hints, read_lessons
from oldfriend.moe.upcycling.settings import UpcycleParams
from oldfriend.moe.upcycling.stage import train
from oldfriend.moe.upcycling.trial import Course, Trained
from oldfriend.outcome import Outcome

PETS = ["cat", "dog", "owl", "hen", "fox", "eel"]


def talk(i: int) -> Conversation:
    said = f"My {PETS[i % 6]} is {i} years old."
    turns = (Turn(speaker="user", text=said), Turn(speaker="friend", text=f"A fine {PETS[i % 6]}!"))
    return Conversation(id=str(i), person=f"p{i}", source="toy", licence="none", turns=turns)


def ground(i: int) -> GroundExample:
    pet = PETS[i % 6]
    memory = MemoryLine(owner="Ada", slot="pet", value=pet, text=f"has a {pet}")
    return GroundExample(
        id=str(i), user="Ada", source="toy", kind="recall", slot="pet", memories=(memory,),
        message="What pet do I have?", reply=f"A {pet}.", quote=f"your pet: {pet}", value=pet,
    )  # fmt: skip


def note(i: int) -> NoteExample:
    pet = PETS[i % 6]
    text = f"We got a {pet} today."
    fact = Fact(slot="pet", value=pet, start=9, end=9 + len(pet))
    return NoteExample(id=str(i), user="Ada", source="toy", text=text, facts=(fact,))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A friend that knows nothing, and curated data of three tasks."""
    root = tmp_path_factory.mktemp("house")
    for split, count in (("train", 60), ("val", 20)):
        rows = range(count)
        write_rows(root / f"data/talk/{split}.jsonl", map(talk, rows))
        write_rows(root / f"data/ground/{split}.jsonl", map(ground, rows))
        write_rows(root / f"data/summarizer/{split}.jsonl", map(note, rows))
    tokenizer = train_tokenizer([t.text for i in range(60) for t in talk(i).turns], 330)
    friend = tiny_dense("lfm2", vocab_size=len(tokenizer), intermediate_size=32)
    (root / "friend").mkdir()
    models.save(friend, tokenizer, root / "friend", {"seed": 0})
    return root


def params(**changes: Any) -> UpcycleParams:
    fit = {
        "steps": 6, "rows": 2, "row_tokens": 96, "lr": 3e-3, "precision": "32-true",
        "accelerator": "cpu",
    }  # fmt: skip
    settings = {
        "fit": fit,
        "val_rows": 2,
        "looks": 2,
        "rows_per_domain": 50,
        "trial_steps": 2,
    } | changes
    return UpcycleParams.model_validate(settings)


def run(house: Path, out: Path, routers: list[str], experts: list[int], **changes: Any) -> Outcome:
    settings = params(routers=routers, experts=experts, **changes)
    return train(
        settings, run=Run(out / "checkpoints", 0), friend=house / "friend", data=house / "data",
        out=out / "moe",
    )  # fmt: skip


@pytest.mark.slow
def test_the_best_of_the_grid_is_trained_and_saved(house: Path, tmp_path: Path) -> None:
    starts = ["random", "kmeans", "copy", "distil"]
    outcome = run(house, tmp_path, starts, [2, 4])
    metrics = outcome.metrics
    assert metrics["step0_gap"] < 1e-5
    assert metrics["val_loss"] < metrics["val_loss_before"]
    assert metrics["flops_ratio"] > 1
    wanted = {
        "churn", "saturation", "load_cv", "dead_experts", "domain_mi", "tokens_per_s", "coupling",
        "val_loss_talk", "val_loss_ground", "val_loss_notes", "val_loss_dense", "specialisation",
    }  # fmt: skip
    assert wanted <= metrics.keys()
    rows = outcome.tables["trials"]
    assert [row["trial"] for row in rows] == [f"{e}-{kind}" for e in (2, 4) for kind in starts]
    best = min(rows, key=lambda row: float(row["val_loss"]))
    meta = models.read_meta(tmp_path / "moe")
    assert (meta["experts"], meta["router"]) == (best["experts"], best["router"])
    assert {row["model"] for row in outcome.tables["curves"]} == {"moe", "dense"}
    model, tokenizer = importing.load(tmp_path / "moe")
    assert [router.out_features for router in model.routers()] == [best["experts"]] * 3
    assert len(tokenizer) == model.config.vocab_size
    assert not [path for path in (tmp_path / "checkpoints").rglob("*") if path.is_file()]
    friend, _ = models.load(house / "friend")
    ours, theirs = model.state_dict(), friend.state_dict()
    mixers = [name for name in theirs if ".feed_forward." not in name]
    assert len(mixers) > 10
    assert all(ours[name].equal(theirs[name]) for name in mixers)  # so that adapters fit


@pytest.mark.slow
def test_finished_trials_are_not_run_again(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage that was cut while it trained the best goes on there, to the same figures."""
    names: list[str] = []
    trained = Course.trained

    def cut(self: Course, model: Any, name: str, *args: Any, **more: Any) -> Trained:
        names.append(name)
        if name == "best" and names.count("best") == 1:
            raise KeyboardInterrupt
        return trained(self, model, name, *args, **more)

    monkeypatch.setattr(Course, "trained", cut)
    with pytest.raises(KeyboardInterrupt):
        run(house, tmp_path, ["scaled"], [2, 4])
    assert not (tmp_path / "moe").exists()
    again = run(house, tmp_path, ["scaled"], [2, 4])
    assert names == ["2-scaled", "4-scaled", "best", "best", "dense"]
    whole = run(house, tmp_path / "whole", ["scaled"], [2, 4])
    for outcome in (again, whole):
        outcome.metrics.pop("tokens_per_s"), outcome.metrics.pop("tokens_per_s_dense")
    assert again.metrics == whole.metrics


@pytest.mark.slow
def test_a_saved_moe_of_another_size_lends_its_routers(house: Path, tmp_path: Path) -> None:
    """The donor has other experts and another tokenizer, so it is aligned by characters."""
    tokenizer = train_tokenizer(["the quick brown fox " * 9], 300)
    dense = tiny_dense("llama", vocab_size=len(tokenizer), hidden_size=48, num_hidden_layers=2)
    (tmp_path / "other").mkdir()
    models.save(dense, tokenizer, tmp_path / "other", {"seed": 1})
    donor = tmp_path / "donor"
    house_of_other = {"friend": tmp_path / "other", "data": house / "data"}
    few = params(domains=["talk"], routers=["scaled"], experts=[8])
    train(few, run=Run(tmp_path, 0), out=donor / "moe", **house_of_other)
    outcome = run(house, tmp_path, ["ridge"], [4], donor=str(donor / "moe"))
    assert outcome.metrics["step0_gap"] < 1e-5


def test_unknown_starts_and_domains_are_named(house: Path) -> None:
    with pytest.raises(ValueError, match="routers"):
        params(routers=["magic"])
    with pytest.raises(ValueError, match="must be one number"):
        params(plan={"method": "copy", "experts": [2, 4, 8]})
    _, tokenizer = models.load(house / "friend")
    with pytest.raises(InputError, match="unknown domain 'poetry'"):
        read_lessons(tokenizer, ["talk", "poetry"], house / "data", rows=9, row_tokens=96)


def test_lessons_hold_the_prompts_of_the_tasks(house: Path) -> None:
    _, tokenizer = models.load(house / "friend")
    found = read_lessons(
        tokenizer, ["ground", "notes", "talk"], house / "data", rows=9, row_tokens=96
    )
    by_name = {lesson.name: tokenizer.decode(lesson.train[0].ids) for lesson in found}
    assert "You are talking with Ada" in by_name["ground"]
    assert "Take notes" in by_name["notes"]
    assert [len(lesson.train) for lesson in found] == [9, 9, 9]


def test_prompts_have_the_hints_of_the_friend_and_its_moe_keeps_them(
    house: Path, tmp_path: Path
) -> None:
    _, tokenizer = models.load(house / "friend")
    weight, bias = np.zeros((2, 384), np.float32), np.array([9, 0], np.float32)
    intent.save(intent.Intent(("your pet", intent.NOTHING), weight, bias), tmp_path)
    told = [
        read_lessons(tokenizer, ["ground"], house / "data", rows=9, row_tokens=96, friend=friend)[
            0
        ].train[0]
        for friend in (None, house / "friend", tmp_path)
    ]
    assert told[0] == told[1] != told[2]
    assert "your pet" in tokenizer.decode(told[2].ids).partition("What pet do I have?")[2]
    (tmp_path / "moe").mkdir()
    keep_hints(house / "friend", tmp_path / "moe")
    assert intent.load(tmp_path / "moe") is None
    keep_hints(tmp_path, tmp_path / "moe")
    kept = intent.load(tmp_path / "moe")
    assert kept is not None and kept.topics == ("your pet", intent.NOTHING)
