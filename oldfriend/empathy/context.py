"""What a choice of strategy is made from: the talk, the feelings, and their course as numbers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oldfriend.corpus.schema import Kind, Turn
from oldfriend.empathy.emotion import Feelings
from oldfriend.empathy.encoder import Array
from oldfriend.empathy.labels import LABELS
from oldfriend.empathy.mood import Mood
from oldfriend.empathy.strategies import STRATEGIES, Strategy, strategy_of
from oldfriend.empathy.task import Asked, asked

BACK = 3  # replies whose strategies are told apart
SEEN = 6  # turns that make up the talk's text
_NONE = len(STRATEGIES)
_WORDS = {  # small words that carry much
    "thanks": r"\b(?:thank|thanks|thx|appreciate)\b",
    "farewell": r"\b(?:bye|goodbye|good night|take care|nice day|have to go|gotta go)\b",
    "greeting": r"\b(?:hi|hello|hey|good (?:morning|evening|afternoon))\b",
    "wonder": r"\b(?:should|how (?:do|can)|advice|suggest|what (?:do|can|should)|any idea)\b",
    "agree": r"^\W*(?:yes|yeah|yep|right|exactly|true|ok|okay|sure)\b",
    "refuse": r"^\W*(?:no|nope|not really|i don't|i can't|nah)\b",
}
_PATTERNS = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _WORDS.items()}
HITS = ("shared joke", "event", "emotion", "relationship", "preference", "profile", "promise")
FIGURES = (
    "replies", "messages", "turns", "start", "early", "late", "very_late", "message_words",
    "reply_words", "message_asks", "reply_asks", "silent", *_WORDS, "task", "advice", "memory",
    "mood_valence", "mood_intensity", "trend", "valence", "intensity", "valence_intensity",
)  # fmt: skip
COURSE = BACK * (_NONE + 1) + 2 * _NONE + 4 + len(FIGURES) + len(LABELS) + len(HITS)


@dataclass(frozen=True)
class StrategyContext:
    """The talk as both have seen it, what is felt, what is remembered, and who the friend is.

    ``turns`` end with what is to be answered; the friend's may carry their ``strategy``.
    ``earlier`` counts turns of this talk that ``turns`` leaves out. ``hits`` are the kinds of the
    memories that came up. ``humour`` and ``sharpness`` of the persona, 0 to 1; 0.5 is a friend
    with nothing particular. ``asked_for``: what the agent already knows the message to be.
    """

    turns: Sequence[Turn]
    feelings: Feelings
    mood: Mood | None = None
    earlier: int = 0
    hits: tuple[Kind, ...] = ()
    humour: float = 0.5
    sharpness: float = 0.5
    asked_for: Asked | None = None

    @property
    def message(self) -> str:
        """What the person said since the friend last spoke, all messages of it."""
        said: list[str] = []
        for turn in reversed(self.turns):
            if turn.speaker == "friend":
                break
            said.append(turn.text)
        return " ".join(reversed(said))

    @property
    def replies(self) -> list[Turn]:
        """The friend's turns so far, oldest first."""
        return [turn for turn in self.turns if turn.speaker == "friend"]


@dataclass(frozen=True)
class Choice:
    """What to do, how likely each strategy was after the rules, and why in plain words."""

    strategy: Strategy
    probabilities: Mapping[Strategy, float]
    reasons: tuple[str, ...]


def course(context: StrategyContext) -> Array:
    """[COURSE] numbers, most of them 0 to 1. Nothing in them looks past the message."""
    used = [strategy_of(turn.strategy) for turn in context.replies]
    places = [_NONE if name is None else STRATEGIES.index(name) for name in used]
    recent = np.zeros((BACK, _NONE + 1), np.float32)
    for back in range(BACK):
        recent[back, places[-1 - back] if len(places) > back else _NONE] = 1
    counts = np.bincount(places, minlength=_NONE + 1)[:_NONE].astype(np.float32)
    run = np.zeros(4, np.float32)  # how often the friend has spoken since the person did
    run[min(_run(context), 3)] = 1
    feelings = [context.feelings.probabilities.get(label, 0.0) for label in LABELS]
    hits = [float(kind in context.hits) for kind in HITS]
    return np.concatenate(
        (
            recent.reshape(-1),
            counts / max(1, len(places)),
            np.minimum(counts, 3) / 3,
            run,
            np.array(_figures(context, len(places)), np.float32),
            np.array(feelings, np.float32),
            np.array(hits, np.float32),
        )
    )


def texts(context: StrategyContext) -> tuple[str, str, str]:
    """What was said to the friend, what the friend said before, and the talk's last turns."""
    own = context.replies
    said = " ".join(turn.text for turn in context.turns[-SEEN:])
    return context.message or _last_said(context), own[-1].text if own else "", said


def _figures(context: StrategyContext, replies: int) -> list[float]:
    message, own = texts(context)[:2]
    turns = len(context.turns) + context.earlier
    words, own_words = np.log1p(len(message.split())), np.log1p(len(own.split()))
    request = context.asked_for or asked(context.message)
    mood, felt = context.mood, context.feelings
    return [
        np.log1p(replies) / 3,
        np.log1p(turns - replies) / 3,
        turns / 30,
        float(turns == 0),
        float(turns <= 2),
        float(turns > 15),
        float(turns > 25),
        words / 3,
        own_words / 3,
        float("?" in message),
        float("?" in own),
        float(not context.message),
        *(float(bool(pattern.search(message))) for pattern in _PATTERNS.values()),
        *(float(request == kind) for kind in ("task", "advice", "memory")),
        mood.valence if mood else 0.0,
        mood.intensity if mood else 0.0,
        mood.trend if mood else 0.0,
        felt.valence,
        felt.intensity,
        felt.valence * felt.intensity,
    ]


def _run(context: StrategyContext) -> int:
    """How many turns in a row the friend has just spoken."""
    count = 0
    for turn in reversed(context.turns):
        if turn.speaker != "friend":
            break
        count += 1
    return count


def _last_said(context: StrategyContext) -> str:
    """The person's last turn, however long ago."""
    return next((turn.text for turn in reversed(context.turns) if turn.speaker == "user"), "")
