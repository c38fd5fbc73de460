"""Models that many people use at the same time: drafts and notes of all of them in batches."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from oldfriend.agent.models import FriendModel, NoteTaker
from oldfriend.app.serve.wishes import wishes
from oldfriend.corpus.schema import NoteExample, Turn
from oldfriend.memory.store.embed import Cached, Embedder, Vectors

if TYPE_CHECKING:  # these import torch
    from oldfriend.app.serve.engine import Engine, Wanted
    from oldfriend.lm.chat import Message
    from oldfriend.lm.generate import Answer
    from oldfriend.memory.extract import Summarizer
    from oldfriend.memory.grounding import Encode
    from oldfriend.memory.notes import Note, SlotType
    from oldfriend.persona.serving import Personas

VARIED, NUCLEUS = 0.8, 0.95  # of further drafts where nothing was asked for; as lm/drafts.py has it


class SharedEmbedder(Cached):
    """Sentence vectors for several threads, one at a time: the cache is one for all."""

    def __init__(self, inner: Embedder, capacity: int = 4096) -> None:
        super().__init__(inner, capacity)
        self._turn = Lock()

    def encode(self, texts: Sequence[str]) -> Vectors:
        with self._turn:
            return super().encode(texts)

    def clear(self) -> None:
        with self._turn:
            super().clear()


class SharedVoice(FriendModel):
    """The friend's model, whose replies to all people are written in one batch, each through the
    adapter of its persona if there is one of that name in the folder ``trained``."""

    def __init__(
        self,
        folder: Path,
        rows: int = 32,
        seen: Callable[[int], None] | None = None,
        *,
        trained: Path | None = None,
        encode: "Encode | None" = None,
    ) -> None:
        super().__init__(folder, encode=encode)
        self._rows, self._seen, self._trained = rows, seen, trained
        self._engine: Engine | None = None
        self._speakers: Personas | None = None
        self._loading = Lock()

    def reply(self, prompt: "Sequence[Message]", max_new_tokens: int) -> str:
        """A reply as the request under way wishes it; greedy if it wishes nothing."""
        if self.engine() is None:
            return super().reply(prompt, max_new_tokens)  # which says what is missing
        wish = wishes()
        first = wish.temperature or 0.0
        return self._written(prompt, max_new_tokens, 1, first, wish.temperature or VARIED, 0)[
            0
        ].text

    def drafts(
        self,
        prompt: "Sequence[Message]",
        max_new_tokens: int,
        count: int,
        *,
        temperature: float,
        seed: int,
    ) -> "list[Answer]":
        """``count`` replies, the first greedy, the others as warm as the request wishes."""
        if self.engine() is None:
            self.reply(prompt, max_new_tokens)
        wish = wishes()
        warm = temperature if wish.temperature is None else wish.temperature
        return self._written(prompt, max_new_tokens, count, 0.0, warm, seed)

    def _written(
        self,
        prompt: "Sequence[Message]",
        max_new_tokens: int,
        count: int,
        first: float,
        warm: float,
        seed: int,
    ) -> "list[Answer]":
        """``count`` answers; more, if the request wishes more, are left in its wishes."""
        from oldfriend.app.serve.engine import Wanted

        engine, asked, wish = self.engine(), self._hinted(prompt), wishes()
        assert engine is not None
        most, who, nucleus = wish.most(max_new_tokens), self._who(), wish.top_p or NUCLEUS
        allow = self._quotes.allow([asked] * max(count, wish.drafts)) if self._quotes else None

        def wanted(n: int) -> "Wanted":
            narrow = partial(allow, n) if allow else None
            heat = first if n == 0 else warm
            return Wanted(asked, most, heat, nucleus, wish.seed + seed + n, narrow, who)

        futures = [engine.submit(wanted(n)) for n in range(max(count, wish.drafts))]
        written = [future.result() for future in futures]
        wish.prompt_tokens += written[0].prompt_tokens
        wish.tokens += sum(one.tokens for one in written)
        wish.others = [one.text for one in written[count:]]
        wish.cut = written[0].cut
        return [one.answer for one in written[:count]]

    def engine(self) -> "Engine | None":
        """The engine on the loaded model; None if there is no model."""
        with self._loading:
            if self._engine is None and (self._folder / "config.json").is_file():
                from oldfriend.app.serve.engine import Engine
                from oldfriend.lm.model import load

                self._loaded = load(self._folder)
                self._prepare(self._loaded[1])
                self._cast()
                select = self._speakers.select if self._speakers else None
                self._engine = Engine(
                    *self._loaded, rows=self._rows, seen=self._seen, select=select
                )
            return self._engine

    def _cast(self) -> None:
        """Load all personas that were trained."""
        found = self._trained.glob("[!.]*/adapter_config.json") if self._trained else ()
        for config in sorted(found):
            from oldfriend.persona.serving import Personas

            assert self._loaded is not None
            self._speakers = self._speakers or Personas(*self._loaded)
            self._speakers.load(config.parent.name, config.parent)

    def _who(self) -> str:
        """The trained persona that the turn under way is with, or ""."""
        card = wishes().persona
        name = card.path.stem if card and card.path else ""
        return name if self._speakers and name in self._speakers.names else ""

    def _hinted(self, prompt: "Sequence[Message]") -> "list[Message]":
        if self._speakers and (who := self._who()):
            prompt = self._speakers.introduced(prompt, who)
        return super()._hinted(prompt)

    def close(self) -> None:
        """Finish what is being written."""
        if self._engine is not None:
            self._engine.close()


@dataclass(frozen=True)
class _Reading:
    summarizer: "Summarizer"
    example: NoteExample
    future: "Future[list[Note]]"


class SharedReader(NoteTaker):
    """The note taker, which reads what waits in one batch."""

    def __init__(self, models: Path, rows: int = 32) -> None:
        super().__init__(models)
        self._rows = rows
        self._waiting: SimpleQueue[_Reading | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._loading = Lock()

    def read(self, user: str, text: str, context: Sequence[Turn]) -> "list[tuple[Note, SlotType]]":
        with self._loading:
            summarizer = self._summarizer(user)
            if self._thread is None:
                self._thread = Thread(target=self._work, name="reader", daemon=True)
                self._thread.start()
        plain = tuple(Turn(speaker=turn.speaker, text=turn.text) for turn in context)
        example = NoteExample(id="turn", user=user, source="talk", context=plain, text=text)
        reading = _Reading(summarizer, example, Future())
        self._waiting.put(reading)
        notes = reading.future.result()
        return [(n, summarizer.slots[n.slot]) for n in notes if n.slot in summarizer.slots]

    def forget(self, user: str) -> None:
        with self._loading:
            super().forget(user)

    def warm(self) -> None:
        """Load the models that everybody needs; MissingDataError if there are none."""
        with self._loading:
            self._summarizer("")

    def close(self) -> None:
        """Finish what is being read."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch, end = [first], False
            while len(batch) < self._rows:
                try:
                    following = self._waiting.get_nowait()
                except Empty:
                    break
                if following is None:
                    end = True
                    break
                batch.append(following)
            groups: dict[int, list[_Reading]] = {}
            for reading in batch:  # people with readers of their own are read by themselves
                groups.setdefault(id(reading.summarizer), []).append(reading)
            for group in groups.values():
                _read(group)
            if end:
                return


def _read(group: list[_Reading]) -> None:
    """Give all of ``group`` their notes; if that fails, each alone, so that only one fails."""
    try:
        found: Any = group[0].summarizer.write([reading.example for reading in group])
    except Exception as error:
        if len(group) == 1:
            group[0].future.set_exception(error)
            return
        for reading in group:
            _read([reading])
        return
    for reading, notes in zip(group, found, strict=True):
        reading.future.set_result(notes)
