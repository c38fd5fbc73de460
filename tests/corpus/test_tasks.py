from collections import Counter
from random import Random

import pytest

from oldfriend.corpus.answers import MIX, grounding
from oldfriend.corpus.people import Life
from oldfriend.corpus.schema import Conversation, GroundExample, NoteExample, Turn
from oldfriend.corpus.seeds import Seeds
from oldfriend.corpus.settings import SimulatorParams
from oldfriend.corpus.simulator import simulate
from oldfriend.corpus.tasks import notes, user_notes
from oldfriend.errors import InputError

World = tuple[list[Conversation], list[Life]]


def turn_of(example: NoteExample, conversations: list[Conversation]) -> Turn:
    conversation, _, index = example.id.rpartition("-")
    return next(row for row in conversations if row.id == conversation).turns[int(index)]


def test_notes_hold_what_turns_tell(world: World) -> None:
    examples = notes(*world)
    told = {
        (row.id, index): turn
        for row in world[0]
        for index, turn in enumerate(row.turns)
        if turn.facts
    }

    found = {example.text: example.facts for example in examples if example.facts}
    assert found == {turn.text: turn.facts for turn in told.values()}
    assert len({example.id for example in examples}) == len(examples)


def test_notes_are_balanced(real: Seeds) -> None:
    examples = notes(*simulate(SimulatorParams(people=30), real))

    assert sum(not example.facts for example in examples) / len(examples) <= 0.601


def test_notes_keep_every_near_miss(world: World) -> None:
    ids = {example.id for example in notes(*world, negatives=0.0)}

    near = [m for life in world[1] for m in life.moments if m.role == "near_miss"]
    assert near
    assert {f"{moment.conversation}-{moment.turn:03d}" for moment in near} <= ids


def test_notes_have_the_one_or_two_turns_before(world: World) -> None:
    lengths = Counter(len(example.context) for example in notes(*world))

    assert set(lengths) <= {0, 1, 2}
    assert lengths[1] > 0
    assert lengths[2] > 0


def test_notes_of_niches_are_empty_and_not_those_to_personalize_on(world: World) -> None:
    talks, lives = world
    ids = {example.id: example for example in notes(talks, lives)}
    sessions = {row.id: row.session for row in talks}
    for life in lives:
        for moment in life.moments:
            if moment.role not in ("interest", "passing"):
                continue
            early = sessions[moment.conversation] < life.early
            held = moment.role == "interest" and life.split == "test" and early
            example = ids.get(f"{moment.conversation}-{moment.turn:03d}")
            assert (example is None) == held
            assert example is None or not example.facts


def test_notes_are_deterministic(world: World) -> None:
    assert notes(*world, seed=3) == notes(*world, seed=3)
    assert notes(*world, seed=3) != notes(*world, seed=4)


def test_user_notes_are_of_held_out_enthusiasts(world: World) -> None:
    parts = user_notes(*world)
    keen = {life.person: life for life in world[1] if life.split == "test" and life.interest}

    for name, examples in parts.items():
        assert {example.user for example in examples} == set(keen)
        for example in examples:
            assert (example.session < keen[example.user].early) == (name == "train")


def test_user_notes_want_the_interest_remembered(world: World, seeds: Seeds) -> None:
    parts = user_notes(*world)
    for life in world[1]:
        if life.split != "test" or not life.interest:
            continue
        for name, least in (("train", 12), ("test", 8)):
            mentions = [
                fact.value
                for example in parts[name]
                if example.user == life.person
                for fact in example.facts
                if fact.slot == life.interest
            ]
            bank = seeds.niches[life.interest].values
            assert len(mentions) >= least
            assert set(mentions) <= set(bank.train if name == "train" else bank.test)


@pytest.fixture(scope="module")
def examples(world: World, seeds: Seeds) -> list[GroundExample]:
    test = [life for life in world[1] if life.split == "train"]
    return grounding(test, seeds, Random(1), count=1_500)


def test_grounding_is_deterministic(world: World, seeds: Seeds) -> None:
    first, second = (grounding(world[1], seeds, Random(5), count=40) for _ in range(2))

    assert first == second


def test_kinds_come_in_their_proportions(examples: list[GroundExample]) -> None:
    kinds = Counter(example.kind for example in examples)

    for kind, share in MIX.items():
        assert abs(kinds[kind] / len(examples) - share) < 0.05


def test_memory_counts_are_about_uniform(real: Seeds) -> None:
    lives = simulate(SimulatorParams(people=40), real)[1]
    found = Counter(len(row.memories) for row in grounding(lives, real, Random(1), count=1_200))

    assert set(found) == {0, 1, 2, 3, 4, 5, 6}
    assert min(count for lines, count in found.items() if lines) > 120


def test_only_what_needs_no_memory_goes_without(real: Seeds) -> None:
    lives = simulate(SimulatorParams(people=40), real)[1]
    rows = [row for row in grounding(lives, real, Random(1), count=1_200) if not row.memories]

    assert {row.kind for row in rows} == {"abstain", "plain"}
    assert 20 < len(rows) < 120


def test_golden_memory_is_there_once(examples: list[GroundExample]) -> None:
    for row in examples:
        if row.kind not in ("recall", "past"):
            continue
        golden = [
            line
            for line in row.memories
            if line.owner == row.user and line.slot == row.slot and line.value == row.value
        ]
        assert len(golden) == 1
        assert (golden[0].until is not None) == (row.kind == "past")
        assert row.value is not None
        assert row.value in row.reply


