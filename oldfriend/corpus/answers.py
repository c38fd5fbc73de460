"""Grounding examples cut from simulated lives: questions and talk, memories, the right reply."""

import calendar
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from random import Random

from oldfriend.corpus.banks import Slot
from oldfriend.corpus.people import Known, Life, value_for
from oldfriend.corpus.schema import GroundExample, GroundKind, MemoryLine, Turn, slot_words
from oldfriend.corpus.seeds import Seeds
from oldfriend.corpus.speech import Draft, Value, fill, render, speak
from oldfriend.errors import InputError

MIX: Mapping[GroundKind, float] = {
    "recall": 0.38,
    "past": 0.1,
    "abstain": 0.23,
    "colour": 0.1,
    "plain": 0.19,
}
_TRIES = 200  # lives tried for one example before giving up


def grounding(
    lives: Sequence[Life],
    seeds: Seeds,
    rng: Random,
    *,
    count: int,
    max_memories: int = 6,
    max_exchanges: int = 1,
    mix: Mapping[GroundKind, float] = MIX,
) -> list[GroundExample]:
    """Cut ``count`` examples whose kinds have the proportions of ``mix``.

    The number of memories is uniform from 1 (from 0 where the answer needs none) to
    ``max_memories``, that of the exchanges before the message from 0 to ``max_exchanges``.
    Everything in an example comes from one split; ``user`` and ``MemoryLine.owner`` are names,
    which no two people share.
    """
    tables = {
        split: _Table(
            [life for life in lives if life.split == split], seeds, rng, max_memories, max_exchanges
        )
        for split in {life.split for life in lives}
    }
    examples: list[GroundExample] = []
    for kind in rng.choices(list(mix), list(mix.values()), k=count):
        for _ in range(_TRIES if lives else 0):
            life = rng.choice(lives)
            if scene := tables[life.split].scene(kind, life):
                history = tables[life.split].history(life, scene)
                examples.append(_example(scene, history, kind, life, len(examples)))
                break
        else:
            raise InputError(
                f"{len(lives)} lives give no '{kind}' example: simulate more people, or leave "
                f"'{kind}' out of the mix"
            )
    return examples


@dataclass(frozen=True)
class _Scene:
    """What a _Table sets up: an example but for its place in the list."""

    message: str
    reply: str
    memories: tuple[MemoryLine, ...]
    slot: str = ""
    quote: str = ""
    value: str | None = None
    contrast: str | None = None


def _example(
    scene: _Scene, history: tuple[Turn, ...], kind: GroundKind, life: Life, number: int
) -> GroundExample:
    return GroundExample(
        id=f"{life.person}-ground-{number:06d}",
        user=life.name,
        source="simulator",
        kind=kind,
        slot=scene.slot,
        memories=scene.memories,
        history=history,
        message=scene.message,
        reply=scene.reply,
        quote=scene.quote,
        value=scene.value,
        contrast=scene.contrast,
    )


