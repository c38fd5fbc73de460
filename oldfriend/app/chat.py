"""``oldfriend chat``: a conversation in the terminal, remembered from one day to the next."""

import os
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from rich.console import Console

from oldfriend.agent.friend import Friend
from oldfriend.agent.reply import Reply
from oldfriend.app.options import open_friend
from oldfriend.app.shown import (
    find,
    hit_table,
    left_over,
    plain,
    reasons,
    record_table,
    to_erase,
)
from oldfriend.errors import InputError
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.rights import about

HELP = """\
/memories [words]     what is remembered, numbered; with words, what they find
/why                  how the last reply came about: feelings, strategy, memories, drafts
/correct N new value  memory N is wrong and was never true
/pin N                never let memory N fade
/forget N|topic|all   erase for good, and look through every file for it
/help                 this
Ctrl-D                end the conversation"""

Clock = Callable[[], datetime]


def talk(
    user: str,
    models: Path,
    memory: Path,
    url: str = "",
    encoder: str = "minilm",
    persona: str = "",
    resources: Path | None = None,
    *,
    trace: bool = False,
) -> None:
    """Talk until Ctrl-D or Ctrl-C; the conversation is then summed up."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # nobody can act on its advice here
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    with open_friend(
        memory, models, url, encoder, must_exist=False, persona=persona, resources=resources
    ) as friend:
        Chat(friend, user, Console(), record=_traced if trace else None).run()


def _traced(reply: Reply) -> None:
    from oldfriend.tracking import trace_turn

    trace_turn(reply.seconds, reply.why.figures())


class Chat:
    """One person at the terminal. Memories are named by their number in the latest list."""

    def __init__(
        self,
        friend: Friend,
        user: str,
        console: Console,
        clock: Clock | None = None,
        record: Callable[[Reply], None] | None = None,
    ) -> None:
        self._friend, self._user, self._console = friend, user, console
        self._memory = friend.memory(user)
        self._clock = clock or (lambda: datetime.now().astimezone())
        self._record = record
        self._listed: list[MemoryRecord] = []
        self._last: Reply | None = None
        self._told: set[str] = set()
        self._commands: dict[str, Callable[[str], None]] = {
            "memories": self._memories, "why": self._why, "correct": self._correct,
            "pin": self._pin, "forget": self._forget, "help": self._help,
        }  # fmt: skip

    def run(self) -> None:
        """Read lines until they end; what cannot be done is said, and the talk goes on."""
        for note in self._friend.pool.notes:
            self._aside(note)
        self._aside("/help lists what you can do, Ctrl-D ends the conversation")
        try:
            while True:
                line = self._console.input("> ", markup=False).strip()
                if line:
                    self.hear(line)
        except (EOFError, KeyboardInterrupt):
            self._console.print()
        self._aside("one moment, I am going over what you told me")
        self._friend.end(self._user)

    def hear(self, line: str) -> None:
        """A line of talk, or a command."""
        try:
            if line.startswith("/"):
                name, _, rest = line[1:].partition(" ")
                if name not in self._commands:
                    raise InputError(f"no command /{name}; /help lists them")
                self._commands[name](rest.strip())
            else:
                self._turn(line)
        except InputError as error:
            self._aside(str(error))

    def _turn(self, text: str) -> None:
        def say(reply: str) -> None:
            self._console.print(plain(reply), style="bold")

        reply = self._last = self._friend.turn(self._user, text, now=self._clock(), say=say)
        for notice in reply.notices:
            if notice not in self._told:  # once is enough
                self._aside(notice)
        self._told.update(reply.notices)
        for record in reply.noted:
            self._aside(f"noted: {record.text}")
        for record in reply.undone:
            self._aside(f"taken back: {record.text}")
        if self._record:
            self._record(reply)

    def _memories(self, words: str) -> None:
        now = self._clock()
        if words:
            hits = self._friend.look(self._user, words, now=now).hits[:10]
            self._listed = [hit.record for hit in hits]
        else:
            records = self._memory.records(current=True)
            self._listed = [record for record in records if record.kind != "turn"]
        if self._listed:
            self._console.print(record_table(self._listed, now, numbered=True))
        else:
            self._aside("nothing yet" if not words else "nothing that these words find")

    def _why(self, _: str) -> None:
        if self._last is None:
            raise InputError("nothing was said yet")
        for line in (*reasons(self._last.looked), *self._last.why.lines()):
            self._aside(line)
        if self._last.hits:
            self._console.print(hit_table(self._last.hits[:8]))
        if self._last.quote:
            self._aside(f"the model stood on [{self._last.quote}]")
        steps = (f"{name} {1000 * took:.0f} ms" for name, took in self._last.seconds.items())
        self._aside(", ".join(steps))

    def _correct(self, rest: str) -> None:
        number, _, value = rest.partition(" ")
        right = self._friend.correct(self._user, self._named(number).id, value, now=self._clock())
        self._aside(f"now: {right.text}")

    def _pin(self, number: str) -> None:
        record = self._named(number)
        self._memory.pin([record.id], self._clock())
        self._aside(f"pinned: {record.text}")

    def _forget(self, what: str) -> None:
        if not what:
            raise InputError("say what: a number, a topic, or all")
        state, everything = self._memory.state, what == "all"
        if everything:
            ids = list(state)
        elif what.isdecimal():
            ids = [self._named(what).id]
        else:
            ids = about(state, what)
        if not ids:
            raise InputError(f"nothing mentions '{what}'")
        listed = to_erase(self._memory, ids)
        for line in listed[:20]:
            self._aside(line)
        answer = self._console.input(f"Erase these {len(listed)} for good? [y/N] ", markup=False)
        if answer.strip().lower() not in ("y", "yes"):
            self._aside("nothing was forgotten")
            return
        values = {state[id].value for id in ids if state[id].slot}
        erasure = self._friend.forget(self._user, "all" if everything else ids, now=self._clock())
        self._listed, self._last = [], None  # they may hold what was erased
        self._aside(str(erasure))
        for value in left_over(self._memory, values):
            self._aside(f"other memories mention it: /forget {value}")

    def _help(self, _: str) -> None:
        self._aside(HELP)

    def _named(self, number: str) -> MemoryRecord:
        """By its number in the latest list, or by its id."""
        if number.isdecimal() and 1 <= int(number) <= len(self._listed):
            record = self._memory.get(self._listed[int(number) - 1].id)
            if record is None:
                raise InputError("that one was forgotten")
            return record
        if number.isdecimal() and len(number) < 4:
            raise InputError(f"no number {number or '?'} in the list; see /memories")
        return find(self._memory, number)

    def _aside(self, text: str) -> None:
        self._console.print(plain(text), style="dim")
