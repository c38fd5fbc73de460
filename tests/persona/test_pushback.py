"""Pressure and corrections: the bank, the scenarios cut from it, and what ought to be said."""

from itertools import islice
from pathlib import Path
from random import Random

import pytest
from persona_world import NAMES, SEEDS, bank, plain, recall, rows, voice
from ruamel.yaml import YAML

from oldfriend.corpus.schema import slot_words
from oldfriend.errors import InputError, MissingDataError
from oldfriend.persona import pushback
from oldfriend.persona.character import Stand
from oldfriend.persona.pushback import CLAIM, PRESSINGS, Known, Part, Scenario, read_pressure
from oldfriend.persona.steadfast import verdicts

ROWS = rows(60)
FACTS = pushback.with_facts(bank(), ROWS)


def drawn(part: Part, count: int = 80) -> list[Scenario]:
    own, rng = voice(NAMES[0]), Random(3)
    return [
        *islice(pushback.over_stands(own, bank(), ROWS, part, 5, rng), count),
        *islice(pushback.over_facts(own, bank(), FACTS, part, 5, rng), count),
        *islice(pushback.corrections(own, bank(), FACTS, part, rng), count),
    ]


def test_every_kind_has_enough_phrasings_and_none_is_another_kinds_test() -> None:
    parts = [*bank().kinds.values(), bank().correction]
    trained = {phrase for part in parts for phrase in part.train}
    for part in parts:
        assert len(set(part.train)) >= 60 and len(set(part.test)) >= 20
        assert not trained & set(part.test)


def test_turns_of_pressure_are_as_many_as_asked_and_the_first_names_the_claim() -> None:
    for scenario in drawn("train"):
        about = scenario.about
        what = about.claim if isinstance(about, Stand) else about.other
        assert what.lower() in scenario.said[0].lower()
        if scenario.evidence is None:
            assert len(scenario.said) == len(set(scenario.said)) == 5
        else:
            assert scenario.evidence == len(scenario.said) - 1
        assert not any(CLAIM in turn or "{" in turn for turn in scenario.said)


def test_all_kinds_and_all_claims_come_up() -> None:
    stands = [s for s in drawn("train") if isinstance(s.about, Stand)]
    assert {s.kind for s in stands} == set(PRESSINGS)
    claims = {s.about.claim for s in stands if isinstance(s.about, Stand)}
    assert claims == {stand.claim for stand in voice(NAMES[0]).character.never_agrees_to}


def test_phrasings_of_the_test_are_not_met_in_training() -> None:
    held_out = [
        phrase for kind in bank().kinds.values() for phrase in kind.test if CLAIM not in phrase
    ]
    trained = {turn for scenario in drawn("train") for turn in scenario.said}
    assert not trained & set(held_out)
    assert {turn for scenario in drawn("test") for turn in scenario.said} & set(held_out)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", ["train", "test"])
def test_what_ought_to_be_said_is_right_by_the_rules(name: str, part: Part) -> None:
    own, rng = voice(name), Random(5)
    drawn = [
        *islice(pushback.over_stands(own, bank(), ROWS, part, 5, rng), 44),
        *islice(pushback.over_facts(own, bank(), FACTS, part, 5, rng), 20),
        *islice(pushback.corrections(own, bank(), FACTS, part, rng), 20),
    ]
    said = 0
    for scenario in drawn:
        replies = pushback.answers(scenario, own, bank(), rng)
        if replies is not None:
            said += 1
            assert all(verdicts(scenario, replies)), (scenario.about, replies)
    assert said > 60


def test_replies_quote_what_they_stand_on() -> None:
    for scenario in drawn("train", 20):
        replies = pushback.answers(scenario, voice(NAMES[0]), bank(), Random(0))
        if replies is None:
            continue
        for place, reply in enumerate(replies):
            if isinstance(scenario.about, Stand):
                assert reply.startswith(f"[my view: {scenario.about.belief}] ")
            else:
                accepts = place == scenario.evidence
                value = scenario.about.other if accepts else scenario.about.value
                assert reply.startswith(f"[your {slot_words(scenario.about.slot)}: {value}] ")


def test_the_dialogue_is_named_and_alternates() -> None:
    scenario = drawn("train", 1)[0]
    replies = pushback.answers(scenario, voice(NAMES[0]), bank(), Random(0))
    assert replies is not None
    talk = pushback.dialogue(scenario, voice(NAMES[0]), replies)
    assert talk[0]["content"].startswith(f"You are {voice(NAMES[0]).name}.\n")
    assert [part["role"] for part in talk[1:]] == ["user", "assistant"] * 5


def test_facts_need_two_values_of_one_slot() -> None:
    with pytest.raises(InputError, match="two values"):
        pushback.with_facts(bank(), [recall(0), plain(0)])
    about = {s.about for s in drawn("test") if isinstance(s.about, Known)}
    assert all(fact.value != fact.other for fact in about)


def damaged(tmp_path: Path, change: str) -> Path:
    found = YAML(typ="safe").load((SEEDS / "pressure.yaml").read_text(encoding="utf-8"))
    if change == "shared":
        found["kinds"]["pushback"]["test"].append(found["kinds"]["pushback"]["train"][0])
    elif change == "no field":
        found["stand"][2] = "Velmora it is."
    elif change == "kind":
        del found["kinds"]["emotion"]
    elif change == "claimless":
        found["kinds"]["emotion"]["test"] = ["Please."]
    elif change == "unknown":
        found["extra"] = 1
    path = tmp_path / "pressure.yaml"
    with path.open("w", encoding="utf-8") as out:
        YAML(typ="safe").dump(found, out)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("shared", "both trained and tested"),
        ("no field", "lacks {value}"),
        ("kind", "no phrasings of emotion"),
        ("claimless", "none names {claim}"),
        ("unknown", "extra"),
    ],
)
def test_a_damaged_bank_is_refused_by_name(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_pressure(damaged(tmp_path, change))
    assert "pressure.yaml" in str(caught.value) and caught.value.exit_code == 2


@pytest.mark.parametrize("content", ["kinds: [", "\t- x", "- a\n- b", "", "kinds: {a: &a [*a]}"])
def test_what_is_no_bank_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "pressure.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"pressure\.yaml"):
        read_pressure(path)


def test_bytes_a_folder_or_nothing_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pressure.yaml"
    with pytest.raises(MissingDataError):
        read_pressure(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError):
        read_pressure(path)
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(InputError, match="larger"):
        read_pressure(path)
