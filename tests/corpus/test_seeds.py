from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oldfriend.corpus.banks import Bank
from oldfriend.corpus.seeds import Seeds
from oldfriend.errors import InputError, MissingDataError

Banks = dict[str, dict[str, Any]]
Load = Callable[[Callable[[Banks], None]], Seeds]

PEOPLE = "slots/people.yaml"


def test_small_banks_load(small: Seeds) -> None:
    assert set(small.niches) == {"heron", "gambit"}
    assert small.slots["home_city"].cardinality == "single"


def test_val_speaks_like_train() -> None:
    bank = Bank[str](train=("a",), test=("b",))

    assert bank.of("val") == bank.of("train") == ("a",)
    assert bank.of("test") == ("b",)


@pytest.mark.parametrize(
    "text", ["no value", "{value} and {value}", "{name}", "{value} {old}", "{"]
)
def test_say_needs_exactly_one_value(load_changed: Load, text: str) -> None:
    def spoil(banks: Banks) -> None:
        banks[PEOPLE]["pet_name"]["say"]["train"][2] = text

    with pytest.raises(InputError, match=r"people\.yaml:\d+, field 'pet_name\.say\.train\.2'"):
        load_changed(spoil)


def test_change_may_name_the_old_value_once(load_changed: Load) -> None:
    def spoil(banks: Banks) -> None:
        banks["slots/profile.yaml"]["home_city"]["change"]["test"][0] = "{old} {old} {value}"

    with pytest.raises(InputError, match=r"home_city\.change\.test\.0.*needs \{old\} 0 or 1 times"):
        load_changed(spoil)


def test_train_and_test_share_no_phrasing(load_changed: Load) -> None:
    def spoil(banks: Banks) -> None:
        ask = banks[PEOPLE]["pet_name"]["ask"]
        ask["test"][0] = ask["train"][0].upper().replace(".", "!")

    with pytest.raises(InputError, match=r"'pet_name\.ask': stands in both train and test"):
        load_changed(spoil)


def test_train_and_test_of_two_slots_share_no_value(load_changed: Load) -> None:
    def spoil(banks: Banks) -> None:
        banks[PEOPLE]["pet_name"]["values"] = {"train": ["Blue pears"], "test": ["a cat"]}

    message = r"'disliked_food\.values\.test': 'blue pears' stands in pet_name\.values\.train too"
    with pytest.raises(InputError, match=message):
        load_changed(spoil)


def test_multi_slot_has_no_change(load_changed: Load) -> None:
    def spoil(banks: Banks) -> None:
        banks[PEOPLE]["pet_name"]["change"] = {"train": ["{value}"], "test": ["now {value}"]}

    with pytest.raises(InputError, match="'pet_name': change and ask_past belong to single"):
        load_changed(spoil)


def test_unknown_key_is_named(load_changed: Load) -> None:
    def spoil(banks: Banks) -> None:
        banks["life.yaml"]["jokes"][1]["punchline"] = "Ha."

    with pytest.raises(InputError, match=r"life\.yaml:\d+, field 'jokes\.1\.punchline': Extra"):
        load_changed(spoil)


def test_unknown_generator_is_named(load_changed: Load) -> None:
    def spoil(banks: Banks) -> None:
        banks[PEOPLE]["pet_name"]["values"] = "dog_name"

    with pytest.raises(InputError, match=r"'pet_name\.values'"):
        load_changed(spoil)


def test_slot_is_defined_once(load_changed: Load) -> None:
    def spoil(banks: Banks) -> None:
        banks["slots/profile.yaml"]["pet_name"] = banks[PEOPLE]["pet_name"]

    with pytest.raises(InputError, match="'pet_name' is defined in another file too"):
        load_changed(spoil)


def test_broken_yaml_names_the_line(load_changed: Load, tmp_path: Path) -> None:
    load_changed(lambda banks: None)
    (tmp_path / "niches.yaml").write_text("heron:\n  who: [a\n", encoding="utf-8")

    with pytest.raises(InputError, match=r"niches\.yaml:3"):
        Seeds.load(tmp_path)


def test_missing_file_is_named(load_changed: Load, tmp_path: Path) -> None:
    load_changed(lambda banks: None)
    (tmp_path / "life.yaml").unlink()

    with pytest.raises(MissingDataError, match=r"life\.yaml is not there"):
        Seeds.load(tmp_path)


def test_empty_folder_is_no_seeds(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="nothing to remember"):
        Seeds.load(tmp_path)


LEAST = {
    "say": (30, 10),
    "change": (6, 3),
    "near_miss": (8, 4),
    "ask": (10, 5),
    "ask_past": (4, 2),
    "colour": (4, 2),
}


@pytest.mark.parametrize("field", LEAST)
def test_real_slots_hold_enough_phrasings(real: Seeds, field: str) -> None:
    few = {
        name: (len(bank.train), len(bank.test))
        for name, slot in real.slots.items()
        if (bank := getattr(slot, field))
        and (len(bank.train) < LEAST[field][0] or len(bank.test) < LEAST[field][1])
    }
    assert not few


def test_real_slots_are_many_and_of_every_kind(real: Seeds) -> None:
    assert len(real.slots) >= 40
    assert {slot.kind for slot in real.slots.values()} == {
        *("profile", "preference", "event", "relationship", "emotion", "promise", "shared joke")
    }
    assert all(len(slot.react) >= 6 and len(slot.answer) >= 6 for slot in real.slots.values())
