"""Batched greedy generation, with an optional constraint on what may come next."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from oldfriend.lm.chat import Message, render_prompt

# (index of the prompt, ids generated so far) -> ids allowed next
Allow = Callable[[int, list[int]], list[int]]


@torch.no_grad()
def generate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[Message]],
    *,
    max_new_tokens: int,
    batch_size: int = 64,
    allow: Allow | None = None,
) -> list[str]:
    """Greedy answers to chats, longest prompts first so that batches hardly pad.

    ``allow`` narrows every step to the ids it returns (constrained decoding).
    """
    texts = [render_prompt(tokenizer, prompt) for prompt in prompts]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    order = sorted(range(len(ids)), key=lambda i: (-len(ids[i]), i))
    answers = [""] * len(ids)
    model.eval()
    with torch.autocast(model.device.type, torch.bfloat16):
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            new = _generate_batch(
                model, tokenizer, [ids[i] for i in chosen], chosen, max_new_tokens, allow
            )
            for i, answer in zip(chosen, new, strict=True):
                answers[i] = answer
    return answers


def _generate_batch(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
    indices: list[int],
    max_new_tokens: int,
    allow: Allow | None,
) -> list[str]:
    width = max(len(ids) for ids in prompts)
    pad = tokenizer.pad_token_id
    input_ids = torch.tensor([[pad] * (width - len(ids)) + ids for ids in prompts])
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])

    def narrow(row: int, sequence: torch.Tensor) -> list[int]:
        assert allow is not None
        return allow(indices[row], sequence[width:].tolist())

    output = model.generate(
        input_ids=input_ids.to(model.device),
        attention_mask=mask.to(model.device),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        pad_token_id=pad,
        eos_token_id=tokenizer.eos_token_id,
        prefix_allowed_tokens_fn=narrow if allow else None,
    )
    texts = tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
    return [text.strip() for text in texts]
