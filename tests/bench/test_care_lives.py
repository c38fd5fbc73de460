"""Care measured on lives whose truth is known: what counts as reached, and what as false."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from oldfriend.bench.care import live, measure, year
from oldfriend.corpus.people import Known, Life, Moment
from oldfriend.corpus.schema import Conversation, Fact, Turn, write_rows
from oldfriend.empathy.care_rules import CareSettings

START = datetime(2024, 1, 10, 18)


def talk(person: str, number: int, day: int) -> Conversation:
    return Conversation(
        id=f"{person}-{number}", person=person, source="simulator", licence="ours",
        session=number, time=START + timedelta(days=day), turns=(Turn(speaker="user", text="hi"),),
    )  # fmt: skip


def life(person: str = "ana", facts: tuple[tuple[str, str, int], ...] = ()) -> Life:
    """Facts as slot, value and the number of the conversation that told them."""
    known = tuple(
        Known(slot=slot, value=value, said_on=date(2024, 1, 10), valid_from=date(2024, 1, 10),
              conversation=f"{person}-{number}", turn=0)
        for slot, value, number in facts
    )  # fmt: skip
    miss = Fact(slot="loss", value="Zed", kind="event", start=0, end=3)
    moment = Moment(role="near_miss", conversation=f"{person}-0", turn=0, fact=miss)
    return Life(person=person, name="Ana", split="test", idiolect="plain", early=1, facts=known,
                unsaid=(), moments=(moment,))  # fmt: skip


def test_truth_of_a_life() -> None:
    talks = [talk("ana", 0, 0), talk("ana", 1, 1), talk("ana", 2, 60)]
    told = (("loss", "Ada", 0), ("loss", "Bea", 1), ("birthday", "14 February", 0),
            ("exam_subject", "law", 0))  # fmt: skip
    one = year(life(facts=told), talks, CareSettings(), 0.0, Random(0))
    kinds = [worthy.kind for worthy in one.worthy]
    # They were back a day after Ada's death was told, and silent after Bea's.
    assert sorted(kinds) == ["birthday", "exam", "loss"]
    assert not one.false and len(one.ledger.records) == 4
    exam = next(record for record in one.ledger.records if record.slot == "exam_subject")
    worthy = next(worthy for worthy in one.worthy if worthy.kind == "exam")
    assert exam.valid_from and worthy.opens <= exam.valid_from < worthy.closes


def test_false_notes_are_known_as_such() -> None:
    one = year(life(), [talk("ana", 0, 0), talk("ana", 1, 30)], CareSettings(), 1.0, Random(0))
    assert one.ledger.consent and len(one.ledger.records) == 1
    sent = live(one, CareSettings(), Random(0))
    assert [word.key in one.false for word in sent if word.kind == "loss"] == [True]


def test_figures(tmp_path: Path) -> None:
    people, rows = [], []
    for number in range(6):
        name = f"p{number}"
        told = (("loss", "Ada", 0), ("birthday", "20 March", 0), ("exam_subject", "law", 1))
        people.append(life(name, told))
        rows += [talk(name, n, day) for n, day in enumerate((0, 20, 45, 80))]
    write_rows(tmp_path / "lives.jsonl", people)
    write_rows(tmp_path / "talk" / "test.jsonl", rows)
    found = measure(tmp_path, CareSettings(), lives=6, seeds=(0, 1), mistaken=0.0).metrics
    assert found["care_reached_loss"] == 1
    assert found["care_reached_birthday"] > 0.5
    assert found["care_reached_exam"] > 0.5
    assert found["care_false"] == found["care_uninvited"] == 0
    assert 0 < found["care_per_week"] <= 3
    assert found["care_reached_weekly_loss"] == pytest.approx(1 / 7)
    assert measure(tmp_path, CareSettings(), lives=6, seeds=(0, 1), mistaken=0.0).metrics == found
    silent = measure(tmp_path, CareSettings(per_week=0), lives=6, seeds=(0,)).metrics
    assert silent["care_per_week"] == silent["care_reached_loss"] == 0


def test_the_clock_is_the_persons_own() -> None:
    one = year(life(), [talk("ana", 0, 0), talk("ana", 1, 5)], CareSettings(), 0.0, Random(3))
    assert one.ledger.heard[0].tzinfo == UTC
