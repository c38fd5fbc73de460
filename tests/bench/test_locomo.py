"""LoCoMo, REALTALK and MADial-Bench files: read, asked, scored as officially, or refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from oldfriend.bench.locomo import run, talks
from oldfriend.bench.recall import auroc, recall
from oldfriend.errors import InputError, MissingDataError
from oldfriend.memory.store.embed import HashEmbedder

EMBED = HashEmbedder(64)
SAMPLE: dict[str, Any] = {
    "sample_id": "conv-1",
    "conversation": {
        "speaker_a": "Ann",
        "speaker_b": "Bob",
        "session_2_date_time": "2:00 pm on 9 May, 2023",
        "session_2": [
            {"speaker": "Ann", "dia_id": "D2:1", "text": "My piano broke."},
            {"speaker": "Bob", "dia_id": "D2:2", "text": "", "blip_caption": "a red bicycle"},
        ],
        "session_1_date_time": "1:56 pm on 8 May, 2023",
        "session_1": [
            {"speaker": "Ann", "dia_id": "D1:1", "text": "I adopted a beagle."},
            {"speaker": "Bob", "dia_id": "D1:2", "text": "I bake sourdough bread."},
        ],
        "session_3_date_time": "no session has this",
    },
    "qa": [
        {"question": "What did Ann adopt?", "category": 4, "evidence": ["D1:1"]},
        {"question": "Who bakes bread and has a bicycle?", "category": 1,
         "evidence": ["D1:2", "D2:2"]},
        {"question": "When did the piano break?", "category": 2, "evidence": ["D2:1; D1:1"]},
        {"question": "Is Bob kind?", "category": 3, "evidence": []},
        {"question": "What did Bob adopt?", "category": 5, "evidence": ["D1:1"]},
    ],
}  # fmt: skip


def locomo(folder: Path, sample: dict[str, Any] = SAMPLE) -> Path:
    path = folder / "locomo10.json"
    path.write_text(json.dumps([sample]), encoding="utf-8")
    return path


def changed(**fields: Any) -> dict[str, Any]:
    return json.loads(json.dumps(SAMPLE | fields))  # type: ignore[no-any-return]


def test_sessions_come_in_order_with_captions_and_times(tmp_path: Path) -> None:
    (talk,) = talks(locomo(tmp_path))
    assert [line.key for line in talk.lines] == ["D1:1", "D1:2", "D2:1", "D2:2"]
    assert talk.lines[3].text.strip() == "[shares a red bicycle]"
    assert talk.lines[0].time.isoformat() == "2023-05-08T13:56:00+00:00"


def test_every_figure_stands_under_its_official_name(tmp_path: Path) -> None:
    outcome = run(locomo(tmp_path), embed=EMBED, depths=(1, 50))
    names = ("overall", "cat1_4", "single_hop", "multi_hop", "temporal", "open_domain")
    at_50 = {name: outcome.metrics[f"turn.recall_at_50.{name}"] for name in names}
    # The malformed id is never found, and no evidence counts as found: the official rule.
    assert at_50 == {
        "overall": 0.8, "cat1_4": 0.75, "single_hop": 1, "multi_hop": 1, "temporal": 0,
        "open_domain": 1,
    }  # fmt: skip
    assert outcome.metrics["turn.recall_at_1.multi_hop"] <= 0.5
    assert outcome.metrics["turn.recall_at_1.single_hop"] == 1
    assert 0 <= outcome.metrics["abstain_auroc"] <= 1
    assert outcome.metrics["questions"] == 5


def test_there_is_a_row_for_each_conversation(tmp_path: Path) -> None:
    other = changed(sample_id="conv-2", qa=SAMPLE["qa"][:1])
    (tmp_path / "locomo10.json").write_text(json.dumps([SAMPLE, other]), encoding="utf-8")
    rows = run(tmp_path, embed=EMBED, depths=(5,)).tables["conversations"]
    assert [(row["conversation"], row["questions"]) for row in rows] == [
        ("conv-1", 5), ("conv-2", 1),
    ]  # fmt: skip
    assert rows[1]["recall_at_5"] == 1


def test_a_category_that_is_not_asked_is_absent(tmp_path: Path) -> None:
    metrics = run(locomo(tmp_path, changed(qa=SAMPLE["qa"][:1])), embed=EMBED, depths=(5,)).metrics
    assert "turn.recall_at_5.single_hop" in metrics
    assert "turn.recall_at_5.adversarial" not in metrics and "abstain_auroc" not in metrics


def test_realtalk_is_read_by_the_names_of_its_files(tmp_path: Path) -> None:
    chat = {
        "name": {"speaker_1": "Ann", "speaker_2": "Bob"},
        "session_1": [{"speaker": "Ann", "dia_id": "D1:1", "clean_text": "A beagle!"}],
        "session_1_date_time": "29.12.2023, 22:42:04",
        "qa": [{"question": "Which dog?", "category": 1, "evidence": ["D1:1"]}],
    }
    (tmp_path / "Chat_1_Ann_Bob.json").write_text(json.dumps(chat), encoding="utf-8")
    outcome = run(tmp_path, embed=EMBED, depths=(1,))
    assert outcome.metrics["turn.recall_at_1.multi_hop"] == 1
    assert outcome.tables["conversations"][0]["conversation"] == "Chat_1_Ann_Bob"


def madial(folder: Path, turns: list[int]) -> None:
    dialogue = {
        "dialogue": ["<BOD>\n", '<Bart>: "I will dance tonight."\n', '<Assistant>: "As then."\n'],
        "test-turn": turns, "relevant-id": [7], "user-id": 1,
    }  # fmt: skip
    memories = [
        {"7": {"time": "2023-12-25", "scene": "", "emotion": "", "event": "Bart danced."}},
        {"8": {"time": "2023-12-26", "scene": "", "emotion": "", "event": "Lisa read a book."}},
    ]
    lines = "\n".join(map(json.dumps, memories))
    (folder / "MADial-Bench-en-memory.json").write_text(lines, encoding="utf-8")
    (folder / "MADial-Bench-en-dialogue.json").write_text(json.dumps(dialogue), encoding="utf-8")


def test_madial_asks_with_the_talk_before_the_recall(tmp_path: Path) -> None:
    madial(tmp_path, [2])
    (talk,) = talks(tmp_path)
    assert talk.questions[0].text == '<Bart>: "I will dance tonight."'
    assert run(tmp_path, embed=EMBED, depths=(1,)).metrics["turn.recall_at_1.recall"] == 1


def test_madial_without_its_memories_is_refused(tmp_path: Path) -> None:
    madial(tmp_path, [2])
    (tmp_path / "MADial-Bench-en-memory.json").unlink()
    with pytest.raises(InputError, match=r"needs MADial-Bench-en-memory\.json"):
        list(talks(tmp_path))


@pytest.mark.parametrize("turns", [[], [0], [3]])
def test_madial_turns_must_be_in_the_talk(tmp_path: Path, turns: list[int]) -> None:
    madial(tmp_path, turns)
    with pytest.raises(InputError, match="test-turn"):
        list(talks(tmp_path))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"conversation": None}, "field 'conversation'.*missing"),
        ({"conversation": {}}, "session_1'.*sessions with turns"),
        ({"qa": []}, "field 'qa'.*at least one"),
        ({"qa": [{"question": "?", "category": 9}]}, "qa.0.category.*expected one of 1, 2"),
        ({"qa": [{"category": 1}]}, "qa.0.question.*missing"),
        (
            {"conversation": SAMPLE["conversation"] | {"session_1_date_time": "soon"}},
            "session_1_date_time.*expected a time like",
        ),
    ],
)
def test_what_is_malformed_is_named(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    path = locomo(tmp_path, changed(**fields))
    with pytest.raises(InputError, match=message) as caught:
        list(talks(path))
    assert caught.value.path == path


def test_missing_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="is not there"):
        run(tmp_path / "none", embed=EMBED)
    with pytest.raises(MissingDataError, match=r"locomo\*\.json"):
        run(tmp_path, embed=EMBED)


def test_recall_counts_evidence_in_the_first_k() -> None:
    assert recall(["a", "b", "c"], ["c", "a"], 2) == 0.5
    assert recall([], ["a"], 5) == 0
    assert recall(["a"], [], 5) == 1


def test_auroc_counts_pairs_in_order() -> None:
    assert auroc([3, 2, 1], [True, False, False]) == 1
    assert auroc([1, 2, 2], [False, True, False]) == 0.75
    assert auroc([1, 1], [True, False]) == 0.5
