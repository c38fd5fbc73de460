"""From what is known to what is said: drafts in one batch, judged, and drawn again if all are poor.

A fact is never traded for a prettier draft: a draft that does not stand on memory cannot be said,
and where memory is asked for, all drafts must quote what the model's likeliest reading quotes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import blake2b
from math import exp
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Literal, get_args

from oldfriend.agent import grounded
from oldfriend.agent.explain import Explanation, Tried
from oldfriend.agent.grounded import Said
from oldfriend.agent.models import Drafter, Voice
from oldfriend.agent.reply import Looked, timed
from oldfriend.corpus.schema import Kind, Turn
from oldfriend.errors import MissingDataError
from oldfriend.memory.store.decide import Decision
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.state import State

if TYPE_CHECKING:
    from oldfriend.agent.heart import Felt, Heart
    from oldfriend.agent.settings import FriendParams
    from oldfriend.empathy.context import Choice
    from oldfriend.empathy.crisis import Alarm
    from oldfriend.empathy.judge import Situation, Verdict
    from oldfriend.lm.chat import Message
    from oldfriend.lm.generate import Answer
    from oldfriend.memory.grounding import Encode

OTHER = "tells another memory than the likeliest reading"
DECOYS = 2  # notes in a prompt that needs none


@dataclass(frozen=True)
class Scene:
    """A message and all that is known of it before it is answered. ``talk`` ends with it."""

    user: str
    state: State
    talk: tuple[Turn, ...]
    looked: Looked
    felt: "Felt"
    alarm: "Alarm | None"
    now: datetime


@dataclass(frozen=True)
class Asked:
    """A prompt, what memory says to it, and how it is to be answered."""

    prompt: "Sequence[Message]"
    decision: Decision
    records: Sequence[MemoryRecord]
    now: datetime
    situation: "Situation"
    strategy: "Choice | None" = None
    seed: int = 0


@dataclass
class Spoken:
    """What is said, out of which drafts, and why. ``chosen``: -1 if it is none of them."""

    said: Said
    drafts: list[Tried] = field(default_factory=list)
    chosen: int = -1
    because: str = ""


def answer(
    voice: Voice,
    heart: "Heart",
    encode: "Encode",
    scene: Scene,
    params: "FriendParams",
    seconds: dict[str, float],
    notices: list[str],
) -> tuple[Said, Explanation]:
    """What is said in ``scene``, and how it came to that."""
    decision, records = scene.looked.decision, scene.looked.records
    memory_asked, alarm = grounded.asking(decision), scene.alarm
    with timed(seconds, "choose"):
        kinds = [choice.hit.record.kind for choice in decision.choices]
        told = tuple(kind for kind in get_args(Kind) if kind in kinds)
        wanted: Literal["memory"] | None = "memory" if memory_asked else None
        strategy = heart.choose(scene.talk, scene.felt, told, wanted, params)
    why = Explanation(
        alarm,
        scene.felt.feelings,
        scene.felt.mood.describe() if scene.felt.feelings else "",
        strategy,
        heart.persona.name if heart.persona and params.persona else "",
    )
    with timed(seconds, "speak"):
        if alarm and not memory_asked:
            return Said(alarm.answer), replace(why, because="it may be danger, so I ask first")
        if own := grounded.own_words(scene.state, decision, scene.now):
            spoken = Spoken(own, because="your own words answer it best")
        else:
            asked = _asked(heart, encode, scene, strategy, params)
            try:
                spoken = _speak(voice, heart, asked, params, seconds)
            except MissingDataError as error:
                notices.append(str(error))
                said = grounded.without_model(decision, records, scene.now)
                spoken = Spoken(said, because="there is no model to speak with")
    if spoken.said.notice:
        notices.append(spoken.said.notice)
    said = spoken.said
    if alarm:
        said = replace(said, text=f"{alarm.answer}\n\n{said.text}")
    drafts = tuple(spoken.drafts)
    return said, replace(why, drafts=drafts, chosen=spoken.chosen, because=spoken.because)


def _asked(
    heart: "Heart",
    encode: "Encode",
    scene: Scene,
    strategy: "Choice | None",
    params: "FriendParams",
) -> Asked:
    """The prompt, as in training the memory that is likest to the message last, and what the judge
    goes by."""
    from oldfriend.empathy.judge import Character, Situation
    from oldfriend.memory.grounding import by_likeness, prompt

    user, text, looked = scene.user, scene.talk[-1].text, scene.looked
    before = scene.talk[:-1]
    recent = before[-2 * params.exchanges :] if params.exchanges else ()
    records = list(looked.records) or _others(looked)
    lines = [grounded.line(record, user, scene.now) for record in records]
    (ordered,) = by_likeness([(user, lines, text)], encode)
    who = heart.persona.judged if heart.persona and params.persona else Character()
    situation = Situation(
        scene.talk, scene.felt.feelings, (user, *(record.text for record in records)), who
    )
    seed = int.from_bytes(blake2b(f"{user}\0{text}".encode(), digest_size=4).digest(), "little")
    asked = prompt(user, ordered, recent, text)
    return Asked(asked, looked.decision, looked.records, scene.now, situation, strategy, seed)


def _others(looked: Looked) -> list[MemoryRecord]:
    """Notes beside the question: in training none bears on it, yet some always stand there."""
    return [hit.record for hit in looked.hits if hit.record.kind != "turn"][:DECOYS]


def _speak(
    voice: Voice, heart: "Heart", asked: Asked, params: "FriendParams", seconds: dict[str, float]
) -> Spoken:
    """The reply to ``asked``. MissingDataError if there is no model to speak with."""
    if heart.judge is None or not params.judge or not isinstance(voice, Drafter):
        said = _checked(voice.reply(asked.prompt, params.max_new_tokens), asked)
        tried = Tried(said.text, rejected=said.notice)
        return Spoken(said, [tried], -1 if said.notice else 0, said.notice or "nobody judges")
    return _Drafting(voice, heart, asked, params, seconds).best()


class _Drafting:
    """The rounds of one reply."""

    def __init__(
        self,
        voice: Drafter,
        heart: "Heart",
        asked: Asked,
        params: "FriendParams",
        seconds: dict[str, float],
    ) -> None:
        self._voice, self._heart, self._asked, self._params = voice, heart, asked, params
        self._seconds = seconds
        self._tried: list[Tried] = []
        self._said: list[Said] = []
        self._fallback: Said | None = None  # the model's first, as far as memory bears it out
        self._question = grounded.asking(asked.decision)

    def best(self) -> Spoken:
        """The best draft of the first round that has a good one, else of all rounds."""
        params, began, why = self._params.drafts, perf_counter(), ""
        for number in range(1 + params.redrafts):
            if number and perf_counter() - began >= params.seconds:
                why = f"the time for drafts was up; before, {why}"
                break
            self._round(number, why)
            place = self._place()
            if place >= 0 and self._tried[place].score >= params.good_enough:
                kind = "first batch" if number == 0 else f"batch {number + 1}"
                return self._spoken(place, f"the best of the {kind}, and good enough")
            why = self._tried[place].reason if place >= 0 else "no draft stood on memory"
            why = why or "none was good enough"
        place = self._place()
        if place < 0:
            assert self._fallback is not None
            return Spoken(self._fallback, self._tried, -1, self._fallback.notice)
        return self._spoken(place, f"the best there was: {why}")

    def _round(self, number: int, why: str) -> None:
        """Draft, check against memory, judge what is left in one call."""
        from oldfriend.memory.grounding import spoken

        params, asked = self._params.drafts, self._asked
        with timed(self._seconds, "speak: draft"):
            written = self._voice.drafts(
                _told(asked, why) if params.instructed else asked.prompt,
                self._params.max_new_tokens,
                params.count + (number > 0),  # the first is greedy, and was read before
                temperature=params.temperature + number * params.warmer,
                seed=asked.seed + number,
            )[number > 0 :]
        fresh: dict[str, tuple[Tried, Said]] = {}
        for answer in written:
            said = _checked(answer.text, asked)
            self._fallback = self._fallback or said
            why_not, sure = self._rejected(said), _sureness(answer)
            text = spoken(answer.text) if said.notice else said.text
            fresh.setdefault(text, (Tried(text, "model", number, why_not, sure=sure), said))
        for tried in self._without_model(number):
            fresh.setdefault(tried.text, (tried, Said(tried.text)))
        known = {draft.text for draft in self._tried}
        rows = [row for text, row in fresh.items() if text not in known]
        with timed(self._seconds, "speak: judge"):
            self._tried += self._judged(rows)
            self._said += [said for _, said in rows]

    def _rejected(self, said: Said) -> str:
        """Why this cannot be said, or ""."""
        if said.notice or not self._question:
            return said.notice
        assert self._fallback is not None
        same = {r.id for r in said.memories} == {r.id for r in self._fallback.memories}
        return "" if same or self._fallback.notice else OTHER

    def _without_model(self, number: int) -> Iterator[Tried]:
        """What the card has to say, and what the repertoire knows; nothing where memory is asked
        for."""
        strategy, situation = self._asked.strategy, self._asked.situation
        rng = Random(self._asked.seed + number)
        if self._question:
            return
        who = self._heart.persona if self._params.persona else None
        if who and strategy and situation.feelings:
            line, way = who.line(strategy, situation.feelings, rng)
            if line:
                yield Tried(line, "card", number, strategy=way)
        if number == 0:
            for known in self._heart.known(situation, strategy, rng, self._params):
                yield Tried(known.text, "known", sure=known.likeness, strategy=known.strategy)

    def _judged(self, rows: Sequence[tuple[Tried, Said]]) -> list[Tried]:
        """The drafts with verdicts, but for those that cannot be said."""
        from oldfriend.empathy.judge import Draft

        drafts = [
            Draft(d.text, d.strategy, tuple(r.text for r in s.memories))
            for d, s in rows
            if not d.rejected
        ]
        verdicts = iter(self._heart.score(self._asked.situation, drafts) if drafts else [])
        return [
            draft if draft.rejected else self._rated(draft, next(verdicts)) for draft, _ in rows
        ]

    def _rated(self, draft: Tried, verdict: "Verdict") -> Tried:
        score = verdict.total * draft.sure**self._params.drafts.fluency
        return replace(draft, verdict=verdict, score=score)

    def _place(self) -> int:
        """Of the best draft that can be said; -1 if there is none."""
        able = [n for n, draft in enumerate(self._tried) if draft.verdict]
        return max(able, key=lambda n: (self._tried[n].score, -n), default=-1)

    def _spoken(self, place: int, because: str) -> Spoken:
        return Spoken(self._said[place], self._tried, place, because)


def _sureness(answer: "Answer") -> float:
    """The geometric mean of the tokens' probabilities: what a model is unsure of reads garbled."""
    return exp(sum(answer.logprobs) / len(answer.logprobs)) if answer.logprobs else 1.0


def _checked(written: str, asked: Asked) -> Said:
    return grounded.checked(written, asked.decision, asked.records, asked.now)


def _told(asked: Asked, why: str) -> "list[Message]":
    """The prompt of a model that follows instructions, with how to answer and what to mend."""
    first, *rest = asked.prompt
    lines = [first["content"]]
    if asked.strategy:
        lines.append(f"Answer with {asked.strategy.strategy.replace('_', ' ')}.")
    if why:
        lines.append(f"Your last attempt was not good: {why}.")
    return [first | {"content": "\n".join(lines)}, *rest]
