"""Choosing a strategy: what the head sees, how a card leans, and that training beats guessing."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from felt import LONG, feel, scene, talk
from hypothesis import given, settings
from hypothesis import strategies as st

from oldfriend.corpus.schema import Conversation, Turn, write_rows
from oldfriend.empathy.context import COURSE, StrategyContext, course, texts
from oldfriend.empathy.emotion import Emotion, Feelings
from oldfriend.empathy.encoder import Array, Encoder
from oldfriend.empathy.settings import StrategyParams
from oldfriend.empathy.strategies import ESCONV, STRATEGIES, strategy_of
from oldfriend.empathy.strategy import (
    FEATURES,
    MAPS,
    SUPPORT,
    VECTORS,
    Maps,
    Strategist,
    load_maps,
    save_maps,
    vectors,
)
from oldfriend.empathy.strategy_data import life_moments, support_moments
from oldfriend.empathy.strategy_train import apply, fit, scores, train
from oldfriend.errors import CheckpointError, InputError, MissingDataError

RNG = np.random.default_rng(0)
NONE = np.zeros((0, 0), np.float32)
turns = st.lists(
    st.builds(
        Turn,
        speaker=st.sampled_from(["user", "friend"]),
        text=st.text(min_size=1, max_size=30),
        strategy=st.sampled_from([None, *STRATEGIES, "Question", "unheard of"]),
    ),
    max_size=30,
)


class Ear(Emotion):
    """Hears one word at a time; no model."""

    def __init__(self) -> None:
        super().__init__(Encoder(), None)  # type: ignore[arg-type]

    def read(self, texts: Sequence[str]) -> list[Feelings]:
        return [feel("sadness", 0.8) if "sad" in t else feel("neutral", 0.05) for t in texts]


class Flat(Encoder):
    """Vectors that say only how long a text is."""

    def encode(self, texts: Sequence[str]) -> Array:
        found = np.zeros((len(texts), VECTORS // 3), np.float32)
        found[:, 0] = [len(text) for text in texts]
        return found


def random_maps(support: bool = True) -> Maps:
    life = RNG.normal(size=(len(STRATEGIES), COURSE + 1)).astype(np.float32)
    wide = RNG.normal(size=(SUPPORT, FEATURES + 1)).astype(np.float32)
    return Maps(life, wide if support else NONE)


def flat_maps() -> Maps:
    return Maps(np.zeros((len(STRATEGIES), COURSE + 1), np.float32), NONE)


def test_esconvs_strategies_are_our_first_eight() -> None:
    assert STRATEGIES[:SUPPORT] == ESCONV
    assert strategy_of("Providing Suggestions") == "suggestions"
    assert strategy_of("[Questions]") == "question"
    assert strategy_of("Self-disclosure") == strategy_of("self_disclosure") == "self_disclosure"
    assert strategy_of("teasing") == "teasing"
    assert strategy_of("hypnosis") is strategy_of(None) is None


@settings(deadline=None)
@given(turns)
def test_any_talk_has_a_course(said: list[Turn]) -> None:
    found = course(StrategyContext(said, feel("joy", 0.7)))
    assert found.shape == (COURSE,)
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 4


def test_the_course_tells_talks_apart() -> None:
    asked = talk("user: hm", "friend/question: why?", "user: no idea")
    praised = talk("user: hm", "friend/praise: why!", "user: no idea")
    twice = talk("user: hm", "friend/question: why?", "friend/question: so?", "user: no idea")
    found = [course(StrategyContext(one, feel("joy"))) for one in (asked, praised, twice)]
    assert not (found[0] == found[1]).all()
    assert not (found[0] == found[2]).all()


def test_messages_sent_one_after_the_other_are_one() -> None:
    context = StrategyContext(talk("friend: hi", "user: I am", "user: sad"), feel("sadness"))
    assert texts(context)[:2] == ("I am sad", "hi")


def test_each_text_is_encoded_once() -> None:
    seen: list[str] = []

    class Counting(Flat):
        def encode(self, texts: Sequence[str]) -> Array:
            seen.extend(texts)
            return super().encode(texts)

    contexts = [scene("hello", feel("joy")), scene("hello", feel("joy"))]
    assert vectors(contexts, Counting()).shape == (2, VECTORS)
    assert len(seen) == len(set(seen)) == 3


@pytest.mark.parametrize("support", [True, False])
def test_a_choice_comes_with_a_distribution(support: bool) -> None:
    strategist = Strategist(random_maps(support), Flat())
    choice = strategist.choose(scene("it rained", feel("sadness", 0.4)))
    assert choice.strategy in STRATEGIES
    assert sum(choice.probabilities.values()) == pytest.approx(1)
    assert strategist.choose(scene("it rained", feel("sadness", 0.4))) == choice


def test_a_strategist_without_encoder_serves_talk_that_does_not_hurt() -> None:
    odds = Strategist(random_maps(support=False)).probabilities(scene("hi", feel("joy", 0.5)))
    assert sum(odds.values()) == pytest.approx(1)


def test_the_more_it_hurts_the_more_the_support_head_says() -> None:
    bias = np.zeros((SUPPORT, FEATURES + 1), np.float32)
    bias[STRATEGIES.index("reflection_of_feelings"), -1] = 20
    strategist = Strategist(Maps(flat_maps().life, bias), Flat())
    odds = [
        strategist.probabilities(scene("x", feel("grief", strength)))["reflection_of_feelings"]
        for strength in (0.1, 0.3, 0.6)
    ]
    assert odds == sorted(odds)
    assert odds[2] > 0.7
    glad = strategist.probabilities(scene("x", feel("joy", 0.9)))
    assert glad["reflection_of_feelings"] == pytest.approx(1 / len(STRATEGIES))


def test_a_wit_jokes_and_a_sharp_tongue_teases() -> None:
    strategist = Strategist(flat_maps(), Flat())
    plain = strategist.probabilities(scene("x", feel("joy")))
    witty = strategist.probabilities(scene("x", feel("joy"), humour=1.0))
    sharp = strategist.probabilities(scene("x", feel("joy"), sharpness=1.0))
    mild = strategist.probabilities(scene("x", feel("joy"), humour=0.0, sharpness=0.0))
    assert witty["humour"] > plain["humour"] > mild["humour"]
    assert sharp["teasing"] > plain["teasing"] > mild["teasing"]
    assert sharp["praise"] < plain["praise"] < mild["praise"]


def test_no_card_makes_a_joke_of_grief() -> None:
    strategist = Strategist(flat_maps(), Flat())
    context = scene("She is gone.", feel("grief", 0.9), humour=1.0, sharpness=1.0)
    choice = strategist.choose(context)
    assert choice.strategy not in ("humour", "teasing")
    assert "no joke or teasing while grief is this strong" in choice.reasons


def test_maps_come_back_as_they_were_or_not_at_all(tmp_path: Path) -> None:
    maps = random_maps()
    save_maps(tmp_path, maps, 0.5, {})
    again, persona = load_maps(tmp_path)
    assert (again.life == maps.life).all()
    assert (again.support == maps.support).all()
    assert persona == 0.5
    save_maps(tmp_path, Maps(maps.life[:3], maps.support), 1.0, {})
    with pytest.raises(CheckpointError, match="another shape"):
        Strategist.load(tmp_path)
    (tmp_path / MAPS).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(CheckpointError, match="broken strategy head"):
        load_maps(tmp_path)
    with pytest.raises(CheckpointError):
        load_maps(tmp_path / "absent")


def test_a_map_finds_what_there_is_to_find() -> None:
    rows = RNG.normal(size=(3000, COURSE + 4)).astype(np.float32)
    labels = (rows[:, 0] > 0).astype(np.int64) + 4 * (rows[:, -1] > 0)
    weights = fit(rows, labels, 8, StrategyParams(c=1, balance=0))
    unseen = RNG.normal(size=(300, COURSE + 4)).astype(np.float32)
    truth = (unseen[:, 0] > 0).astype(np.int64) + 4 * (unseen[:, -1] > 0)
    assert scores(truth, apply(weights, unseen))["strategy_acc"] > 0.8
    blind = StrategyParams(c=1, balance=0, vector_scale=0)
    assert scores(truth, apply(fit(rows, labels, 8, blind), unseen))["strategy_acc"] < 0.7


def test_balance_gives_rare_strategies_a_voice() -> None:
    rows = RNG.normal(size=(600, COURSE)).astype(np.float32)
    labels = (rows[:, 0] + RNG.normal(size=600) > 1.8).astype(np.int64)
    said = [
        apply(fit(rows, labels, 2, StrategyParams(c=1, balance=balance)), rows).mean()
        for balance in (0.0, 1.0)
    ]
    assert said[0] < said[1]


def lives(folder: Path, people: int = 24) -> tuple[Path, Path]:
    """Friends who comfort the sad, joke back where a joke is open, and else chat."""
    for split in ("train", "test"):
        rows = []
        for n in range(people):
            name, low = f"{split}{n:02d}", n % 2 == 0
            said = f"{'sad' if low else 'fine'} {n}"
            strategy = "reflection_of_feelings" if low else "humour"
            rows += [
                Conversation(
                    id=f"{name}-{session:02d}", person=name, source="simulator", licence="ours",
                    time=datetime(2025, 1, 1 + session),
                    turns=(
                        Turn(speaker="user", text=f"hi {n}"),
                        Turn(speaker="friend", text="hello you"),
                        Turn(speaker="user", text=said),
                        Turn(speaker="friend", text="oh", strategy=strategy if session else None),
                    ),
                )
                for session in range(2)
            ]  # fmt: skip
        write_rows(folder / f"{split}.jsonl", rows)
    people_ids = [f"{split}{n:02d}" for split in ("train", "test") for n in range(people)]
    truth = [
        {
            "moments": []
            if int(name[-2:]) % 2 == 0
            else [
                {"role": "joke", "conversation": f"{name}-00", "turn": 2},
                {"role": "callback", "conversation": f"{name}-01", "refers": [f"{name}-00", 2]},
            ]
        }
        for name in people_ids
    ]
    path = folder / "lives.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in truth), encoding="utf-8")
    return folder, path


def test_moments_of_lives_know_the_open_joke_and_nothing_later(tmp_path: Path) -> None:
    folder, path = lives(tmp_path)
    found = life_moments(folder, path, "train", Ear(), most=1000, seed=0)
    marked = [moment for moment in found if moment.marked]
    assert {STRATEGIES[m.strategy] for m in found} == {
        "reflection_of_feelings", "humour", "others",
    }  # fmt: skip
    for moment in marked:
        joking = STRATEGIES[moment.strategy] == "humour"
        assert (moment.context.hits == ("shared joke",)) == joking
        assert len(moment.context.turns) == 3
        assert moment.context.turns[-1].speaker == "user"


def test_support_moments_end_before_the_reply() -> None:
    from oldfriend.empathy.data import Support

    said = (*LONG, *talk("user: so sad", "friend/question: why?"))
    dialogue = Support("train:1", False, said, (0,) * len(said), "", 4, 0)
    moments = support_moments([dialogue], Ear())
    assert [len(m.context.turns) for m in moments] == [1, 3, 5]
    assert moments[-1].context.feelings.top == ("sadness",)
    assert moments[-1].context.mood is not None
    assert moments[-1].context.mood.valence < 0


def test_lives_alone_are_enough_to_train(tmp_path: Path) -> None:
    folder, path = lives(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    found = train(
        StrategyParams(c=10),
        Ear(),
        Flat(),
        talk=folder,
        lives=path,
        support=[],
        folder=out,
        seed=0,
    )
    assert found.metrics["strategy_acc"] > 0.8
    assert found.metrics["strategy_acc"] == found.metrics["life_strategy_acc"]
    assert found.metrics["strategy_acc"] > found.metrics["strategy_acc_majority"] + 0.15
    strategist = Strategist.load(out)
    assert strategist.choose(scene("so sad 5", feel("sadness", 0.8))).strategy in STRATEGIES


def test_lives_that_are_missing_or_broken_are_named(tmp_path: Path) -> None:
    folder, path = lives(tmp_path, people=2)
    path.write_text("{}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"lives\.jsonl:1"):
        life_moments(folder, path, "train", Ear(), most=10, seed=0)
    with pytest.raises(MissingDataError):
        life_moments(folder, tmp_path / "absent", "train", Ear(), most=10, seed=0)
