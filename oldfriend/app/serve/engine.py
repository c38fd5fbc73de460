"""Continuous batching: answers to many prompts are written together, one token of each a step.

A row joins as soon as there is room and leaves when its answer ends, so nobody waits for the
longest answer of a batch (iteration-level scheduling: Yu et al. 2022, Orca). Rows that join run
through the model as one left-padded batch, and their cache is put beside that of the others.

Shape suffixes: B rows, L positions, V vocabulary.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedTokenizerBase

from oldfriend.errors import InputError
from oldfriend.lm.chat import Message, render_prompt, stop_ids
from oldfriend.lm.generate import Answer, answer_of

Allow = Callable[[list[int]], list[int] | None]  # ids so far -> ids allowed next, None for any


@dataclass(frozen=True)
class Wanted:
    """An answer that is asked for. ``temperature`` 0 is greedy; ``allow`` narrows every step;
    ``who`` speaks, as ``Engine`` was told to let them."""

    prompt: Sequence[Message]
    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    allow: Allow | None = None
    who: str = ""


@dataclass(frozen=True)
class Written:
    """An answer. ``cut``: it was as long as allowed and had not ended."""

    answer: Answer
    prompt_tokens: int
    cut: bool

    @property
    def text(self) -> str:
        return self.answer.text

    @property
    def tokens(self) -> int:
        return len(self.answer.ids)


@dataclass
class _Row:
    wanted: Wanted
    ids: list[int]
    future: "Future[Written]"
    generator: torch.Generator
    written: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    error: BaseException | None = None


class Engine:
    """Writes answers on one model, in a thread of its own that runs while there is work."""

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        *,
        rows: int = 32,
        autocast: bool = True,
        seen: Callable[[int], None] | None = None,
        select: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        """``rows``: most of a batch. ``autocast``: bfloat16, as everywhere else. ``seen`` is told
        the size of every step's batch, ``select`` before each who speaks in its rows."""
        self._model, self._tokenizer, self._most = model.eval(), tokenizer, rows
        self._select = select
        self._stops = set(stop_ids(tokenizer))
        self._autocast, self._seen = autocast, seen
        self._waiting: deque[_Row] = deque()
        self._changed = Condition()
        self._thread: Thread | None = None
        self._closed = False

    def submit(self, wanted: Wanted) -> "Future[Written]":
        """Ask for an answer. InputError if the prompt is longer than the model reads."""
        text = render_prompt(self._tokenizer, wanted.prompt)
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        most = getattr(self._model.config, "max_position_embeddings", None)
        if most and len(ids) + wanted.max_new_tokens > most:
            raise InputError(f"the model reads {most:,} tokens, and this is {len(ids):,}")
        generator = torch.Generator(self._model.device).manual_seed(wanted.seed)
        row = _Row(wanted, ids, Future(), generator)
        with self._changed:
            if self._closed:
                raise InputError("the server is stopping")
            self._waiting.append(row)
            if self._thread is None:
                self._thread = Thread(target=self._work, name="engine", daemon=True)
                self._thread.start()
            self._changed.notify()
        return row.future

    def close(self) -> None:
        """Finish what was asked for, then stop."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
            self._busy()

    @torch.no_grad()
    def _busy(self) -> None:
        """Write until nobody waits any more. One autocast for all steps: it keeps cast weights."""
        device = self._model.device.type
        batch = self._batch()
        with torch.autocast(device, torch.bfloat16, enabled=self._autocast):
            while True:
                with self._changed:
                    room = min(self._most - len(batch.rows), len(self._waiting))
                    new = [self._waiting.popleft() for _ in range(room)]
                if not new and not batch.rows:
                    return
                try:
                    if new:
                        batch.join(new)
                    if self._seen:
                        self._seen(len(batch.rows))
                    done = batch.step()
                except BaseException as error:
                    for row in {id(row): row for row in [*new, *batch.rows]}.values():
                        row.future.set_exception(error)
                    batch = self._batch()
                    continue
                for row in done:
                    if row.error:
                        row.future.set_exception(row.error)
                    else:
                        row.future.set_result(self._answer(row))

    def _batch(self) -> "_Batch":
        return _Batch(self._model, self._tokenizer.pad_token_id, self._stops, self._select)

    def _answer(self, row: _Row) -> Written:
        cut = row.written[-1] not in self._stops
        answer = answer_of(self._tokenizer, row.written, row.logprobs)
        return Written(answer, len(row.ids), cut)


class _Batch:
    """Rows under way, their cache, and the logits that say what comes next in each."""

    def __init__(
        self,
        model: Any,
        pad: int,
        stops: set[int],
        select: Callable[[Sequence[str]], None] | None,
    ) -> None:
        self._model, self._pad, self._stops, self._select = model, pad, stops, select
        self.rows: list[_Row] = []
        self._cache: Any = None
        self._mask_BL: Any = None
        self._logits_BV: Any = None

    def join(self, rows: list[_Row]) -> None:
        """Run the prompts of ``rows`` through the model and put them beside the others. A prompt
        that several rows share is read once."""
        device, shared = self._model.device, list(dict.fromkeys(map(_asked, rows)))
        prompts = [prompt for prompt, _ in shared]
        width = max(map(len, prompts))
        ids = [[self._pad] * (width - len(prompt)) + [*prompt] for prompt in prompts]
        ids_BL = torch.tensor(ids, device=device)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        mask_BL = (torch.arange(width, device=device) >= width - lengths[:, None]).long()
        cache = new_cache(self._model.config)
        logits_BV = self._run(ids_BL, mask_BL, cache, [who for _, who in shared])
        if len(prompts) < len(rows):
            places = {asked: place for place, asked in enumerate(shared)}
            of = torch.tensor([places[_asked(row)] for row in rows], device=device)
            select(cache, of, width)
            mask_BL, logits_BV = mask_BL[of], logits_BV[of]
        if not self.rows:
            self._cache, self._mask_BL, self._logits_BV = cache, mask_BL, logits_BV
        else:
            together = max(self._mask_BL.shape[1], width)
            put_beside(self._cache, cache, together)
            masks = [_padded(m, together, dim=1) for m in (self._mask_BL, mask_BL)]
            self._mask_BL = torch.cat(masks)
            self._logits_BV = torch.cat([self._logits_BV, logits_BV])
        self.rows += rows

    def step(self) -> list[_Row]:
        """Give every row a token; the rows whose answers have ended, which leave."""
        stay, likeliest = [], self._logits_BV.argmax(-1).tolist()
        total_B = self._logits_BV.logsumexp(-1)
        for place, row in enumerate(self.rows):
            try:
                chosen = self._choose(row, self._logits_BV[place])
                row.written.append(likeliest[place] if chosen is None else chosen)
            except Exception as error:  # of this row's own constraint; the others go on
                row.error = error
                continue
            logit = self._logits_BV[place, row.written[-1]]
            row.logprobs.append(float(logit - total_B[place]))
            ended = row.written[-1] in self._stops
            if not ended and len(row.written) < row.wanted.max_new_tokens:
                stay.append(place)
        done = [row for place, row in enumerate(self.rows) if place not in set(stay)]
        if done:
            self._keep(stay)
        if self.rows:
            next_B1 = torch.tensor(
                [row.written[-1:] for row in self.rows], device=self._model.device
            )
            self._mask_BL = torch.nn.functional.pad(self._mask_BL, (0, 1), value=1)
            speakers = [row.wanted.who for row in self.rows]
            self._logits_BV = self._run(next_B1, self._mask_BL, self._cache, speakers)
        return done

    def _run(self, ids_BL: Tensor, mask_BL: Tensor, cache: Any, who: Sequence[str]) -> Tensor:
        if self._select:
            self._select(who)
        places_BL = (mask_BL.cumsum(-1) - 1).clamp(min=0)[:, -ids_BL.shape[1] :]
        logits: Tensor = self._model(
            input_ids=ids_BL, attention_mask=mask_BL, position_ids=places_BL,
            past_key_values=cache, use_cache=True, logits_to_keep=1,
        ).logits  # fmt: skip
        return logits[:, -1].float()

    def _choose(self, row: _Row, logits_V: Tensor) -> int | None:
        """A row's next token; None for the likeliest."""
        wanted = row.wanted
        allowed = wanted.allow(row.written) if wanted.allow else None
        if allowed is None and wanted.temperature <= 0:
            return None
        if allowed is not None:
            narrowed_V = torch.full_like(logits_V, -torch.inf)
            narrowed_V[allowed] = logits_V[allowed]
            logits_V = narrowed_V
        if wanted.temperature <= 0:
            return int(logits_V.argmax())
        odds_V, order_V = (logits_V / wanted.temperature).softmax(-1).sort(descending=True)
        odds_V[odds_V.cumsum(-1) - odds_V >= wanted.top_p] = 0.0  # nucleus, arXiv:1904.09751
        return int(order_V[torch.multinomial(odds_V, 1, generator=row.generator)])

    def _keep(self, places: list[int]) -> None:
        """Let the other rows go, and the padding that only they needed."""
        self.rows = [self.rows[place] for place in places]
        if not places:
            self._cache = self._mask_BL = self._logits_BV = None
            return
        kept = torch.tensor(places, device=self._model.device)
        self._mask_BL = self._mask_BL[kept]
        width = int(self._mask_BL.sum(1).max())
        self._mask_BL = self._mask_BL[:, -width:]
        select(self._cache, kept, width)


