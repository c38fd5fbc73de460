"""Training: exact accumulation, exact resumption, honest schedules, prompt endings."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from fit_run import train
from hypothesis import given
from hypothesis import strategies as st
from lm_tiny import packed_batch, random_documents, same_weights, tiny_fit, tiny_model

from oldfriend.lm.fit import Run, StepBatches, fingerprint, fit_model, newest_checkpoint
from oldfriend.lm.lit import PackedLM, learning_rate_scale
from oldfriend.lm.packing import Document, PackedRows, plan_rows
from oldfriend.lm.settings import FitParams

HERE = Path(__file__).parent
LONG = {"steps": 150, "checkpoint_every": 5}  # far from done when the first checkpoint appears
WAIT = 60  # seconds until a test gives up; nothing is measured


def start(checkpoints: Path, settings: dict[str, Any], *flags: str) -> subprocess.Popen[bytes]:
    """``fit_run.py`` in a process of its own."""
    paths = [str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, HERE / "fit_run.py", checkpoints, json.dumps(settings), *flags],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for_checkpoint(checkpoints: Path, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + WAIT
    while not list(checkpoints.glob("*/*.ckpt")):
        assert process.poll() is None, "the run ended before its first checkpoint"
        assert time.monotonic() < give_up
        time.sleep(0.005)


def cut_short(checkpoints: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Leave the checkpoint of a run that an error ended at its fourth step."""

    class PowerCutError(Exception):
        pass

    def cut(self: StepBatches, step: int) -> list[int]:
        if step == 4:
            raise PowerCutError
        return whole(self, step)

    whole = StepBatches.step_rows
    with monkeypatch.context() as patch, pytest.raises(PowerCutError):
        patch.setattr(StepBatches, "step_rows", cut)
        train(checkpoints, settings)
    (checkpoint,) = checkpoints.glob("*/*.ckpt")
    return checkpoint


# Batches


def _rows(count: int = 30) -> PackedRows:
    documents = random_documents([3 + 7 * i % 40 for i in range(count)])
    return PackedRows(documents, plan_rows(documents, 48, 0), 48, pad_id=0)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 7))
def test_a_resumed_run_sees_the_batches_it_would_have_seen(
    rows: int, accumulate: int, first: int
) -> None:
    fit = tiny_fit(rows=rows, accumulate=accumulate, steps=7)
    whole = list(StepBatches(_rows(), fit, 3))
    rest = list(StepBatches(_rows(), fit, 3, start=first))
    assert len(whole) == 7 * accumulate
    for one, other in zip(whole[first * accumulate :], rest, strict=True):
        assert all(one[name].equal(other[name]) for name in one)


