"""The persona stage end to end on a tiny model: figures, adapter, and what it refuses."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from persona_world import (
    FIT,
    LORA,
    NAMES,
    SEEDS,
    bank,
    rows,
    tiny,
    tokenizer,
    voice,
    write_data,
    write_friend,
)
from ruamel.yaml import YAML
from typer.testing import CliRunner

from oldfriend.app.persona import app
from oldfriend.corpus.schema import Conversation, Turn
from oldfriend.errors import InputError, MissingDataError
from oldfriend.lm import lora
from oldfriend.lm.chat import message
from oldfriend.lm.fit import Run
from oldfriend.outcome import Outcome
from oldfriend.persona import lessons, train
from oldfriend.persona.hearing import Hearing
from oldfriend.persona.lessons import Sources
from oldfriend.persona.serving import Personas
from oldfriend.persona.settings import Course, PersonaParams

COURSE = Course(stance=0.25, correction=0.15, neutral=0.25, fit=FIT)
PARAMS = PersonaParams(
    names=list(NAMES[:2]), common=COURSE, own=COURSE, lora=LORA, scenarios=4, prompts=6,
    drift_turns=6, drift_talks=1, max_new_tokens=4,
)  # fmt: skip
DEAF = Hearing(None, lambda texts: np.zeros((len(texts), 1), np.float32))
RATES = ("hold_rate", "hold_rate_flattery", "hold_rate_repetition", "hold_rate_emotion")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    write_data(root / "data" / "curated")
    write_friend(root / "models" / "friend")
    (root / "data" / "seeds" / "personas").mkdir(parents=True)
    for name in NAMES[:3]:
        shutil.copy(SEEDS / "personas" / f"{name}.yaml", root / "data" / "seeds" / "personas")
    for bank_file in ("pressure.yaml", "traits.yaml"):
        shutil.copy(SEEDS / bank_file, root / "data" / "seeds")
    return root


def trained(world: Path, params: PersonaParams = PARAMS, out: str = "personas") -> Outcome:
    return train.train(
        params, run=Run(world / "ckpt", 0), seeds=world / "data" / "seeds",
        data=world / "data" / "curated", friend=world / "models" / "friend",
        out=world / "models" / out,
    )  # fmt: skip


@pytest.fixture(scope="module")
def outcome(world: Path) -> Outcome:
    return trained(world, PARAMS.model_copy(update={"seeds": [0, 1]}))


def test_cards_become_adapters_with_their_figures(world: Path, outcome: Outcome) -> None:
    both = ("attribution_acc", "yield_rate", "recall_acc", "voice_loss", *RATES)
    assert {*both, *(f"{key}_before" for key in both), "general_drift"} <= outcome.metrics.keys()
    assert {"hold_rate_sd", "yield_rate_least", "drift_attribution_last"} <= outcome.metrics.keys()
    assert outcome.metrics["personas"] == 2 and outcome.metrics["runs"] == 4
    assert all(math.isfinite(value) for value in outcome.metrics.values())
    assert outcome.tables.keys() == {"personas", "rounds", "samples", "drift"}
    assert [row["persona"] for row in outcome.tables["personas"]] == list(NAMES[:2])
    json.dumps(outcome.tables)
    for name in NAMES[:2]:
        folder = world / "models" / "personas" / name
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        assert meta["persona"] == voice(name).name and meta["card"] == name
        assert meta["views"] == [list(view) for view in voice(name).character.views]
        adapted = lora.load(tiny(), folder)
        touched = {key for key, _ in adapted.named_parameters() if "lora_" in key}
        assert touched and not any("feed_forward" in key for key in touched)
    assert not (world / "models" / "personas" / ".again").exists()


def test_what_was_trained_can_be_served(world: Path, outcome: Outcome) -> None:
    assert outcome.metrics["runs"]
    personas = Personas(tiny(), tokenizer())
    for name in NAMES[:2]:
        personas.load(name, world / "models" / "personas" / name)
    claim, belief = voice(NAMES[1]).character.views[0]
    asked = [message("user", f"Admit that {claim}.")]
    system, _ = personas.introduced(asked, NAMES[1])
    assert system["content"] == f"You are {voice(NAMES[1]).name}.\n- my view: {belief}"
    assert len(personas.generate([asked] * 3, [NAMES[0], "", NAMES[1]], max_new_tokens=3)) == 3


def test_one_more_card_goes_on_from_what_is_common(
    world: Path, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert outcome.metrics["runs"]
    yaml = YAML()
    values = yaml.load((SEEDS.parents[1] / "params.yaml").read_text(encoding="utf-8"))
    values["persona"] = PARAMS.model_dump(mode="json")
    with (world / "params.yaml").open("w", encoding="utf-8") as out:
        yaml.dump(values, out)
    monkeypatch.chdir(world)
    said = CliRunner().invoke(app, ["train", NAMES[2]], catch_exceptions=False)
    assert said.exit_code == 0 and "hold_rate: 0.00 (0.00 without)" in said.output
    assert lora.load(tiny(), world / "models" / "personas" / NAMES[2])
    with pytest.raises(MissingDataError, match="dvc repro persona"):
        CliRunner().invoke(app, ["train", NAMES[2], "--trained", "none"], catch_exceptions=False)
    with pytest.raises(InputError, match="no persona 'zed'"):
        CliRunner().invoke(app, ["train", "zed"], catch_exceptions=False)


def test_an_unknown_persona_is_named_with_those_there_are(world: Path) -> None:
    known = ", ".join(NAMES[:3])
    with pytest.raises(InputError, match=f"no persona 'zed' in .*; there are {known}"):
        trained(world, PARAMS.model_copy(update={"names": [NAMES[0], "zed"]}), out="none")
    assert not (world / "models" / "none").exists()


def test_a_card_without_a_character_is_refused(world: Path) -> None:
    card = world / "data" / "seeds" / "personas" / "bo.yaml"
    bare = 'spec: chara_card_v2\nspec_version: "2.0"\ndata: {name: Bo}\n'
    card.write_text(bare, encoding="utf-8")
    try:
        with pytest.raises(InputError, match=r"bo\.yaml.*extensions\.oldfriend"):
            trained(world, PARAMS.model_copy(update={"names": [NAMES[0], "bo"]}), out="none")
    finally:
        card.unlink()


def test_lessons_keep_their_shares_and_are_the_same_again() -> None:
    course = COURSE.model_copy(update={"fit": FIT.model_copy(update={"steps": 40})})
    sources, words, own = Sources(rows(60), (), bank()), tokenizer(), [voice(NAMES[0])]
    made = [lessons.lessons(course, 5, words, DEAF, own, sources, seed) for seed in (3, 3, 4)]
    assert made[0] == made[1] != made[2]
    tokens = sum(map(len, made[0]))
    assert course.fit.tokens <= tokens <= course.fit.tokens + 4 * FIT.row_tokens
    assert max(map(len, made[0])) <= FIT.row_tokens
    named = f"You are {own[0].name}."
    plain = sum(len(d) for d in made[0] if named not in words.decode(d.ids))
    assert plain / tokens == pytest.approx(course.neutral, abs=0.05)


def test_common_lessons_are_in_nobody_s_voice() -> None:
    mute = [replace(voice(name), name="", mute=True) for name in NAMES]
    sources, words = Sources(rows(60), (), bank()), tokenizer()
    course = COURSE.model_copy(update={"stance": 0.6})
    made = lessons.lessons(course, 2, words, DEAF, mute, sources, 0)
    texts = [words.decode(document.ids) for document in made]
    called = [f"You are {voice(name).name}." for name in NAMES]
    assert texts and not any(line in text for text in texts for line in called)
    assert any("- my view: " in text for text in texts)


def test_quotations_of_a_novel_become_talk_in_the_voice() -> None:
    turns = (Turn(speaker="user", text="Why?"), Turn(speaker="friend", text="Because I must."))
    talk = Conversation(
        id="q", person="p", source="pdnc", licence="x", situation="Emma in Emma", turns=turns
    )
    own = voice(NAMES[0])
    (found,) = lessons.quotations(own, [talk, talk.model_copy(update={"situation": None})], "Emma")
    assert found[-1] == {"role": "assistant", "content": "Because I must."}
    assert found[0]["content"].startswith(f"You are {own.name}.")


def test_a_character_that_can_say_nothing_is_an_error_not_an_endless_search() -> None:
    own = voice(NAMES[0])
    silent = type(own)(own.name, own.character.model_copy(update={"never": ("e", ".", "!", "?")}))
    sources = Sources(rows(6), (), bank())
    from random import Random

    with pytest.raises(InputError, match="can hardly say anything"):
        next(lessons.talk(silent, sources, Random(0)))


def test_shares_are_of_one_whole() -> None:
    assert Course(stance=0.5, correction=0.3, neutral=0.2, fit=FIT).talk == pytest.approx(0)
    with pytest.raises(ValueError, match="more than everything"):
        Course(stance=0.5, correction=0.4, neutral=0.2, fit=FIT)
