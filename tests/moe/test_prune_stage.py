"""The stage as a whole, on a tiny mixture and real files; and what it refuses."""

import json
import random
from pathlib import Path

import pytest
import torch
from moe_tiny import tiny_config

from oldfriend.errors import InputError
from oldfriend.lm import model as models
from oldfriend.lm.fit import Run
from oldfriend.lm.settings import FitParams
from oldfriend.lm.tokenizer import train_tokenizer
from oldfriend.moe import importing
from oldfriend.moe.config import make_config
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.pruning.prune import prune
from oldfriend.moe.pruning.settings import ActionGrid, PruneParams, RecoverParams
from oldfriend.moe.splice import read_layers

WORDS = ["friend", "knows", "name", "never", "old", "pretends", "remembers", "the", "what"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two domains of plain text."""
    rng = random.Random(0)
    for name, words in (("fiction", WORDS), ("reviews", WORDS[::-1][:6])):
        folder = (
            tmp_path / f"domain_{name}" / {"fiction": "original", "reviews": "movie_reviews"}[name]
        )
        folder.mkdir(parents=True)
        for number in range(60):
            (folder / f"{number}.txt").write_text(" ".join(rng.choices(words, k=60)))
    return tmp_path


def save_mixture(folder: Path, experts: tuple[int, ...]) -> Path:
    tokenizer = train_tokenizer([" ".join(WORDS)] * 5, 300)
    layers = [
        {"num_experts": n, "num_experts_per_tok": min(2, n), "moe_intermediate_size": 32}
        for n in experts
    ]
    torch.manual_seed(0)
    text = tiny_config("lfm2", vocab_size=len(tokenizer), num_hidden_layers=len(experts))
    model = OFMoeForCausalLM(make_config(text, layers))
    models.save(model, tokenizer, folder, {"made": "here"})
    return folder


def params(**changes: object) -> PruneParams:
    fit = FitParams(steps=4, rows=2, row_tokens=64, lr=1e-3, precision="32-true", accelerator="cpu")
    return PruneParams(
        **{
            "domains": ("fiction", "reviews"), "rows_per_domain": 50, "trials": 2,
            "calibration_tokens": 800, "measure_tokens": 400, "val_tokens": 400,
            "speed_rounds": 1, "grid": ActionGrid(experts=(0.5,), widths=(0.5,), share=()),
            "recover": RecoverParams(router_steps=1, fit=fit), **changes,
        }  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.slow
def test_the_stage_halves_a_mixture_and_says_what_it_did(corpus: Path, tmp_path: Path) -> None:
    source = save_mixture(tmp_path / "moe", (4, 4))
    out, run = tmp_path / "pruned", Run(tmp_path / "ckpt", 3)
    outcome = prune(params(), run=run, model=source, data=tmp_path, out=out, external=corpus)
    found = outcome.metrics
    assert 0 < found["expert_params_kept"] <= 0.5
    for end in ("", "_before", "_cut", "_control"):
        mean = (found[f"val_loss_fiction{end}"] + found[f"val_loss_reviews{end}"]) / 2
        assert found[f"val_loss{end}"] == pytest.approx(mean)
    assert found["loss_increase"] == pytest.approx(found["val_loss"] / found["val_loss_before"] - 1)
    assert found["params_total"] < found["params_total_before"]
    assert found["decode_speedup"] > 0 and found["prefill_tokens_per_s_dense"] > 0

    model, _ = importing.load(out)
    layers = read_layers(model)
    before = sum(layer.parameters for layer in read_layers(importing.load(source)[0]))
    assert sum(layer.parameters for layer in layers) / before == found["expert_params_kept"]
    meta = json.loads((out / "meta.json").read_text())
    assert meta["seed"] == 3 and meta["base"] == {"made": "here"} and len(meta["actions"]) == 2
    assert (out / "anatomy.svg").read_text().startswith("<?xml")
    assert set(outcome.tables) == {"domains", "actions", "layers", "layers_before", "experts"}
    assert [row["done"] for row in outcome.tables["layers"]] == meta["actions"]
    assert not list((tmp_path / "ckpt").rglob("*.ckpt"))


@pytest.mark.slow
def test_the_same_seed_prunes_the_same_and_another_calibrates_otherwise(
    corpus: Path, tmp_path: Path
) -> None:
    source = save_mixture(tmp_path / "moe", (4, 4))

    def losses(seed: int, name: str) -> tuple[float, float]:
        run = Run(tmp_path / f"ckpt-{name}", seed)
        small = params(control=False, speed_rounds=0)
        made = prune(small, run=run, model=source, data=tmp_path, out=tmp_path / name,
                     external=corpus)  # fmt: skip
        return made.metrics["val_loss_cut"], made.metrics["val_loss"]

    first = losses(0, "a")
    assert first == losses(0, "b") != losses(1, "c")


def test_what_cannot_be_pruned_is_refused(corpus: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "ckpt", 0)
    dense = save_mixture(tmp_path / "dense", (1, 1))
    with pytest.raises(InputError, match="no layer with more than one expert"):
        prune(params(), run=run, model=dense, data=tmp_path, out=tmp_path / "o", external=corpus)
    mixture = save_mixture(tmp_path / "moe", (4, 4))
    with pytest.raises(InputError, match="no domain 'law' to calibrate on; there are: fiction"):
        prune(params(calibrate_on=("law",)), run=run, model=mixture, data=tmp_path,
              out=tmp_path / "o", external=corpus)  # fmt: skip
    assert not (tmp_path / "o").exists()