class _Table:
    """Sets up scenes among the people of one split."""

    def __init__(
        self,
        lives: Sequence[Life],
        seeds: Seeds,
        rng: Random,
        max_memories: int,
        max_exchanges: int,
    ) -> None:
        self._seeds, self._rng, self._max = seeds, rng, max_memories
        self._max_exchanges = max_exchanges
        self._everybody: dict[str, list[MemoryLine]] = defaultdict(list)
        for life in lives:
            for fact in life.facts:
                self._everybody[fact.slot].append(_line(life.name, seeds.slots[fact.slot], fact))
        self._scenes: dict[GroundKind, Callable[[Life], _Scene | None]] = {
            "recall": self._recall,
            "past": self._past,
            "abstain": self._abstain,
            "colour": self._colour,
            "plain": self._plain,
        }

    def scene(self, kind: GroundKind, life: Life) -> _Scene | None:
        """A scene from some day in this life; None if the day gives no such scene."""
        return self._scenes[kind](life)

    def _recall(self, life: Life) -> _Scene | None:
        """Ask for a value that holds; of several, the month in which it was told decides."""
        lines = self._known(life)
        golden = self._rng.choice([line for line in lines if not line.until])
        slot = self._seeds.slots[golden.slot]
        rivals = [
            line for line in lines if line.slot == golden.slot and not line.until and line != golden
        ]
        if any(_month(rival) == _month(golden) for rival in rivals):
            return None
        month = _month(golden) if rivals else ""
        stale = [line for line in lines if line.slot == golden.slot and line.until]
        return _Scene(
            message=self._ask(life, slot, month),
            reply=self._rng.choice(slot.answer).replace("{value}", golden.value),
            memories=self._memories(life, lines, golden.slot, [golden, *rivals], stale),
            slot=golden.slot,
            quote=quote(golden.slot, golden.value),
            value=golden.value,
        )

    def _past(self, life: Life) -> _Scene | None:
        """Ask for the value before the one that holds."""
        lines = self._known(life)
        former = {line.slot: line for line in lines if line.until}  # the latest of each slot
        asked = [line for name, line in former.items() if self._seeds.slots[name].ask_past]
        if not asked:
            return None
        golden = self._rng.choice(asked)
        now = [line for line in lines if line.slot == golden.slot and not line.until]
        return _Scene(
            message=self._ask(life, self._seeds.slots[golden.slot], past=True),
            reply=self._rng.choice(self._seeds.glue.past).replace("{value}", golden.value),
            memories=self._memories(life, lines, golden.slot, [golden], now),
            slot=golden.slot,
            quote=quote(golden.slot, golden.value, past=True),
            value=golden.value,
        )

    def _abstain(self, life: Life) -> _Scene | None:
        """Ask for what is not there: never said, not found, never former, not in that month."""
        lines = self._known(life)
        told = sorted({line.slot for line in lines})
        unsaid = sorted(self._seeds.slots.keys() - set(told))
        chance = self._rng.random()
        present: list[MemoryLine] = []
        month, past = "", False
        name = self._rng.choice(unsaid if chance < 0.5 and unsaid else told)
        slot = self._seeds.slots[name]
        if name in told and chance > 0.7:
            present = [line for line in lines if line.slot == name]
            if slot.ask_past and len(present) == 1:
                past = True
            elif slot.cardinality == "multi":
                taken = {_month(line) for line in present}
                free = [month for month in calendar.month_name[1:] if month not in taken]
                month = self._rng.choice(free)
            else:
                return None
        return _Scene(
            message=self._ask(life, slot, month, past),
            reply=self._rng.choice(self._seeds.life.abstain),
            memories=self._memories(life, lines, name, present, []),
            slot=name,
            quote=quote(name, past=past),
        )

    def _colour(self, life: Life) -> _Scene | None:
        """Talk that a memory should colour without being recited."""
        lines = self._known(life)
        golden = self._rng.choice([line for line in lines if not line.until])
        colour = self._rng.choice(self._seeds.slots[golden.slot].colour.of(life.split))
        return _Scene(
            message=self._spoken(life, (colour.talk,)),
            reply=colour.with_,
            memories=self._memories(life, lines, golden.slot, [golden], []),
            slot=golden.slot,
            quote=quote(golden.slot, golden.value),
            contrast=colour.without,
        )

    def _plain(self, life: Life) -> _Scene:
        """Talk that needs no memory: small talk, a feeling, news, or what nothing colours."""
        bank, split = self._seeds.life, life.split
        message: Draft
        name = self._rng.choice(sorted(self._seeds.slots))
        slot, chance = self._seeds.slots[name], self._rng.random()
        if chance < 0.45:
            talk = bank.courtesies if chance < 0.2 else bank.smalltalk
            exchange = self._rng.choice(talk.of(split))
            message, reply = (exchange.say,), exchange.reply
        elif chance < 0.65:
            emotion = bank.emotions[self._rng.choice(sorted(bank.emotions))]
            message = (self._rng.choice(emotion.of(split)).say,)
            reply = self._rng.choice(emotion.replies).text
        elif chance < 0.85:
            colour = self._rng.choice(slot.colour.of(split))
            message, reply = (colour.talk,), colour.without
        else:
            value = value_for(slot, split, set(), self._rng) or ""
            message = fill(self._rng.choice(slot.say.of(split)), Value(value))
            reply = self._rng.choice(slot.react).replace("{value}", value)
        return _Scene(
            message=self._spoken(life, message),
            reply=reply,
            memories=self._memories(life, self._known(life), name, [], []),
        )

    def _known(self, life: Life) -> list[MemoryLine]:
        """What the friend knows after some session; the later half of a life is likelier."""
        days = sorted({fact.said_on for fact in life.facts})
        today = self._rng.choice(days[len(days) // 3 :])
        told: dict[str, list[Known]] = defaultdict(list)
        for fact in life.facts:
            if fact.said_on <= today:
                told[fact.slot].append(fact)
        lines = []
        for name, facts in told.items():
            slot = self._seeds.slots[name]
            single = slot.cardinality == "single"
            untils = [after.said_on if single else None for after in facts[1:]]
            for fact, until in zip(facts, [*untils, None], strict=True):
                lines.append(_line(life.name, slot, fact, until))
        return lines

    def _memories(
        self,
        life: Life,
        lines: Sequence[MemoryLine],
        slot: str,
        present: Sequence[MemoryLine],
        hard: Sequence[MemoryLine],
    ) -> tuple[MemoryLine, ...]:
        """``present`` lines of the slot among distractors: ``hard`` ones, the same slot of other
        people, other slots. Where none must be present there may be no line at all: so every
        friendship begins."""
        number = self._rng.randint(1 if present else 0, self._max)
        own = {line.value for line in lines if line.slot == slot}
        same = self._rng.sample(self._everybody[slot], min(len(self._everybody[slot]), 6))
        others = [line for line in same if line.owner != life.name and line.value not in own]
        hard = [*hard, *others[:2]]
        hard = self._rng.sample(hard, min(len(hard), self._rng.randint(0, (number + 1) // 2)))
        easy = [line for line in lines if line.slot != slot]
        chosen = [*present, *hard, *self._rng.sample(easy, min(len(easy), number))][:number]
        self._rng.shuffle(chosen)
        return tuple(chosen)

    def _ask(self, life: Life, slot: Slot, month: str = "", past: bool = False) -> str:
        bank = slot.ask_past if past and slot.ask_past else slot.ask
        draft: Draft = (self._rng.choice(bank.of(life.split)),)
        if month:
            which = self._rng.choice(self._seeds.glue.month.of(life.split))
            draft = (*draft, " ", *fill(which, Value(month)))
        return self._spoken(life, draft)

    def _spoken(self, life: Life, draft: Draft) -> str:
        """The draft in the person's idiolect, every other time."""
        if self._rng.random() < 0.5:
            draft = speak(draft, self._seeds.life.idiolects[life.idiolect], self._rng)
        return render(draft)[0]

    def history(self, life: Life, scene: _Scene) -> tuple[Turn, ...]:
        """Exchanges before the message of a scene: small talk, and questions on other slots."""
        turns: list[Turn] = []
        asked = {scene.slot}
        for _ in range(self._rng.randint(0, self._max_exchanges)):
            say, reply = self._exchange(life, scene.memories, asked)
            turns += [Turn(speaker="user", text=say), reply]
        return tuple(turns)

    def _exchange(
        self, life: Life, memories: Sequence[MemoryLine], asked: set[str]
    ) -> tuple[str, Turn]:
        """Small talk, or a question about a slot that is not in ``asked`` yet, rightly answered."""
        own = [line for line in memories if line.owner == life.name]
        counts = Counter((line.slot, bool(line.until)) for line in own)
        known = [
            line
            for line in own
            if line.slot not in asked
            and counts[line.slot, bool(line.until)] == 1
            and (not line.until or self._seeds.slots[line.slot].ask_past)
        ]
        chance = self._rng.random()
        if known and chance < 0.6:
            line = self._rng.choice(known)
            asked.add(line.slot)
            slot, past = self._seeds.slots[line.slot], bool(line.until)
            answers = self._seeds.glue.past if past else slot.answer
            reply = self._rng.choice(answers).replace("{value}", line.value)
            stands_on = quote(line.slot, line.value, past=past)
            return self._ask(life, slot, past=past), _reply(reply, stands_on)
        unknown = sorted(self._seeds.slots.keys() - {line.slot for line in own} - asked)
        if unknown and chance < 0.8:
            name = self._rng.choice(unknown)
            asked.add(name)
            reply = self._rng.choice(self._seeds.life.abstain)
            return self._ask(life, self._seeds.slots[name]), _reply(reply, quote(name))
        exchange = self._rng.choice(self._seeds.life.smalltalk.of(life.split))
        return self._spoken(life, (exchange.say,)), _reply(exchange.reply)


def quote(slot: str, value: str = "nothing", *, past: bool = False) -> str:
    """The memory a reply stands on, as it reads in a memory line."""
    return f"your {'former ' if past else ''}{slot_words(slot)}: {value}"


def _reply(text: str, stands_on: str = "") -> Turn:
    return Turn(speaker="friend", text=text, quote=stands_on)


def _line(owner: str, slot: Slot, fact: Known, until: date | None = None) -> MemoryLine:
    return MemoryLine(
        owner=owner,
        slot=fact.slot,
        value=fact.value,
        text=f"{owner} {slot.memory.replace('{value}', fact.value)}",
        since=fact.said_on,
        until=until,
    )


def _month(line: MemoryLine) -> str:
    return calendar.month_name[line.since.month] if line.since else ""
