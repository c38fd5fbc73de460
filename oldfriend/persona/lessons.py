"""What a persona learns from: talk in its voice, pressure withstood, corrections, neutral talk."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from transformers import PreTrainedTokenizerBase

from oldfriend.corpus.schema import Conversation, GroundExample, Turn, read_rows
from oldfriend.errors import InputError, MissingDataError
from oldfriend.lm.chat import Message, answer_documents, message
from oldfriend.lm.packing import Document
from oldfriend.memory import grounding
from oldfriend.memory.grounding import Encode
from oldfriend.persona import pushback
from oldfriend.persona.character import TOPICS
from oldfriend.persona.hearing import Hearing
from oldfriend.persona.pushback import Pressure
from oldfriend.persona.questionnaire import GRADES, Trait
from oldfriend.persona.settings import Course
from oldfriend.persona.voice import Voice, asked, exchanges, in_voice, introduced

CONVERSATIONS = 2000  # read from the simulator's talk
EXAMPLES = {"train": 2000, "test": 400}  # grounded ones; ranking them takes time
# Of the dialogues in the voice; the rest is grounded.
TALK_SHARE, LINES_SHARE, SELF_SHARE = 0.3, 0.1, 0.15
STANDS_SHARE = 0.4  # of the pressure that is on the character's claims; the rest on facts
MOST_MISSES = 2000  # draws in a row that a character cannot say
CHUNK = 200  # dialogues tokenized at a time
STRETCH = (2, 4, 6)  # turns of a stretch of talk


@dataclass(frozen=True)
class Sources:
    """Rows of one split, as the pipeline's earlier stages made them, and the phrases of pressure.

    ``quoted`` are dialogues that somebody else wrote in this character's voice: the examples of
    its card, attributed quotations of a novel. ``traits`` are questions about oneself.
    """

    grounded: Sequence[GroundExample]
    talks: Sequence[Conversation]
    pressure: Pressure
    quoted: Sequence[Sequence[Message]] = ()
    traits: Mapping[str, Trait] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        data: Path,
        part: pushback.Part,
        pressure: Pressure,
        quoted: Sequence[Sequence[Message]] = (),
        *,
        rank: Encode | None = None,
    ) -> "Sources":
        """Read ``data/ground`` and ``data/talk``. MissingDataError if the first is empty.

        ``rank`` (sentence vectors): memories stand in the order in which a friend that learnt so
        reads them, the likest to the message last.
        """
        path = data / "ground" / f"{part}.jsonl"
        grounded = list(itertools.islice(read_rows(path, GroundExample), EXAMPLES[part]))
        if not grounded:
            raise MissingDataError(f"{path} has no examples to retell")
        talks = read_rows(data / "talk" / f"{part}.jsonl", Conversation)
        own = [talk for talk in itertools.islice(talks, CONVERSATIONS) if talk.domain == "talk"]
        return cls(_ranked(grounded, rank) if rank else grounded, own, pressure, quoted)


def _ranked(rows: Sequence[GroundExample], encode: Encode) -> list[GroundExample]:
    asked = [(row.user, row.memories, row.message) for row in rows]
    found = grounding.by_likeness(asked, encode)
    return [
        row.model_copy(update={"memories": memories})
        for row, memories in zip(rows, found, strict=True)
    ]


def lessons(
    course: Course,
    rounds: int,
    tokenizer: PreTrainedTokenizerBase,
    hearing: Hearing,
    voices: Sequence[Voice],
    sources: Sources,
    seed: int,
) -> list[Document]:
    """Shuffled documents that fill the whole course, every kind with its share of the tokens.

    The ``voices`` share them equally; pressure lasts up to ``rounds``.
    """
    rng = Random(f"persona-{'-'.join(voice.name for voice in voices)}-{seed}")
    bank, rows = sources.pressure, sources.grounded
    facts = pushback.with_facts(bank, rows)
    stances, corrections, talks = [], [], []
    for voice in voices:
        pressed = pushback.over_stands(voice, bank, rows, "train", rounds, rng)
        doubted = pushback.over_facts(voice, bank, facts, "train", rounds, rng)
        both = _either(pressed, doubted, rng)
        corrected = pushback.corrections(voice, bank, facts, "train", rng)
        stances.append(_scenarios(both, voice, bank, rng))
        corrections.append(_scenarios(corrected, voice, bank, rng))
        talks.append(talk(voice, sources, rng))
    shares: list[tuple[float, Iterator[Sequence[Message]]]] = [
        (course.stance, _in_turn(stances)),
        (course.correction, _in_turn(corrections)),
        (course.neutral, _neutral(rows, rng)),
        (course.talk, _in_turn(talks)),
    ]
    documents: list[Document] = []
    for share, dialogues in shares:
        longest = course.fit.row_tokens
        documents += enough(tokenizer, hearing, dialogues, share * course.fit.tokens, longest)
    rng.shuffle(documents)
    return documents


def _in_turn(streams: Sequence[Iterator[Sequence[Message]]]) -> Iterator[Sequence[Message]]:
    """One of every endless stream, again and again."""
    return (next(stream) for stream in itertools.cycle(streams))


def enough(
    tokenizer: PreTrainedTokenizerBase,
    hearing: Hearing,
    dialogues: Iterator[Sequence[Message]],
    tokens: float,
    longest: int,
) -> list[Document]:
    """As many documents as hold ``tokens`` tokens; those of more than ``longest`` are left out."""
    documents: list[Document] = []
    while tokens > 0:
        talks = hearing.hinted(list(itertools.islice(dialogues, CHUNK)))
        found = answer_documents(tokenizer, talks)
        if not found:
            break
        for document in found:
            if tokens > 0 and len(document) <= longest:
                documents.append(document)
                tokens -= len(document)
    return documents


def talk(voice: Voice, sources: Sources, rng: Random) -> Iterator[Sequence[Message]]:
    """Endless dialogues in the voice: grounded ones, stretches of talk, the card's own lines."""
    return _sayable(voice, lambda: _in_voice(voice, sources, rng))


