"""Persons never cross splits, new data moves nobody, and every planted leak raises."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oldfriend.corpus.schema import (
    Conversation,
    Fact,
    GroundExample,
    GroundKind,
    NoteExample,
    Split,
    Turn,
)
from oldfriend.corpus.settings import DedupParams, SplitParams
from oldfriend.corpus.splits import assign, by_split, check_leaks, skeleton, values_heard
from oldfriend.errors import LeakError

SHARES = SplitParams(val=0.2, test=0.3)
SAID = {"train": "I moved to {}, you know", "val": "Guess what, {} it is", "test": "My home: {}"}


def talk(
    person: str,
    key: str = "",
    *,
    split: Split | None = None,
    source: str = "s",
    said: Sequence[tuple[str, str]] = (),
    value: str = "",
) -> Conversation:
    said = said or [("user", f"hello from {person}"), ("friend", f"welcome {key or person}")]
    turns = []
    for number, (speaker, text) in enumerate(said):
        found = value and number == 0
        start = text.index(value) if found else 0
        fact = Fact(slot="home", value=value or "-", start=start, end=start + max(1, len(value)))
        turns.append(Turn(speaker=speaker, text=text, facts=(fact,) if found else ()))
    return Conversation(
        id=key or person,
        person=person,
        source=source,
        licence="l",
        split=split,
        turns=tuple(turns),
    )


def splits_of(rows: Sequence[Conversation]) -> dict[str, set[Split | None]]:
    found: dict[str, set[Split | None]] = {}
    for row in rows:
        found.setdefault(row.person, set()).add(row.split)
    return found


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 25)), max_size=40))
def test_persons_and_conversations_never_cross(pairs: list[tuple[int, int]]) -> None:
    rows = [talk(f"p{person}", f"c{key}") for person, key in pairs]
    placed = assign(rows, SHARES, 1, Counter())
    assert len(placed) == len(rows)
    assert all(len(splits) == 1 for splits in splits_of(placed).values())
    by_id: dict[str, set[Split | None]] = {}
    for row in placed:
        by_id.setdefault(row.id, set()).add(row.split)
    assert all(len(splits) == 1 for splits in by_id.values())


def test_new_data_moves_nobody() -> None:
    old = [talk(f"p{number}") for number in range(200)]
    new = [talk(f"new{number}") for number in range(100)]
    before = splits_of(assign(old, SHARES, 1, Counter()))
    after = splits_of(assign([*new, *old], SHARES, 1, Counter()))
    assert before.items() <= after.items()


@pytest.mark.parametrize("people", range(3, 12))
def test_a_source_of_few_persons_fills_every_split(people: int) -> None:
    placed = assign([talk(f"p{number}") for number in range(people)], SplitParams(), 1, Counter())
    assert all(by_split(placed).values())


def test_shares_are_about_right() -> None:
    placed = assign([talk(f"p{number}") for number in range(2_000)], SHARES, 1, Counter())
    sizes = {split: len(rows) / 2_000 for split, rows in by_split(placed).items()}
    assert sizes == pytest.approx({"train": 0.5, "val": 0.2, "test": 0.3}, abs=0.04)


def test_the_split_of_a_source_is_kept() -> None:
    rows = [talk(f"p{number}", split="val") for number in range(20)]
    assert assign(rows, SHARES, 1, Counter()) == rows


def test_of_a_person_on_both_sides_the_held_out_side_stays() -> None:
    removed: Counter[str] = Counter()
    rows = [talk("p", "a", split="train"), talk("p", "b", split="test"), talk("p", "c")]
    placed = assign(rows, SHARES, 1, removed)
    assert [(row.id, row.split) for row in placed] == [("b", "test"), ("c", "test")]
    assert removed == {"crosses_split": 1}


def test_both_views_of_a_talk_stay_together() -> None:
    for number in range(20):
        said = [("user", f"hi {number}"), ("friend", "hello")]
        swapped = [("friend", f"hi {number}"), ("user", "hello")]
        one, other = (talk(f"{name}{number}", said=s) for name, s in (("a", said), ("b", swapped)))
        placed = assign([one, other], SHARES, 1, Counter())
        assert placed[0].split == placed[1].split


def clean() -> dict[Split, list[Conversation]]:
    values = {"train": "Velmora", "val": "Ostrun", "test": "Karrow"}
    return {
        split: [
            talk(
                f"{split}-p",
                f"{split}-c",
                split=split,
                source="simulator",
                said=[
                    ("user", SAID[split].format(values[split])),
                    ("friend", f"A {split} answer that is like no other one at all"),
                ],
                value=values[split],
            )
        ]
        for split in values
    }


def ground(split: Split, message: str, kind: GroundKind = "recall") -> GroundExample:
    return GroundExample(
        id="g", user=split, source="simulator", kind=kind, message=message, reply="yes"
    )


def note(user: str) -> NoteExample:
    return NoteExample(id="n", user=user, source="simulator", text="well")


def test_clean_data_passes() -> None:
    assert check_leaks(clean(), DedupParams()) == 0


def planted(kind: str) -> dict[Split, list[Conversation]]:
    data = clean()
    (train,), (test,) = data["train"], data["test"]
    match kind:
        case "person":
            data["val"].append(talk(train.person, "other"))
        case "conversation":
            data["test"].append(talk("somebody", train.id))
        case "text":
            words = " ".join(f"word{number}" for number in range(60))
            data["train"].append(talk("p1", said=[("user", words), ("friend", "I see")]))
            data["val"].append(talk("p2", said=[("user", words + " end"), ("friend", "I see")]))
        case "value":
            text = "The place I sleep is karrow"
            said = [("user", text), ("friend", "So far away from everything then")]
            data["train"].append(talk("p3", source="simulator", said=said, value="karrow"))
        case "phrasing":
            said = [("user", "my HOME... Loswick!"), ("friend", "Sounds like a place to stay in")]
            data["train"].append(talk("p4", source="simulator", said=said, value="Loswick"))
    assert test.id == "test-c"
    return data


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("person", "'train-p' is in train and val"),
        ("conversation", "'train-c' is in train and test"),
        ("text", "'p2' of val is 9.% like 'p1' of train"),
        ("value", "'karrow'"),
        ("phrasing", "fact 'my home _'"),
    ],
)
def test_planted_leaks_raise(kind: str, named: str) -> None:
    with pytest.raises(LeakError, match=rf"{kind} \(1\): {named}"):
        check_leaks(planted(kind), DedupParams())


def test_a_question_of_the_test_in_training_raises() -> None:
    examples = {
        "train": [ground("train", "Where do I live?"), ground("train", "Hi!", "plain")],
        "test": [ground("test", "where do I live"), ground("test", "Hi", "plain")],
    }
    with pytest.raises(LeakError, match=r"phrasing \(1\): question 'where do i live'"):
        check_leaks(clean(), DedupParams(), ground=examples)


def test_a_user_of_examples_on_both_sides_raises() -> None:
    with pytest.raises(LeakError, match=r"user of notes.*'ana' is in train and test"):
        check_leaks(clean(), DedupParams(), notes={"train": [note("ana")], "test": [note("ana")]})
    with pytest.raises(LeakError, match="user of grounding"):
        rows = [ground("train", "what?")]
        check_leaks(clean(), DedupParams(), ground={"train": rows, "val": rows})


def test_real_sources_may_share_values_and_phrasings() -> None:
    data = clean()
    said = [("user", "My home: Karrow"), ("friend", "It is a small world after all, I say")]
    data["train"].append(talk("p5", source="real", said=said, value="Karrow"))
    assert check_leaks(data, DedupParams()) == 0


def test_words_heard_in_another_sense_are_listed() -> None:
    data = clean()
    said = [("user", "There is a karrow in my soup"), ("friend", "Waiter!")]
    data["train"].append(talk("p6", source="simulator", said=said))
    assert values_heard(data) == ["karrow"]
    assert values_heard(clean()) == []


def test_a_skeleton_has_no_values_case_or_punctuation() -> None:
    assert skeleton("I'm in Velmora, Ana!", [(7, 14), (16, 19)]) == "i m in _ _"
