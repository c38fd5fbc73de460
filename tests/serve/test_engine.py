"""Continuous batching gives what each prompt would have got alone."""

import random
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest
import torch
from serve_tiny import tiny

from oldfriend.app.serve.engine import Engine, Wanted, Written, new_cache
from oldfriend.errors import InputError
from oldfriend.lm.chat import message, render_prompt, stop_ids

WORDS = [
    "my",
    "cat",
    "miro",
    "sleeps",
    "on",
    "the",
    "old",
    "red",
    "sofa",
    "and",
    "dreams",
    "of",
    "fish",
    "all",
    "day",
    "long",
]


def prompts(count: int, seed: int = 0) -> list[list[dict[str, str]]]:
    rng = random.Random(seed)
    texts = (" ".join(rng.choices(WORDS, k=rng.randrange(1, 30))) for _ in range(count))
    return [[message("user", text)] for text in texts]


@torch.no_grad()
def alone(model: Any, tokenizer: Any, prompt: Sequence[dict[str, str]], most: int) -> str:
    """Greedy decoding of one prompt without any cache: the slow truth."""
    ids = tokenizer(render_prompt(tokenizer, prompt), add_special_tokens=False)["input_ids"]
    written: list[int] = []
    while len(written) < most and (not written or written[-1] not in stop_ids(tokenizer)):
        written.append(int(model(torch.tensor([ids + written])).logits[0, -1].argmax()))
    return str(tokenizer.decode(written, skip_special_tokens=True)).strip()


@pytest.mark.parametrize("name", ["lfm2", "lfm2-biased", "llama", "mistral-window", "qwen2-window"])
def test_rows_that_come_and_go_do_not_disturb_each_other(name: str) -> None:
    model, tokenizer = tiny(name)
    asked = prompts(9)
    lengths = [3, 20, 7, 1, 12, 20, 5, 9, 15]
    sizes: list[int] = []
    engine = Engine(model, tokenizer, rows=4, autocast=False, seen=sizes.append)
    wanted = [Wanted(p, most) for p, most in zip(asked, lengths, strict=True)]
    futures = [engine.submit(one) for one in wanted]
    found = [future.result(60) for future in futures]
    engine.close()
    for one, got in zip(wanted, found, strict=True):
        assert got.text == alone(model, tokenizer, one.prompt, one.max_new_tokens)
        assert got.tokens <= one.max_new_tokens
        assert got.cut == (got.tokens == one.max_new_tokens) or not got.cut
    assert max(sizes) == 4, "four rows at once"
    assert len(sizes) < sum(lengths), "fewer steps than tokens"


def test_a_prompt_that_several_share_is_read_once() -> None:
    model, tokenizer = tiny("lfm2")
    read: list[int] = []
    (one,) = prompts(1)
    engine = Engine(model, tokenizer, autocast=False)
    hook = model.register_forward_pre_hook(
        lambda _, args, given: read.append(given["input_ids"].numel()), with_kwargs=True
    )
    futures = [engine.submit(Wanted(one, 9, seed=n)) for n in range(4)]
    texts = {future.result(60).text for future in futures}
    hook.remove()
    engine.close()
    assert texts == {alone(model, tokenizer, one, 9)}
    length = len(tokenizer(render_prompt(tokenizer, one), add_special_tokens=False)["input_ids"])
    assert length > 4
    # The first may have begun before the others came; those are read together, once.
    assert {size for size in read if size > 4} == {length} and read.count(length) <= 2


def test_who_speaks_is_told_before_every_step_row_by_row() -> None:
    model, tokenizer = tiny("lfm2")
    told: list[list[str]] = []
    sizes: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, args, given: sizes.append(len(given["input_ids"])), with_kwargs=True
    )
    engine = Engine(model, tokenizer, autocast=False, select=lambda who: told.append([*who]))
    (one,) = prompts(1)
    names = ["ada", "", "ben", "ada"]
    futures = [engine.submit(Wanted(one, 3 + n, who=name)) for n, name in enumerate(names)]
    for future in futures:
        future.result(60)
    engine.close()
    hook.remove()
    assert [len(who) for who in told] == sizes
    assert {name for who in told for name in who} == set(names)
    assert told[-1] == ["ada"], "the longest is the last"


