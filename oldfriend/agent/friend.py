"""The friend: hears, first of all whether there is danger, looks into memory, feels along, answers
with the best of several drafts, and only then remembers.

Every step that lacks its model says so in ``Reply.notices`` and goes on without it; nothing is
made up in its place. Notes are taken of what the person says and of nothing else: neither of
recalled text nor of the friend's own words.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from types import TracebackType
from uuid import UUID

from oldfriend.agent import grounded, moods, noting
from oldfriend.agent.explain import Explanation
from oldfriend.agent.heart import SHARED, Heart
from oldfriend.agent.models import FriendModel, NoteTaker, Reader, Voice, adapter
from oldfriend.agent.noting import Place
from oldfriend.agent.remembering import heard, keep_quiet, remember
from oldfriend.agent.reply import Looked, Reply, timed, unlooked
from oldfriend.agent.sessions import Session, close_session, open_session
from oldfriend.agent.settings import FriendParams
from oldfriend.agent.speaking import Scene, answer
from oldfriend.corpus.schema import Turn
from oldfriend.empathy.care import forget_care
from oldfriend.empathy.crisis import Alarm
from oldfriend.errors import CheckpointError, InputError, MissingDataError
from oldfriend.memory.store import forgetting
from oldfriend.memory.store.dates import resolve
from oldfriend.memory.store.decide import Calibration, decide
from oldfriend.memory.store.embed import Embedder, embedder
from oldfriend.memory.store.journal import Add
from oldfriend.memory.store.pool import MemoryPool
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.retrieve import Query, Retriever
from oldfriend.memory.store.rights import Erasure
from oldfriend.memory.store.topic import personal
from oldfriend.memory.store.user import UserMemory

KINDS = (*forgetting.TYPED, "turn")  # what is searched; summaries repeat it


class Friend:
    """An old friend of many people, each with memories of their own.

    ``now`` is when something is said (default: the clock, in local time; without a time zone it
    counts as UTC). Turns are taken one at a time. When ``turn`` returns, the turn is on disk.
    """

    def __init__(
        self,
        pool: MemoryPool,
        encoder: Embedder,
        voice: Voice,
        reader: Reader,
        *,
        models: Path | None = None,
        params: FriendParams | None = None,
        calibration: Calibration | None = None,
        heart: Heart | None = None,
    ) -> None:
        self.pool, self.params = pool, params or FriendParams()
        self._encoder, self._retriever = encoder, Retriever(encoder)
        self._voice, self._reader, self._models = voice, reader, models
        self._calibration, self._heart = calibration, heart or Heart()
        self._sessions: dict[str, Session] = {}
        self._turn = RLock()

    @classmethod
    def open(
        cls,
        memory: Path | str = "memory",
        models: Path | str = "models",
        *,
        url: str | None = None,
        api_key: str | None = None,
        encoder: str = "minilm",
        params: FriendParams | None = None,
        card: Path | None = None,
        adapter: Path | None = None,
        resources: Path | None = None,
    ) -> "Friend":
        """The friend who remembers in the folder ``memory`` (or at the Qdrant server ``url``) and
        speaks with the ``models`` of `dvc repro`. Close it, or use it in a ``with``.

        ``card`` is who the friend is, ``adapter`` the folder of the LoRA that was trained on it;
        ``resources``: a YAML file of those whom somebody in danger can turn to.
        """
        vectors, folder = embedder(encoder), Path(models)
        heart = Heart.open(folder / "empathy", vectors, resources=resources, card=card)
        pool = MemoryPool.open(Path(memory), vectors, url=url, api_key=api_key)
        encode = vectors.encode if vectors.id.startswith(SHARED) else None
        voice = FriendModel(folder / "friend", persona=adapter, encode=encode)
        reader = NoteTaker(folder)
        return cls(pool, vectors, voice, reader, models=folder, params=params, heart=heart)

    def turn(
        self,
        user: str,
        text: str,
        *,
        now: datetime | None = None,
        say: Callable[[str], None] | None = None,
    ) -> Reply:
        """Answer ``text`` and remember it. ``say`` hears the reply before it is remembered."""
        with self._turn:
            text, now = self._read(text), _clock(now)
            memory, seconds = self.pool.of(user), dict[str, float]()
            with timed(seconds, "session"):
                session = self._session(memory, now)
            with timed(seconds, "danger"):
                alarm = self._heart.alarm(text)
            if alarm and alarm.sure:
                if say:
                    say(alarm.answer)
                with timed(seconds, "remember"):
                    keep_quiet(memory, session, text, alarm.answer, now)
                return _in_danger(alarm, seconds)
            scene, reply = self._answer(memory, session.talk, text, alarm, now, seconds)
            if say:
                say(reply.text)
            notices = list(reply.notices)
            with timed(seconds, "note"):
                noted = self._notes(memory, session, text, now, notices)
            with timed(seconds, "remember"):
                new, undone = remember(memory, session, scene, reply, noted)
            if self.pool.behind:
                notices.append(
                    f"the memory server does not answer: {self.pool.behind} entries wait in the "
                    "journal, and memories are found by words alone"
                )
            return replace(reply, noted=new, undone=undone, notices=tuple(notices))

    def would_say(
        self, user: str, text: str, *, talk: Sequence[Turn] = (), now: datetime | None = None
    ) -> Reply:
        """The answer to ``text`` after ``talk``, without remembering any of it."""
        with self._turn:
            text, now, seconds = self._read(text), _clock(now), dict[str, float]()
            alarm = self._heart.alarm(text)
            if alarm and alarm.sure:
                return _in_danger(alarm, seconds)
            return self._answer(self.pool.of(user), talk, text, alarm, now, seconds)[1]

    def look(self, user: str, text: str, *, now: datetime | None = None) -> Looked:
        """What memory would say to ``text``, without saying or remembering anything."""
        with self._turn:
            return self._look(self.pool.of(user), self._read(text), _clock(now), {})

    def memory(self, user: str) -> UserMemory:
        """This person's memories."""
        return self.pool.of(user)

    def correct(
        self, user: str, wrong: UUID, value: str, *, now: datetime | None = None
    ) -> MemoryRecord:
        """``wrong`` was never true, ``value`` is; the record that says so."""
        with self._turn:
            memory = self.pool.of(user)
            old = memory.get(wrong)
            if old is None:
                raise InputError(f"no record {wrong} of '{user}'", field="id")
            entries = noting.corrected(memory.state, old, value, _clock(now))
            memory.write(entries)
            right = next(e.record.id for e in entries if isinstance(e, Add))
            return memory.state[right]

    def forget(
        self, user: str, what: Sequence[UUID] | str, *, now: datetime | None = None
    ) -> Erasure:
        """Erase records, a topic, or (``"all"``) the person with their adapter, and look for them
        in every file of the pool."""
        with self._turn:
            memory, at = self.pool.of(user), _clock(now)
            if what == "all":
                own = adapter(self._models, user) if self._models else None
                self._reader.forget(user)
                erasure = memory.forget_all(at, own)
                forget_care(self.pool.folder, user)
            elif isinstance(what, str):
                erasure = memory.forget_topic(what, at)
            else:
                erasure = memory.forget(what, at)
            self._sessions.pop(user, None)  # the talk so far may say it; it is read again
            self._retriever.clear()
            return erasure

    def end(self, user: str, *, now: datetime | None = None) -> None:
        """End the person's conversation, if there is one: summary, portrait, insights, room."""
        with self._turn:
            session = self._sessions.pop(user, None)
            if session is not None and session.turn:
                at = max(session.last, _clock(now)) if now else session.last
                close_session(self.pool.of(user), session.name, at, self.params)

    def close(self) -> None:
        """End all conversations and give the pool back."""
        with self._turn:
            try:
                for user in list(self._sessions):
                    self.end(user)
            finally:
                self.pool.close()

    def __enter__(self) -> "Friend":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # The steps of a turn, in order

    def _read(self, text: str) -> str:
        text, most = text.strip(), self.params.max_chars
        if not text:
            raise InputError("say something", field="text")
        if len(text) > most:
            raise InputError(f"say it in at most {most:,} characters", field="text")
        return text

    def _session(self, memory: UserMemory, now: datetime) -> Session:
        session = self._sessions.get(memory.user)
        if session is not None and session.over(now, self.params):
            self.end(memory.user, now=now)
            session = None
        if session is None:
            session = self._sessions[memory.user] = open_session(memory, now, self.params)
        return session

    def _answer(
        self,
        memory: UserMemory,
        talk: Sequence[Turn],
        text: str,
        alarm: Alarm | None,
        now: datetime,
        seconds: dict[str, float],
    ) -> tuple[Scene, Reply]:
        notices = list(self._heart.notices)
        looked = self._look(memory, text, now, seconds)
        with timed(seconds, "feel"):
            mood = moods.read(memory.state, memory.user)
            felt = self._heart.feel(text, mood, now, self.params)
        talk = (*talk, heard(text, felt))
        scene = Scene(memory.user, memory.state, talk, looked, felt, alarm, now)
        encode = self._encoder.encode
        said, why = answer(self._voice, self._heart, encode, scene, self.params, seconds, notices)
        return scene, Reply(
            said.text, said.quote, looked, said.memories,
            seconds=seconds, notices=tuple(notices), why=why,
        )  # fmt: skip

    def _look(
        self, memory: UserMemory, text: str, now: datetime, seconds: dict[str, float]
    ) -> Looked:
        state, params = memory.state, self.params
        query = Query(text, params.hits, now, noting.USER, KINDS)
        with timed(seconds, "search"):
            found = self._retriever.search(memory, query) if params.recall else []
            hits = grounded.usable(state, found)
        with timed(seconds, "decide"):
            asked = resolve(text, now, otherwise="past")
            about_life = personal(self._encoder, text)
            decision = decide(text, hits, self._calibration, personal=about_life)
            interval = asked.interval if asked else None
            records = grounded.shown(state, decision, interval, now, params.memories)
        return Looked(tuple(hits), asked, decision, tuple(records))

    def _notes(
        self, memory: UserMemory, session: Session, text: str, now: datetime, notices: list[str]
    ) -> list[MemoryRecord]:
        place = Place(memory.user, session.name, session.turn, now)
        try:
            read = self._reader.read(memory.user, text, session.talk)
        except (MissingDataError, CheckpointError) as error:
            notices.append(f"{error}. Your words are kept as you said them, without notes")
            return []
        made = (noting.note_record(place, text, note, slot, memory.state) for note, slot in read)
        return [record for record in made if record]


def _in_danger(alarm: Alarm, seconds: dict[str, float]) -> Reply:
    """Nothing else of a turn is done: no notes, no look into memory, nothing generated."""
    why = Explanation(alarm, because="danger comes before everything else")
    return Reply(alarm.answer, "", unlooked("there is danger"), seconds=seconds, why=why)


def _clock(now: datetime | None) -> datetime:
    if now is None:
        return datetime.now().astimezone()
    return now if now.tzinfo else now.replace(tzinfo=UTC)
