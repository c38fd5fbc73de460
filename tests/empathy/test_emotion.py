"""Reading feelings: what stands, where it comes from, and files that are not as they should be."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oldfriend.corpus.schema import Conversation, Turn, write_rows
from oldfriend.empathy.data import esconv, goemotions, life_feelings, share
from oldfriend.empathy.emotion import (
    FIGURES,
    WEIGHTS,
    Emotion,
    feelings,
    load_thresholds,
    save_thresholds,
)
from oldfriend.empathy.emotion_train import life_scores, public_scores, thresholds, truth_of
from oldfriend.empathy.encoder import MAX_PIECES, SIZE, Encoder, batches, padded, pieces, save
from oldfriend.empathy.labels import (
    AFFECT,
    GOEMOTIONS,
    LABELS,
    LIFE,
    OWN,
    SYNONYMS,
    label_of,
    valence_of,
)
from oldfriend.errors import CheckpointError, InputError, MissingDataError

RNG = np.random.default_rng(0)
rows = st.lists(st.floats(0, 1, width=32), min_size=len(LABELS), max_size=len(LABELS))


LEAST = np.linspace(0.1, 0.5, len(LABELS)).astype(np.float32)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Emotion:
    from oldfriend.lm.encoder import TokenClassifier, load_minilm

    weights = tmp_path_factory.mktemp("reader") / WEIGHTS
    save(TokenClassifier(load_minilm(), len(LABELS)), weights)
    return Emotion(Encoder(weights, precision="float32"), LEAST)


def test_every_label_has_one_place_and_an_affect() -> None:
    assert len(GOEMOTIONS) == 28
    assert len(set(LABELS)) == len(LABELS) == len(AFFECT)
    assert set(OWN) <= set(LIFE) <= set(LABELS)
    assert all(-1 <= v <= 1 and 0 <= a <= 1 for v, a in AFFECT.values())
    assert {label_of(name) for name in SYNONYMS} <= set(GOEMOTIONS)
    assert label_of("happiness") is None
    assert valence_of("guilt") == AFFECT["remorse"][0] and valence_of(None) == 0


@settings(deadline=None)
@given(rows, rows)
def test_something_always_stands_and_the_strongest_is_first(p: list[float], t: list[float]) -> None:
    probabilities = np.array(p, np.float32)
    least = np.clip(np.array(t, np.float32), 0.02, 0.98)
    found = feelings(probabilities, 0.1, 0.2, least)
    assert found.top
    ratio = {name: probabilities[i] / least[i] for i, name in enumerate(LABELS)}
    assert list(found.top) == sorted(found.top, key=lambda name: -ratio[name])
    if len(found.top) > 1:
        assert "neutral" not in found.top
        assert all(ratio[name] >= 1 for name in found.top)
    if all(value < 1 for value in ratio.values()):
        assert found.top == (LABELS[int(probabilities.argmax())],)


@pytest.mark.parametrize("text", ["", " ", "!!!", "\x00", "ß" * 5000, "so sad " * 2000, "😭"])
def test_any_text_is_read(reader: Emotion, text: str) -> None:
    found = reader.read([text])[0]
    assert set(found.probabilities) == set(LABELS)
    assert sum(found.probabilities.values()) == pytest.approx(1, abs=1e-3)
    assert -1 <= found.valence <= 1
    assert 0 <= found.intensity <= 1


def test_a_batch_reads_as_its_texts_do_alone(reader: Emotion) -> None:
    texts = ["I miss her.", "What a day!", "", "The bus was late again and it rained on me."]
    for together, text in zip(reader.read(texts), texts, strict=True):
        alone = reader.read([text])[0]
        assert together.top == alone.top
        assert together.valence == pytest.approx(alone.valence, abs=1e-4)
    assert reader.read([]) == []


def test_a_long_text_keeps_its_end() -> None:
    long, short = pieces(["filler " * 1000 + "she died", "she died"])
    assert len(long) == MAX_PIECES
    assert long[-3:] == short[-3:]


def test_sentence_vectors_are_units_and_meaning_is_near() -> None:
    near = Encoder(precision="float32").encode(["my dog died", "my puppy passed away", "buy milk"])
    assert near.shape == (3, SIZE)
    assert np.linalg.norm(near, axis=1) == pytest.approx(1)
    assert near[0] @ near[1] > near[0] @ near[2] + 0.3


def test_rows_are_padded_to_few_widths() -> None:
    ids, mask = padded([[5, 6, 7], [8] * 11])
    assert ids.shape == mask.shape == (2, 16)
    assert mask.sum(1).tolist() == [3, 11]
    assert ids[0].tolist() == [5, 6, 7] + [0] * 13


@settings(deadline=None)
@given(st.lists(st.integers(1, 200), max_size=80))
def test_batches_hold_every_row_once_and_are_small(lengths: list[int]) -> None:
    found = list(batches(lengths, most=400))
    assert sorted(place for group in found for place in group) == list(range(len(lengths)))
    assert all(len(g) == 1 or len(g) * max(lengths[i] for i in g) <= 400 for g in found)


def test_the_cause_is_the_sentence_that_is_felt_most(reader: Emotion) -> None:
    parts = ["The bus came late today.", "My sister stopped talking to me.", "I had toast again."]
    loudest = max(parts, key=lambda part: reader.read([part])[0].intensity)
    assert reader.cause(" ".join(parts)) == loudest
    assert reader.cause("I miss her") == "I miss her"


def test_thresholds_come_back_as_they_were(tmp_path: Path) -> None:
    save_thresholds(tmp_path, LEAST, {"seed": 1})
    assert (load_thresholds(tmp_path) == LEAST).all()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"thresholds": {"joy": 0.5}}', '{"thresholds": 3}',
     json.dumps({"thresholds": dict.fromkeys(LABELS, float("nan"))}),
     json.dumps({"thresholds": dict.fromkeys(LABELS, 0)})],
)  # fmt: skip
def test_thresholds_that_are_missing_or_broken_are_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(CheckpointError, match="broken emotion head"):
        Emotion.load(tmp_path)
    (tmp_path / FIGURES).write_text(content)
    with pytest.raises(CheckpointError, match="broken emotion head"):
        load_thresholds(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a tensor file"])
def test_weights_that_are_not_a_tuned_minilms_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / WEIGHTS
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a tuned MiniLM"):
        Encoder(path).read(["hello"])


def test_weights_of_another_shape_or_without_numbers_are_refused(
    reader: Emotion, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    path, whole = tmp_path / WEIGHTS, load_file(reader.encoder._weights or "")
    name = "model.bert.encoder.layer.0.attention.self.query.weight"
    for bad in (
        whole | {name: whole[name][:2]}, whole | {name: whole[name] * np.nan},
        whole | {"more": whole[name]}, {key: w for key, w in whole.items() if key != name},
    ):  # fmt: skip
        save_file(bad, path)
        with pytest.raises(CheckpointError, match="not a tuned MiniLM"):
            Encoder(path).read(["hello"])


def test_thresholds_lie_between_half_the_best_f1_and_where_it_was_reached() -> None:
    truth = np.zeros((10, 3), np.float32)
    truth[:2, 0] = 1
    truth[:4, 1] = 1
    scores = np.zeros((10, 3), np.float32)
    scores[:2, 0] = 0.9  # told apart without fault
    scores[:, 1] = np.linspace(0.1, 0.9, 10)  # the wrong way round: all of them is the best guess
    found = thresholds(scores, truth)
    assert found[0] == pytest.approx((0.5 + 0.9) / 2)
    assert found[1] == pytest.approx((0.5 * 2 * 4 / (10 + 4) + 0.1) / 2)
    assert found[2] == 0.5


def test_goemotions_files(tmp_path: Path) -> None:
    path = tmp_path / "dev.tsv"
    path.write_text("so sad\t25\tid1\nlove it, thanks\t18,15\tid2\n", encoding="utf-8")
    found = list(goemotions(path))
    assert [LABELS[i] for i in found[1].labels] == ["gratitude", "love"]
    assert found[0].valence < -0.5 < 0.5 < found[1].valence


@pytest.mark.parametrize("line", ["no tabs", "text\t28\tid", "text\t-1\tid", "t\tx\tid", "t\t1"])
def test_a_bad_goemotions_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "dev.tsv"
    path.write_text(f"fine\t1\tid\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"dev\.tsv:2"):
        list(goemotions(path))
    with pytest.raises(MissingDataError):
        list(goemotions(tmp_path / "absent.tsv"))


@pytest.mark.parametrize(
    "line", ["{}", "[]", "nonsense", '{"dialog": [{"speaker": "cat", "text": "hi"}]}']
)
def test_a_bad_esconv_line_is_named(tmp_path: Path, line: str) -> None:
    good = '{"dialog": [{"speaker": "usr", "text": "hi"}]}'
    (tmp_path / "train.jsonl").write_text(f"{good}\n{line}\n", encoding="utf-8")
    (tmp_path / "valid.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"train\.jsonl:2"):
        list(esconv(tmp_path))


def test_esconv_dialogues(tmp_path: Path) -> None:
    told = {
        "dialog": [
            {"speaker": "usr", "text": "hi"},
            {"speaker": "sys", "text": "hello", "strategy": "Reflection of feelings"},
        ],
        "situation": "alone",
        "survey_score": {"seeker": {"initial_emotion_intensity": "4"}},
    }
    for name in ("train", "valid"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(told) + "\n", encoding="utf-8")
    first, second = esconv(tmp_path)
    assert (first.id, second.id) == ("train:1", "valid:1")
    assert first.turns[1].strategy == "reflection_of_feelings"
    assert first.before == 4


def test_simulated_turns_carry_their_feeling_and_plain_ones_are_neutral(tmp_path: Path) -> None:
    turns = (
        Turn(speaker="user", text="I passed!", emotion="hope", intensity=0.7),
        Turn(speaker="friend", text="You did."),
        Turn(speaker="user", text="The bus was late."),
    )
    told = {"id": "a", "person": "a", "licence": "ours", "turns": turns}
    ours = Conversation.model_validate(told | {"source": "simulator"})
    other = Conversation.model_validate(told | {"source": "dailydialog"})
    write_rows(tmp_path / "train.jsonl", [ours, other])
    felt = life_feelings(tmp_path, "train", most=30, seed=0)
    assert {LABELS[row.labels[0]] for row in felt} == {"optimism", "neutral"}
    assert max(row.intensity for row in felt) == 0.7
    write_rows(tmp_path / "test.jsonl", [other])
    with pytest.raises(MissingDataError, match="no simulated feelings"):
        life_feelings(tmp_path, "test", most=30, seed=0)


def test_perfect_and_blind_readers_score_as_they_should(tmp_path: Path) -> None:
    path = tmp_path / "dev.tsv"
    lines = [f"text {i}\t{i % 28}\tid{i}\n" for i in range(56)]
    path.write_text("".join(lines), encoding="utf-8")
    rows = list(goemotions(path))
    least = np.full(len(LABELS), 0.5, np.float32)
    assert public_scores(truth_of(rows), least, rows)["goemotions_macro_f1"] == 1
    blind = public_scores(np.zeros((56, len(LABELS)), np.float32), least, rows)
    assert blind["goemotions_macro_f1"] == 0
    life = [row for row in rows if LABELS[row.labels[0]] in (*LIFE, "neutral")]
    affect = np.array([(row.valence, row.intensity) for row in life], np.float32)
    found = life_scores(truth_of(life), affect, life)
    assert found["life_acc"] == found["life_macro_f1"] == pytest.approx(1)
    assert found["intensity_mae"] == pytest.approx(0, abs=1e-6)
    assert found["intensity_mae_mean"] > 0.05


def test_who_is_held_out_depends_on_the_key_alone() -> None:
    shares = np.array([share(f"dialogue {i}") for i in range(2000)])
    assert abs((shares < 0.2).mean() - 0.2) < 0.03
    assert share("train:1") == share("train:1") != share("train:2")
