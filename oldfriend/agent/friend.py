"""The friend: hears, looks into memory, answers, and only then remembers.

Every step that lacks its model says so in ``Reply.notices`` and goes on without it; nothing is
made up in its place. Notes are taken of what the person says and of nothing else: neither of
recalled text nor of the friend's own words.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from types import TracebackType
from uuid import UUID

from oldfriend.agent import denials, grounded, noting
from oldfriend.agent.grounded import Said
from oldfriend.agent.models import FriendModel, NoteTaker, Reader, Voice, adapter
from oldfriend.agent.noting import Place
from oldfriend.agent.reply import Looked, Reply, timed
from oldfriend.agent.sessions import Session, close_session, open_session
from oldfriend.agent.settings import FriendParams
from oldfriend.corpus.schema import Turn
from oldfriend.errors import InputError, MissingDataError
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

DECOYS = 2  # notes in a prompt that needs none
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
    ) -> None:
        self.pool, self.params = pool, params or FriendParams()
        self._encoder, self._retriever = encoder, Retriever(encoder)
        self._voice, self._reader, self._models = voice, reader, models
        self._calibration = calibration
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
    ) -> "Friend":
        """The friend who remembers in the folder ``memory`` (or at the Qdrant server ``url``) and
        speaks with the ``models`` of `dvc repro`. Close it, or use it in a ``with``."""
        vectors = embedder(encoder)
        folder = Path(models)
        pool = MemoryPool.open(Path(memory), vectors, url=url, api_key=api_key)
        voice, reader = FriendModel(folder / "friend"), NoteTaker(folder)
        return cls(pool, vectors, voice, reader, models=folder, params=params)

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
            text, now = self._heard(text), _clock(now)
            memory, seconds, notices = self.pool.of(user), dict[str, float](), list[str]()
            with timed(seconds, "session"):
                session = self._session(memory, now)
            looked = self._look(memory, text, now, seconds)
            with timed(seconds, "speak"):
                said = self._speak(memory, session, text, looked, now, notices)
            if say:
                say(said.text)
            with timed(seconds, "note"):
                noted = self._notes(memory, session, text, now, notices)
            with timed(seconds, "remember"):
                new, undone = self._remember(memory, session, text, said, noted, now)
            if self.pool.behind:
                notices.append(
                    f"the memory server does not answer: {self.pool.behind} entries wait in the "
                    "journal, and memories are found by words alone"
                )
            return Reply(
                said.text, said.quote, looked, said.memories, new, seconds, tuple(notices), undone
            )

    def look(self, user: str, text: str, *, now: datetime | None = None) -> Looked:
        """What memory would say to ``text``, without saying or remembering anything."""
        with self._turn:
            return self._look(self.pool.of(user), self._heard(text), _clock(now), {})

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

    def _heard(self, text: str) -> str:
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

    def _look(
        self, memory: UserMemory, text: str, now: datetime, seconds: dict[str, float]
    ) -> Looked:
        state, params = memory.state, self.params
        with timed(seconds, "search"):
            query = Query(text, params.hits, now, noting.USER, KINDS)
            hits = grounded.usable(state, self._retriever.search(memory, query))
        with timed(seconds, "decide"):
            asked = resolve(text, now, otherwise="past")
            about_life = personal(self._encoder, text)
            decision = decide(text, hits, self._calibration, personal=about_life)
            interval = asked.interval if asked else None
            records = grounded.shown(state, decision, interval, now, params.memories)
        return Looked(tuple(hits), asked, decision, tuple(records))

    def _speak(
        self,
        memory: UserMemory,
        session: Session,
        text: str,
        looked: Looked,
        now: datetime,
        notices: list[str],
    ) -> Said:
        from oldfriend.memory.grounding import by_likeness, prompt

        user, decision, records = memory.user, looked.decision, looked.records
        if own := grounded.own_words(memory.state, decision, now):
            return own
        recent = session.talk[-2 * self.params.exchanges :] if self.params.exchanges else []
        lines = [grounded.line(record, user, now) for record in records or _others(looked)]
        (ordered,) = by_likeness([(user, lines, text)], self._encoder.encode)
        asked = prompt(user, ordered, recent, text)
        try:
            written = self._voice.reply(asked, self.params.max_new_tokens)
        except MissingDataError as error:
            notices.append(str(error))
            return grounded.without_model(decision, records, now)
        said = grounded.checked(written, decision, records, now)
        if said.notice:
            notices.append(said.notice)
        return said

    def _notes(
        self, memory: UserMemory, session: Session, text: str, now: datetime, notices: list[str]
    ) -> list[MemoryRecord]:
        place = Place(memory.user, session.name, session.turn, now)
        try:
            read = self._reader.read(memory.user, text, session.talk)
        except MissingDataError as error:
            notices.append(f"{error}. Your words are kept as you said them, without notes")
            return []
        made = (noting.note_record(place, text, note, slot, memory.state) for note, slot in read)
        return [record for record in made if record]

    def _remember(
        self,
        memory: UserMemory,
        session: Session,
        text: str,
        said: Said,
        noted: Sequence[MemoryRecord],
        now: datetime,
    ) -> tuple[tuple[MemoryRecord, ...], tuple[MemoryRecord, ...]]:
        """One write for the whole turn; the notes that are new, and those that were taken back."""
        heard = Place(memory.user, session.name, session.turn, now)
        answered = Place(memory.user, session.name, session.turn + 1, now)
        told = [record.id for record in said.memories]
        turns = (
            noting.turn_record(heard, text, noting.USER),
            noting.turn_record(answered, said.text, noting.FRIEND, quote=said.quote, evidence=told),
        )
        before = [memory.state[id] for id in session.told if id in memory.state]
        taken_back = denials.denials(memory.state, text, before)
        changes = denials.entries(memory.state, taken_back, heard, text, noted)
        recalled = forgetting.recall(said.memories, now)
        memory.write([*(Add(at=now, record=r) for r in turns), *changes, *recalled])
        session.turn, session.last, session.told = session.turn + 2, now, tuple(told)
        session.talk += [
            Turn(speaker="user", text=text),
            Turn(speaker="friend", text=said.text, quote=said.quote),
        ]
        return tuple(noting.added(changes)), tuple(denial.record for denial in taken_back)


def _others(looked: Looked) -> list[MemoryRecord]:
    """Notes beside the question: in training none bears on it, yet some always stand there."""
    return [hit.record for hit in looked.hits if hit.record.kind != "turn"][:DECOYS]


def _clock(now: datetime | None) -> datetime:
    if now is None:
        return datetime.now().astimezone()
    return now if now.tzinfo else now.replace(tzinfo=UTC)
