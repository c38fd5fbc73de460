"""Each importer reads its format, and names what is wrong with malformed files."""

import json
from datetime import datetime
from pathlib import Path

import pytest
from importer_cases import (
    CASES,
    DAILY_TEXT,
    ED_ROWS,
    ESCONV,
    FAILED,
    LOCOMO_SAMPLE,
    MTS,
    OPENAI,
    SHAREGPT,
    Case,
    Files,
    as_json,
    as_lines,
)
from importer_faults import MALFORMED

from oldfriend.corpus.importers import IMPORTERS, load, read
from oldfriend.corpus.schema import Conversation, Turn, read_rows, write_rows
from oldfriend.errors import InputError, MissingDataError

REPOSITORY = Path(__file__).parents[2]


def written(folder: Path, files: Files) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def talk(conversation: Conversation) -> str:
    return " / ".join(f"{turn.speaker[0]}: {turn.text}" for turn in conversation.turns)


def values(conversation: Conversation) -> list[str]:
    return [fact.value for turn in conversation.turns for fact in turn.facts]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{next(iter(case.files))}")
def test_reads_its_format(case: Case, tmp_path: Path) -> None:
    found = list(load(case.name, written(tmp_path, case.files)))
    first = found[0]
    assert len(found) == case.count
    assert talk(first) == case.talk
    assert (first.split, first.situation) == (case.split, case.situation)
    assert tuple(values(first)) == case.values


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{next(iter(case.files))}")
def test_conversations_know_where_they_come_from(case: Case, tmp_path: Path) -> None:
    folder = written(tmp_path, case.files)
    found = list(load(case.name, folder))
    assert found == list(load(case.name, folder)), "ids are the same each time"
    assert len({conversation.id for conversation in found}) == len(found)
    for conversation in found:
        assert conversation.source in (case.name, f"{case.name}_failed")
        assert conversation.licence == IMPORTERS[case.name].licence
        assert all(turn.speaker == "user" for turn in conversation.turns if turn.facts)


def test_every_importer_has_a_case_and_a_description() -> None:
    assert {case.name for case in CASES} == set(IMPORTERS)
    assert all(importer.licence and importer.reads for importer in IMPORTERS.values())


def test_a_single_file_can_be_given(tmp_path: Path) -> None:
    written(tmp_path, {"mine.json": as_json([SHAREGPT])})
    assert len(list(load("sharegpt", tmp_path / "mine.json"))) == 1


def test_imported_rows_can_be_written_and_read(tmp_path: Path) -> None:
    folder = written(tmp_path / "in", {"locomo10.json": as_json([LOCOMO_SAMPLE])})
    found = list(load("locomo", folder))
    write_rows(tmp_path / "rows.jsonl", found)
    assert list(read_rows(tmp_path / "rows.jsonl", Conversation)) == found


def turns_of(name: str, folder: Path) -> tuple[Turn, ...]:
    return next(iter(load(name, folder))).turns


def test_esconv_keeps_emotion_cause_intensity_and_strategy(tmp_path: Path) -> None:
    turns = turns_of("esconv", written(tmp_path, {"train.jsonl": as_lines(ESCONV)}))
    told, last = turns[2], turns[4]
    assert (told.emotion, told.cause, told.intensity) == ("sadness", "lost pet", 1.0)
    assert (last.emotion, last.intensity) == ("sadness", 0.4)
    assert turns[0].emotion is None
    assert [turn.strategy for turn in turns[1:4:2]] == ["Question", "Reflection of feelings"]


def test_failed_esconv_is_a_source_of_its_own(tmp_path: Path) -> None:
    folder = written(tmp_path, {"FailedESConv.json": as_json([FAILED])})
    found = next(iter(load("esconv", folder)))
    assert found.source == "esconv_failed"
    assert found.turns[1].strategy == "Question"


def test_empathetic_emotion_is_the_human_label(tmp_path: Path) -> None:
    rows = ED_ROWS.replace('slowly",sad', 'slowly",angry')
    turns = turns_of("empathetic_dialogues", written(tmp_path, {"sad.csv": rows}))
    assert [turn.emotion for turn in turns] == ["sad", None]


def test_empathetic_conversations_of_the_same_two_people_share_a_split(tmp_path: Path) -> None:
    rows = ED_ROWS + ED_ROWS.replace("conv:15", "conv:14").partition("\n")[2]
    found = list(load("empathetic_dialogues", written(tmp_path, {"sad.csv": rows})))
    assert len(found) == 2
    assert len({(conversation.person, conversation.split) for conversation in found}) == 1


def test_goemotions_takes_the_first_label_that_is_not_neutral(tmp_path: Path) -> None:
    turns = turns_of("goemotions", written(tmp_path, {"train.tsv": "So nice\t27,17\tx\n"}))
    assert turns[0].emotion == "joy"


