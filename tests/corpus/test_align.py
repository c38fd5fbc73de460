"""The extractive oracle: the words of a turn that a note was made from."""

import pytest

from oldfriend.corpus.importers.align import Notes, align, best_turn, items, kind_of, sentences
from oldfriend.corpus.importers.english import stem, words


def found(text: str, note: str, **options: object) -> str | None:
    span = align(text, note, **options)  # type: ignore[arg-type]
    return text[span.start : span.end] if span else None


@pytest.mark.parametrize(
    ("text", "note", "value"),
    [
        ("I joined a pottery class.", "Ottil joined a pottery class.", "I joined a pottery class"),
        ("Well, um, and I keep bees, you see.", "I keep bees.", "I keep bees"),
        ("It rained. I keep three bees! Bye.", "Keeps 3 bees.", "I keep three bees"),
        ("I'm twenty six. Why?", "The patient is 26 years old.", "I'm twenty six"),
        ("Yes, I turned fifty five.", "Turned 55.", "I turned fifty five"),
        ("I had an M R I scan.", "MRI scan.", "I had an M R I scan"),
        ("I saw Dr. Moss on Monday.", "Saw Dr. Moss Monday.", "I saw Dr. Moss on Monday"),
        ("I have asthma and gout.", "Asthma.", "I have asthma"),
        ("Do you keep bees?", "Keeps bees.", None),
        ("I never keep bees.", "Keeps bees.", None),
        ("I keep bees.", "Does not keep bees.", None),
        ("Correct, no drug allergies.", "No known drug allergies.", "no drug allergies"),
        ("No, I keep bees.", "Keeps bees.", "I keep bees"),
        ("Nice weather today.", "Keeps bees.", None),
        ("", "Keeps bees.", None),
        ("I keep bees.", "", None),
        ("我喜欢旅游。", "喜欢旅游", "我喜欢旅游"),
    ],
)
def test_align(text: str, note: str, value: str | None) -> None:
    assert found(text, note, ignore=["Ottil"]) == value


def test_threshold_decides_how_much_must_agree() -> None:
    text = "I walked the goat through the whole village yesterday."
    note = "Walked a goat in the rain before breakfast."
    assert found(text, note) is None
    assert found(text, note, threshold=0.3) == text.rstrip(".")


def test_span_is_the_shortest_of_the_best() -> None:
    text = "My sister came, and I bought a red boat, and then it rained."
    assert found(text, "Bought a red boat.") == "I bought a red boat"


def test_best_turn_is_the_one_that_says_most() -> None:
    texts = ["I like boats.", "I bought a red boat in Delft."]
    number, span = best_turn(texts, "Bought a red boat in Delft.") or (None, None)
    assert number == 1
    assert span is not None
    assert span.score == pytest.approx(1)


def test_notes_never_overlap_and_stand_in_the_text() -> None:
    texts = ["", "I bought a red boat, and I keep bees."]
    notes = ["Keeps bees.", "Bought a red boat.", "Has bought a red boat.", "Likes tea."]
    facts = Notes("fact").find(texts, notes).found[1]
    assert [fact.value for fact in facts] == ["I bought a red boat", "I keep bees"]
    assert all(texts[1][fact.start : fact.end] == fact.value for fact in facts)


def test_kind_follows_the_note() -> None:
    assert kind_of("My sister sails.", "event") == "relationship"
    assert kind_of("I love boats.", "event") == "preference"
    assert kind_of("I sail.", "event") == "event"


def test_notes_fall_into_sentences_and_items() -> None:
    note = "Sails on 7.5 m boats. Seen by Dr. Moss; has gout and asthma, mild."
    assert sentences(note) == [
        "Sails on 7.5 m boats",
        "Seen by Dr. Moss",
        "has gout and asthma, mild",
    ]
    assert items("Asthma, gout and hives.") == ["Asthma", "gout", "hives"]


def test_words_have_one_spelling() -> None:
    assert words("Two boats sailed").content == words("2 boat sails").content
    assert stem("parties") == stem("party")
    assert stem("running") == stem("run")
    assert words("I don't sail").negative
    assert not words("I sail").negative
