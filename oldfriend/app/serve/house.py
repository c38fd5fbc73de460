"""One friend of many people at once.

``Friend`` takes one turn at a time. Here everybody has a ``Friend`` of their own, all on one pool,
one voice and one reader: people wait for themselves only, and what the models are asked meanwhile
comes to them in batches.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from oldfriend.agent.friend import Friend
from oldfriend.agent.heart import SHARED, Heart
from oldfriend.agent.models import Reader, Voice
from oldfriend.agent.persona import Persona
from oldfriend.agent.reply import Reply
from oldfriend.agent.settings import FriendParams
from oldfriend.app.serve.settings import ServeParams
from oldfriend.app.serve.shared import SharedEmbedder, SharedReader, SharedVoice
from oldfriend.app.serve.wishes import WISHES, Wishes
from oldfriend.errors import MissingDataError, OldFriendError
from oldfriend.memory.store.decide import Calibration
from oldfriend.memory.store.embed import Embedder, embedder
from oldfriend.memory.store.pool import MemoryPool
from oldfriend.persona.card import Card

T = TypeVar("T")


class BusyError(OldFriendError):
    """Too much waits already. ``own``: of this very person."""

    def __init__(self, message: str, *, own: bool) -> None:
        super().__init__(message)
        self.own = own


@dataclass
class Seat:
    """A person's friend, and whose card it plays. ``last``: their latest turn, by what it was asked
    with."""

    friend: Friend
    card: Card | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    last: tuple[str, Reply, Wishes] | None = None


class House:
    """Where everybody finds their friend. Closed, it has finished every turn that was begun."""

    def __init__(
        self,
        pool: MemoryPool,
        encoder: Embedder,
        voice: Voice,
        reader: Reader,
        *,
        models: Path | None = None,
        friend: FriendParams | None = None,
        params: ServeParams | None = None,
        heart: Heart | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.pool, self.params = pool, params or ServeParams()
        self._voice, self._reader, heart = voice, reader, heart or Heart()

        def make(card: Card | None) -> Friend:
            who = Persona.read(card.path) if card and card.path and card.character else None
            return Friend(
                pool, encoder, voice, reader, models=models, params=friend,
                calibration=calibration, heart=played(heart, who),
            )  # fmt: skip

        self._make = make
        self._seats: OrderedDict[str, Seat] = OrderedDict()
        self._threads = ThreadPoolExecutor(self.params.threads, thread_name_prefix="friend")
        self._running: set[asyncio.Task[object]] = set()
        self.closed = False

    @classmethod
    def open(
        cls,
        memory: Path,
        models: Path,
        *,
        url: str | None = None,
        api_key: str | None = None,
        encoder: str = "minilm",
        voice: Voice | None = None,
        params: ServeParams | None = None,
        seen: Callable[[int], None] | None = None,
        resources: Path | None = None,
    ) -> "House":
        """The house on the memories and models of ``Friend.open``; ``voice`` instead of the model's
        own. ``seen`` is told how many drafts each step of the model writes."""
        params = params or ServeParams()
        vectors = SharedEmbedder(embedder(encoder).inner)
        heart = Heart.open(models / "empathy", vectors, resources=resources)
        pool = MemoryPool.open(memory, vectors, url=url, api_key=api_key)
        speaks = voice or SharedVoice(
            models / "friend", params.rows, seen, trained=models / "personas",
            encode=vectors.encode if vectors.id.startswith(SHARED) else None,
        )  # fmt: skip
        reader = SharedReader(models, params.rows)
        vectors.encode(["Hello."])  # loads it, so that nobody waits for that later
        if isinstance(speaks, SharedVoice):
            speaks.engine()
        with suppress(MissingDataError):  # every turn says so
            reader.warm()
        return cls(pool, vectors, speaks, reader, models=models, params=params, heart=heart)

    @property
    def waiting(self) -> int:
        """Requests that wait or run."""
        return len(self._running)

    async def turn(
        self,
        user: str,
        text: str,
        *,
        wishes: Wishes | None = None,
        say: Callable[[str], None] | None = None,
        key: str = "",
    ) -> tuple[Reply, Wishes]:
        """A turn of ``user``'s; ``say`` hears the reply, in another thread, before it is
        remembered. Asked again with the ``key`` of the latest turn, the friend says that again."""
        wish = wishes or Wishes()

        def do(seat: Seat) -> tuple[Reply, Wishes]:
            if key and seat.last and seat.last[0] == key:
                if say:
                    say(seat.last[1].text)
                return seat.last[1:]
            if wish.persona is not seat.card:  # the other goes on where this one stopped
                seat.friend, seat.card = self._make(wish.persona), wish.persona
            token = WISHES.set(wish)
            try:
                reply = seat.friend.turn(user, text, say=say)
            finally:
                WISHES.reset(token)
            seat.last = (key, reply, wish)
            return reply, wish

        return await self._run(user, do)

    async def ask(self, user: str, do: Callable[[Friend], T], *, changes: bool = False) -> T:
        """What ``do`` finds with the person's friend, between their turns; ``changes``: it changes
        what is remembered, so that no earlier turn may be said again."""

        def done(seat: Seat) -> T:
            if changes:
                seat.last = None
            return do(seat.friend)

        return await self._run(user, done)

    async def close(self) -> None:
        """Finish what was begun, sum up all conversations, and give the pool back."""
        self.closed = True
        while self._running:
            await asyncio.wait(set(self._running))
        loop = asyncio.get_running_loop()
        try:
            for user, seat in self._seats.items():
                await loop.run_in_executor(self._threads, seat.friend.end, user)
        finally:
            self._threads.shutdown(wait=True)
            for part in (self._voice, self._reader):
                if close := getattr(part, "close", None):
                    close()
            self.pool.close()

    async def _run(self, user: str, do: Callable[[Seat], T]) -> T:
        """``do`` in a thread, after all that this person asked before. It is finished even if
        nobody waits for it any more: a reader who left has still said what they said."""
        if self.closed:
            raise BusyError("the server is stopping; try again in a moment", own=False)
        if self.waiting >= self.params.waiting:
            raise BusyError("too many people are talking; try again in a moment", own=False)
        seat = self._seat(user)
        if seat.waiting >= self.params.waiting_each:
            raise BusyError(f"{seat.waiting} requests of yours wait already", own=True)
        seat.waiting += 1
        task = asyncio.ensure_future(self._in_turn(seat, do))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _in_turn(self, seat: Seat, do: Callable[[Seat], T]) -> T:
        try:
            async with seat.turn:
                loop, context = asyncio.get_running_loop(), copy_context()
                return await loop.run_in_executor(self._threads, context.run, do, seat)
        finally:
            seat.waiting -= 1

    def _seat(self, user: str) -> Seat:
        seat = self._seats.get(user)
        if seat is None:
            seat = self._seats[user] = Seat(self._make(None))
            idle = [name for name, other in self._seats.items() if not other.waiting]
            for name in idle[: max(0, len(self._seats) - self.params.seats)]:
                if name != user:  # nothing is lost: a conversation is resumed from memory
                    del self._seats[name]
        self._seats.move_to_end(user)
        return seat


def played(heart: Heart, persona: Persona | None) -> Heart:
    """The same heart in another character."""
    parts = (heart.crisis, heart.emotion, heart.strategist, heart.judge, heart.repertoire)
    return Heart(*parts, persona=persona, notices=heart.notices)
