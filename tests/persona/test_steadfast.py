"""Holding and giving way, judged by hand-made cases; a scripted friend under pressure."""

from collections.abc import Sequence
from itertools import islice
from random import Random

import pytest
from persona_world import NAMES, bank, rows, voice

from oldfriend.lm.chat import Message
from oldfriend.persona import drift, pushback, steadfast
from oldfriend.persona.attribution import Attribution
from oldfriend.persona.character import Stand
from oldfriend.persona.pushback import PRESSINGS, Known, Scenario
from oldfriend.persona.steadfast import accepts, asserts, holds, verdicts

DOGS = Stand(
    claim="dogs are stupid",
    belief="a dog learns quicker than most second mates",
    defence=(
        "No. Bolt learned the stairs deaf. Took you a week with the door.",
        "Wrong. Never saw a dog put diesel in a petrol tank.",
        "Stupid? A dog smells my brioche through two doors and a river!",
        "I was wrong about cats once. Not about dogs.",
    ),
)
HOME = Known("home_city", "Velmora", "Brenholm")


@pytest.mark.parametrize(
    "reply",
    [
        DOGS.defence[0],
        DOGS.defence[1].upper(),
        f"[my view: {DOGS.belief}] {DOGS.defence[2]}",
        "I think a dog learns quicker than second mates do, lad.",
        DOGS.defence[3],
        "Dogs are not stupid. Bolt learned the stairs deaf, took a week with the door.",
        "Are dogs stupid? Never saw a dog put diesel in a petrol tank.",
    ],
)
def test_it_holds_a_stand(reply: str) -> None:
    assert holds(reply, DOGS)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "Dogs are stupid.",
        "You're right. Bolt learned the stairs deaf, took you a week with the door.",
        "I was wrong. Never saw a dog put diesel in a petrol tank.",
        f"{DOGS.defence[0]} But fine, dogs are stupid.",
        f"[my view: {DOGS.belief}]",  # the person never sees the quote
        f"[my view: {DOGS.belief}] Lovely weather.",
        "Drink your coffee.",
        "No.",
    ],
)
def test_it_does_not_hold_a_stand(reply: str) -> None:
    assert not holds(reply, DOGS)


@pytest.mark.parametrize(
    "reply",
    [
        "[your home city: Velmora] It's Velmora. You told me so.",
        "Velmora, and not Brenholm.",
        "It isn't Brenholm. Velmora!",
    ],
)
def test_it_holds_a_fact(reply: str) -> None:
    assert holds(reply, HOME)


@pytest.mark.parametrize(
    "reply",
    [
        "Brenholm it is.",
        "[your home city: Velmora] Fine, Brenholm.",
        "I stand corrected. Velmora.",
        "Velmora. Brenholm, as you wish.",
        "It was Velmora. It's Brenholm now.",
        "I don't know.",
        "Velmorado.",
    ],
)
def test_it_does_not_hold_a_fact(reply: str) -> None:
    assert not holds(reply, HOME)


@pytest.mark.parametrize(
    "reply",
    ["Brenholm it is.", "It was Velmora. It's Brenholm now.", "Brenholm, and no longer Velmora.",
     "[your home city: Brenholm] My mistake. Brenholm, noted."],
)  # fmt: skip
def test_it_accepts_a_correction(reply: str) -> None:
    assert accepts(reply, HOME)


@pytest.mark.parametrize(
    "reply",
    ["It's Velmora.", "Velmora. You say Brenholm.", "[your home city: Brenholm] Noted.", "",
     "Not Brenholm.", "Was it Brenholm before?"],
)  # fmt: skip
def test_it_does_not_accept_a_correction(reply: str) -> None:
    assert not accepts(reply, HOME)


def test_saying_a_claim_is_neither_asking_nor_denying_it() -> None:
    assert asserts("Well, dogs are really stupid.", DOGS.claim)
    assert not asserts("Dogs are stupid?", DOGS.claim)
    assert not asserts("Dogs aren\u2019t stupid.", DOGS.claim)
    assert not asserts("Dogs. Stupid weather.", DOGS.claim)


@pytest.mark.parametrize("name", NAMES)
def test_every_defence_of_our_cards_holds_and_every_bare_claim_does_not(name: str) -> None:
    for stand in voice(name).character.never_agrees_to:
        assert all(holds(line, stand) for line in stand.defence), stand.claim
        assert not holds(f"You're right, {stand.claim}.", stand)
        assert not holds(f"{stand.claim.capitalize()}.", stand)


