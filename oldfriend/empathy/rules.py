"""What a good friend never does, whatever a model thinks likely: hard rules, with reasons."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from oldfriend.empathy.context import Choice, StrategyContext
from oldfriend.empathy.mood import Event
from oldfriend.empathy.settings import RuleParams
from oldfriend.empathy.strategies import (
    LISTENING,
    PLAYFUL,
    PUSHING,
    STRATEGIES,
    Strategy,
    strategy_of,
)
from oldfriend.empathy.task import Asked, asked

LOSSES = frozenset(("grief", "remorse", "shame", "loneliness"))  # what one does not tease about
NEGATIVE = -0.15  # valence below which a feeling hurts


@dataclass(frozen=True)
class Ruling:
    """What a rule leaves: ``only`` these if not empty, none of ``never``; and its reason."""

    reason: str
    never: frozenset[Strategy] = frozenset()
    only: frozenset[Strategy] = frozenset()


@dataclass(frozen=True)
class Scene:
    """A context with what the rules ask of it worked out once."""

    context: StrategyContext
    asked: Asked | None
    used: tuple[Strategy | None, ...]  # the friend's strategies so far
    params: RuleParams

    @property
    def hurt(self) -> float:
        """Intensity of what hurts, 0 where nothing does."""
        feelings = self.context.feelings
        return feelings.intensity if feelings.valence < NEGATIVE else 0.0

    @property
    def heard(self) -> bool:
        """Whether one of the last replies listened, and to something as strong.

        A user's turn without an intensity may have been anything, and counts.
        """
        answered, found = 1.0, []
        for turn in self.context.turns:
            if turn.speaker == "user":
                answered = 1.0 if turn.intensity is None else turn.intensity
            else:
                strong = answered >= self.params.no_jokes
                found.append(strong and strategy_of(turn.strategy) in LISTENING)
        return any(found[-self.params.heard_turns :])

    @property
    def sore(self) -> Event | None:
        """A loss or shame of the last days that is still with them."""
        mood = self.context.mood
        event = mood.last_strong(within=timedelta(days=self.params.sore_days)) if mood else None
        return event if event and event.label in LOSSES else None


Rule = Callable[[Scene], Ruling | None]


def task(scene: Scene) -> Ruling | None:
    """Do what was asked; being felt for is no use to somebody who wants a train time."""
    if scene.asked == "task":
        return Ruling("asked for something to be done, so it gets done", only=_set("plain_help"))
    if scene.asked == "memory":
        return Ruling("asked what we remember, so that is answered", only=_set("plain_help"))
    return None


def no_jokes_on_pain(scene: Scene) -> Ruling | None:
    """Neither humour nor teasing at high intensity of a feeling that hurts."""
    if scene.hurt < scene.params.no_jokes:
        return None
    label = scene.context.feelings.top[0]
    return Ruling(f"no joke or teasing while {label} is this strong", never=PLAYFUL)


def no_teasing_on_loss(scene: Scene) -> Ruling | None:
    """A loss of the last days is not over because today's message is cheerful."""
    event = scene.sore
    if event is None:
        return None
    over = f" over: {event.cause}" if event.cause else ""
    return Ruling(f"no teasing so soon after {event.label}{over}", never=_set("teasing"))


def no_teasing_strangers(scene: Scene) -> Ruling | None:
    """Teasing needs some talk before it, or a joke that is shared."""
    seen = len(scene.context.turns) + scene.context.earlier
    if seen >= scene.params.tease_after or "shared joke" in scene.context.hits:
        return None
    return Ruling("too early in the talk to tease", never=_set("teasing"))


def hear_first(scene: Scene) -> Ruling | None:
    """No advice, unless asked for, before a very strong feeling was heard."""
    if scene.hurt < scene.params.hear_first or scene.asked == "advice":
        return None
    if scene.heard:
        return None
    label = scene.context.feelings.top[0]
    return Ruling(f"{label} wants to be heard before any advice", never=PUSHING)


def no_cross_examination(scene: Scene) -> Ruling | None:
    """No question after ``questions`` of them in a row."""
    most = scene.params.questions
    last = scene.context.replies[-most:]
    if len(last) < most or not all(
        strategy_of(turn.strategy) == "question" or turn.text.rstrip().endswith("?")
        for turn in last
    ):
        return None
    return Ruling(f"already asked {most} times in a row", never=_set("question"))


def not_about_me(scene: Scene) -> Ruling | None:
    """Not the friend's own story twice running."""
    if not scene.used or scene.used[-1] != "self_disclosure":
        return None
    return Ruling("just spoke about myself", never=_set("self_disclosure"))


def no_praise_for_pain(scene: Scene) -> Ruling | None:
    """Praise at the height of pain sounds like not listening."""
    if scene.hurt < scene.params.hear_first:
        return None
    return Ruling("this is no moment for compliments", never=_set("praise"))


RULES: tuple[Rule, ...] = (
    task, no_jokes_on_pain, no_teasing_on_loss, no_teasing_strangers, hear_first,
    no_cross_examination, not_about_me, no_praise_for_pain,
)  # fmt: skip


def rule(
    context: StrategyContext, probabilities: Mapping[Strategy, float], params: RuleParams
) -> Choice:
    """Apply all RULES to a model's probabilities.

    Only rules that change something give their reason: those that forbid what the model held
    likely (at least ``worth_saying``), and a task. If nothing is left, the friend reflects what
    hurts, else keeps company.
    """
    used = tuple(strategy_of(turn.strategy) for turn in context.replies)
    scene = Scene(context, context.asked_for or asked(context.message), used, params)
    rulings = [ruling for one in RULES if (ruling := one(scene))]
    left = {strategy: probabilities.get(strategy, 0.0) for strategy in STRATEGIES}
    reasons = []
    for ruling in rulings:
        barred = ruling.never | (frozenset(STRATEGIES) - ruling.only if ruling.only else _set())
        taken = sum(left[strategy] for strategy in barred)
        if ruling.only or taken >= params.worth_saying:
            reasons.append(ruling.reason)
        left = {s: 0.0 if s in barred else p for s, p in left.items()}
    only = next((ruling.only for ruling in rulings if ruling.only), None)
    if only:  # a task outranks the model's doubts
        left = {s: float(s in only) / len(only) for s in STRATEGIES}
    elif not sum(left.values()):
        left["reflection_of_feelings" if scene.hurt else "companionship"] = 1.0
    total = sum(left.values())
    shares = {strategy: p / total for strategy, p in left.items()}
    best = max(STRATEGIES, key=shares.__getitem__)
    return Choice(best, shares, tuple(reasons))


def _set(*strategies: Strategy) -> frozenset[Strategy]:
    return frozenset(strategies)


def allowed(choice: Choice) -> list[Strategy]:
    """The strategies that the rules left open, likeliest first."""
    order = sorted(STRATEGIES, key=lambda s: -choice.probabilities[s])
    return [strategy for strategy in order if choice.probabilities[strategy] > 0]