def _asked(row: _Row) -> tuple[tuple[int, ...], str]:
    """What rows must share to be read once."""
    return tuple(row.ids), row.wanted.who


def new_cache(config: Any) -> DynamicCache:
    """An empty cache whose attention layers keep every position: windows are left to the mask, so
    that rows of different ages can stand side by side."""
    convolves = "conv" in (getattr(config, "layer_types", None) or ())
    return DynamicCache(config=config) if convolves else DynamicCache()


def select(cache: Any, rows_B: Tensor, width: int) -> None:
    """Make ``cache`` hold these of its rows, in this order, and the last ``width`` positions."""
    for layer in cache.layers:
        for place, states in _conv_states(layer):
            layer.conv_states[place] = states[rows_B]
        if getattr(layer, "keys", None) is not None:
            layer.keys = layer.keys[rows_B][..., -width:, :]
            layer.values = layer.values[rows_B][..., -width:, :]


def put_beside(cache: Any, other: Any, width: int) -> None:
    """Append the rows of ``other`` to ``cache``, both left-padded to ``width`` positions."""
    for mine, theirs in zip(cache.layers, other.layers, strict=True):
        for place, states in _conv_states(mine):
            mine.conv_states[place] = torch.cat([states, theirs.conv_states[place]])
        if getattr(mine, "keys", None) is not None:
            for name in ("keys", "values"):
                both = [_padded(getattr(layer, name), width, dim=-2) for layer in (mine, theirs)]
                setattr(mine, name, torch.cat(both))


def _conv_states(layer: Any) -> list[tuple[int, Tensor]]:
    """What convolutions remember: the last inputs [B, channels, kernel] of each row."""
    found = getattr(layer, "conv_states", {})
    return [(place, states) for place, states in found.items() if states is not None]


def _padded(x: Tensor, width: int, dim: int) -> Tensor:
    """``x`` with zeros before it, so that it is ``width`` long in ``dim``."""
    missing = width - x.shape[dim]
    if not missing:
        return x
    shape = list(x.shape)
    shape[dim] = missing
    return torch.cat([x.new_zeros(shape), x], dim=dim)
