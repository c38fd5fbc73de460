"""Copying drills: well-formed, answerable from what stands before, and in the asked shares."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_tiny import random_documents
from transformers import PreTrainedTokenizerFast

from oldfriend.lm.copying import REPEAT_TOKENS, Drills, curriculum, mixed, portion, scattered
from oldfriend.lm.packing import Document
from oldfriend.lm.tokenizer import END

SEEDS = range(5)
lengths = st.lists(st.integers(1, 40), max_size=30)


def holds(haystack: tuple[int, ...], needle: tuple[int, ...]) -> bool:
    size = len(needle)
    return any(haystack[i : i + size] == needle for i in range(len(haystack) - size + 1))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_repetition_learns_only_what_was_seen_before(
    tokenizer: PreTrainedTokenizerFast, seed: int
) -> None:
    drills = Drills(tokenizer, seed)
    for _ in range(40):
        drill = drills.repetition()
        assert len(drill) == REPEAT_TOKENS
        ((start, end),) = drill.learn
        period = start - 1
        assert end == REPEAT_TOKENS
        assert drill.ids[period:] == drill.ids[:-period]
        assert not set(drill.ids) & set(tokenizer.all_special_ids)


@pytest.mark.parametrize("seed", SEEDS)
def test_lookup_quotes_your_line_or_says_nothing(
    tokenizer: PreTrainedTokenizerFast, seed: int
) -> None:
    def ids(text: str) -> tuple[int, ...]:
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

    drills = Drills(tokenizer, seed)
    opening, nothing, closing = ids("[") + ids("your"), ids(":") + ids(" nothing"), ids("]")
    user, assistant = tokenizer.convert_tokens_to_ids(["<|user|>", "<|assistant|>"])
    known = count = 0
    for _ in range(60):
        drill = drills.lookup()
        notes = drill.ids[: drill.ids.index(user)]
        assert 3 <= len(drill.learn) <= 6
        assert notes[:2] == ids("<|start|><|system|>")
        for start, stop in drill.learn:
            answer = drill.ids[start:stop]
            assert drill.ids[start - 1] == assistant
            assert answer[: len(opening)] == opening
            assert answer[-2:] == closing + ids(END)
            said = answer[len(opening) : -2]
            if said[-len(nothing) :] == nothing:
                key = said[: -len(nothing)]
                assert not holds(notes, ids(" your") + key + ids(":"))
            else:
                assert holds(notes, ids(" your") + said)
                known += 1
        count += len(drill.learn)
    assert 0.5 < known / count < 0.85  # seven of ten questions have an answer


def test_a_lookup_reads_as_a_chat(tokenizer: PreTrainedTokenizerFast) -> None:
    text = tokenizer.decode(Drills(tokenizer, 0).lookup().ids)
    for earlier, later in [("<|start|>", "<|system|>"), ("<|user|>", "<|assistant|>")]:
        assert text.index(earlier) < text.index(later)
    assert text.endswith(END)


def test_same_seed_same_drills(tokenizer: PreTrainedTokenizerFast) -> None:
    def draw(seed: int) -> list[Document]:
        drills = Drills(tokenizer, seed)
        return [make() for _ in range(10) for make in (drills.repetition, drills.lookup)]

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)


def tokens(documents: list[Document]) -> int:
    return sum(len(document) for document in documents)


def test_a_curriculum_repeats_then_looks_up_then_talks(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    talk = random_documents([50] * 200)
    plan = curriculum(Drills(tokenizer, 0), talk, tokens=30_000, warmup=0.3, mix=0.2, seed=0)
    first = next(i for i, d in enumerate(plan) if d in set(talk))
    warmup, later = plan[:first], plan[first:]
    system = tokenizer.convert_tokens_to_ids("<|system|>")
    kinds = [system in drill.ids for drill in warmup]
    assert kinds == sorted(kinds)
    repeats = [drill for drill in warmup if system not in drill.ids]
    assert 0.25 < tokens(repeats) / tokens(warmup) < 0.75
    assert tokens(warmup) == pytest.approx(9_000, rel=0.1)
    drills = [d for d in later if d not in set(talk)]
    assert tokens(drills) / tokens(later) == pytest.approx(0.2, abs=0.03)
    assert sorted(d.ids for d in later if d in set(talk)) == sorted(d.ids for d in talk)


def test_without_warmup_and_mix_only_talk_is_left(tokenizer: PreTrainedTokenizerFast) -> None:
    talk = random_documents([50] * 20)
    plan = curriculum(Drills(tokenizer, 0), talk, tokens=9_000, warmup=0, mix=0, seed=0)
    assert sorted(d.ids for d in plan) == sorted(d.ids for d in talk)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_mixed_keeps_the_order_and_adds_the_share(
    tokenizer: PreTrainedTokenizerFast, share: float
) -> None:
    talk = random_documents([50] * 200)
    both = mixed(Drills(tokenizer, 0), talk, share, seed=0)
    assert [d for d in both if d in set(talk)] == talk
    drills = [d for d in both if d not in set(talk)]
    assert tokens(drills) / tokens(both) == pytest.approx(share, abs=0.02)
    if share:
        places = [i for i, d in enumerate(both) if d not in set(talk)]
        assert places[0] < len(both) * 0.1 and places[-1] > len(both) * 0.9


@given(lengths, st.floats(0, 0.9), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_mixed_adds_one_drill_too_many_at_most(
    tokenizer: PreTrainedTokenizerFast, sizes: list[int], share: float, seed: int
) -> None:
    talk = random_documents(sizes)
    known = Counter(talk)
    drills = list((Counter(mixed(Drills(tokenizer, seed), talk, share, seed)) - known).elements())
    wanted = int(tokens(talk) * share / (1 - share))
    assert 0 <= tokens(drills) - wanted <= max(map(len, drills), default=0)


@given(lengths, lengths, st.integers(0, 99))
def test_scattered_keeps_one_order_and_loses_nothing(
    sizes: list[int], other_sizes: list[int], seed: int
) -> None:
    talk = random_documents(sizes, vocab=150)
    others = [Document(tuple(i + 150 for i in d.ids)) for d in random_documents(other_sizes, 150)]
    both = scattered(talk, others, seed)
    assert [d for d in both if d.ids[0] < 150] == talk
    assert Counter(d for d in both if d.ids[0] >= 150) == Counter(others)
    assert both == scattered(talk, others, seed)


def test_scattered_documents_lie_everywhere_and_by_seed() -> None:
    talk, others = random_documents([5] * 300), random_documents([6] * 100)
    both = scattered(talk, others, seed=0)
    for start in range(0, 400, 100):
        assert 10 < sum(len(d) == 6 for d in both[start : start + 100]) < 40
    assert both != scattered(talk, others, seed=1)


@given(lengths, st.floats(-5, 3000))
def test_a_portion_is_the_first_that_hold_the_tokens(sizes: list[int], wanted: float) -> None:
    talk = random_documents(sizes)
    taken = portion(talk, wanted)
    assert taken == (talk * len(taken))[: len(taken)]
    assert not talk or tokens(taken) >= wanted
    assert not taken or tokens(taken[:-1]) < wanted
