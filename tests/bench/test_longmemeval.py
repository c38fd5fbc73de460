"""LongMemEval files: neutral ids, strict recall, the official NDCG, and errors with a place."""

import json
from pathlib import Path
from typing import Any

import pytest

from oldfriend.bench.longmemeval import _renamed, dcg, run, scores
from oldfriend.corpus.importers.read import json_records
from oldfriend.errors import InputError, MissingDataError
from oldfriend.memory.store.embed import HashEmbedder

EMBED = HashEmbedder(64)


def said(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


QUESTION: dict[str, Any] = {
    "question_id": "q1",
    "question_type": "single-session-user",
    "question": "Which instrument do I play?",
    "answer": "the bassoon",
    "question_date": "2023/05/30 (Tue) 23:40",
    "haystack_dates": ["2023/05/20 (Sat) 02:21", "2023/05/21 (Sun) 10:00"],
    "haystack_session_ids": ["answer_4be1", "ultra_55"],
    "haystack_sessions": [
        [said("user", "I play an instrument, the bassoon.", has_answer=True),
         said("assistant", "How fine.")],
        [said("user", "Rain again."), said("assistant", "Take an umbrella.", has_answer=False)],
    ],
    "answer_session_ids": ["answer_4be1"],
}  # fmt: skip


def put(folder: Path, *questions: dict[str, Any]) -> Path:
    path = folder / "longmemeval_s.json"
    path.write_text(json.dumps(questions), encoding="utf-8")
    return path


def test_the_evidence_is_found_and_scored(tmp_path: Path) -> None:
    outcome = run(put(tmp_path, QUESTION), embed=EMBED)
    for level in ("session", "turn"):
        for name in ("recall_all", "recall_any", "ndcg"):
            assert outcome.metrics[f"{level}.{name}_at_5"] == 1
    assert outcome.metrics["questions"] == 1
    assert outcome.tables["types"][0]["type"] == "single-session-user"


def test_ids_that_give_the_answer_away_are_renamed(tmp_path: Path) -> None:
    (sample,) = json_records(put(tmp_path, QUESTION))
    sessions, renamed = _renamed(sample)
    assert sessions == ["session 0", "session 1"]
    assert renamed["answer_4be1"] == "session 0"


def test_names_do_not_depend_on_the_ids_given(tmp_path: Path) -> None:
    plain = json.loads(json.dumps(QUESTION).replace("answer_4be1", "zzz"))
    metrics = [run(put(tmp_path, question), embed=EMBED).metrics for question in (QUESTION, plain)]
    assert metrics[0] == metrics[1]


def test_questions_without_an_answer_are_left_out(tmp_path: Path) -> None:
    path = put(tmp_path, QUESTION, QUESTION | {"question_id": "q2_abs"})
    assert run(path, embed=EMBED).metrics["questions"] == 1


def test_a_limit_stops_early(tmp_path: Path) -> None:
    path = put(tmp_path, QUESTION, QUESTION | {"question_id": "q2"})
    assert run(path, embed=EMBED, limit=1).metrics["questions"] == 1


def test_turns_that_are_not_marked_are_not_scored(tmp_path: Path) -> None:
    sessions = [[said("user", "I play the bassoon.")], [said("user", "Rain again.")]]
    metrics = run(put(tmp_path, QUESTION | {"haystack_sessions": sessions}), embed=EMBED).metrics
    assert "session.ndcg_at_5" in metrics and "turn.ndcg_at_5" not in metrics


def test_strict_recall_wants_all_of_it() -> None:
    got = scores(["a", "x", "b"], {"a", "b"}, ["a", "b", "x", "y"], 2)
    assert got == {"recall_all_at_2": 0, "recall_any_at_2": 1, "ndcg_at_2": 0.5}
    assert scores(["a", "x", "b"], {"a", "b"}, ["a", "b", "x"], 3)["recall_all_at_3"] == 1


def test_ranks_one_and_two_count_alike_as_officially() -> None:
    assert dcg([1, 0, 0]) == dcg([0, 1, 0]) == 1
    assert dcg([0, 0, 1]) == pytest.approx(0.63093, abs=1e-5)
    assert dcg([1, 1, 1, 1]) == pytest.approx(3.13093, abs=1e-5)
    assert dcg([]) == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"question_date": "yesterday"}, "question_date.*expected a time like 2023/05/20"),
        ({"haystack_dates": ["2023/05/20 (Sat) 02:21"]}, "haystack_sessions.*as many sessions"),
        ({"answer_session_ids": ["answer_other"]}, "answer_session_ids.*not in the haystack"),
        ({"question": None}, "question'.*missing"),
        ({"haystack_sessions": [[{"role": "user"}], []]}, "content.*missing"),
    ],
)
def test_what_is_malformed_is_named(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    path = put(tmp_path, QUESTION | fields)
    with pytest.raises(InputError, match=message) as caught:
        run(path, embed=EMBED)
    assert caught.value.path == path


def test_missing_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"longmemeval\*\.json"):
        run(tmp_path, embed=EMBED)