def test_every_epoch_sees_every_row_once_and_only_the_first_is_in_order() -> None:
    rows = _rows()
    batches = StepBatches(rows, tiny_fit(rows=1, steps=3 * len(rows)), 0)
    seen = [batches.step_rows(step)[0] for step in range(3 * len(rows))]
    epochs = [seen[i : i + len(rows)] for i in range(0, len(seen), len(rows))]
    assert epochs[0] == list(range(len(rows)))
    assert all(sorted(epoch) == epochs[0] for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("devices", [1, 2])
def test_devices_share_a_step_without_overlap(devices: int) -> None:
    fit = tiny_fit(rows=2, accumulate=2, devices=devices, steps=1)
    rows = _rows(60)
    shares = [list(StepBatches(rows, fit, 0, rank=rank)) for rank in range(devices)]
    ids = [tuple(row.tolist()) for share in shares for b in share for row in b["input_ids"]]
    expected = [tuple(rows[i]["input_ids"].tolist()) for i in range(4 * devices)]
    assert sorted(ids) == sorted(expected)
    supervised = sum(int((b["labels"] >= 0).sum()) for share in shares for b in share)
    for share in shares:
        for batch in share:
            assert float(batch["denominator"]) == pytest.approx(supervised / (2 * devices))


# Gradients


@pytest.mark.parametrize("family", ["lfm2", "llama"])
def test_accumulation_equals_a_larger_batch(family: str, tmp_path: Path) -> None:
    """Documents supervise very different numbers of tokens, so plain averaging would differ."""
    documents = [
        Document(doc.ids, ((1, 2 + i % 17),) if i % 3 else ())
        for i, doc in enumerate(random_documents([20 + i % 20 for i in range(40)]))
    ]
    trained = []
    for rows, accumulate in [(4, 1), (2, 2), (1, 4)]:
        model = tiny_model(family)
        fit = tiny_fit(rows=rows, accumulate=accumulate, steps=4, lr=1e-3)
        result = fit_model(model, documents, fit, Run(tmp_path, 0), pad_id=0)
        assert result.steps == 4
        trained.append(model)
    assert same_weights(trained[0], trained[1], atol=1e-5)
    assert same_weights(trained[0], trained[2], atol=1e-5)
    assert not same_weights(trained[0], tiny_model(family), atol=1e-3)


def test_gradients_do_not_depend_on_how_documents_are_packed() -> None:
    documents = random_documents([30, 11, 5, 20, 17])
    gradients = []
    for row_tokens in (32, 50, 96):
        model = tiny_model("lfm2")
        PackedLM(model, tiny_fit()).loss(packed_batch(documents, row_tokens)).backward()  # type: ignore[no-untyped-call]
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for other in gradients[1:]:
        for name, gradient in gradients[0].items():
            torch.testing.assert_close(other[name], gradient, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_training_learns_and_leaves_no_checkpoint(
    precision: str, optimizer: str, tmp_path: Path
) -> None:
    documents = random_documents([24] * 8)
    model = tiny_model("lfm2")
    fit = tiny_fit(precision=precision, optimizer=optimizer, steps=30, lr=1e-2)
    before = fit_model(
        model, [], fit.model_copy(update={"steps": 0}), Run(tmp_path, 0), pad_id=0,
        validation=documents,
    )  # fmt: skip
    after = fit_model(model, documents, fit, Run(tmp_path, 0), pad_id=0, validation=documents)
    assert before.steps == 0 and after.steps == 30
    assert after.val_loss < 0.7 * before.val_loss
    assert after.tokens_per_s > 0
    assert not list(tmp_path.iterdir())
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_only_trainable_weights_move(optimizer: str, tmp_path: Path) -> None:
    model = tiny_model("llama")
    for name, parameter in model.named_parameters():
        parameter.requires_grad = ".mlp." in name
    fit = tiny_fit(optimizer=optimizer)
    fit_model(model, random_documents([24] * 8), fit, Run(tmp_path, 0), pad_id=0)
    start = tiny_model("llama").state_dict()
    moved = {name for name, w in model.state_dict().items() if not w.equal(start[name])}
    assert moved == {name for name in start if ".mlp." in name}


# Resumption


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_killed_run_ends_as_if_undisturbed(optimizer: str, tmp_path: Path) -> None:
    batches = {"accumulate": 2, "rows": 2, "validate_every": 30}
    settings = {**LONG, **batches, "optimizer": optimizer}
    process = start(tmp_path / "cut", settings)
    wait_for_checkpoint(tmp_path / "cut", process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert list((tmp_path / "cut").glob("*/*.ckpt"))
    resumed, after = train(tmp_path / "cut", settings)
    whole, result = train(tmp_path / "whole", settings)
    assert same_weights(resumed, whole)
    assert after.val_loss == result.val_loss
    assert after.steps == result.steps == 150
    assert not list((tmp_path / "cut").iterdir())


def test_a_run_killed_after_its_last_step_is_not_trained_again(tmp_path: Path) -> None:
    settings = {"steps": 6}
    process = start(tmp_path / "cut", settings, "--die-when-done")
    assert process.wait(WAIT) == -signal.SIGKILL
    assert [p.stem for p in (tmp_path / "cut").glob("*/*.ckpt")] == ["step=6"]
    resumed, after = train(tmp_path / "cut", settings)
    whole, result = train(tmp_path / "whole", settings)
    assert same_weights(resumed, whole)
    assert (after.val_loss, after.steps) == (result.val_loss, result.steps)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"accumulate": 3, "rows": 1},
        {"precision": "bf16-mixed"},
        {"lora": True},  # dropout: the random state must go on too
        {"validate_every": 1, "patience": 5},
        {"schedule": "cosine", "checkpoint_every": 3},
        {"optimizer": "muon", "others_lr": 0.5},
        {"optimizer": "muon", "precision": "bf16-mixed", "accumulate": 3, "rows": 1},
        {"optimizer": "muon", "lora": True},
    ],
    ids=[
        "plain", "accumulate", "bf16", "lora-dropout", "validation", "cosine",
        "muon", "muon-bf16", "muon-lora",
    ],
)  # fmt: skip
def test_resuming_is_exact(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = cut_short(tmp_path / "cut", settings, monkeypatch)
    assert int(checkpoint.stem.split("=")[1]) in (2, 3)
    resumed, after = train(tmp_path / "cut", settings)
    whole, result = train(tmp_path / "whole", settings)
    assert same_weights(resumed, whole)
    assert (after.val_loss, after.steps) == (result.val_loss, result.steps)


def test_a_checkpoint_of_an_adapter_holds_the_adapter_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = cut_short(tmp_path, {"lora": True}, monkeypatch)
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert state and all(".lora_" in name for name in state)


@pytest.mark.parametrize("size", [0, 1000, -1])
def test_a_damaged_checkpoint_is_set_aside(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = cut_short(tmp_path / "cut", {}, monkeypatch)
    older = checkpoint.with_name("step=1.ckpt")
    older.write_bytes(checkpoint.read_bytes())
    checkpoint.write_bytes(checkpoint.read_bytes()[: size if size >= 0 else -1000])
    assert newest_checkpoint(checkpoint.parent) == older
    assert not checkpoint.exists()
    older.unlink()
    assert newest_checkpoint(checkpoint.parent) is None
    assert same_weights(train(tmp_path / "cut", {})[0], train(tmp_path / "whole", {})[0])


def test_the_newest_checkpoint_is_that_of_the_highest_step(tmp_path: Path) -> None:
    for step in (9, 10, 100, 20):
        torch.save({"global_step": step}, tmp_path / f"step={step}.ckpt")
    newest = newest_checkpoint(tmp_path)
    assert newest is not None and newest.stem == "step=100"


@pytest.mark.parametrize(
    "changed",
    [{"lr": 1e-3}, {"rows": 2}, {"seed": 1}, {"schedule": "cosine"}, {"optimizer": "muon"}],
    ids=str,
)
def test_a_changed_setting_starts_anew(
    changed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = cut_short(tmp_path / "cut", {}, monkeypatch)
    fresh, _ = train(tmp_path / "cut", changed)
    whole, _ = train(tmp_path / "whole", changed)
    assert same_weights(fresh, whole)
    assert checkpoint.exists()  # another run's, untouched


def test_the_fingerprint_tells_runs_apart() -> None:
    documents = random_documents([9] * 4)
    fit = tiny_fit()
    model = tiny_model("lfm2")
    learn = [Document(documents[0].ids, ((2, 5),)), *documents[1:]]
    prints = [
        fingerprint(model, documents, fit, 0),
        fingerprint(model, documents, fit, 1),
        fingerprint(model, documents[::-1], fit, 0),
        fingerprint(model, learn, fit, 0),
        fingerprint(model, documents, tiny_fit(steps=7), 0),
        fingerprint(tiny_model("lfm2", seed=1), documents, fit, 0),
    ]
    assert len(set(prints)) == len(prints)
    assert fingerprint(tiny_model("lfm2"), documents, fit, 0) == prints[0]


def test_ctrl_c_ends_the_run_and_keeps_its_checkpoint(tmp_path: Path) -> None:
    process = start(tmp_path, {"steps": 1_000_000})
    wait_for_checkpoint(tmp_path, process)
    process.send_signal(signal.SIGINT)
    try:
        assert process.wait(WAIT) != 0
    finally:
        process.kill()
    (folder,) = tmp_path.iterdir()
    assert newest_checkpoint(folder) is not None


# Schedules and stopping

schedules = st.sampled_from(["cosine", "wsd", "constant"])


@given(schedules, st.integers(1, 400), st.floats(0, 0.5), st.floats(0, 1))
def test_a_schedule_rises_then_never_rises_again(
    schedule: str, steps: int, warmup: float, decay: float
) -> None:
    fit = FitParams.model_validate(
        {"steps": steps, "lr": 1, "schedule": schedule, "warmup": warmup, "decay": decay}
    )
    scales = [learning_rate_scale(step, fit) for step in range(steps)]
    assert all(0 < scale <= 1 for scale in scales)
    peak = min(int(-(-warmup * steps // 1)), steps - 1)  # the first step after the warm-up
    assert all(one < other for one, other in pairwise(scales[:peak]))
    assert all(one >= other for one, other in pairwise(scales[peak:]))
    if schedule == "constant":
        assert set(scales[peak:-1]) <= {1.0}


def test_schedules_reach_their_ends() -> None:
    shapes = {
        name: [learning_rate_scale(step, tiny_fit(steps=100, schedule=name, warmup=0.1, decay=0.3))
               for step in range(101)]
        for name in ("cosine", "wsd", "constant")
    }  # fmt: skip
    assert all(shape[10] == 1 for shape in shapes.values())
    assert shapes["cosine"][55] == pytest.approx(0.51)
    assert shapes["cosine"][100] == shapes["wsd"][100] == pytest.approx(0.02)
    assert set(shapes["wsd"][10:71]) == {1.0}
    assert shapes["wsd"][85] == pytest.approx(0.5)
    assert shapes["constant"][100] == 1


def test_training_stops_early_when_validation_no_longer_gains(tmp_path: Path) -> None:
    """At an absurd rate the held-out loss only grows; without patience all steps are made."""
    documents, held_out = random_documents([24] * 8), random_documents([24] * 4, seed=9)
    steps = {}
    for patience in (0, 2):
        fit = tiny_fit(steps=40, lr=0.3, schedule="constant", validate_every=2, patience=patience)
        result = fit_model(
            tiny_model("lfm2"), documents, fit, Run(tmp_path, 0), pad_id=0, validation=held_out
        )
        steps[patience] = result.steps
    assert steps[0] == 40
    assert steps[2] < 40 and steps[2] % 2 == 0