@torch.no_grad()
def test_probabilities_are_the_models_own() -> None:
    model, tokenizer = tiny("lfm2")
    engine = Engine(model, tokenizer, autocast=False)
    asked = prompts(3)
    futures = [engine.submit(Wanted(p, 6, temperature=0.7, seed=n)) for n, p in enumerate(asked)]
    for prompt, future in zip(asked, futures, strict=True):
        got = future.result(60).answer
        text = render_prompt(tokenizer, prompt)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        logits = model(torch.tensor([[*ids, *got.ids]])).logits[0, len(ids) - 1 : -1]
        wanted = logits.log_softmax(-1).gather(1, torch.tensor(got.ids)[:, None])[:, 0]
        assert got.logprobs == pytest.approx(wanted.tolist(), abs=1e-3)
    engine.close()


def test_the_same_seed_gives_the_same_sample_whoever_is_beside_it() -> None:
    model, tokenizer = tiny("lfm2")
    (asked,) = prompts(1)
    engine = Engine(model, tokenizer, autocast=False)

    def sampled(seed: int, others: int, temperature: float = 1.5) -> str:
        beside = [engine.submit(Wanted(p, 20)) for p in prompts(others, seed=7)]
        wanted = Wanted(asked, 12, temperature=temperature, top_p=0.95, seed=seed)
        text = engine.submit(wanted).result(60).text
        for future in beside:
            future.result(60)
        return text

    assert sampled(1, 0) == sampled(1, 5) == sampled(1, 3)
    assert len({sampled(seed, 0) for seed in range(6)}) > 1
    assert sampled(3, 0, temperature=0.0) == sampled(4, 2, temperature=0.0)
    engine.close()


def test_a_constraint_holds_for_its_own_row_only() -> None:
    model, tokenizer = tiny("lfm2")
    first, second = prompts(2)
    allowed = tokenizer("miro sofa", add_special_tokens=False)["input_ids"]
    engine = Engine(model, tokenizer, autocast=False)
    narrow = Wanted(first, 8, allow=lambda ids: allowed if len(ids) < 4 else None)
    free = engine.submit(Wanted(second, 8))
    got = engine.submit(narrow).result(60)
    ids = tokenizer(got.text, add_special_tokens=False)["input_ids"]
    assert got.tokens >= 4 and ids, got
    assert free.result(60).text == alone(model, tokenizer, second, 8)
    assert set(tokenizer.decode(allowed)) >= set(got.text[:4].strip())
    engine.close()


def test_a_row_that_fails_takes_no_other_along() -> None:
    model, tokenizer = tiny("lfm2")
    engine = Engine(model, tokenizer, autocast=False)

    def broken(ids: list[int]) -> list[int]:
        raise RuntimeError("no such token")

    one, other = prompts(2)
    beside = engine.submit(Wanted(one, 8))
    with pytest.raises(RuntimeError, match="no such token"):
        engine.submit(Wanted(other, 8, allow=broken)).result(60)
    assert beside.result(60).text == alone(model, tokenizer, one, 8)
    assert engine.submit(Wanted(other, 8)).result(60).text == alone(model, tokenizer, other, 8)
    engine.close()


def test_what_was_asked_for_is_finished_before_it_stops() -> None:
    model, tokenizer = tiny("lfm2")
    engine = Engine(model, tokenizer, rows=2, autocast=False)
    futures: list[Future[Written]] = [engine.submit(Wanted(p, 10)) for p in prompts(6)]
    engine.close()
    assert all(future.done() and future.result().tokens for future in futures)
    with pytest.raises(InputError, match="stopping"):
        engine.submit(Wanted(prompts(1)[0], 4))


def test_a_prompt_longer_than_the_model_reads_is_refused() -> None:
    model, tokenizer = tiny("lfm2")
    engine = Engine(model, tokenizer)
    with pytest.raises(InputError, match="the model reads"):
        engine.submit(Wanted([message("user", "cat " * 2000)], 10))
    engine.close()


def test_attention_layers_keep_everything() -> None:
    model, _ = tiny("mistral-window")
    assert not any(getattr(layer, "is_sliding", False) for layer in new_cache(model.config).layers)
