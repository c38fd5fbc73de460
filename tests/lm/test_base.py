"""The base stage from end to end, on a few made-up conversations."""

import random
from pathlib import Path
from typing import Any

import pytest
from lm_tiny import FAMILIES, same_weights, sentences, tiny_fit, tiny_model
from transformers import PreTrainedTokenizerFast

from oldfriend.corpus.schema import Conversation, Turn, write_rows
from oldfriend.errors import MissingDataError
from oldfriend.lm import base
from oldfriend.lm import model as models
from oldfriend.lm.chat import message
from oldfriend.lm.embeddings import common_words, warm_start
from oldfriend.lm.fit import Run
from oldfriend.lm.generate import generate
from oldfriend.lm.settings import BaseParams


def conversations(count: int, seed: int) -> list[Conversation]:
    lines = sentences(count * 4, seed)
    rng = random.Random(seed)
    return [
        Conversation(
            id=f"c{seed}-{i}",
            person=f"p{i}",
            source="made up",
            licence="CC0",
            turns=tuple(
                Turn(speaker=("user", "friend")[place % 2], text=lines[4 * i + place])
                for place in range(rng.randint(2, 4))
            ),
        )
        for i in range(count)
    ]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_rows(tmp_path / "data" / "train.jsonl", conversations(30, 1))
    write_rows(tmp_path / "data" / "val.jsonl", conversations(6, 2))
    return tmp_path / "data"


def params(**changes: Any) -> BaseParams:
    settings = {"vocab": 400, "hidden": 32, "layers": 2, "heads": 4, "ffn": 48}
    fit = tiny_fit(steps=3, row_tokens=256, rows=2)
    return BaseParams.model_validate({**settings, "fit": fit, **changes})


@pytest.mark.parametrize("family", ["lfm2", "llama"])
def test_a_model_from_scratch(family: str, data: Path, tmp_path: Path) -> None:
    settings = params(family=family)
    outcome = base.train(settings, run=Run(tmp_path / "ckpt", 1), data=data, out=tmp_path / "out")
    model, tokenizer = models.load(tmp_path / "out")
    assert outcome.metrics.keys() == {"val_loss", "tokens_per_s", "params", "vocab"}
    assert outcome.metrics["params"] == models.parameter_count(model)
    assert outcome.metrics["vocab"] == len(tokenizer) == 400
    assert 3 < outcome.metrics["val_loss"] < 7  # a guess among 400 tokens costs 6.0 nats
    meta = models.read_meta(tmp_path / "out")
    assert meta["family"] == family and meta["seed"] == 1
    assert meta["params"] == settings.model_dump(mode="json")
    asked = [[message("user", "How is Bramble?")]]
    assert len(generate(model, tokenizer, asked, max_new_tokens=4)) == 1
    assert not same_weights(model, models.build(settings, tokenizer, 1), atol=1e-4)


def test_the_same_seed_makes_the_same_model(data: Path, tmp_path: Path) -> None:
    made = {}
    for name, seed in [("one", 1), ("same", 1), ("other", 2)]:
        base.train(params(), run=Run(tmp_path / "ckpt", seed), data=data, out=tmp_path / name)
        made[name], _ = models.load(tmp_path / name)
    assert same_weights(made["one"], made["same"])
    assert not same_weights(made["one"], made["other"])


def test_common_words_and_their_vectors_join_a_model_from_scratch(
    data: Path, tmp_path: Path
) -> None:
    """At a rate of next to nothing the saved model is the one that training began with."""
    fit = tiny_fit(steps=1, row_tokens=256, rows=2, lr=1e-9)
    settings = params(vocab=900, common_words=60, embeddings="minilm", fit=fit)
    base.train(settings, run=Run(tmp_path / "ckpt", 1), data=data, out=tmp_path / "out")
    model, tokenizer = models.load(tmp_path / "out")
    said = [
        tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in common_words(60)
    ]
    assert {len(ids) for ids in said} == {1}
    start = models.build(settings, tokenizer, 1)
    assert not same_weights(model, start, atol=1e-3)
    warm_start(start, tokenizer, 1)
    assert same_weights(model, start, atol=1e-6)


@pytest.mark.parametrize("adapt", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_from_a_loaded_folder(
    family: str, adapt: bool, data: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    stock = tiny_model(family, vocab=len(tokenizer), initializer_range=0.03)
    stock.save_pretrained(tmp_path / "stock")
    tokenizer.save_pretrained(tmp_path / "stock")
    settings = params(source=str(tmp_path / "stock"), adapt=adapt)
    run = Run(tmp_path / "ckpt", 0)
    outcome = base.train(settings, run=run, data=data, out=tmp_path / "out")
    model, its_tokenizer = models.load(tmp_path / "out")
    assert same_weights(model, stock) is not adapt
    assert (outcome.metrics["tokens_per_s"] > 0) is adapt
    assert outcome.metrics["params"] == models.parameter_count(stock)
    text = sentences(1)[0]  # transformers rebuilds any tokenizer beside a Qwen2 model its own way
    loaded = tokenizer if family != "qwen2" else models.load(tmp_path / "stock")[1]
    assert its_tokenizer(text)["input_ids"] == loaded(text)["input_ids"]
    assert models.read_meta(tmp_path / "out")["family"] == family
    assert 3 < outcome.metrics["val_loss"] < 7


def test_training_on_talk_lowers_the_loss_on_held_out_talk(data: Path, tmp_path: Path) -> None:
    losses = {}
    for steps in (1, 40):
        fit = tiny_fit(steps=steps, row_tokens=256, rows=2, lr=1e-2)
        settings = params(fit=fit, copy_warmup=0, copy_mix=0)
        run = Run(tmp_path / "ckpt", 0)
        outcome = base.train(settings, run=run, data=data, out=tmp_path / "out")
        losses[steps] = outcome.metrics["val_loss"]
    assert losses[40] < losses[1] - 1


def test_without_its_input_the_stage_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="dvc repro"):
        base.train(params(), run=Run(tmp_path, 0), data=tmp_path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
