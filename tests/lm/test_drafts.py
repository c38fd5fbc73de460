"""Drafts: the first is the greedy answer, the others differ, all from one pass over the prompt."""

from typing import Any

import pytest
import torch
from lm_tiny import FAMILIES, sentences, tiny_model
from transformers import PreTrainedTokenizerFast

from oldfriend.lm.chat import message, render_prompt
from oldfriend.lm.drafts import draft
from oldfriend.lm.generate import Answer, generate_scored
from oldfriend.lm.packing import isolate_convolutions

PROMPT = [message("user", " ".join(sentences(4, seed=4)))]
LENGTH = 8


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerFast) -> Any:
    """A random model in float64, which autocast leaves alone: no bfloat16 coin tosses."""
    found = tiny_model(request.param, vocab=len(tokenizer)).double()
    isolate_convolutions(found)
    return found


def drafts(model: Any, tokenizer: PreTrainedTokenizerFast, **options: Any) -> list[Answer]:
    return draft(model, tokenizer, PROMPT, 4, max_new_tokens=LENGTH, **options)


def test_the_first_is_the_greedy_answer(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    (greedy,) = generate_scored(model, tokenizer, [PROMPT], max_new_tokens=LENGTH)
    found = drafts(model, tokenizer)
    assert found[0].text == greedy.text
    assert found[0].logprobs == pytest.approx(greedy.logprobs, abs=1e-5)


def test_a_seed_decides(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    first, again, other = (drafts(model, tokenizer, seed=seed) for seed in (0, 0, 1))
    assert first == again != other
    assert len({answer.text for answer in first}) > 1


def test_a_cold_nucleus_is_greedy(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    assert len({a.text for a in drafts(model, tokenizer, temperature=1e-3)}) == 1
    assert len({a.text for a in drafts(model, tokenizer, top_p=1e-6)}) == 1


def test_probabilities_are_those_of_the_whole_text(
    model: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    """A cache shared by all drafts must give what a pass over prompt and draft gives."""
    asked = tokenizer(render_prompt(tokenizer, PROMPT), add_special_tokens=False)["input_ids"]
    for answer in drafts(model, tokenizer):
        with torch.no_grad():
            logits_LV = model(torch.tensor([asked + list(answer.ids)])).logits[0].log_softmax(-1)
        wanted = [float(logits_LV[len(asked) - 1 + i, t]) for i, t in enumerate(answer.ids)]
        assert answer.logprobs == pytest.approx(wanted, abs=1e-5)


def test_each_draft_keeps_to_what_it_is_allowed(
    model: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    few = {0: [5], 2: [7, 9]}  # the others are free

    def allow(row: int, ids: list[int]) -> list[int] | None:
        return few.get(row) if len(ids) < 3 else None

    free, narrowed = drafts(model, tokenizer), drafts(model, tokenizer, allow=allow)
    assert narrowed[0].ids[:3] == (5, 5, 5)
    assert set(narrowed[2].ids[:3]) <= {7, 9}
    assert drafts(model, tokenizer, allow=lambda row, ids: None) == free
