"""Drills for in-context copying: what a small model must master before it can remember.

Repetition (random tokens that repeat) makes induction heads form (arXiv:2209.11895). Look-up
(random keys with random values, then questions; multi-query associative recall, arXiv:2312.04927)
makes them answer by key, and say so when a key was never given. All tokens are random, so nothing
but the skill can be learnt.
"""

import itertools
import random
from collections.abc import Callable, Sequence

from transformers import PreTrainedTokenizerBase

from oldfriend.lm.packing import Document

REPEAT_TOKENS = 64  # length of a repetition


class Drills:
    """Drills in the vocabulary and chat format of one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, seed: int) -> None:
        self._rng = random.Random(f"drills-{seed}")
        special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        self._ids = [i for i in range(len(tokenizer)) if i not in special]
        marks = ("{system}", "{user}", "{answer}")
        chat = [{"role": "system", "content": marks[0]}, {"role": "user", "content": marks[1]}]
        first = str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))
        chat.append({"role": "assistant", "content": marks[2]})
        whole = str(tokenizer.apply_chat_template(chat, tokenize=False))
        again = str(
            tokenizer.apply_chat_template(
                [*chat, {"role": "user", "content": "{again}"}],
                tokenize=False,
                add_generation_prompt=True,
            )
        )

        def ids(text: str) -> tuple[int, ...]:
            return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

        head, rest = first.split(marks[0])
        middle, tail = rest.split(marks[1])
        self._head, self._middle, self._tail = ids(head), ids(middle), ids(tail)
        self._end = ids(whole[len(first) :].split(marks[2])[1])
        self._next = ids(again[len(whole) :].split("{again}")[0])
        self._talking, self._stop = ids("You are talking with"), ids(".")
        self._bullet, self._colon, self._nothing = ids("\n-"), ids(":"), ids(" nothing")
        self._open, self._close = ids("["), ids("]")
        self._your, self._owner, self._whose = ids(" your"), ids("your"), ids("'s")

    def repetition(self) -> Document:
        """A random unit of 6-28 tokens, over and over; loss from its first repetition on."""
        period = self._rng.randint(6, 28)
        unit = self._random(period)
        ids = (unit * REPEAT_TOKENS)[:REPEAT_TOKENS]
        return Document(tuple(ids), learn=((period + 1, REPEAT_TOKENS),))

    def lookup(self, most: int = 6) -> Document:
        """Lines ``- your key: value`` or ``- owner's key: value``, and questions for your keys.

        Answers quote, ``[your key: value]``, or ``[your key: nothing]`` where only another owner,
        or nobody, has the key: the shape of memory prompts, filled with noise.
        """
        name, other = self._random(self._rng.randint(1, 3)), self._random(self._rng.randint(1, 3))
        keys = [self._random(self._rng.randint(1, 2)) for _ in range(self._rng.randint(1, most))]
        values = {tuple(key): self._random(self._rng.randint(1, 5)) for key in keys}
        lines = [(self._your, key, values[tuple(key)]) for key in keys]
        foreign = [self._random(self._rng.randint(1, 2)) for _ in range(self._rng.randint(0, 2))]
        shared = self._rng.sample(keys, min(len(keys), self._rng.randint(0, 2)))
        lines += [
            ((*other, *self._whose), key, self._random(self._rng.randint(1, 5)))
            for key in foreign + shared
        ]
        self._rng.shuffle(lines)
        ids = [*self._head, *self._talking, *name, *self._stop]
        for owner, key, value in lines:
            ids += [*self._bullet, *self._noise(), *owner, *key, *self._colon, *value]
        ids += self._middle
        learn = []
        for place in range(self._rng.randint(3, 6)):
            unknown = [*foreign, self._random(self._rng.randint(1, 2))]
            key = self._rng.choice(keys if self._rng.random() < 0.7 else unknown)
            answer = values.get(tuple(key), self._nothing)
            ids += [*(self._next if place else ()), *self._noise(), *key, *self._noise()]
            ids += self._tail
            start = len(ids)
            ids += [
                *self._open,
                *self._owner,
                *key,
                *self._colon,
                *answer,
                *self._close,
                *self._end,
            ]
            learn.append((start, len(ids)))
        return Document(tuple(ids), tuple(learn))

    def _noise(self) -> list[int]:
        return self._random(self._rng.choice((0, 0, 1, 3)))

    def _random(self, count: int) -> list[int]:
        return self._rng.choices(self._ids, k=count)


def curriculum(
    drills: Drills,
    documents: Sequence[Document],
    *,
    tokens: int,
    warmup: float,
    mix: float,
    seed: int,
) -> list[Document]:
    """Repetition for half of ``warmup``, look-up for the rest, then talk with ``mix`` look-up.

    ``tokens`` is the length of the whole run, ``warmup`` and ``mix`` are shares of tokens. The
    share after the warm-up matters: talk whose phrasings recur makes a model forget how to copy.
    """
    rng = random.Random(f"curriculum-{seed}")
    first = _fill(drills.repetition, int(tokens * warmup / 2))
    second = _fill(drills.lookup, int(tokens * warmup / 2))
    talk_tokens = sum(len(document) for document in documents)
    later = [*documents, *_fill(drills.lookup, int(talk_tokens * mix / (1 - mix)))]
    rng.shuffle(later)
    return [*first, *second, *later]


def mixed(drills: Drills, documents: Sequence[Document], share: float, seed: int) -> list[Document]:
    """``documents`` in their order with a ``share`` (of tokens) of look-up drills among them."""
    tokens = sum(len(document) for document in documents)
    drilled = _fill(drills.lookup, int(tokens * share / (1 - share)))
    return scattered(documents, drilled, seed)


def scattered(
    documents: Sequence[Document], others: Sequence[Document], seed: int
) -> list[Document]:
    """``documents`` in their order with ``others`` at random places among them."""
    rng = random.Random(f"mixed-{seed}")
    keyed = [(place / max(len(documents), 1), d) for place, d in enumerate(documents)]
    keyed += [(rng.random(), other) for other in others]
    return [document for _, document in sorted(keyed, key=lambda pair: pair[0])]


def portion(documents: Sequence[Document], tokens: float) -> list[Document]:
    """The first of ``documents`` that hold ``tokens`` tokens; all, again and again, if too few."""
    taken: list[Document] = []
    for document in itertools.cycle(documents):
        if tokens <= 0:
            break
        taken.append(document)
        tokens -= len(document)
    return taken


def _fill(draw: Callable[[], Document], tokens: int) -> list[Document]:
    made: list[Document] = []
    while tokens > 0:
        made.append(draw())
        tokens -= len(made[-1])
    return made
