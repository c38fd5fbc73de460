"""The hard rules: what is barred, what is left, and that each says why."""

from datetime import UTC, datetime

import pytest
from felt import LONG, feel, scene, talk
from hypothesis import given, settings
from hypothesis import strategies as st

from oldfriend.corpus.schema import Turn
from oldfriend.empathy.context import StrategyContext
from oldfriend.empathy.labels import AFFECT, LABELS
from oldfriend.empathy.mood import Mood
from oldfriend.empathy.rules import NEGATIVE, allowed, rule
from oldfriend.empathy.settings import RuleParams
from oldfriend.empathy.strategies import PLAYFUL, STRATEGIES, Strategy

PARAMS = RuleParams()
EVEN: dict[Strategy, float] = {strategy: 1 / len(STRATEGIES) for strategy in STRATEGIES}
HURTS = [label for label in LABELS if AFFECT[label][0] < NEGATIVE]
NOW = datetime(2025, 3, 1, tzinfo=UTC)
odds = st.lists(st.floats(0, 1), min_size=len(STRATEGIES), max_size=len(STRATEGIES)).map(
    lambda values: dict(zip(STRATEGIES, values, strict=True))
)


def only(strategy: Strategy) -> dict[Strategy, float]:
    return {other: float(other == strategy) for other in STRATEGIES}


@settings(deadline=None)
@given(st.sampled_from(HURTS), st.floats(PARAMS.no_jokes, 1), odds)
def test_never_a_joke_on_strong_pain(
    label: str, intensity: float, probabilities: dict[Strategy, float]
) -> None:
    choice = rule(scene("it is over", feel(label, intensity)), probabilities, PARAMS)
    assert choice.strategy not in PLAYFUL
    assert not PLAYFUL & set(allowed(choice))


@settings(deadline=None)
@given(
    st.sampled_from(LABELS), st.floats(0, 1), odds, st.sampled_from(["grand", "Please help me."])
)
def test_a_choice_is_always_a_distribution_and_its_strategy_the_likeliest(
    label: str, intensity: float, probabilities: dict[Strategy, float], message: str
) -> None:
    choice = rule(scene(message, feel(label, intensity)), probabilities, PARAMS)
    assert sum(choice.probabilities.values()) == pytest.approx(1)
    assert choice.probabilities[choice.strategy] == max(choice.probabilities.values())
    assert choice.strategy == allowed(choice)[0]


def test_jokes_are_fine_when_nothing_hurts() -> None:
    choice = rule(scene("I won the raffle!", feel("joy", 0.9)), only("humour"), PARAMS)
    assert choice.strategy == "humour"
    assert choice.reasons == ()


def test_the_reason_names_the_feeling() -> None:
    choice = rule(scene("She is gone.", feel("grief", 0.9)), only("teasing"), PARAMS)
    assert choice.strategy == "reflection_of_feelings"  # nothing else was left
    assert "no joke or teasing while grief is this strong" in choice.reasons


@pytest.mark.parametrize("intensity", [0.1, 0.95])
def test_a_task_is_done_whatever_is_felt(intensity: float) -> None:
    message = "Can you write a short note to my landlord about the heating?"
    choice = rule(scene(message, feel("anger", intensity)), only("question"), PARAMS)
    assert choice.strategy == "plain_help"
    assert choice.probabilities["plain_help"] == 1
    assert any("done" in reason for reason in choice.reasons)


def test_what_the_agent_knows_of_the_message_comes_first() -> None:
    context = scene("my sister", feel("neutral", 0.1), asked_for="memory")
    assert rule(context, EVEN, PARAMS).strategy == "plain_help"


def test_no_advice_before_a_very_strong_feeling_was_heard() -> None:
    grief = feel("grief", 0.9)
    unheard = rule(scene("She died this morning.", grief), only("suggestions"), PARAMS)
    assert unheard.strategy == "reflection_of_feelings"
    assert "grief wants to be heard before any advice" in unheard.reasons
    heard = (*LONG, *talk("user: She died.", "friend/reflection_of_feelings: Oh no, not her."))
    context = StrategyContext((*heard, Turn(speaker="user", text="Today.")), grief)
    assert rule(context, only("suggestions"), PARAMS).strategy == "suggestions"


def test_listening_to_small_talk_is_not_hearing_a_grief() -> None:
    before = Turn(speaker="user", text="The bus was late.", emotion="annoyance", intensity=0.2)
    reply = Turn(speaker="friend", text="You waited in the rain?", strategy="restatement")
    now = Turn(speaker="user", text="My mum died.")
    context = StrategyContext((before, reply, now), feel("grief", 0.9))
    assert rule(context, only("suggestions"), PARAMS).strategy != "suggestions"


def test_advice_that_was_asked_for_may_be_given_at_once() -> None:
    context = StrategyContext(talk("user: She left me. What should I do?"), feel("grief", 0.9))
    assert rule(context, only("suggestions"), PARAMS).strategy == "suggestions"


@pytest.mark.parametrize("marked", [True, False])
def test_no_third_question_in_a_row(marked: bool) -> None:
    name = "friend/question" if marked else "friend"
    asked = talk(
        "user: hm", f"{name}: why?", "user: dunno", f"{name}: since when?", "user: a while"
    )
    choice = rule(StrategyContext(asked, feel("sadness", 0.3)), only("question"), PARAMS)
    assert choice.strategy != "question"
    assert "already asked 2 times in a row" in choice.reasons
    once = talk(
        "user: hm", "friend: I see.", "user: dunno", f"{name}: since when?", "user: a while"
    )
    choice = rule(StrategyContext(once, feel("sadness", 0.3)), only("question"), PARAMS)
    assert choice.strategy == "question"


def test_no_teasing_of_a_stranger_unless_a_joke_is_shared() -> None:
    first = StrategyContext(talk("user: I bought nine cushions."), feel("amusement", 0.6))
    assert rule(first, only("teasing"), PARAMS).strategy != "teasing"
    shared = StrategyContext(first.turns, first.feelings, hits=("shared joke",))
    assert rule(shared, only("teasing"), PARAMS).strategy == "teasing"


def test_no_teasing_days_after_a_loss() -> None:
    mood = Mood().heard(feel("grief", 0.9), NOW, cause="my dog died")
    context = scene("I bought nine cushions.", feel("amusement", 0.6), mood=mood)
    choice = rule(context, only("teasing"), PARAMS)
    assert choice.strategy != "teasing"
    assert "no teasing so soon after grief over: my dog died" in choice.reasons
    later = mood.heard(feel("neutral", 0.05), NOW.replace(month=6))
    context = scene("I bought nine cushions.", feel("amusement", 0.6), mood=later)
    assert rule(context, only("teasing"), PARAMS).strategy == "teasing"


def test_the_friend_does_not_talk_of_itself_twice_running() -> None:
    turns = talk("user: I hate rain", "friend/self_disclosure: So do I.", "user: right?")
    choice = rule(StrategyContext(turns, feel("annoyance", 0.3)), only("self_disclosure"), PARAMS)
    assert choice.strategy != "self_disclosure"


def test_a_rule_that_takes_nothing_gives_no_reason() -> None:
    choice = rule(scene("She is gone.", feel("grief", 0.9)), only("companionship"), PARAMS)
    assert choice.reasons == ()
