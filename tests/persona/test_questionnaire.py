"""Self-report: inventories read, answers graded by likelihood, dimensions scored and compared."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from persona_world import FIT, NAMES, SEEDS, tiny, tokenizer, voice

from oldfriend.errors import InputError, MissingDataError
from oldfriend.lm.chat import answer_documents, message
from oldfriend.lm.fit import Run, fit_model
from oldfriend.persona import questionnaire
from oldfriend.persona.lessons import self_report
from oldfriend.persona.questionnaire import (
    Scale,
    compare,
    grades,
    read_inventory,
    read_traits,
    scored,
)
from oldfriend.persona.voice import introduced

REAL = SEEDS.parent / "external" / "incharacter" / "questionnaires"
ITEMS = {"1": "Are you talkative?", "2": "Are you reserved?", "3": "Are you moody?"}


def written(tmp_path: Path, **changes: Any) -> Path:
    content = {
        "name": "BFI",
        "reverse": [2],
        "range": [1, 5],
        "categories": [
            {"cat_name": "Extraversion", "cat_questions": [1, 2], "crowd": []},
            {"cat_name": "Neuroticism", "cat_questions": [3]},
        ],
        "questions": {
            number: {"rewritten_en": text, "origin_en": text} for number, text in ITEMS.items()
        },
    }
    path = tmp_path / "BFI.json"
    path.write_text(json.dumps(content | changes), encoding="utf-8")
    return path


def test_reversed_items_are_turned_round_and_dimensions_are_means(tmp_path: Path) -> None:
    inventory = read_inventory(written(tmp_path))
    found = scored(inventory, {1: 0.9, 2: 0.3, 3: 0.25})
    assert [(s.dimension, s.score) for s in found] == [
        ("Extraversion", pytest.approx(0.8)),
        ("Neuroticism", 0.25),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"questions": {}}, "no question 1"),
        ({"categories": []}, "categories"),
        ({"reverse": ["x"]}, "reverse.0"),
        ({"questions": {"1": {"rewritten_en": ""}}}, "rewritten_en"),
        ({"name": None}, "name"),
    ],
)
def test_a_damaged_inventory_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_inventory(written(tmp_path, **changes))


@pytest.mark.parametrize("content", [b"", b"[", b"\xff", b"[1]", b"[" * 100_000])
def test_what_is_no_inventory_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "BFI.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"BFI\.json"):
        read_inventory(path)


def test_a_huge_inventory_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "BFI.json"
    path.write_bytes(b" " * (questionnaire.MAX_BYTES + 1))
    with pytest.raises(InputError, match="larger"):
        read_inventory(path)


def test_answers_follow_what_the_model_finds_likely(tmp_path: Path) -> None:
    own, model, words = voice(NAMES[0]), tiny(), tokenizer()
    system = message("system", questionnaire.SYSTEM)
    talks = [
        [*introduced([system, message("user", asked)], own.name), message("assistant", said)]
        for asked, grade in (("Are you talkative?", 4), ("Are you reserved?", 0))
        for said in questionnaire.GRADES[grade]
    ]
    fit = FIT.model_copy(update={"steps": 30, "lr": 5e-3})
    documents = answer_documents(words, talks * 8)
    fit_model(model, documents, fit, Run(tmp_path / "ckpt", 0), pad_id=words.pad_token_id)
    yes, no = grades(model, words, own, ["Are you talkative?", "Are you reserved?"])
    assert 0 <= no < 0.5 < yes <= 1


def test_comparison_stands_beside_chance_and_the_model_before() -> None:
    own = voice(NAMES[0])
    declared = own.character.profile.bfi.model_dump()
    truth = [Scale("BFI", name.capitalize(), score) for name, score in declared.items()]
    middle = [Scale("BFI", name.capitalize(), 0.5) for name in declared]
    other = [Scale("EIS", "Emotionally Intelligent", 0.7)]
    outcome = compare(truth + other, middle + other, own)
    assert outcome.metrics["bfi_error"] == 0
    assert outcome.metrics["bfi_error_before"] == pytest.approx(outcome.metrics["bfi_error_middle"])
    assert outcome.metrics["bfi_error_random"] > outcome.metrics["bfi_error_middle"]
    assert len(outcome.tables["self_report"]) == 6
    without = compare(other, other, own)
    assert without.metrics == {} and len(without.tables["self_report"]) == 1
    assert compare([], [], own).tables == {}


def test_no_folder_no_inventories(tmp_path: Path) -> None:
    assert questionnaire.inventories(tmp_path / "nowhere") == []
    assert questionnaire.answer_all(tmp_path, tiny(), tokenizer(), voice(NAMES[0])) == []


def test_self_knowledge_follows_the_card_and_asks_no_item_of_an_inventory() -> None:
    traits = read_traits(SEEDS / "traits.yaml")
    assert all(len(trait.high) >= 10 and len(trait.low) >= 10 for trait in traits.values())
    calm = next(voice(n) for n in NAMES if voice(n).character.profile.bfi.neuroticism < 0.2)
    nerves = {"neuroticism": traits["neuroticism"]}
    plain = {text: grade for grade, texts in enumerate(questionnaire.GRADES) for text in texts}
    seen = set()
    for seed in range(60):
        talk = self_report(calm, nerves, "Ana", Random(seed))
        if talk is not None and talk[-1]["content"] in plain:
            asked_low = talk[-2]["content"] in nerves["neuroticism"].low
            assert plain[talk[-1]["content"]] == (4 if asked_low else 0)
            seen.add(asked_low)
    assert seen == {True, False}


@pytest.mark.parametrize(
    ("content", "message"),
    [("warmth: {high: [a], low: [b]}", "no trait 'warmth'"), ("openness: {high: [a]}", "low"),
     ("openness: [", "not YAML"), ("- a", "dict")],
)  # fmt: skip
def test_damaged_questions_about_oneself_are_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "traits.yaml"
    with pytest.raises(MissingDataError):
        read_traits(path)
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_traits(path)


@pytest.mark.skipif(not REAL.is_dir(), reason="InCharacter's questionnaires are not on this disk")
def test_the_public_inventories_are_read() -> None:
    found = {inventory.name: inventory for inventory in questionnaire.inventories(REAL)}
    assert len(found["BFI"].questions) == 44
    ours = {q for t in read_traits(SEEDS / "traits.yaml").values() for q in (*t.high, *t.low)}
    assert not ours & {item.rewritten_en for i in found.values() for item in i.questions.values()}
    assert {part.cat_name for part in found["BFI"].categories} == {
        "Extraversion", "Agreeableness", "Conscientiousness", "Neuroticism", "Openness",
    }  # fmt: skip
