"""The friend's heart: hears danger, feels along, chooses how to answer, and judges drafts.

Each part may be missing; then it says nothing, ``notices`` says so, and the turn goes on without
it. Danger is always listened for: by set words at least.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from oldfriend.corpus.schema import Kind, Turn
from oldfriend.empathy.context import SEEN, Choice, StrategyContext
from oldfriend.empathy.crisis import Alarm, Crisis
from oldfriend.empathy.crisis_answers import Resources
from oldfriend.empathy.emotion import Feelings
from oldfriend.empathy.encoder import Array, Encoder
from oldfriend.empathy.mood import STRONG, Mood
from oldfriend.empathy.strategies import PLAYFUL, Strategy
from oldfriend.empathy.task import Asked
from oldfriend.errors import MissingDataError
from oldfriend.memory.store.embed import Embedder

if TYPE_CHECKING:
    from oldfriend.agent.persona import Persona
    from oldfriend.agent.settings import FriendParams
    from oldfriend.empathy.emotion import Emotion
    from oldfriend.empathy.judge import Draft, Judge, Situation, Verdict
    from oldfriend.empathy.repertoire import Known, Repertoire
    from oldfriend.empathy.strategy import Strategist

DANGER = "danger"  # the label of a mood's event that was an alarm
SHAKEN = Feelings({}, (DANGER,), valence=-1.0, intensity=1.0)
GENTLE = timedelta(days=10)  # after danger, nobody jokes
SHARED = "all-minilm-l6-v2@"  # embedders that give the vectors the heads were trained on


@dataclass(frozen=True)
class Felt:
    """What a message says of its writer's feelings, None if nothing reads them, and their mood
    after it."""

    feelings: Feelings | None
    mood: Mood

    @property
    def strong(self) -> bool:
        """Whether the mood keeps it as an event."""
        return self.feelings is not None and self.feelings.intensity >= STRONG


class Heart:
    """Parts that were trained, or None. Without arguments: danger by set words, and no more."""

    def __init__(
        self,
        crisis: Crisis | None = None,
        emotion: "Emotion | None" = None,
        strategist: "Strategist | None" = None,
        judge: "Judge | None" = None,
        repertoire: "Repertoire | None" = None,
        persona: "Persona | None" = None,
        notices: Sequence[str] = (),
    ) -> None:
        self.crisis = crisis or Crisis()
        self.emotion, self.strategist, self.judge = emotion, strategist, judge
        self.repertoire, self.persona, self.notices = repertoire, persona, tuple(notices)

    @classmethod
    def open(
        cls,
        folder: Path,
        encoder: Embedder,
        *,
        resources: Path | None = None,
        card: Path | None = None,
    ) -> "Heart":
        """The heart that `dvc repro empathy` trained into ``folder``, as far as it is there, of the
        persona on a ``card``. Danger is answered with the ``resources`` of the deployer's YAML
        file. Reads each text once with memory's ``encoder`` if that is the one it was trained
        on."""
        from oldfriend.agent.persona import Persona
        from oldfriend.empathy.models import Empathy

        persona = Persona.read(card) if card else None
        lines = Resources.load(resources) if resources else None
        try:
            empathy = Empathy.load(folder)
        except MissingDataError as error:
            told = (
                f"{error}. Danger is heard by set words alone; feelings and drafts are not judged"
            )
            return cls(Crisis(lines), persona=persona, notices=[told])
        if encoder.id.startswith(SHARED):
            empathy.encoder = _Shared(encoder)
        crisis, judge = empathy.crisis(lines), empathy.judge
        notices = [notice for notice in (crisis.notice, judge.notice) if notice]
        return cls(
            crisis, empathy.emotion, empathy.strategist, judge, empathy.repertoire, persona, notices
        )  # fmt: skip

    def feel(self, text: str, mood: Mood, now: datetime, params: "FriendParams") -> Felt:
        """What ``text`` feels like, and the mood after it."""
        if self.emotion is None or not params.feelings:
            return Felt(None, mood.at(now))
        (felt,) = self.emotion.read([text])
        cause = self.emotion.cause(text) if felt.intensity >= STRONG else ""
        return Felt(felt, mood.heard(felt, now, cause))

    def choose(
        self,
        talk: Sequence[Turn],
        felt: Felt,
        kinds: Sequence[Kind],
        asked: Asked | None,
        params: "FriendParams",
    ) -> Choice | None:
        """How to answer the last turn of ``talk``; ``kinds`` of the memories that came up."""
        if self.strategist is None or felt.feelings is None or not params.strategy:
            return None
        who = self.persona if params.persona else None
        choice = self.strategist.choose(
            StrategyContext(
                turns=talk[-SEEN:],
                feelings=felt.feelings,
                mood=felt.mood,
                earlier=max(len(talk) - SEEN, 0),
                hits=tuple(dict.fromkeys(kinds)),
                humour=who.humour if who else 0.5,
                sharpness=who.sharpness if who else 0.5,
                asked_for=asked,
            )
        )
        return _gently(choice) if _shaken(felt.mood) else choice

    def known(
        self,
        situation: "Situation",
        choice: Choice | None,
        rng: Random,
        params: "FriendParams",
    ) -> "list[Known]":
        """Replies that suited messages like the last one of ``situation``, none said lately."""
        if self.repertoire is None or not params.repertoire:
            return []
        return self.repertoire.near(
            situation.talk[-1].text,
            situation.feelings,
            choice.probabilities if choice else {},
            count=params.drafts.known,
            said={turn.text for turn in situation.talk if turn.speaker == "friend"},
            rng=rng,
        )

    def score(self, situation: "Situation", drafts: "Sequence[Draft]") -> "list[Verdict]":
        """A verdict for each draft; all their texts are encoded in one call."""
        return self.judge.score(situation, drafts) if self.judge else []

    def alarm(self, text: str) -> Alarm | None:
        """Whether ``text`` speaks of danger."""
        return self.crisis.heard(text)


class _Shared(Encoder):
    """Memory's encoder in place of a second copy of the same model: it keeps what it has read."""

    def __init__(self, encoder: Embedder) -> None:
        super().__init__()
        self._encoder = encoder

    def encode(self, texts: Sequence[str]) -> Array:
        return self._encoder.encode(texts)


def _shaken(mood: Mood) -> bool:
    return any(
        event.label == DANGER and mood.time is not None and mood.time - event.time <= GENTLE
        for event in mood.events
    )


def _gently(choice: Choice) -> Choice:
    """The same without jokes."""
    left: dict[Strategy, float] = {
        s: 0.0 if s in PLAYFUL else p for s, p in choice.probabilities.items()
    }
    total = sum(left.values())
    if not total:
        left, total = {"companionship": 1.0}, 1.0
    shares = {s: p / total for s, p in left.items()}
    full = {s: shares.get(s, 0.0) for s in choice.probabilities} | shares
    best = max(full, key=full.__getitem__)
    reasons = (*choice.reasons, "no joke so soon after danger")
    return replace(choice, strategy=best, probabilities=full, reasons=reasons)
