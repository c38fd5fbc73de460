"""What a turn went through on its way to a reply, in a form that can be read and printed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # these import numpy
    from oldfriend.empathy.context import Choice
    from oldfriend.empathy.crisis import Alarm
    from oldfriend.empathy.emotion import Feelings
    from oldfriend.empathy.judge import Verdict

LABELS = 3  # feelings that are named


@dataclass(frozen=True)
class Tried:
    """A draft. ``source``: the model's, a line of the persona's card, or known from the repertoire.
    ``round``: 0 for the first batch. ``rejected``: why it could not be said at all, "" if it could.
    ``verdict``: the judge's, None without a judge. ``sure``: the geometric mean of its tokens'
    probabilities, of a known reply how like its message the present one is. ``score``: what drafts
    are compared by."""

    text: str
    source: Literal["model", "card", "known"] = "model"
    round: int = 0
    rejected: str = ""
    verdict: "Verdict | None" = None
    sure: float = 1.0
    score: float = 0.0
    strategy: str = ""

    @property
    def reason(self) -> str:
        """What speaks most against it, or ""."""
        return self.rejected or (next(iter(self.verdict.reasons), "") if self.verdict else "")


@dataclass(frozen=True)
class Explanation:
    """Every step of a turn beside memory. ``chosen``: place in ``drafts``, -1 if what was said is
    none of them; ``because``: why that was said."""

    alarm: "Alarm | None" = None
    feelings: "Feelings | None" = None
    mood: str = ""
    strategy: "Choice | None" = None
    persona: str = ""
    drafts: tuple[Tried, ...] = ()
    chosen: int = -1
    because: str = ""

    def figures(self) -> dict[str, str | float]:
        """What of it can be kept elsewhere: labels and numbers, none of the person's words."""
        found: dict[str, str | float] = {"drafts": len(self.drafts), "persona": self.persona}
        if self.alarm:
            found |= {"danger": self.alarm.danger, "danger.sure": float(self.alarm.sure)}
        if self.feelings:
            found |= {"felt": self.feelings.top[0], "felt.valence": self.feelings.valence}
            found["felt.intensity"] = self.feelings.intensity
        if self.strategy:
            found["strategy"] = self.strategy.strategy
        if self.chosen >= 0:
            said = self.drafts[self.chosen]
            found |= {"said.source": said.source, "said.score": said.score}
            parts = said.verdict.parts if said.verdict else {}
            found |= {f"said.{part}": value for part, value in parts.items()}
        return found

    def lines(self) -> Iterator[str]:
        """In words, a line each."""
        if self.alarm:
            sure = "danger" if self.alarm.sure else "perhaps danger"
            yield f"{sure} ({self.alarm.danger}): {self.alarm.reason}"
        if self.feelings:
            felt = self.feelings
            named = (f"{label} {felt.probabilities.get(label, 0):.2f}" for label in felt.top)
            yield (
                f"felt: {', '.join([*named][:LABELS])}; valence {felt.valence:+.2f}, "
                f"intensity {felt.intensity:.2f}"
            )
        if self.mood:
            yield self.mood
        if self.strategy:
            chosen = self.strategy.strategy
            share = self.strategy.probabilities[chosen]
            reasons = "; ".join(self.strategy.reasons) or "likeliest, and no rule against it"
            yield f"strategy: {chosen.replace('_', ' ')} ({share:.2f}), {reasons}"
        if self.persona:
            yield f"persona: {self.persona}"
        for place, draft in enumerate(self.drafts):
            mark = "said" if place == self.chosen else f"draft {place + 1}"
            way = draft.strategy.replace("_", " ")
            of = {"card": f"{way} of the card", "known": "known reply"}.get(draft.source)
            of = of or f"batch {draft.round + 1}"
            score = f", {draft.score:.2f}" if draft.verdict else ""
            why = f" ({draft.reason})" if draft.reason else ""
            yield f"{mark}, {of}{score}: {draft.text}{why}"
        if self.because:
            yield f"said because: {self.because}"