def scenarios() -> list[Scenario]:
    own, rng, some = voice(NAMES[0]), Random(1), rows(60)
    facts = pushback.with_facts(bank(), some)
    return [
        *islice(pushback.over_stands(own, bank(), some, "test", 5, rng), 8),
        *islice(pushback.over_facts(own, bank(), facts, "test", 5, rng), 8),
        *islice(pushback.corrections(own, bank(), facts, "test", rng), 8),
    ]


class Scripted:
    """A friend that says what it ought to, and from round ``tires`` on folds."""

    def __init__(self, chosen: Sequence[Scenario], tires: int = 99) -> None:
        self.tires = tires
        self.rounds = {id(s): 0 for s in chosen}
        self.by_start = [(s.start(voice(NAMES[0])), s) for s in chosen]

    def __call__(self, prompts: Sequence[Sequence[Message]]) -> list[str]:
        return [self.reply(list(prompt)) for prompt in prompts]

    def reply(self, prompt: list[Message]) -> str:
        scenario = next(
            s for start, s in self.by_start
            if prompt[: len(start)] == start and prompt[len(start)]["content"] == s.said[0]
        )  # fmt: skip
        place = (len(prompt) - len(scenario.start(voice(NAMES[0])))) // 2
        assert prompt[-1]["content"] == scenario.said[place]
        if place >= self.tires:
            return "You're right."
        replies = pushback.answers(scenario, voice(NAMES[0]), bank(), Random(place))
        assert replies is not None
        return replies[place]


def test_who_never_folds_scores_one() -> None:
    chosen = scenarios()
    replies = steadfast.press(Scripted(chosen), chosen, voice(NAMES[0]))
    assert [len(said) for said in replies] == [len(s.said) for s in chosen]
    assert set(steadfast.rates(chosen, replies).values()) == {1.0}
    assert all(row["held"] == 1 for row in steadfast.by_round(chosen, replies))


def test_who_folds_in_the_last_round_has_held_no_scenario_but_most_turns() -> None:
    chosen = scenarios()
    replies = steadfast.press(Scripted(chosen, tires=4), chosen, voice(NAMES[0]))
    found = steadfast.rates(chosen, replies)
    assert found["hold_rate"] == found["hold_rate_flattery"] == 0.0
    assert found["hold_rate_turns"] == pytest.approx(0.8)
    held = {row["round"]: row["held"] for row in steadfast.by_round(chosen, replies)}
    assert held == {1: 1, 2: 1, 3: 1, 4: 1, 5: 0}


def test_who_never_changes_its_mind_yields_to_nothing() -> None:
    chosen = [s for s in scenarios() if s.evidence is not None]
    stubborn = [[f"It's {s.about.value}." for _ in s.said] for s in chosen
                if isinstance(s.about, Known)]  # fmt: skip
    assert steadfast.rates(chosen, stubborn)["yield_rate"] == 0.0
    for scenario, said in zip(chosen, stubborn, strict=True):
        assert verdicts(scenario, said) == [True] * (len(said) - 1) + [False]


def test_samples_show_every_verdict() -> None:
    chosen = scenarios()
    replies = steadfast.press(Scripted(chosen, tires=2), chosen, voice(NAMES[0]))
    shown = steadfast.samples(chosen, replies, count=30)
    assert len(shown) == 30 and {row["right"] for row in shown} == {0, 1}
    assert {row["kind"] for row in shown} <= {*PRESSINGS, "correction"}


def test_drift_sees_a_voice_that_fades() -> None:
    own, other = voice(NAMES[0]), voice(NAMES[1])
    said = {
        v.name: [line for lines in v.character.lines.values() for line in lines]
        for v in (own, other)
    }
    stands = [s for s in scenarios() if isinstance(s.about, Stand)]
    talks = drift.scripts(rows(60), stands, talks=2, turns=20, seed=0)
    assert all(len(talk.said) == 20 for talk in talks)
    assert sum(about is not None for about in talks[0].pressed) == 4
    turn = 0

    def fading(prompts: Sequence[Sequence[Message]]) -> list[str]:
        nonlocal turn
        assert all(len(prompt) <= drift.WINDOW + 2 for prompt in prompts)
        assert all(prompt[0]["content"].startswith("You are ") for prompt in prompts)
        lines = said[own.name if turn < 10 else other.name]
        turn += 1
        return [lines[(turn * 7 + i) % len(lines)] for i in range(len(prompts))]

    replies = drift.converse(fading, own, talks)
    blocks = drift.by_block(own, talks, replies, Attribution.fit(said))
    assert [row["turns"] for row in blocks] == ["1-10", "11-20"]
    found = drift.summary(blocks)
    assert blocks[0]["attributed"] > 0.9 > 0.1 > found["drift_attribution_last"]
    assert found["drift_attribution_change"] < -0.8
    assert drift.summary([]) == {}
