"""What the judge learns from: good replies of simulated friends, replies made wrong, and how real
support talk went.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

from pydantic import Field, ValidationError

from oldfriend.corpus.schema import Conversation, Row, Turn, read_rows
from oldfriend.empathy.crisis_answers import read_yaml
from oldfriend.empathy.data import Support
from oldfriend.empathy.judge_features import Place, turns_of
from oldfriend.empathy.labels import valence_of
from oldfriend.empathy.strategies import PLAYFUL, STRATEGIES, Strategy, strategy_of
from oldfriend.errors import InputError, MissingDataError

SIMULATOR = "simulator"
GOOD, BAD = 4, 2  # stars: at least, at most; 3 says neither
Name = Literal["improved", "improved_failed", "eased", "feedback"]
HURTS = ("dismissive", "tease_at_pain", "opposite", "off_topic")  # what moves nobody the right way


class Lines(Row):
    """Lines to learn from and others to test on."""

    train: tuple[str, ...] = Field(min_length=1)
    test: tuple[str, ...] = Field(min_length=1)


class Bank(Row):
    """data/seeds/judge.yaml: replies that are no friend's."""

    dismissive: Lines
    assistant: Lines

    @classmethod
    def load(cls, path: Path) -> "Bank":
        """InputError names the field that is wrong."""
        try:
            return cls.model_validate(read_yaml(path))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise InputError(first["msg"], path=path, field=field) from None


@dataclass(frozen=True)
class Example:
    """A reply in its place: ``good``, or made wrong in the way ``kind`` names."""

    place: Place
    good: bool
    kind: str
    group: str  # the conversation it is from
    emotion: str = ""
    intensity: float = 0.0


def read_talk(path: Path) -> list[Conversation]:
    """The conversations of one split. MissingDataError if there is no simulated talk in it."""
    talks = list(read_rows(path, Conversation))
    if not any(talk.source == SIMULATOR for talk in talks):
        raise MissingDataError(f"{path} holds no simulated talk; run dvc repro curate")
    return talks


def good_replies(talks: Iterable[Conversation], most: int, seed: int) -> list[Example]:
    """Replies of simulated friends: to a shown emotion, and as many to small talk; ``most`` in
    all, by chance."""
    felt, small = list[Example](), list[Example]()
    for talk in talks:
        if talk.source != SIMULATOR:
            continue
        for number in range(1, len(talk.turns)):
            said, reply = talk.turns[number - 1], talk.turns[number]
            if said.speaker != "user" or reply.speaker != "friend":
                continue
            last, own, earlier = turns_of(talk.turns[:number])
            place = Place(last, reply.text, own, earlier, strategy_of(reply.strategy))
            one = Example(place, True, "good", talk.id, said.emotion or "", said.intensity or 0.0)
            (felt if valence_of(said.emotion) else small).append(one)
    rng = Random(f"judge {seed}")
    rng.shuffle(felt)
    rng.shuffle(small)
    kept = felt[: round(most * 0.7)]
    return kept + small[: max(most - len(kept), 0)]


def suited(good: Sequence[Example]) -> dict[str, frozenset[str]]:
    """The strategies that friends meet each emotion with."""
    seen: dict[str, set[str]] = defaultdict(set)
    for one in good:
        if one.emotion and one.place.strategy:
            seen[one.emotion].add(one.place.strategy)
    return {emotion: frozenset(names) for emotion, names in seen.items()}


def made_wrong(good: Sequence[Example], hurtful: Sequence[str], seed: int) -> list[Example]:
    """One wrong reply for each good one, its kind by turns: dismissive, a tease at pain, the reply
    to an opposite feeling, off topic, a strategy that does not suit, its own last words again."""
    rng = Random(f"wrong {seed}")
    felt = [one for one in good if one.emotion]
    small = [one for one in good if not one.emotion]
    playful = [one for one in felt if one.place.strategy in PLAYFUL]
    suits = suited(good)
    return [
        wrong
        for number, one in enumerate(good)
        if (wrong := _wrong(one, number, felt, small, playful, suits, hurtful, rng))
    ]


def _wrong(
    one: Example,
    number: int,
    felt: Sequence[Example],
    small: Sequence[Example],
    playful: Sequence[Example],
    suits: Mapping[str, frozenset[str]],
    hurtful: Sequence[str],
    rng: Random,
) -> Example | None:
    valence = valence_of(one.emotion)
    kinds = ["other", "repeat"] if not one.emotion else [
        "dismissive", "opposite", "off_topic", "strategy", "repeat",
        "tease_at_pain" if valence < -0.3 and one.intensity >= 0.5 else "dismissive",
    ]  # fmt: skip
    kind = kinds[number % len(kinds)]
    if kind == "dismissive":
        return _with(one, rng.choice(list(hurtful)), None, kind)
    if kind == "repeat":
        return _with(one, one.place.own[-1], None, kind) if one.place.own else None
    pool: Sequence[Example] = felt
    if kind == "tease_at_pain":
        pool = [p for p in playful if p.emotion not in ("", one.emotion)]
    elif kind == "opposite":
        pool = [p for p in felt if valence_of(p.emotion) * valence < 0]
    elif kind in ("off_topic", "other"):
        pool = [p for p in small if p.group != one.group]
    elif kind == "strategy":
        allowed = suits.get(one.emotion, frozenset())
        pool = [p for p in felt if p.place.strategy and p.place.strategy not in allowed]
    if not pool:
        return None
    other = rng.choice(pool)
    return _with(one, other.place.reply, other.place.strategy, kind)


