"""The data card counts right, shows samples, and opens without the network."""

import csv
import json
import re
from pathlib import Path

import pytest

from oldfriend.corpus import card
from oldfriend.corpus.schema import Conversation, Fact, Turn

NASTY = "<script>alert('x')</script> & https://example.org/a.png"


def talk(number: int, source: str = "simulator", split: str = "train") -> Conversation:
    text = f"Visit {number}: my dog is Tobbin & I feel <fine>"
    start = text.index("Tobbin")
    fact = Fact(slot="pet_name", value="Tobbin", start=start, end=start + 6, old_value="Rex")
    return Conversation(
        id=f"{source}:{number}",
        person=f"p{number % 3}",
        source=source,
        licence="ours" if source == "simulator" else "CC BY 4.0",
        split=split,
        turns=(
            Turn(speaker="user", text=text, facts=(fact,), emotion="joy"),
            Turn(speaker="friend", text=NASTY, strategy="Question"),
        ),
    )


ROWS = [*(talk(n) for n in range(5)), talk(5, split="test"), talk(6, source="books")]


@pytest.fixture
def summary() -> dict[str, object]:
    tallies = {"simulator": card.Tally(read=6), "books": card.Tally(read=9, duplicates=2)}
    tallies["books"].removed["too_short"] = 6
    tallies["books"].pii["EMAIL"] = 3
    return card.summarise(
        ROWS, tallies, tasks={"talk": {"train": 6}}, duplicates={"near": 2}, leaks=0
    )


def test_counts(summary: dict[str, object]) -> None:
    assert summary["totals"] == {
        "conversations": 7,
        "turns": 14,
        "words": sum(len(t.text.split()) for row in ROWS for t in row.turns),
        "persons": 3,
        "facts": 7,
    }
    assert summary["removed"] == {"too_short": 6}
    assert summary["pii"] == {"EMAIL": 3}
    assert summary["slots"] == {"pet_name": 7}
    (books, simulator) = summary["sources"]  # type: ignore[misc]
    assert books["licences"] == ["CC BY 4.0"]
    assert simulator["splits"] == {"train": 5, "val": 0, "test": 1}


def test_files_are_written(summary: dict[str, object], tmp_path: Path) -> None:
    card.write(tmp_path, summary, ROWS, samples=3)
    assert json.loads((tmp_path / "card.json").read_text()) == summary
    with (tmp_path / "plots" / "slots.csv").open() as table:
        assert list(csv.reader(table)) == [["slot", "count"], ["pet_name", "7"]]
    assert (tmp_path / "plots" / "words_per_turn.csv").is_file()


def test_the_page_requests_nothing_and_escapes_text(
    summary: dict[str, object], tmp_path: Path
) -> None:
    card.write(tmp_path, summary, ROWS, samples=3)
    page = (tmp_path / "card.html").read_text()
    assert not re.search(r"<(?:script|link|img|iframe|object|embed)\b", page)
    assert not re.search(r"(?:src|href|url|@import)\s*[=(]\s*[\"']?(?!#)", page.replace(NASTY, ""))
    assert "&lt;script&gt;" in page
    assert page.count("<svg") == page.count("</svg>") == 3
    assert "prefers-color-scheme: dark" in page


def test_samples_come_from_training_and_mark_facts(summary: dict[str, object]) -> None:
    samples = card.pick_samples(ROWS, 3)
    assert {source: len(rows) for source, rows in samples.items()} == {"books": 1, "simulator": 3}
    assert all(row.split == "train" for rows in samples.values() for row in rows)
    page = card.render(summary, samples, "Test")
    assert "<mark>Tobbin<small>pet name, was Rex</small></mark>" in page


def test_the_card_is_the_same_every_time(summary: dict[str, object]) -> None:
    samples = card.pick_samples(ROWS, 3)
    assert card.render(summary, samples, "T") == card.render(summary, samples, "T")


def test_the_last_bin_of_a_histogram_is_open() -> None:
    assert card.histogram([1, 2, 3, 5, 99], [1, 2, 4]) == {"1": 1, "2-3": 2, "4+": 2}