def _in_voice(voice: Voice, sources: Sources, rng: Random) -> Sequence[Message] | None:
    draw = rng.random()
    if draw < TALK_SHARE and sources.talks:
        return _stretch(voice, sources, rng)
    draw -= TALK_SHARE
    if 0 <= draw < LINES_SHARE and sources.quoted:
        return rng.choice(sources.quoted)
    draw -= LINES_SHARE
    if 0 <= draw < SELF_SHARE and sources.traits:
        return self_report(voice, sources.traits, rng.choice(sources.grounded).user, rng)
    example = in_voice(voice, rng.choice(sources.grounded), rng)
    return None if example is None else answered(voice, example)


def self_report(
    voice: Voice, traits: Mapping[str, Trait], user: str, rng: Random
) -> list[Message] | None:
    """A question about oneself, answered as the card declares."""
    name = rng.choice(sorted(traits))
    asks_high = rng.random() < 0.5
    trait, declared = traits[name], float(getattr(voice.character.profile.bfi, name))
    question = rng.choice(trait.high if asks_high else trait.low)
    agrees = declared if asks_high else 1 - declared
    grade = GRADES[min(int(agrees * len(GRADES)), len(GRADES) - 1)]
    reply = voice.retell(rng.choice(grade), rng) if rng.random() < 0.5 else rng.choice(grade)
    if reply is None:
        return None
    system = grounding.prompt(user, (), (), "")[0]
    asked = introduced([system, message("user", question)], voice.name)
    return [*asked, message("assistant", reply)]


def _sayable(
    voice: Voice, draw: Callable[[], Sequence[Message] | None]
) -> Iterator[Sequence[Message]]:
    """What is drawn, except what this character cannot say; InputError if that is everything."""
    misses = 0
    while misses < MOST_MISSES:
        dialogue = draw()
        misses = 0 if dialogue is not None else misses + 1
        if dialogue is not None:
            yield dialogue
    raise InputError(
        f"{voice.name} can hardly say anything: its card's 'never' forbids what its own speech "
        "habits or plain words need"
    )


def answered(voice: Voice, example: GroundExample) -> list[Message]:
    """The dialogue of an example that is in the voice already."""
    reply = grounding.reply_text(example.quote, example.reply)
    return [*asked(voice, example), {"role": "assistant", "content": reply}]


def spoken_replies(
    voice: Voice, examples: Sequence[GroundExample], seed: int, *, test: bool = False
) -> list[str]:
    """What this character would say to the examples, and its own lines: known authorship."""
    rng = Random(f"replies-{voice.name}-{seed}")
    retold = (in_voice(voice, example, rng) for example in examples)
    lines = [line for topic in TOPICS for line in voice.lines(topic, test=test)]
    return [example.reply for example in retold if example is not None] + lines


def card_dialogues(
    voice: Voice, examples: Sequence[Sequence[Turn]], users: Sequence[str]
) -> list[list[Message]]:
    """The example dialogues of a card as they would be asked, with a person's name."""
    found = []
    for place, turns in enumerate(examples):
        if any(turn.speaker == "friend" for turn in turns):
            plain = grounding.prompt(users[place % len(users)], (), turns, "?")[:-1]
            found.append(introduced(plain, voice.name))
    return found


def quotations(voice: Voice, talks: Iterable[Conversation], speaker: str) -> list[list[Message]]:
    """Attributed quotations of a novel (the importer puts "NAME in NOVEL" into the situation) as
    dialogues in which ``speaker`` is the friend."""
    chosen = [talk for talk in talks if talk.situation and talk.situation.startswith(speaker)]
    return card_dialogues(voice, [talk.turns for talk in chosen], ["a stranger"])


def _stretch(voice: Voice, sources: Sources, rng: Random) -> list[Message] | None:
    talk = rng.choice(sources.talks)
    length = rng.choice(STRETCH)
    start = rng.randrange(max(1, len(talk.turns) - length + 1))
    turns = talk.turns[start : start + length]
    if turns[0].speaker != "user":
        turns = turns[1:]
    row = rng.choice(sources.grounded)
    memories = row.memories[-rng.randint(1, 3) :]
    closes = start + length >= len(talk.turns)
    return exchanges(voice, turns, row.user, memories, rng, opens=start == 0, closes=closes)


def _scenarios(
    scenarios: Iterator[pushback.Scenario], voice: Voice, bank: Pressure, rng: Random
) -> Iterator[Sequence[Message]]:
    def draw() -> Sequence[Message] | None:
        scenario = next(scenarios)
        replies = pushback.answers(scenario, voice, bank, rng)
        return None if replies is None else pushback.dialogue(scenario, voice, replies)

    return _sayable(voice, draw)


def _either(
    pressed: Iterator[pushback.Scenario], doubted: Iterator[pushback.Scenario], rng: Random
) -> Iterator[pushback.Scenario]:
    """Scenarios of both sources, pressed for any number of rounds: later ones repeat much."""
    while True:
        scenario = next(pressed if rng.random() < STANDS_SHARE else doubted)
        yield replace(scenario, said=scenario.said[: rng.randint(1, len(scenario.said))])


def _neutral(rows: Sequence[GroundExample], rng: Random) -> Iterator[Sequence[Message]]:
    while True:
        for row in rng.sample(list(rows), len(rows)):
            yield grounding.dialogue(row)