def test_dailydialog_keeps_a_repeated_dialogue_in_the_held_out_split(tmp_path: Path) -> None:
    human = "It 's late . __eou__ I ' ll stay . __eou__\t1\t1 1\t0 4\n"
    folder = written(
        tmp_path,
        {
            "en_test_human.txt": human,
            "dialogues_text_En.txt": DAILY_TEXT,
            "dialogues_emotion.txt": "0 4\n0 0 0\n",
        },
    )
    found = list(load("dailydialog", folder))
    assert [conversation.split for conversation in found] == ["test"], "the other is misaligned"
    assert [turn.emotion for turn in found[0].turns] == ["neutral", "happiness"]


def test_locomo_gives_a_view_per_speaker_with_time_and_session(tmp_path: Path) -> None:
    found = list(load("locomo", written(tmp_path, {"locomo10.json": as_json([LOCOMO_SAMPLE])})))
    assert [conversation.person for conversation in found] == [
        "locomo:conv-1:Ottil",
        "locomo:conv-1:Brune",
    ]
    assert (found[1].session, found[1].time) == (1, datetime(2023, 5, 8, 13, 56))
    assert values(found[1]) == ["I painted the old barn red"]


def test_mts_slot_is_the_section_header(tmp_path: Path) -> None:
    turns = turns_of("mts_dialog", written(tmp_path, {"MTS-Dialog-TrainingSet.csv": MTS}))
    fact = turns[1].facts[0]
    assert (fact.slot, fact.importance, fact.subject) == ("allergies", 10, "me")


def test_text_pieces_stay_below_the_limit_and_lose_nothing(tmp_path: Path) -> None:
    words = [f"w{number}" for number in range(2000)]
    text = (
        " ".join(words[:900])
        + "\n\n"
        + "\n".join(words[900:1500])
        + "\n\n"
        + " ".join(words[1500:])
    )
    found = list(load("text", written(tmp_path / "domain_sea", {"a.txt": text})))
    pieces = [conversation.turns[0].text.split() for conversation in found]
    assert max(map(len, pieces)) <= 400
    assert [word for piece in pieces for word in piece] == words
    assert {conversation.domain for conversation in found} == {"sea"}
    assert len({conversation.person for conversation in found}) == 1


@pytest.mark.parametrize(
    ("name", "files", "message"), MALFORMED, ids=[f"{m[0]}-{n}" for n, m in enumerate(MALFORMED)]
)
def test_malformed_input_says_what_and_where(
    name: str, files: Files, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        list(load(name, written(tmp_path, files)))


def test_malformed_line_inside_a_long_array_is_named(tmp_path: Path) -> None:
    rows = [as_json({"instruction": "say", "output": "x" * 3000}) for _ in range(900)]
    rows[700] = '{"instruction": say}'
    written(tmp_path, {"a.json": "[\n" + ",\n".join(rows) + "\n]"})
    with pytest.raises(InputError, match=r"a\.json:702: record 701: malformed JSON"):
        list(load("alpaca", tmp_path))


def test_long_arrays_are_read_whole(tmp_path: Path) -> None:
    rows = [{"instruction": f"say {n}", "output": "é]," * (n * 40)} for n in range(1, 300)]
    written(tmp_path, {"a.json": json.dumps(rows, indent=1)})
    assert [c.turns[1].text for c in load("alpaca", tmp_path)] == [row["output"] for row in rows]


def test_wrong_encoding_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("good\nna\u00efve\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"a\.txt:2: byte 3 is not UTF-8"):
        list(load("text", tmp_path))


def test_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + as_lines(OPENAI).encode())
    assert len(list(load("openai_chat", tmp_path))) == 1


def test_too_large_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "SIZE_LIMIT", 10)
    with pytest.raises(InputError, match="at most 10 are read"):
        list(load("text", written(tmp_path, {"a.txt": "more than ten bytes"})))


def test_missing_folder_and_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"is not there; docs/datasets\.md"):
        list(load("esconv", tmp_path / "none"))
    with pytest.raises(MissingDataError, match=r"has no file named .*ESConv"):
        list(load("esconv", tmp_path))


def test_unknown_importer_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown importer 'nope'; there are esconv"):
        load("nope", tmp_path)


def test_nothing_partial_is_written(tmp_path: Path) -> None:
    folder = written(tmp_path / "in", {"train.jsonl": as_lines(ESCONV) + "{oops\n"})
    with pytest.raises(InputError):
        write_rows(tmp_path / "out.jsonl", load("esconv", folder))
    assert not (tmp_path / "out.jsonl").exists()


DOCS = (REPOSITORY / "docs" / "datasets.md").read_text(encoding="utf-8")


def test_the_page_has_every_importer_with_its_licence() -> None:
    rows = [line.split(" | ") for line in DOCS.splitlines() if line.startswith("| `")]
    written_down = {row[0].strip("| `"): row[1] for row in rows}
    assert written_down == {name: importer.licence for name, importer in IMPORTERS.items()}


def test_the_example_of_the_page_works(tmp_path: Path) -> None:
    example: dict[str, object] = {}
    exec(DOCS.split("```python\n")[2].split("```")[0], example)
    written(tmp_path, {"a.tsv": "Ottil\tHow are you?\tWell.\n"})
    found = list(example["load"](tmp_path))  # type: ignore[operator]
    assert (talk(found[0]), found[0].person) == ("u: How are you? / f: Well.", "letters:Ottil")
