from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oldfriend.corpus.names import GENERATORS, KNOWN_SHARE, Generator, draw, invent, split_of
from oldfriend.corpus.schema import SPLITS, Split


@given(st.sampled_from(GENERATORS), st.sampled_from(SPLITS), st.integers(0, 10_000))
def test_value_belongs_to_its_split_and_no_other(kind: Generator, split: Split, seed: int) -> None:
    value = draw(kind, split, Random(seed))

    assert split_of(value) == split
    assert value == value.strip()
    assert value == draw(kind, split, Random(seed))


@given(st.text())
def test_split_ignores_case(value: str) -> None:
    assert split_of(value) == split_of(value.casefold())


@pytest.mark.parametrize("kind", [kind for kind in GENERATORS if kind != "day"])
def test_spaces_are_large(kind: Generator) -> None:
    rng = Random(1)
    drawn = [invent(kind, "train", rng) for _ in range(3_000)]

    # n draws from N values collide about n^2 / 2N times; 20 000 values would give 225.
    assert len(drawn) - len(set(drawn)) < 225


@given(st.sampled_from(SPLITS), st.integers(0, 10_000))
def test_person_names_are_short_words(split: Split, seed: int) -> None:
    name = invent("person_name", split, Random(seed))

    assert name.isalpha()
    assert name.istitle()
    assert 3 <= len(name) <= 9
    assert set(name.casefold()) & set("aeiou")


@given(st.sampled_from(SPLITS), st.integers(0, 10_000))
def test_invented_words_inside_a_value_belong_to_its_split_too(split: Split, seed: int) -> None:
    first, last = draw("full_name", split, Random(seed)).split()

    assert split_of(first) == split_of(last) == split


@pytest.mark.parametrize(("kind", "one"), [("place", "Lisbon"), ("person_name", "Maria")])
def test_some_names_are_of_this_world_and_keep_to_their_split(kind: Generator, one: str) -> None:
    drawn = {split: [draw(kind, split, Random(n)) for n in range(4_000)] for split in SPLITS}

    assert [split for split in SPLITS if one in drawn[split]] == [split_of(one)]
    for split in SPLITS:
        often = [name for name in {*drawn[split]} if drawn[split].count(name) >= 4]
        share = sum(drawn[split].count(name) for name in often) / 4_000
        assert KNOWN_SHARE - 0.1 < share < KNOWN_SHARE + 0.2


@given(st.sampled_from(SPLITS), st.integers(0, 10_000))
def test_day_is_a_day_and_a_month(split: Split, seed: int) -> None:
    day, month = draw("day", split, Random(seed)).split()

    assert 1 <= int(day) <= 31
    assert month.istitle()


@pytest.mark.parametrize("kind", ["title", "band"])
def test_titles_and_bands_are_two_to_four_words(kind: Generator) -> None:
    rng = Random(2)
    lengths = {len(draw(kind, "test", rng).split()) for _ in range(500)}

    assert lengths <= {2, 3, 4}
    assert len(lengths) > 1
