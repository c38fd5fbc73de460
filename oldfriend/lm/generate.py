"""Batched greedy generation, with an optional constraint on what may come next."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LogitsProcessorList, PreTrainedTokenizerBase

from oldfriend.lm.chat import Message, render_prompt, stop_ids

# (index of the prompt, ids generated so far) -> ids allowed next, None for any
Allow = Callable[[int, list[int]], list[int] | None]


@dataclass(frozen=True)
class Answer:
    """A generated text and the log-probability (nats) of each of its tokens, constraint aside.

    ``pieces`` are the tokens' own texts, the end token's among them, ``ids`` their numbers.
    """

    text: str
    logprobs: tuple[float, ...]
    pieces: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()


def generate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[Message]],
    *,
    max_new_tokens: int,
    batch_size: int = 64,
    allow: Allow | None = None,
) -> list[str]:
    """Greedy answers to chats, within what ``allow`` allows."""
    answers = generate_scored(
        model,
        tokenizer,
        prompts,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        allow=allow,
    )
    return [answer.text for answer in answers]


@torch.no_grad()
def generate_scored(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[Message]],
    *,
    max_new_tokens: int,
    batch_size: int = 64,
    allow: Allow | None = None,
) -> list[Answer]:
    """Greedy answers with token probabilities, longest prompts first so that batches hardly pad.

    ``allow`` narrows every step to the ids it returns (constrained decoding).
    """
    texts = [render_prompt(tokenizer, prompt) for prompt in prompts]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    order = sorted(range(len(ids)), key=lambda i: (-len(ids[i]), i))
    answers: dict[int, Answer] = {}
    model.eval()
    with torch.autocast(model.device.type, torch.bfloat16):
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = [ids[i] for i in chosen]
            found = _generate_batch(model, tokenizer, batch, chosen, max_new_tokens, allow)
            answers.update(zip(chosen, found, strict=True))
    return [answers[i] for i in range(len(ids))]


def _generate_batch(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
    indices: list[int],
    max_new_tokens: int,
    allow: Allow | None,
) -> Iterator[Answer]:
    width = max(len(ids) for ids in prompts)
    pad, stops = tokenizer.pad_token_id, stop_ids(tokenizer)
    input_ids = torch.tensor([[pad] * (width - len(ids)) + ids for ids in prompts])
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])

    constraint = LogitsProcessorList([_Narrowed(allow, indices, width)] if allow else [])
    output = model.generate(
        input_ids=input_ids.to(model.device),
        attention_mask=mask.to(model.device),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        pad_token_id=pad,
        eos_token_id=stops,
        logits_processor=constraint,
        output_logits=True,
        return_dict_in_generate=True,
    )
    new_BT = output.sequences[:, width:]
    chosen_BT = torch.stack(
        [
            torch.log_softmax(logits.float(), -1).gather(1, new_BT[:, step : step + 1])[:, 0]
            for step, logits in enumerate(output.logits)
        ],
        dim=1,
    )
    for ids, logprobs in zip(new_BT.tolist(), chosen_BT.tolist(), strict=True):
        end = next((i + 1 for i, token in enumerate(ids) if token in stops), len(ids))
        yield answer_of(tokenizer, ids[:end], logprobs[:end])


def answer_of(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], logprobs: Sequence[float]
) -> Answer:
    """The answer that consists of the tokens ``ids``."""
    text = tokenizer.decode(list(ids), skip_special_tokens=True).strip()
    pieces = tuple(tokenizer.decode(i) for i in ids)
    return Answer(text, tuple(logprobs), pieces, tuple(ids))


class _Narrowed:
    """Rules out what ``allow`` does not name; rows for which it names nothing stay as they are."""

    def __init__(self, allow: Allow, indices: list[int], width: int) -> None:
        self._allow, self._indices, self._width = allow, indices, width

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores = scores.clone()  # the model's own probabilities are reported beside the choice
        for row, index in enumerate(self._indices):
            allowed = self._allow(index, input_ids[row, self._width :].tolist())
            if allowed is not None:
                kept = scores[row, allowed]
                scores[row] = -torch.inf
                scores[row, allowed] = kept
        return scores