def test_recall_is_unambiguous(examples: list[GroundExample]) -> None:
    asked_by_month = 0
    for row in examples:
        if row.kind == "recall":
            now = [
                line
                for line in row.memories
                if line.owner == row.user and line.slot == row.slot and not line.until
            ]
            golden = next(line for line in now if line.value == row.value)
            for line in now:
                if line != golden:
                    asked_by_month += 1
                    assert golden.since and line.since
                    assert f"{golden.since:%B}".casefold() in row.message.casefold()
                    assert line.since.month != golden.since.month
    assert asked_by_month


def test_past_asks_for_the_latest_former_value(examples: list[GroundExample]) -> None:
    stale = 0
    for row in examples:
        if row.kind == "past":
            own = [line for line in row.memories if line.owner == row.user]
            same = [line for line in own if line.slot == row.slot]
            assert len([line for line in same if line.until]) == 1
            stale += len(same) == 2
    assert stale


def test_abstaining_is_right(examples: list[GroundExample], seeds: Seeds) -> None:
    other, own_line = 0, 0
    for row in examples:
        if row.kind != "abstain":
            continue
        assert row.value is None
        assert row.reply in seeds.life.abstain
        same = [line for line in row.memories if line.slot == row.slot]
        own = [line for line in same if line.owner == row.user]
        other += len(same) > len(own)
        own_line += bool(own)
        for line in own:  # a value that holds, of another month or asked for as a former one
            assert line.until is None
            assert f"{line.since:%B}".casefold() not in row.message.casefold()
    assert other
    assert own_line


def test_distractors_of_others_are_not_the_users(
    examples: list[GroundExample], world: World
) -> None:
    owners = {life.name: {fact.value for fact in life.facts} for life in world[1]}
    others = 0
    for row in examples:
        assert row.user in owners
        for line in row.memories:
            others += line.owner != row.user
            assert line.value in owners[line.owner]
            assert line.text.startswith(f"{line.owner} ")
            assert line.value in line.text
            if line.owner != row.user:
                assert line.value != row.value
        keys = [(line.owner, line.slot, line.value) for line in row.memories]
        assert len(set(keys)) == len(keys)
    assert others


def test_recall_is_distracted_by_stale_values(examples: list[GroundExample]) -> None:
    assert any(
        line.until and line.slot == row.slot and line.owner == row.user
        for row in examples
        if row.kind == "recall"
        for line in row.memories
    )


def test_colour_shows_its_contrast_and_recites_nothing(
    examples: list[GroundExample], seeds: Seeds
) -> None:
    for row in examples:
        if row.kind == "colour":
            assert any(
                line.slot == row.slot and line.owner == row.user and not line.until
                for line in row.memories
            )
            pairs = {(c.with_, c.without) for c in seeds.slots[row.slot].colour.train}
            assert (row.reply, row.contrast) in pairs
        else:
            assert row.contrast is None


def test_plain_talk_names_no_slot(examples: list[GroundExample]) -> None:
    plain = [row for row in examples if row.kind == "plain"]

    assert all(not row.slot and row.value is None for row in plain)


def test_history_is_an_exchange_or_nothing(examples: list[GroundExample]) -> None:
    speakers = {tuple(turn.speaker for turn in row.history) for row in examples}

    assert speakers == {(), ("user", "friend")}


def test_many_exchanges_each_stand_on_the_same_memories(seeds: Seeds, world: World) -> None:
    lives = [life for life in world[1] if life.split == "train"]
    rows = grounding(lives, seeds, Random(4), count=200, max_exchanges=5)
    quoted = [(row, turn) for row in rows for turn in row.history if turn.quote]
    assert max(len(row.history) for row in rows) == 10
    assert quoted
    for row, turn in quoted:
        slot, _, value = turn.quote.removeprefix("your ").partition(": ")
        name = slot.removeprefix("former ").replace(" ", "_")
        own = [m for m in row.memories if m.owner == row.user and m.slot == name]
        assert name != row.slot, "the message's own answer is not given away"
        if value == "nothing":
            assert not own
        else:
            assert value in turn.text
            assert [m.value for m in own if bool(m.until) == slot.startswith("former ")] == [value]


def test_test_people_ask_in_test_phrasings(small: Seeds) -> None:
    lives = simulate(SimulatorParams(people=40), small)[1]
    for split, words in (("test", "test line"), ("val", "train sentence")):
        held = [life for life in lives if life.split == split]
        mix = {"recall": 1.0, "abstain": 1.0}
        for row in grounding(held, small, Random(2), count=100, mix=mix):  # type: ignore[arg-type]
            assert words in row.message.casefold()
            assert {line.owner for line in row.memories} <= {life.name for life in held}


def test_impossible_kind_is_named(small: Seeds) -> None:
    lives = simulate(SimulatorParams(people=8, change_share=0), small)[1]

    with pytest.raises(InputError, match="8 lives give no 'past' example: simulate more people"):
        grounding(lives, small, Random(1), count=1, mix={"past": 1.0})


def test_nobody_gives_no_example(small: Seeds) -> None:
    with pytest.raises(InputError, match="0 lives give no 'recall' example"):
        grounding([], small, Random(1), count=1, mix={"recall": 1.0})
