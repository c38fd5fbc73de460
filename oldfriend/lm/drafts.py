"""Several different answers to one prompt, whose prefix is computed once."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedTokenizerBase

from oldfriend.lm.chat import Message, render_prompt, stop_ids
from oldfriend.lm.generate import Allow, Answer, answer_of

NUCLEUS = 128  # tokens that hold the nucleus nearly always; sorting a whole vocabulary is slow


@torch.no_grad()
def draft(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompt: Sequence[Message],
    count: int,
    *,
    max_new_tokens: int,
    temperature: float = 0.8,
    top_p: float = 0.95,
    seed: int = 0,
    allow: Allow | None = None,
) -> list[Answer]:
    """``count`` answers: the first greedy, the others sampled from the nucleus (arXiv:1904.09751).

    The prompt runs through the model once; its cache is then handed to every draft. Same seed,
    same drafts. ``allow`` narrows every step of a draft to the ids it returns for its number.
    Log-probabilities are those of the model at temperature 1, constraint aside.
    """
    text = render_prompt(tokenizer, prompt)
    prompt_ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    device, stops = model.device, torch.tensor(stop_ids(tokenizer), device=model.device)
    generator = torch.Generator(device).manual_seed(seed)
    model.eval()
    with torch.autocast(device.type, torch.bfloat16):
        cache = DynamicCache(config=model.config)
        prompt_1L = torch.tensor([prompt_ids], device=device)
        logits = model(prompt_1L, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        cache.reorder_cache(torch.zeros(count, dtype=torch.long, device=device))
        logits_NV = logits[:, -1].float().expand(count, -1)
        done_N = torch.zeros(count, dtype=torch.bool, device=device)
        tokens: list[Tensor] = []
        written: list[list[int]] = [[] for _ in range(count)]
        logprobs: list[Tensor] = []
        for _ in range(max_new_tokens):
            left_NV = _narrowed(logits_NV, written, allow) if allow else logits_NV
            next_N = _choose(left_NV, temperature, top_p, generator)
            for ids, token in zip(written, next_N.tolist(), strict=True):
                ids.append(token)
            tokens.append(next_N)
            logprobs.append(logits_NV.log_softmax(-1).gather(1, next_N[:, None])[:, 0])
            done_N |= torch.isin(next_N, stops)
            if bool(done_N.all()):
                break
            logits = model(next_N[:, None], past_key_values=cache, use_cache=True).logits
            logits_NV = logits[:, -1].float()
    return _answers(tokenizer, torch.stack(tokens, 1), torch.stack(logprobs, 1), stops.tolist())


def _narrowed(logits_NV: Tensor, written: Sequence[list[int]], allow: Allow) -> Tensor:
    """Rules out what ``allow`` does not name after what is ``written`` of each draft."""
    allowed = [allow(row, ids) for row, ids in enumerate(written)]
    if all(ids is None for ids in allowed):
        return logits_NV
    left_NV = logits_NV.clone()
    for row, ids in enumerate(allowed):
        if ids is not None:
            left_NV[row] = -torch.inf
            left_NV[row, ids] = logits_NV[row, ids]
    return left_NV


def _choose(
    logits_NV: Tensor, temperature: float, top_p: float, generator: torch.Generator
) -> Tensor:
    """The likeliest token for the first draft, a sampled one for each of the others."""
    best_N = logits_NV.argmax(-1)
    if len(best_N) == 1:
        return best_N
    odds_NV = (logits_NV[1:] / temperature).softmax(-1)
    likeliest_NK, order_NK = odds_NV.topk(min(NUCLEUS, odds_NV.shape[1]))
    if bool((likeliest_NK.sum(-1) < top_p).any()):  # the nucleus is larger than usual
        likeliest_NK, order_NK = odds_NV.sort(-1, descending=True)
    before_NK = likeliest_NK.cumsum(-1) - likeliest_NK
    kept_NK = likeliest_NK.masked_fill(before_NK >= top_p, 0.0)
    picked_N1 = torch.multinomial(kept_NK, 1, generator=generator)
    best_N[1:] = order_NK.gather(1, picked_N1)[:, 0]
    return best_N


def _answers(
    tokenizer: PreTrainedTokenizerBase, ids_NT: Tensor, logprobs_NT: Tensor, stops: Sequence[int]
) -> list[Answer]:
    answers = []
    for ids, logprobs in zip(ids_NT.tolist(), logprobs_NT.tolist(), strict=True):
        end = next((i + 1 for i, token in enumerate(ids) if token in stops), len(ids))
        answers.append(answer_of(tokenizer, ids[:end], logprobs[:end]))
    return answers