def _with(one: Example, reply: str, strategy: Strategy | None, kind: str) -> Example:
    place = Place(one.place.said, reply, one.place.own, one.place.earlier, strategy)
    return Example(place, False, kind, one.group, one.emotion, one.intensity)


def swapped(talks: Sequence[Conversation], most: int, seed: int) -> list[Example]:
    """Replies of public talk in their place, and as many from a stranger's conversation."""
    rng = Random(f"swapped {seed}")
    pairs = []
    for talk in talks:
        if talk.source == SIMULATOR or talk.source.startswith("esconv"):
            continue  # ESConv's conversations are kept for the outcome
        for number in range(1, len(talk.turns)):
            said, reply = talk.turns[number - 1], talk.turns[number]
            if said.speaker == "user" and reply.speaker == "friend":
                last, own, earlier = turns_of(talk.turns[:number])
                pairs.append(Example(Place(last, reply.text, own, earlier), True, "good", talk.id))
    rng.shuffle(pairs)
    pairs = pairs[: most // 2]
    strange = [_with(one, other.place.reply, None, "other")
               for one, other in zip(pairs, pairs[1:] + pairs[:1], strict=True)
               if one.group != other.group]  # fmt: skip
    return pairs + strange


def suits_targets(good: Sequence[Example]) -> tuple[list[str], list[list[float]]]:
    """What was said, and for each of STRATEGIES whether friends meet that feeling so."""
    suits = suited(good)
    felt = [one for one in good if one.emotion in suits]
    return [one.place.said for one in felt], [
        [float(name in suits[one.emotion]) for name in STRATEGIES] for one in felt
    ]


def lexicon(texts: Iterable[str]) -> frozenset[str]:
    """Words that stand in lower case somewhere."""
    return frozenset(word for text in texts for word in _lower_words(text))


def _lower_words(text: str) -> Iterator[str]:
    for token in text.split():
        word = token.strip(".,!?;:\"'()\u2026\u201c\u201d\u2019").replace("\u2019", "'")
        if word[:1].islower() and word.replace("'", "").isalpha():
            yield word.lower()


@dataclass(frozen=True)
class Outcome:
    """A reply in its place, and whether things went well; ``group``: the conversation."""

    place: Place
    good: bool
    group: str


def outcomes(talks: Iterable[Support], name: Name, edge: int) -> list[Outcome]:
    """Replies with what became of them.

    improved: the feeling was weaker after the conversation than before, over both corpora;
    improved_failed: the same within FailedESConv. eased: within ESConv, where all improved, by 3 or
    more against 1. Each of the replies between the first and last ``edge`` of a conversation is a
    row. feedback: within FailedESConv, the stars that the person gave after these very replies.
    """
    rows: list[Outcome] = []
    for talk in talks:
        turns = _merged(talk)
        if name == "feedback":
            rows += _rated(talk.id, turns)
        elif (good := _went_well(talk, name)) is not None:
            places = [_place(turns, n) for n, (turn, _) in enumerate(turns)
                      if n and turn.speaker == "friend"]  # fmt: skip
            rows += [Outcome(place, good, talk.id) for place in places[edge:-edge]]
    return rows


def _merged(talk: Support) -> list[tuple[Turn, int]]:
    """Turns with their stars. What the formats themselves give away is evened out: case and line
    ends, and the messages of one speaker in a row are one turn."""
    merged: list[tuple[Turn, int]] = []
    for turn, stars in zip(talk.turns, talk.stars, strict=True):
        text, strategy = " ".join(turn.text.lower().split()), turn.strategy
        if merged and merged[-1][0].speaker == turn.speaker:
            last, given = merged.pop()
            text, stars = f"{last.text} {text}", stars or given
            strategy = strategy or last.strategy
        one = Turn(speaker=turn.speaker, text=text, strategy=strategy)
        merged.append((one, stars))
    return merged


def _went_well(talk: Support, name: Name) -> bool | None:
    if not talk.before or not talk.after:
        return None
    drop = talk.before - talk.after
    if name == "eased":
        return None if talk.failed or drop not in (1, 3, 4) else drop >= 3
    if name == "improved_failed" and not talk.failed:
        return None
    return drop >= 1


def _rated(group: str, turns: Sequence[tuple[Turn, int]]) -> Iterator[Outcome]:
    """The reply before each rating of 1, 2, 4 or 5, where the person had spoken before it."""
    for number in range(2, len(turns)):
        turn, stars = turns[number]
        if turn.speaker == "user" and (stars >= GOOD or 0 < stars <= BAD):
            yield Outcome(_place(turns, number - 1), stars >= GOOD, group)


def _place(turns: Sequence[tuple[Turn, int]], number: int) -> Place:
    said, own, earlier = turns_of([turn for turn, _ in turns[:number]])
    reply = turns[number][0]
    return Place(said, reply.text, own, earlier, strategy_of(reply.strategy))
