"""People who press a friend, round after round, and people who truly correct one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from oldfriend.corpus.schema import GroundExample, MemoryLine, slot_words
from oldfriend.errors import InputError, MissingDataError
from oldfriend.lm.chat import Message, message
from oldfriend.memory import grounding
from oldfriend.persona.character import Stand
from oldfriend.persona.views import VIEW
from oldfriend.persona.voice import Voice, introduced

Pressing = Literal["pushback", "flattery", "repetition", "emotion"]
PRESSINGS: tuple[Pressing, ...] = get_args(Pressing)
Part = Literal["train", "test"]
CLAIM, VALUE = "{claim}", "{value}"
MAX_BYTES = 1_000_000
Phrase = Annotated[str, Field(min_length=1)]


class Phrases(BaseModel):
    """Phrasings to learn from and others to be examined with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: tuple[Phrase, ...] = Field(min_length=1)
    test: tuple[Phrase, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _apart(self) -> "Phrases":
        if shared := set(self.train) & set(self.test):
            raise ValueError(f"{min(shared)!r} is both trained and tested")
        return self

    def of(self, part: Part) -> tuple[str, ...]:
        """One of the two."""
        return self.train if part == "train" else self.test


class Pressure(BaseModel):
    """The bank of data/seeds/pressure.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: dict[Pressing, Phrases]
    correction: Phrases
    facts: dict[str, tuple[Phrase, ...]]
    stand: tuple[Phrase, ...] = Field(min_length=4)
    give_way: tuple[Phrase, ...] = Field(min_length=4)
    hold: tuple[Phrase, ...] = Field(min_length=4)

    @model_validator(mode="after")
    def _fields_stand_where_they_must(self) -> "Pressure":
        if missing := set(PRESSINGS) - self.kinds.keys():
            raise ValueError(f"no phrasings of {', '.join(sorted(missing))}")
        for name, phrases in self.kinds.items():
            for part in ("train", "test"):
                if not any(CLAIM in phrase for phrase in phrases.of(part)):
                    raise ValueError(f"kinds.{name}.{part}: none names {CLAIM}")
        clauses = tuple(clause for slot in self.facts.values() for clause in slot)
        replies = self.stand + self.give_way + self.hold
        for field, needed in ((self.correction.train + self.correction.test, CLAIM),
                              (replies + clauses, VALUE)):  # fmt: skip
            if without := [phrase for phrase in field if needed not in phrase]:
                raise ValueError(f"{without[0]!r} lacks {needed}")
        return self


def read_pressure(path: Path) -> Pressure:
    """Read the bank. InputError names the file and the field of the first mistake."""
    if not path.is_file():
        raise MissingDataError(f"{path} is not there; it holds the phrasings of pressure")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"larger than {MAX_BYTES:,} bytes", path=path)
    try:
        found = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        return Pressure.model_validate(found)
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else None
        raise InputError(str(getattr(error, "problem", error)), path=path, line=line) from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(step) for step in first["loc"])
        raise InputError(first["msg"].removeprefix("Value error, "), path=path, field=field) from (
            None
        )


@dataclass(frozen=True)
class Known:
    """A remembered fact and what the person says instead."""

    slot: str
    value: str
    other: str

    @property
    def quote(self) -> str:
        """What a reply that stands on the memory begins with."""
        return f"your {slot_words(self.slot)}: {self.value}"

    @property
    def corrected(self) -> str:
        """What a reply that accepts the correction begins with."""
        return f"your {slot_words(self.slot)}: {self.other}"


@dataclass(frozen=True)
class Scenario:
    """One conversation under pressure: what the person says, turn by turn.

    ``about``: the claim that the character never agrees to, or a remembered fact. ``evidence``:
    the place of the turn that truly corrects the fact, None in a scenario of mere pressure.
    """

    kind: str
    user: str
    memories: tuple[MemoryLine, ...]
    opening: tuple[Message, ...]
    said: tuple[str, ...]
    about: Stand | Known
    evidence: int | None = None

    def start(self, voice: Voice) -> list[Message]:
        """Everything before the first turn of pressure, which brings up what is held of it."""
        system = grounding.prompt(self.user, self.memories, (), "")[0]
        first = message("user", self.said[0])
        return introduced([system, *self.opening, first], voice.name, voice.character.views)[:-1]


def over_stands(
    voice: Voice, bank: Pressure, rows: Sequence[GroundExample], part: Part, rounds: int,
    rng: Random,
) -> Iterator[Scenario]:  # fmt: skip
    """Endless pressure on what the character never agrees to, every kind and claim in turn.

    ``rows`` lend the person's name and memories, which have nothing to do with it.
    """
    stands = list(voice.character.never_agrees_to)
    while True:
        rng.shuffle(stands)
        for stand in stands:
            for kind in PRESSINGS:
                row = rng.choice(rows)
                said = _pressed(bank.kinds[kind].of(part), stand.claim, rounds, rng)
                memories = row.memories[: rng.randint(0, 2)]
                yield Scenario(kind, row.user, memories, (), said, stand)


def over_facts(
    voice: Voice, bank: Pressure, rows: Sequence[GroundExample], part: Part, rounds: int,
    rng: Random,
) -> Iterator[Scenario]:  # fmt: skip
    """Endless pressure on remembered facts, without a reason and without end."""
    while True:
        for kind in PRESSINGS:
            row, known, claim = _fact(bank, rows, rng)
            said = _pressed(bank.kinds[kind].of(part), claim, rounds, rng)
            yield Scenario(kind, row.user, row.memories, _opening(voice, row, rng), said, known)


def corrections(
    voice: Voice, bank: Pressure, rows: Sequence[GroundExample], part: Part, rng: Random
) -> Iterator[Scenario]:
    """Endless true corrections: evidence at once, or after one or two turns of mere pressure."""
    while True:
        row, known, claim = _fact(bank, rows, rng)
        before = rng.choice((0, 0, 1, 2))
        kind = rng.choice(PRESSINGS)
        pressed = _pressed(bank.kinds[kind].of(part), claim, before, rng)
        evidence = _filled(rng.choice(bank.correction.of(part)), claim)
        opening = _opening(voice, row, rng)
        said = (*pressed, evidence)
        yield Scenario("correction", row.user, row.memories, opening, said, known, before)


def answers(scenario: Scenario, voice: Voice, bank: Pressure, rng: Random) -> list[str] | None:
    """What the friend ought to write turn by turn, the quote it stands on first.

    Against a claim it stands on its view, and says one of its own defences to the first push.
    None if the character cannot say it without a word that it never says.
    """
    about, replies = scenario.about, []
    for place in range(len(scenario.said)):
        if isinstance(about, Stand):
            lines, value, quote = bank.hold, about.belief, f"{VIEW}: {about.belief}"
        elif place == scenario.evidence:
            lines, value, quote = bank.give_way, about.other, about.corrected
        else:
            lines, value, quote = bank.stand, about.value, about.quote
        doing = "give way" if place == scenario.evidence else "stand"
        line = _capitals(rng.choice(lines)).replace(VALUE, value)
        reply = voice.retell(line, rng, [value], doing)
        if reply is None:
            return None
        if isinstance(about, Stand) and place == 0 and not voice.mute:
            reply = f"{reply} {rng.choice(about.defence)}"
        replies.append(grounding.reply_text(quote, reply))
    return replies


def dialogue(scenario: Scenario, voice: Voice, replies: Sequence[str]) -> list[Message]:
    """The whole conversation."""
    talk = scenario.start(voice)
    for said, reply in zip(scenario.said, replies, strict=True):
        talk += [message("user", said), message("assistant", reply)]
    return talk


def _fact(
    bank: Pressure, rows: Sequence[GroundExample], rng: Random
) -> tuple[GroundExample, Known, str]:
    """A row that recalls a current fact of which the bank can speak, another value, the claim."""
    while True:
        row, other = rng.choice(rows), rng.choice(rows)
        if row.slot == other.slot and _plain(row) and _plain(other) and row.value != other.value:
            break
    assert row.value and other.value
    clause = rng.choice(bank.facts[row.slot])
    return row, Known(row.slot, row.value, other.value), clause.replace(VALUE, other.value)


def _plain(row: GroundExample) -> bool:
    return row.kind == "recall" and row.value is not None


def with_facts(bank: Pressure, rows: Sequence[GroundExample]) -> list[GroundExample]:
    """The rows that ``over_facts`` and ``corrections`` can be about.

    InputError if no slot has two values: then nothing could be said instead.
    """
    found = [row for row in rows if row.slot in bank.facts and _plain(row)]
    values: Mapping[str, set[str | None]] = {row.slot: set() for row in found}
    for row in found:
        values[row.slot].add(row.value)
    kept = [row for row in found if len(values[row.slot]) > 1]
    if not kept:
        raise InputError(
            f"none of {len(rows)} grounding examples recalls a slot of pressure.yaml's facts that "
            "has two values among them; curate more (curate.tasks.ground)"
        )
    return kept


def _opening(voice: Voice, row: GroundExample, rng: Random) -> tuple[Message, ...]:
    """Half of the time the friend has just been asked and has answered."""
    reply = (
        voice.retell(row.reply, rng, [row.value or ""], row.kind) if rng.random() < 0.5 else None
    )
    if reply is None or not grounding.says(reply, row.value or ""):
        return ()
    told = grounding.reply_text(row.quote, reply)
    return message("user", row.message), message("assistant", told)


def _pressed(phrases: Sequence[str], claim: str, rounds: int, rng: Random) -> tuple[str, ...]:
    """So many turns of pressure, none twice while there are others; the first names the claim."""
    if not rounds:
        return ()
    first = rng.choice([phrase for phrase in phrases if CLAIM in phrase])
    rest = [phrase for phrase in phrases if phrase != first]
    rng.shuffle(rest)
    chosen = [first, *(rest[i % len(rest)] for i in range(rounds - 1))]
    return tuple(_filled(phrase, claim) for phrase in chosen)


def _filled(phrase: str, claim: str) -> str:
    return _capitals(phrase.replace(CLAIM, claim))


def _capitals(text: str) -> str:
    """The text with a capital at the start of every sentence, unless a {field} stands there."""
    out, start = [], True
    for letter in text:
        out.append(letter.upper() if start and letter.isalpha() else letter)
        start = (start and not letter.isalnum() and letter != "{") or letter in ".!?"
    return "".join(out)
