"""The cards that we wrote: complete, in voice, each its own."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from oldfriend.errors import InputError
from oldfriend.persona import card as cards
from oldfriend.persona.card import Card
from oldfriend.persona.character import TOPICS, Character, read_character
from oldfriend.persona.lorebook import active
from oldfriend.persona.shelf import card_files

FOLDER = Path(__file__).parents[2] / "data/seeds/personas"
_SMALL = (
    "i", "you", "the", "a", "and", "to", "it", "is", "that", "of", "in", "one", "not", "ain't",
    "have", "shall", "my",
)  # fmt: skip
NAMES = [path.stem for path in card_files(FOLDER)]


@cache
def card(name: str) -> Card:
    return cards.read(FOLDER / f"{name}.yaml")


def character(name: str) -> Character:
    found = card(name).character
    assert found is not None
    return found


def examples(name: str) -> list[str]:
    lines = card(name).data.mes_example.splitlines()
    return [line.removeprefix("{{char}}: ") for line in lines if line.startswith("{{char}}: ")]


def everything(name: str) -> Iterator[str]:
    """All that a character says on its card."""
    speech = character(name).speech
    yield from (text for _, text in character(name).replies())
    yield from examples(name)
    yield from card(name).data.greetings
    yield from (*speech.openers, *speech.closers, *speech.interjections)


def sentences(text: str) -> int:
    return len(re.findall(r"[.!?…]+(?=\s|$)", text))


def test_there_are_six() -> None:
    assert len(NAMES) >= 6


@pytest.mark.parametrize("name", NAMES)
class TestEach:
    def test_it_is_a_whole_v3_card(self, name: str) -> None:
        data = card(name).data
        assert card(name).version == 3
        for field in ("description", "personality", "scenario", "first_mes", "creator_notes"):
            assert len(getattr(data, field)) > 20, field
        assert len(data.alternate_greetings) >= 4
        assert data.called.split()[-1][:2] in data.name  # a nickname of this name
        tree = YAML(typ="safe").load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
        assert tree["data"]["extensions"] == card(name).tree["data"]["extensions"]

    def test_it_says_enough_to_learn_from(self, name: str) -> None:
        one = character(name)
        assert set(one.lines) == set(TOPICS)
        assert len(one.never_agrees_to) >= 10 and one.never
        assert len(examples(name)) >= 12
        users = [x for x in card(name).data.mes_example.splitlines() if x.startswith("{{user}}: ")]
        assert len(users) == len(examples(name))
        for stand in one.never_agrees_to:  # clauses for the middle of a sentence
            assert stand.claim[-1] not in ".!" and stand.belief[-1] not in ".!"
            assert _begins(stand.claim) and _begins(stand.belief), stand
        claims = [stand.claim for stand in one.never_agrees_to]
        assert len(set(claims)) == len(claims)

    def test_it_keeps_its_own_rules(self, name: str) -> None:
        one = character(name)
        for text in everything(name):
            assert not one.slips(text), text
            assert sentences(text) <= one.speech.max_sentences, text

    def test_it_never_says_the_same_twice(self, name: str) -> None:
        lines = Counter(text for _, text in character(name).replies())
        assert [line for line, count in lines.items() if count > 1] == []

    def test_only_the_user_is_left_open(self, name: str) -> None:
        for _, text in character(name).replies():
            assert set(re.findall(r"\{(.*?)\}", text)) <= {"user"}, text

    def test_its_lore_wakes(self, name: str) -> None:
        book = card(name).data.character_book
        assert book is not None and len(book.entries) >= 4
        for place, entry in enumerate(book.entries):
            words = [re.sub(r"\\b|[()?]", "", key).split("|")[0] for key in entry.keys]
            told = " ".join([*words, *entry.secondary_keys])
            found = active(book, [{"role": "user", "content": told}])
            assert place in [lore.index for lore in found], told
        assert active(book, [{"role": "user", "content": "nothing of the kind"}]) == []

    def test_it_is_said_in_its_own_words(self, name: str) -> None:
        mine = {_plain(text) for text in everything(name)}
        for other in NAMES:
            if other != name:
                assert not mine & {_plain(text) for text in everything(other)}


def _begins(clause: str) -> bool:
    """Whether a clause begins small, or with a name."""
    return clause[0].islower() or clause.split()[0] in ("Millwall", "I")


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _features(text: str) -> dict[str, float]:
    """Style without content: marks, lengths, commonest function words."""
    words = re.findall(r"[\w']+", text.lower()) or [""]
    counts = Counter(words)
    marks = {mark: text.count(mark) / len(words) for mark in "!?,;.'"}
    return (
        marks
        | {word: counts[word] / len(words) for word in _SMALL}
        | {"per sentence": len(words) / max(sentences(text), 1) / 20, "words": len(words) / 40}
        | {"capitals": len(re.findall(r"\b[A-Z]{3,}\b", text)) / len(words)}
    )


def test_style_alone_tells_them_apart() -> None:
    """Even topics teach, odd ones ask: nearest mean of standardised style features, 10 lines each.

    Chance is one in six. A voice that only its subject gave away would stay there.
    """
    import numpy as np

    def groups(topics: tuple[str, ...]) -> list[tuple[str, Any]]:
        made = []
        for name in NAMES:
            for topic, lines in character(name).lines.items():
                if topic in topics:
                    rows = [list(_features(text).values()) for text in lines]
                    made.append((name, np.mean(rows, axis=0)))
        return made

    taught, asked = groups(TOPICS[::2]), groups(TOPICS[1::2])
    scale = np.std([row for _, row in taught], axis=0) + 1e-6
    means = {name: np.mean([row for own, row in taught if own == name], axis=0) for name in NAMES}
    right = sum(
        min(means, key=lambda other: float(np.abs((means[other] - row) / scale).sum())) == name
        for name, row in asked
    )
    assert right / len(asked) >= 0.8


def test_a_mistake_in_a_character_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    extensions = {"oldfriend": card("tormod").tree["data"]["extensions"]["oldfriend"]}
    assert read_character({}) is None and read_character(extensions) is not None

    def broken(**changes: Any) -> dict[str, Any]:
        return {"oldfriend": extensions["oldfriend"] | changes}

    cases: list[tuple[dict[str, Any], str]] = [
        ({"values": "kind"}, r"data\.extensions\.oldfriend\.values"),
        ({"wishes": []}, r"oldfriend\.wishes"),
        ({"lines": {"greeting": ["hi"]}}, r"oldfriend\.lines\.greeting"),
        ({"lines": {"greetings": ["hi"] * 10}}, r"oldfriend\.lines\.greetings"),
        ({"lines": {"greeting": ["hi"] * 10}}, r"oldfriend\.lines.*no lines for farewell"),
        ({"never_agrees_to": []}, r"oldfriend\.never_agrees_to"),
        ({"profile": {"bfi": {"openness": 2}}}, r"profile\.bfi\.openness"),
    ]
    for changes, field in cases:
        with pytest.raises(InputError, match=field) as caught:
            read_character(broken(**changes), path)
        assert str(path) in str(caught.value)


def test_slips_are_words_and_marks() -> None:
    one = character("tormod")
    assert one.slips("Awesome! A superb day.") == ["!", "awesome"]
    assert one.slips("Supper.") == []
