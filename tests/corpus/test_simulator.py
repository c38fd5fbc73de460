import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from oldfriend.corpus.banks import Bank, Idiolect
from oldfriend.corpus.names import split_of
from oldfriend.corpus.people import Life
from oldfriend.corpus.schema import Conversation, Fact, Turn, check_spans
from oldfriend.corpus.seeds import Seeds
from oldfriend.corpus.settings import SimulatorParams
from oldfriend.corpus.simulator import simulate
from oldfriend.corpus.speech import Value, fill, render, speak

World = tuple[list[Conversation], list[Life]]
Place = tuple[str, int]


def turns(conversations: Iterable[Conversation]) -> dict[Place, Turn]:
    return {
        (conversation.id, index): turn
        for conversation in conversations
        for index, turn in enumerate(conversation.turns)
    }


def test_same_seed_gives_the_same_world(small: Seeds) -> None:
    assert simulate(SimulatorParams(people=10), small) == simulate(
        SimulatorParams(people=10), small
    )


def test_another_seed_gives_another_world(small: Seeds) -> None:
    first, second = (simulate(SimulatorParams(people=3, seed=seed), small)[0] for seed in (1, 2))

    assert not {row.id for row in first} & {row.id for row in second}
    assert [row.turns for row in first] != [row.turns for row in second]


def test_splits_have_their_shares(world: World) -> None:
    assert Counter(life.split for life in world[1]) == {"train": 28, "val": 4, "test": 8}


def test_quarter_of_each_split_has_an_interest(world: World) -> None:
    keen = Counter(life.split for life in world[1] if life.interest)

    assert keen == {"train": 7, "val": 1, "test": 2}


def test_year_has_sessions_on_rising_days(world: World) -> None:
    by_person = defaultdict(list)
    for conversation in world[0]:
        by_person[conversation.person].append(conversation)
    for sessions in by_person.values():
        assert 8 <= len(sessions) <= 14
        assert [row.session for row in sessions] == list(range(len(sessions)))
        days = [row.time.date() for row in sessions if row.time]
        assert days == sorted(set(days))
        assert {day.year for day in days} == {2024}


def test_names_are_unique(world: World) -> None:
    names = [life.name for life in world[1]]

    assert len(set(names)) == len(names)


def test_only_the_person_tells_facts(world: World) -> None:
    assert not any(turn.facts for turn in turns(world[0]).values() if turn.speaker == "friend")


def test_truth_is_what_turns_hold(world: World) -> None:
    said = Counter(
        (conversation.person, conversation.id, index, fact.slot, fact.value)
        for conversation in world[0]
        for index, turn in enumerate(conversation.turns)
        for fact in turn.facts
    )
    known = Counter(
        (life.person, fact.conversation, fact.turn, fact.slot, fact.value)
        for life in world[1]
        for fact in life.facts
    )
    assert said == known
    assert said


def test_truth_is_dated_by_its_conversation(world: World) -> None:
    days = {row.id: row.time.date() for row in world[0] if row.time}

    for life in world[1]:
        for fact in life.facts:
            assert fact.said_on == days[fact.conversation]
            assert fact.valid_from <= fact.said_on


def test_single_value_holds_until_the_next(world: World, seeds: Seeds) -> None:
    at = turns(world[0])
    changes = 0
    for life in world[1]:
        by_slot = defaultdict(list)
        for fact in life.facts:
            by_slot[fact.slot].append(fact)
        for name, facts in by_slot.items():
            assert facts == sorted(facts, key=lambda fact: fact.said_on)
            assert facts[-1].valid_to is None
            single = seeds.slots[name].cardinality == "single"
            for before, after in itertools.pairwise(facts):
                changes += single
                assert before.valid_to == (after.valid_from if single else None)
                assert before.said_on < after.valid_from or not single
                told = at[after.conversation, after.turn].facts
                old = next(fact.old_value for fact in told if fact.slot == name)
                assert old == (before.value if single else None)
    assert changes


def test_unsaid_slots_are_never_told(world: World, seeds: Seeds) -> None:
    for life in world[1]:
        told = {fact.slot for fact in life.facts}
        assert told.isdisjoint(life.unsaid)
        assert told | set(life.unsaid) == set(seeds.slots)


def test_near_misses_and_niches_hold_no_fact(world: World) -> None:
    at = turns(world[0])
    roles: Counter[str] = Counter()
    for life in world[1]:
        for moment in life.moments:
            turn = at[moment.conversation, moment.turn]
            assert not turn.facts
            if moment.fact:
                check_spans(turn.text, [moment.fact])
            roles[moment.role] += 1
            assert (moment.fact is not None) == (
                moment.role in ("near_miss", "passing", "interest", "recall")
            )
    assert len(roles) == 9


def test_near_miss_never_names_a_true_value(world: World) -> None:
    for life in world[1]:
        true = {fact.value for fact in life.facts} | {life.name}
        for moment in life.moments:
            if moment.role == "near_miss" and moment.fact:
                assert moment.fact.value not in true


def test_friend_recalls_what_is_true_that_day(world: World) -> None:
    at, days = turns(world[0]), {row.id: row.time.date() for row in world[0] if row.time}
    recalls = 0
    for life in world[1]:
        for moment in life.moments:
            if moment.role == "recall" and moment.fact:
                recalls += 1
                turn = at[moment.conversation, moment.turn]
                assert turn.speaker == "friend"
                told = [fact for fact in life.facts if fact.slot == moment.fact.slot]
                earlier = [fact for fact in told if fact.said_on < days[moment.conversation]]
                assert moment.fact.value in {fact.value for fact in earlier}
    assert recalls


