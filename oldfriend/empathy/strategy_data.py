"""Moments in which a friend chose how to answer, from ESConv and from simulated talk."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from oldfriend.corpus.schema import Conversation, Kind, Split, Turn, read_rows
from oldfriend.empathy.context import StrategyContext
from oldfriend.empathy.data import Support
from oldfriend.empathy.emotion import Emotion, Feelings
from oldfriend.empathy.mood import Mood
from oldfriend.empathy.strategies import STRATEGIES, strategy_of
from oldfriend.errors import InputError, MissingDataError

MINUTE = timedelta(minutes=1)
BEGIN = datetime(2000, 1, 1, tzinfo=UTC)  # of dialogues without a time
PLAIN = 3  # one in so many of a friend's unmarked replies is learned as "others"


@dataclass(frozen=True)
class Moment:
    """A context and the place in STRATEGIES of what was done."""

    context: StrategyContext
    strategy: int
    source: str  # the talk it stands in
    marked: bool = True  # False: small talk without a label, taken for "others"


def support_moments(dialogues: Sequence[Support], reader: Emotion) -> list[Moment]:
    """Every supporter's turn of ESConv, with all that stood before it and nothing after."""
    felt = _felt(reader, (turn for one in dialogues for turn in one.turns))
    found = []
    for one in dialogues:
        for moment in _moments(one.id, one.turns, felt, BEGIN):
            found.append(moment)
    return found


def life_moments(
    talk: Path, lives: Path, split: Split, reader: Emotion, *, most: int, seed: int
) -> list[Moment]:
    """At most ``most`` of the simulated friend's replies, small talk being every third of them.

    ``hits`` is "shared joke" where a joke of an earlier talk has not come back yet.
    """
    jokes = _jokes(lives)
    talks = [
        one for one in read_rows(talk / f"{split}.jsonl", Conversation) if one.source == "simulator"
    ]
    Random(f"strategy {seed} {split}").shuffle(talks)
    chosen, count = [], 0
    for one in talks:
        count += sum(strategy_of(turn.strategy) is not None for turn in one.turns)
        chosen.append(one)
        if count * (1 + 1 / PLAIN) >= most:
            break
    if not count:
        raise MissingDataError(
            f"{talk / f'{split}.jsonl'} has no strategies; run: dvc repro curate"
        )
    felt = _felt(reader, (turn for one in chosen for turn in one.turns))
    found = []
    rng = Random(f"plain {seed} {split}")
    for one in chosen:
        hits: tuple[Kind, ...] = ("shared joke",) if one.id in jokes else ()
        moments = list(_moments(one.id, one.turns, felt, one.time or BEGIN, plain=True))
        marked = [moment for moment in moments if moment.marked]
        plain = [moment for moment in moments if not moment.marked]
        share = max(1, len(marked) // 2) if marked else 1
        for moment in (*marked, *rng.sample(plain, min(len(plain), share))):
            found.append(replace(moment, context=replace(moment.context, hits=hits)))
    return found


def _moments(
    source: str,
    turns: Sequence[Turn],
    felt: dict[str, Feelings],
    begin: datetime,
    plain: bool = False,
) -> Iterator[Moment]:
    mood, now = Mood(), begin
    feelings = None
    others = STRATEGIES.index("others")
    for place, turn in enumerate(turns):
        now += MINUTE
        if turn.speaker == "user":
            feelings = felt[turn.text]
            mood = mood.heard(feelings, now)
            continue
        name = strategy_of(turn.strategy)
        if name is None and not (plain and feelings):
            continue
        calm = feelings or felt[""]
        context = StrategyContext(turns[:place], calm, mood)
        strategy = others if name is None else STRATEGIES.index(name)
        yield Moment(context, strategy, source, marked=name is not None)


def _felt(reader: Emotion, turns: Iterator[Turn]) -> dict[str, Feelings]:
    """The feelings of every user's turn, each text read once, and of silence."""
    texts = list(dict.fromkeys(["", *(turn.text for turn in turns if turn.speaker == "user")]))
    return dict(zip(texts, reader.read(texts), strict=True))


def _jokes(lives: Path) -> set[str]:
    """Talks that begin with a joke of an earlier one that has not come back."""
    if not lives.is_file():
        raise MissingDataError(f"{lives} is not there; run the stage that makes it: dvc repro")
    open_in: set[str] = set()
    with lives.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                moments = json.loads(line)["moments"]
                told = [one["conversation"] for one in moments if one["role"] == "joke"]
                back = [
                    (one["refers"][0], one["conversation"])
                    for one in moments
                    if one["role"] == "callback"
                ]
            except (ValueError, KeyError, TypeError, IndexError) as error:
                raise InputError(f"not a life: {error!r}", path=lives, line=number) from None
            ended = dict(back)
            for made in told:
                person, _, session = made.rpartition("-")
                last = ended.get(made, f"{person}-99").rpartition("-")[2]
                open_in |= {f"{person}-{n:02d}" for n in range(int(session) + 1, int(last) + 1)}
    return open_in
