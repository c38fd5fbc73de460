"""Real domains from folders: what is there is read, what is broken is named."""

import json
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from oldfriend.errors import InputError, MissingDataError
from oldfriend.lm.tokenizer import train_tokenizer
from oldfriend.moe import domain_corpus
from oldfriend.moe.domain_corpus import READERS, domain_documents, read_domains


def lines(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Small archives of every kind, unpacked."""
    for i in range(30):
        for name in (
            f"domain_fiction/original/{i}.txt",
            f"domain_reviews/movie_reviews/pos/{i}.txt",
        ):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name} is a text of its own. " * 20, encoding="utf-8")
    sections = "-CITE-\n".join(f"4 USC Sec. {i}\nThe flag shall be {i}." for i in range(40))
    (tmp_path / "domain_legal").mkdir()
    (tmp_path / "domain_legal/Title_04.txt").write_text(sections, encoding="utf-8")
    rows = [
        {"focus": f"illness {i // 4}", "question": f"q{i}?", "answer": f"a{i}"} for i in range(320)
    ]
    lines(tmp_path / "domain_medical/medquad.jsonl", rows)
    lines(
        tmp_path / "domain_math/train.jsonl",
        [{"question": f"{i}+1?", "answer": f"{i + 1}"} for i in range(60)],
    )
    turns = [["USER", "hi"], ["SYSTEM", "hello"]]
    lines(
        tmp_path / "domain_assistant/train.jsonl",
        [{"turns": [*turns, ["USER", str(i)]]} for i in range(60)],
    )
    return tmp_path


NAMES = ["fiction", "legal", "medical", "math", "assistant", "reviews"]


def test_every_kind_is_read_and_split_without_overlap(folder: Path) -> None:
    found = read_domains(folder, NAMES)
    assert [domain.name for domain in found] == NAMES
    for domain in found:
        assert domain.train and domain.val
        assert not set(domain.train) & set(domain.val)


def test_all_of_one_disease_is_on_one_side(folder: Path) -> None:
    (medical,) = read_domains(folder, ["medical"])
    sides: dict[int, set[str]] = {}
    for side in ("train", "val"):
        for text in getattr(medical, side):
            sides.setdefault(int(text[1 : text.index("?")]) // 4, set()).add(side)
    assert len(sides) == 80
    assert all(len(found) == 1 for found in sides.values())


def test_the_split_does_not_depend_on_what_else_is_there(folder: Path) -> None:
    (before,) = read_domains(folder, ["fiction"])
    (folder / "domain_fiction/original/more.txt").write_text("One more novel.", encoding="utf-8")
    (after,) = read_domains(folder, ["fiction"])
    assert set(before.val) <= set(after.val) and set(before.train) <= set(after.train)


def test_texts_are_cut_to_size(folder: Path) -> None:
    (fiction,) = read_domains(folder, ["fiction"], max_chars=1000)
    assert sum(map(len, fiction.train)) == 1000
    assert max(map(len, fiction.train)) == 100  # no novel takes all
    assert sum(map(len, fiction.val)) <= 100


def test_what_is_not_there_is_left_out_and_nothing_at_all_is_an_error(folder: Path) -> None:
    assert [d.name for d in read_domains(folder, ["code", "math", "talk"])] == ["math"]
    with pytest.raises(MissingDataError, match="no domain of code, talk"):
        read_domains(folder, ["code", "talk"])
    with pytest.raises(InputError, match="unknown domain 'poetry'; there are: assistant"):
        read_domains(folder, ["poetry"])


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("medical/medquad.jsonl", '{"question": "q"}', r"medquad.jsonl:1, field 'answer'"),
        ("medical/medquad.jsonl", "[1]", r"medquad.jsonl:1: expected an object"),
        ("math/train.jsonl", '{"question": ', r"train.jsonl:1: not JSON"),
        ("math/train.jsonl", "[" * 100_000, r"train.jsonl:1: not JSON"),
        ("assistant/train.jsonl", '{"turns": ["hi"]}', r"train.jsonl:1, field 'turns'"),
        ("assistant/train.jsonl", '{"turns": 3}', r"train.jsonl:1, field 'turns'"),
    ],
)
def test_malformed_lines_are_named(folder: Path, name: str, line: str, message: str) -> None:
    (folder / f"domain_{name}").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_domains(folder, [name.partition("/")[0]])


def test_bytes_that_are_no_text_do_not_stop_a_reading(folder: Path) -> None:
    (folder / "domain_fiction/original/0.txt").write_bytes(b"\xff\xfe caf\xe9 \x00" * 20)
    assert read_domains(folder, ["fiction"])


def test_sizes_are_limited(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain_corpus, "MAX_FILE", 100)
    with pytest.raises(InputError, match="at most 100 are read"):
        read_domains(folder, ["fiction"])
    monkeypatch.setattr(domain_corpus, "MAX_FILE", 10**6)
    monkeypatch.setattr(domain_corpus, "MAX_LINE", 10)
    with pytest.raises(InputError, match=r"train.jsonl:1: a line of"):
        read_domains(folder, ["math"])


def test_the_interpreters_own_library_is_a_domain() -> None:
    code = Path(sysconfig.get_paths()["stdlib"])
    (found,) = read_domains(None, ["code"], code=code, max_chars=200_000)
    assert sum("def " in text for text in found.train) > 0.5 * len(found.train)
    assert found.val


def test_documents_hold_every_token_and_fit_rows() -> None:
    texts = ["one long text of many words " * 30, "short", "x", ""]
    tokenizer = train_tokenizer(texts, 300)
    found = domain_documents(tokenizer, texts, 32)
    assert max(map(len, found)) <= 32 and min(map(len, found)) > 1
    ids = [i for document in found for i in document.ids]
    whole = [i for one in tokenizer(texts)["input_ids"] for i in one]
    assert len(ids) >= len(whole) - len(texts)  # a single token has nothing to learn from
    assert domain_documents(tokenizer, [], 32) == []


def test_every_reader_is_known_by_name() -> None:
    assert set(NAMES) | {"code", "talk"} == set(READERS)