def test_callbacks_and_outcomes_refer_to_earlier_sessions(world: World) -> None:
    at = turns(world[0])
    made = {
        (moment.conversation, moment.turn): moment.role
        for life in world[1]
        for moment in life.moments
    }
    for life in world[1]:
        for moment in life.moments:
            if moment.role in ("callback", "kept", "broken"):
                assert moment.refers in at
                assert made[moment.refers] == ("joke" if moment.role == "callback" else "promise")
                assert moment.refers[0] < moment.conversation


def test_emotions_come_with_cause_intensity_and_strategy(world: World, seeds: Seeds) -> None:
    felt = [
        (turn, conversation.turns[index + 1])
        for conversation in world[0]
        for index, turn in enumerate(conversation.turns)
        if turn.emotion
    ]
    assert felt
    for turn, reply in felt:
        low, high = seeds.life.emotions[turn.emotion or ""].intensity
        assert turn.cause
        assert low <= (turn.intensity or -1) <= high
        assert reply.strategy


def test_only_enthusiasts_care_for_their_niche(world: World) -> None:
    for life in world[1]:
        for moment in life.moments:
            if moment.role in ("interest", "passing") and moment.fact:
                assert (moment.fact.slot == life.interest) == (moment.role == "interest")


def test_enthusiasts_mention_their_interest_often(world: World) -> None:
    sessions = {row.id: row.session for row in world[0]}
    for life in world[1]:
        mentions = [sessions[m.conversation] for m in life.moments if m.role == "interest"]
        if life.interest:
            assert sum(number < life.early for number in mentions) >= 12
            assert sum(number >= life.early for number in mentions) >= 8


def values_of(life: Life, roles: tuple[str, ...]) -> set[str]:
    return {m.fact.value for m in life.moments if m.fact and m.role in roles}


def test_held_out_people_share_no_value_with_train(world: World, seeds: Seeds) -> None:
    values: dict[str, set[str]] = {"train": set(), "val": set(), "test": set()}
    for life in world[1]:
        values[life.split] |= {life.name, *(fact.value for fact in life.facts)}
        values[life.split] |= values_of(life, ("near_miss",))

    listed = {
        value
        for slot in seeds.slots.values()
        if isinstance(slot.values, Bank)
        for value in slot.values.train
    }
    assert not values["test"] & (values["train"] | values["val"])
    assert not (values["val"] & values["train"]) - listed
    assert all(split_of(value) == "val" for value in values["val"] - listed)


def test_interest_moves_from_train_to_test_phrasings_for_held_out_people(
    world: World, seeds: Seeds
) -> None:
    sessions = {row.id: row.session for row in world[0]}
    for life in world[1]:
        if not life.interest:
            continue
        bank = seeds.niches[life.interest].values
        for moment in life.moments:
            if moment.role == "interest" and moment.fact:
                late = sessions[moment.conversation] >= life.early
                test = life.split == "test" and late
                assert moment.fact.value in (bank.test if test else bank.train)


def test_test_people_speak_only_test_phrasings(small: Seeds) -> None:
    talks, _ = simulate(SimulatorParams(people=40, interest_share=0), small)
    words = {
        split: {
            sentence
            for row in talks
            if row.split == split
            for turn in row.turns
            if turn.speaker == "user"
            for sentence in ("train sentence", "test line")
            if sentence in turn.text.casefold()
        }
        for split in ("train", "val", "test")
    }
    assert words == {
        "train": {"train sentence"},
        "val": {"train sentence"},
        "test": {"test line"},
    }


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"val_share": 0.5, "test_share": 0.5}, "nobody is left to train on"),
        ({"sessions": (1, 3)}, "at least 2 conversations"),
        ({"slots": (0, 3)}, "everybody reveals at least 1"),
        ({"slots": (5, 3)}, "the lower bound comes first"),
        ({"change_share": 1.2}, "less than or equal to 1"),
        ({"persons": 3}, "Extra inputs"),
    ],
)
def test_bad_settings_are_refused(setting: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SimulatorParams.model_validate(setting)


TEXT = st.text(alphabet="aB'. é!?", max_size=30)


@given(
    st.sampled_from(["none", "lower", "no_apostrophes", "exclaim", "ellipsis"]),
    TEXT,
    st.text(alphabet="aB'.é X", min_size=1, max_size=9),
    TEXT,
    st.integers(0, 99),
)
def test_idiolects_leave_values_where_their_spans_are(
    transform: str, before: str, value: str, after: str, seed: int
) -> None:
    idiolect = Idiolect.model_validate(
        {"prefixes": ["I'd say. "], "suffixes": [" You'd know."], "rate": 0.5}
        | {"transform": transform}
    )
    fact = Fact(slot="x", value=value, start=0, end=len(value))
    draft = fill(before + "{value}" + after + "{old}", Value(value, fact), "Old O'Old.")

    text, facts = render(speak(draft, idiolect, Random(seed)))

    check_spans(text, facts)
    assert len(facts) == 1
    assert "Old O'Old." in text


@pytest.mark.parametrize(
    ("transform", "spoken"),
    [
        ("none", "I'm off. See St. Ives."),
        ("lower", "i'm off. see St. Ives."),
        ("no_apostrophes", "Im off. See St. Ives."),
        ("exclaim", "I'm off! See St. Ives!"),
        ("ellipsis", "I'm off... See St. Ives..."),
    ],
)
def test_transforms(transform: str, spoken: str) -> None:
    idiolect = Idiolect.model_validate({"rate": 0, "transform": transform})
    draft = fill("I'm off. See {value}.", Value("St. Ives"))

    assert render(speak(draft, idiolect, Random(1)))[0] == spoken
