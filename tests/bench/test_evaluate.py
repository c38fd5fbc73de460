"""The evaluation: what is asked is true to the life, the rules judge as they say, and every system
answers the same moments."""

from pathlib import Path

import pytest

from oldfriend.bench.evaluate import moments as m
from oldfriend.bench.evaluate.rules import Act, Rules
from oldfriend.bench.evaluate.run import evaluate, judged
from oldfriend.bench.evaluate.settings import EvaluateParams
from oldfriend.bench.evaluate.systems import SYSTEMS, Answer
from oldfriend.corpus.seeds import Seeds
from oldfriend.errors import InputError
from oldfriend.lm import model as models
from oldfriend.lm.settings import BaseParams, FitParams
from oldfriend.lm.tokenizer import train_tokenizer
from oldfriend.memory.store.embed import HashEmbedder
from oldfriend.persona.card import read

SEEDS = Path(__file__).parents[2] / "data" / "seeds"
TINY = EvaluateParams(seeds=(0,), lives=2, sessions=8, questions=6, feelings=3, talks=2)


@pytest.fixture(scope="module")
def banks() -> Seeds:
    return Seeds.load(SEEDS)


@pytest.fixture(scope="module")
def rules(banks: Seeds) -> Rules:
    character = read(SEEDS / "personas" / "tormod.yaml").character
    assert character
    return Rules(banks, SEEDS / "judge.yaml", HashEmbedder(512).encode, [character])


def test_the_same_seed_asks_the_same_of_the_same_people(banks: Seeds) -> None:
    first, again, other = (
        [m.moments(w, [], banks, TINY) for w in m.new_worlds(TINY, banks, seed)]
        for seed in (0, 0, 1)
    )
    assert first == again != other
    assert [len(rows) for rows in first] == [11, 11]


def test_questions_know_the_truth_of_the_life(banks: Seeds) -> None:
    params = TINY.model_copy(update={"questions": 40})
    one, other = m.new_worlds(params, banks, 3)
    asked = [q for q in m.moments(one, [other.life], banks, params) if isinstance(q, m.Question)]
    held = {fact.value for fact in one.life.facts}
    assert {q.kind for q in asked} >= {"recall", "someone_else"}
    for question in asked:
        assert question.truth <= held and not question.truth & question.wrong
        assert bool(question.truth) == (question.kind not in ("never_said", "someone_else"))
        if question.kind == "someone_else":
            assert question.wrong and not question.wrong & held


@pytest.mark.parametrize(
    ("truth", "said", "value", "outcome"),
    [
        ("Miro", "It is miro.", "", "right"),
        ("Miro", "It is Rex.", "", "wrong"),
        ("Miro", "You never told me.", "", "shy"),
        ("Miro", "It is Bo.", "Bo", "wrong"),
        ("Miro", "I'm listening.", "", "unclear"),
        ("", "You never told me.", "", "honest"),
        ("", "It is Rex.", "", "wrong"),
        ("", "It is Bo.", "Bo", "wrong"),
    ],
)
def test_outcomes_of_answers(truth: str, said: str, value: str, outcome: str) -> None:
    told = frozenset({truth} - {""})
    question = m.Question("recall", "?", told, frozenset({"Rex"}))
    assert judged(question, Answer(said, value)) == outcome


def test_every_line_of_the_bank_is_taken_for_what_it_does(banks: Seeds, rules: Rules) -> None:
    texts = [reply.text for emotion in banks.life.emotions.values() for reply in emotion.replies]
    ways = [reply.strategy for emotion in banks.life.emotions.values() for reply in emotion.replies]
    assert [act.strategy for act in rules.acts(texts)] == ways
    small = [exchange.reply for exchange in banks.life.smalltalk.test]
    assert {act.strategy for act in rules.acts(small)} == {None}
    assert rules.acts(["zzz qqq xxx", ""]) == [Act(), Act()]
    assert all(act.hurts for act in rules.acts(["You're overreacting.", "Calm down."]))


def test_what_eases_and_what_hurts(banks: Seeds, rules: Rules) -> None:
    grief, joy = m.Feeling("", "grief", 0.9), m.Feeling("", "joy", 0.8)
    own = {r.text: rules.acts([r.text])[0] for r in banks.life.emotions["grief"].replies}
    assert all(rules.change(grief, act) == 1 for act in own.values())
    happy = [rules.acts([r.text])[0] for r in banks.life.emotions["joy"].replies]
    assert all(rules.change(joy, act) == 1 for act in happy)
    assert min(rules.change(grief, act) for act in happy) == -1
    assert rules.change(grief, Act(0.0, "teasing")) == -1
    assert rules.change(grief, Act(hurts=True)) == rules.change(joy, Act(hurts=True)) == -1
    assert rules.change(grief, Act()) == 0
    card = read(SEEDS / "personas" / "tormod.yaml").character
    assert card
    comfort, feast = rules.acts([card.lines["comfort"][0], card.lines["celebrate"][0]])
    assert (rules.change(grief, comfort), rules.change(grief, feast)) == (1, -1)
    assert (rules.change(joy, comfort), rules.change(joy, feast)) == (0, 1)


def test_all_systems_answer_and_the_table_says_how(tmp_path: Path) -> None:
    fit = FitParams(steps=1, lr=1e-3, precision="32-true", accelerator="cpu")
    params = BaseParams(hidden=32, layers=2, heads=2, ffn=32, fit=fit)
    tokenizer = train_tokenizer(["my cat is called Miro. good morning to you"] * 9, 300)
    (tmp_path / "friend").mkdir()
    models.save(models.build(params, tokenizer, 0), tokenizer, tmp_path / "friend", {"seed": 0})
    tiny = TINY.model_copy(update={"max_new_tokens": 6, "notes": "true"})
    outcome = evaluate(tiny, seeds=SEEDS, models=tmp_path, embed=HashEmbedder())
    rows = {row["system"]: row for row in outcome.tables["ablations"]}
    assert tuple(rows) == SYSTEMS
    assert {row["without"] for row in outcome.tables["gains"]} == set(SYSTEMS) - {"full"}
    for row in outcome.tables["gains"]:
        wanted = rows["full"]["memory_acc"] - rows[row["without"]]["memory_acc"]
        assert row["memory_acc"] == pytest.approx(wanted)
    assert outcome.metrics["memory_acc"] == rows["full"]["memory_acc"]
    assert outcome.metrics["memory_acc_no_memory"] == rows["no_memory"]["memory_acc"]
    told = rows["no_memory"]["memory_acc"] * 12  # without memory only what was never told is right
    assert told <= 4
    assert all(0 <= v <= 1 for k, v in outcome.metrics.items() if k.endswith(("_acc", "_rate")))
    assert len(outcome.tables["replies"]) == 22


def test_a_persona_that_is_not_there_is_named(tmp_path: Path) -> None:
    nobody = TINY.model_copy(update={"persona": "nobody"})
    with pytest.raises(InputError, match="no persona 'nobody'"):
        evaluate(nobody, seeds=SEEDS, models=tmp_path, embed=HashEmbedder())
