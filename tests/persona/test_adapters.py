"""Adapters as matrices: as PEFT computes them, blended exactly, refused when broken."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import PeftModel
from persona_world import tiny, write_adapter
from typer.testing import CliRunner

from oldfriend.app.persona import app
from oldfriend.errors import CheckpointError, InputError
from oldfriend.lm import lora
from oldfriend.persona import adapters

IDS = torch.arange(10, 40).reshape(2, 15)


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=IDS).logits
    return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapters")
    return {
        "ana": write_adapter(root / "ana", 1),
        "bo": write_adapter(root / "bo", 2, rank=5),
        "cy": write_adapter(root / "cy", 3),
    }


def test_a_factor_is_the_change_that_peft_makes(folders: dict[str, Path]) -> None:
    read = adapters.read(folders["bo"])
    wrapped = lora.load(tiny(), folders["bo"])
    assert isinstance(wrapped, PeftModel) and read.rank == 5
    for name, factor in read.factors.items():
        layer = wrapped.get_base_model().get_submodule(name)
        torch.testing.assert_close(factor.delta_OI, layer.get_delta_weight("default"))


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(weights=st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_a_blend_is_the_weighted_sum_of_the_changes(
    folders: dict[str, Path], tmp_path: Path, weights: list[float]
) -> None:
    adapters.blend(dict(zip(folders.values(), weights, strict=True)), tmp_path / "blend")
    blended = adapters.read(tmp_path / "blend")
    parts = [adapters.read(folder) for folder in folders.values()]
    assert blended.rank == 11
    for name, factor in blended.factors.items():
        wanted = sum(w * p.factors[name].delta_OI for w, p in zip(weights, parts, strict=True))
        torch.testing.assert_close(factor.delta_OI, wanted, atol=1e-5, rtol=1e-4)


def test_a_blend_is_a_peft_folder_and_peft_agrees(folders: dict[str, Path], tmp_path: Path) -> None:
    adapters.blend({folders["ana"]: 0.75, folders["cy"]: 0.5}, tmp_path / "blend")
    ours = logits(lora.load(tiny(), tmp_path / "blend"))
    theirs = lora.load(tiny(), folders["ana"], name="ana")
    theirs.load_adapter(str(folders["cy"]), adapter_name="cy")
    theirs.add_weighted_adapter(["ana", "cy"], [0.75, 0.5], "both", combination_type="cat")
    theirs.set_adapter("both")
    torch.testing.assert_close(ours, logits(theirs), atol=1e-4, rtol=1e-4)
    meta = json.loads((tmp_path / "blend" / "meta.json").read_text(encoding="utf-8"))
    assert meta == {"blend": {"ana": 0.75, "cy": 0.5}, "rank": 6}


def test_a_blend_with_one_part_is_that_part(folders: dict[str, Path], tmp_path: Path) -> None:
    adapters.blend({folders["ana"]: 1.0}, tmp_path / "blend")
    alone = logits(lora.load(tiny(), folders["ana"]))
    torch.testing.assert_close(logits(lora.load(tiny(), tmp_path / "blend")), alone)


def test_blends_of_nothing_of_strangers_or_of_nan_are_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    stranger = write_adapter(tmp_path / "llama", 1, family="llama")
    for parts, message in (
        ({}, "at least one"),
        ({folders["ana"]: float("nan")}, "no weight"),
        ({folders["ana"]: 0.5, stranger: 0.5}, "different models"),
    ):
        with pytest.raises(InputError, match=message):
            adapters.blend(parts, tmp_path / "blend")
    assert not (tmp_path / "blend").exists()


def test_the_command_blends_by_weight(folders: dict[str, Path]) -> None:
    trained = str(folders["ana"].parent)
    said = CliRunner().invoke(
        app, ["blend", "ana=0.25", "bo=1", "--name", "duo", "--trained", trained]
    )
    assert said.exit_code == 0, said.output
    meta = json.loads((folders["ana"].parent / "duo" / "meta.json").read_text(encoding="utf-8"))
    assert meta == {"blend": {"ana": 0.25, "bo": 1.0}, "rank": 8}
    with pytest.raises(InputError, match="'ana' is not NAME=WEIGHT"):
        CliRunner().invoke(app, ["blend", "ana", "--name", "solo"], catch_exceptions=False)


def test_rank_stabilised_scaling_is_honoured(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "rs", 1)
    config = json.loads((folder / adapters.CONFIG).read_text(encoding="utf-8"))
    (folder / adapters.CONFIG).write_text(json.dumps(config | {"use_rslora": True}), "utf-8")
    plain, stable = adapters.read(folders["ana"]), adapters.read(folder)
    for name in plain.factors:
        torch.testing.assert_close(
            stable.factors[name].up_OR, plain.factors[name].up_OR * config["r"] ** 0.5
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("gone", "not an adapter"),
        ("cut", "not an adapter"),
        ("text", "not an adapter"),
        ("list", "not a LoRA"),
        ("dora", "use_dora"),
        ("rankless", "lacks 'r'"),
        ("lonely", "no partner"),
        ("zero", "lacks 'r'"),
    ],
)
def test_what_is_broken_is_refused(tmp_path: Path, change: str, message: str) -> None:
    folder = write_adapter(tmp_path / "a", 1)
    config = folder / adapters.CONFIG
    read = json.loads(config.read_text(encoding="utf-8"))
    if change == "gone":
        (folder / adapters.WEIGHTS).unlink()
    elif change == "cut":
        data = (folder / adapters.WEIGHTS).read_bytes()
        (folder / adapters.WEIGHTS).write_bytes(data[: len(data) // 2])
    elif change == "text":
        config.write_text("{", encoding="utf-8")
    elif change == "list":
        config.write_text("[]", encoding="utf-8")
    elif change == "dora":
        config.write_text(json.dumps(read | {"use_dora": True}), encoding="utf-8")
    elif change in ("rankless", "zero"):
        config.write_text(json.dumps(read | {"r": None if change == "rankless" else 0}), "utf-8")
    elif change == "lonely":
        from safetensors.torch import load_file, save_file

        weights = load_file(folder / adapters.WEIGHTS)
        del weights[min(weights)]
        save_file(weights, folder / adapters.WEIGHTS)
    with pytest.raises(CheckpointError, match=message):
        adapters.read(folder)
