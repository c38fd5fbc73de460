"""Planted duplicates go, others stay, whatever the order."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oldfriend.corpus.dedup import deduplicate, jaccard, shingle
from oldfriend.corpus.schema import Conversation, Split, Turn
from oldfriend.corpus.settings import DedupParams

PARAMS = DedupParams()
WORDS = [f"{a}{b}" for a in ("ka", "lo", "mi", "ter", "su") for b in ("n", "ra", "dell", "po")]


def talk(
    text: str, *, key: str = "a", split: Split | None = None, swap: bool = False
) -> Conversation:
    words = text.split(" ")
    halves = words[: len(words) // 2], words[len(words) // 2 :]
    speakers = ("friend", "user") if swap else ("user", "friend")
    turns = tuple(
        Turn(speaker=speaker, text=" ".join(part))
        for speaker, part in zip(speakers, halves, strict=True)
    )
    return Conversation(
        id=key, person=f"p-{key}", source="s", licence="l", split=split, turns=turns
    )


def babble(seed: int, length: int = 120) -> list[str]:
    rng = Random(seed)
    return [rng.choice(WORDS) for _ in range(length)]


def ids(rows: list[Conversation]) -> list[str]:
    return [row.id for row in rows]


def test_exact_duplicates_ignore_case_and_blanks() -> None:
    removed: Counter[str] = Counter()
    rows = [talk("Hello there my old  friend", key="b"), talk("hello there my old friend")]
    assert ids(deduplicate(rows, PARAMS, removed)) == ["a"]
    assert removed["exact"] == 1


def test_planted_near_duplicates_are_found_and_others_kept() -> None:
    removed: Counter[str] = Counter()
    rows = [talk(" ".join(babble(seed)), key=f"{seed:03}") for seed in range(60)]
    planted = []
    for seed in range(0, 60, 3):
        words = babble(seed)
        words[50] = "changed"
        planted.append(talk(" ".join(words), key=f"x{seed:03}"))
    kept = deduplicate([*planted, *rows], PARAMS, removed)
    assert ids(kept) == ids(rows)
    assert removed["near"] == len(planted)


def test_half_shared_text_is_no_duplicate() -> None:
    words = babble(1)
    other = words[:60] + babble(2)[60:]
    rows = [talk(" ".join(words)), talk(" ".join(other), key="b")]
    assert len(deduplicate(rows, PARAMS, Counter())) == 2


@pytest.mark.parametrize("held_out", ["val", "test"])
def test_across_splits_the_training_copy_goes(held_out: Split) -> None:
    text = " ".join(babble(5))
    rows = [talk(text, key="a", split="train"), talk(text + " extra", key="b", split=held_out)]
    assert ids(deduplicate(rows, PARAMS, Counter())) == ["b"]


def test_both_views_of_one_talk_stay() -> None:
    text = " ".join(babble(6))
    rows = [talk(text), talk(text, key="b", swap=True)]
    assert deduplicate(rows, PARAMS, Counter()) == rows


def test_views_in_other_splits_are_duplicates() -> None:
    text = " ".join(babble(6))
    rows = [talk(text, split="train"), talk(text, key="b", swap=True, split="test")]
    assert ids(deduplicate(rows, PARAMS, Counter())) == ["b"]


def test_text_without_words_is_only_compared_exactly() -> None:
    rows = [talk("!!! ??"), talk("... ..", key="b"), talk("!!! ??", key="c")]
    assert ids(deduplicate(rows, PARAMS, Counter())) == ["a", "b"]


def test_chinese_is_shingled_by_character() -> None:
    one = shingle("今天天气很好我们去公园散步吧", 3)
    other = shingle("今天天气很好我们去公园跑步吧", 3)
    assert 0.3 < jaccard(one, other) < 0.8


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 119), st.booleans()), max_size=12),
    st.randoms(use_true_random=False),
)
def test_idempotent_and_independent_of_order(
    planted: list[tuple[int, int, bool]], rng: Random
) -> None:
    rows = []
    for number, (seed, place, held_out) in enumerate(planted):
        words = babble(seed)
        words[place] = "changed"
        rows.append(talk(" ".join(words), key=str(number), split="test" if held_out else "train"))
    once = deduplicate(rows, PARAMS, Counter())
    assert deduplicate(once, PARAMS, Counter()) == once
    shuffled = rng.sample(rows, len(rows))
    assert sorted(ids(deduplicate(shuffled, PARAMS, Counter()))) == sorted(ids(once))
