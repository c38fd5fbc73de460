"""Generation: a batch answers as each prompt would alone, within what is allowed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lm_tiny import FAMILIES, sentences, tiny_model
from transformers import PreTrainedTokenizerFast

from oldfriend.lm.chat import Message, message, render_prompt, stop_ids
from oldfriend.lm.generate import Answer, generate, generate_scored
from oldfriend.lm.packing import isolate_convolutions

PROMPTS: list[list[Message]] = [
    [message("user", " ".join(sentences(count, seed=count)))] for count in (1, 4, 2, 7, 1, 3)
]
LENGTH = 8


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerFast) -> Any:
    """A random model in float64, which autocast leaves alone: no bfloat16 coin tosses."""
    found = tiny_model(request.param, vocab=len(tokenizer)).double()
    isolate_convolutions(found)  # as it comes out of training
    return found


Answering = Callable[..., list[Answer]]


@pytest.fixture
def answer(model: Any, tokenizer: PreTrainedTokenizerFast) -> Answering:
    def ask(prompts: list[list[Message]], **options: Any) -> list[Answer]:
        return generate_scored(model, tokenizer, prompts, **{"max_new_tokens": LENGTH, **options})

    return ask


def step_logprobs(
    model: Any, tokenizer: PreTrainedTokenizerFast, prompt: list[Message], new: list[int]
) -> torch.Tensor:
    """Log-probabilities [new, vocabulary] by one plain forward pass, without cache or padding."""
    ids = tokenizer(render_prompt(tokenizer, prompt), add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([ids + new]), use_cache=False).logits[0]
    return torch.log_softmax(logits.float(), -1)[len(ids) - 1 : len(ids) - 1 + len(new)]


def test_a_batch_answers_as_one_by_one(answer: Answering) -> None:
    batched = answer(PROMPTS)
    for prompt, found in zip(PROMPTS, batched, strict=True):
        (alone,) = answer([prompt])
        assert found.text == alone.text
        assert found.logprobs == pytest.approx(alone.logprobs, abs=1e-3)
    assert len({found.text for found in batched}) > 1


def test_batch_size_and_order_do_not_matter(answer: Answering) -> None:
    texts = [found.text for found in answer(PROMPTS)]
    assert [found.text for found in answer(PROMPTS, batch_size=2)] == texts
    assert [found.text for found in answer(PROMPTS[::-1])] == texts[::-1]


def test_logprobs_are_those_of_a_plain_forward(
    model: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    """The path is forced, so that the ids are known; a constraint does not change the numbers."""
    paths = [[20 + 7 * i + step for step in range(LENGTH)] for i in range(len(PROMPTS))]
    found = generate_scored(
        model, tokenizer, PROMPTS, max_new_tokens=LENGTH,
        allow=lambda prompt, so_far: [paths[prompt][len(so_far)]],
    )  # fmt: skip
    for prompt, path, given in zip(PROMPTS, paths, found, strict=True):
        assert given.text == tokenizer.decode(path, skip_special_tokens=True).strip()
        steps = step_logprobs(model, tokenizer, prompt, path)
        expected = [float(step[token]) for step, token in zip(steps, path, strict=True)]
        assert given.logprobs == pytest.approx(expected, abs=1e-3)


def test_the_free_choice_is_the_most_likely(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    for prompt in PROMPTS[:3]:
        taken: list[int] = []

        def note(_: int, so_far: list[int], taken: list[int] = taken) -> list[int]:
            taken[:] = so_far
            return list(range(len(tokenizer)))

        (found,) = generate_scored(model, tokenizer, [prompt], max_new_tokens=LENGTH, allow=note)
        steps = step_logprobs(model, tokenizer, prompt, taken)
        best = steps.max(-1).values
        chosen = steps.gather(1, torch.tensor(taken)[:, None])[:, 0]
        assert float((best - chosen).max()) < 1e-3
        assert found.logprobs[: len(taken)] == pytest.approx(chosen.tolist(), abs=1e-3)


def test_only_what_is_allowed_is_said(
    answer: Answering, tokenizer: PreTrainedTokenizerFast
) -> None:
    seen: dict[int, list[list[int]]] = {}

    def allow(prompt: int, so_far: list[int]) -> list[int]:
        seen.setdefault(prompt, []).append(so_far)
        return [30 + prompt, 130 + prompt] if len(so_far) < 3 else stop_ids(tokenizer)

    found = answer(PROMPTS, allow=allow, batch_size=4)
    for number, given in enumerate(found):
        assert len(given.logprobs) == 4  # three tokens and the end
        longest = max(seen[number], key=len)
        assert set(longest[:3]) <= {30 + number, 130 + number}
        assert given.text == tokenizer.decode(longest[:3]).strip()


def test_an_answer_ends_at_its_stop_token_though_others_go_on(
    answer: Answering, tokenizer: PreTrainedTokenizerFast
) -> None:
    def allow(prompt: int, so_far: list[int]) -> list[int]:
        return stop_ids(tokenizer) if len(so_far) == prompt else [40]

    found = answer(PROMPTS, allow=allow)
    assert [len(given.logprobs) for given in found] == [1, 2, 3, 4, 5, 6]
    assert found[0].text == ""
    assert all(tokenizer.eos_token not in given.text for given in found)


def test_generate_returns_the_texts(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    scored = generate_scored(model, tokenizer, PROMPTS, max_new_tokens=LENGTH)
    texts = generate(model, tokenizer, PROMPTS, max_new_tokens=LENGTH)
    assert texts == [found.text for found in scored]
    assert generate(model, tokenizer, [], max_new_tokens=LENGTH) == []
