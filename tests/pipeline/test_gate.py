"""Which candidates become champion."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oldfriend.errors import InputError, ParamsError
from oldfriend.pipeline.gate import Gate, compare

GATE = Gate(
    better={"recall": "up"},
    not_worse={"false": "down"},
    spread={"recall": 0.01, "false": 0.02},
)
CHAMPION = {"recall": 0.80, "false": 0.10}


def passes(recall: float, false: float, **more: float) -> bool:
    lines = compare(GATE, {"recall": recall, "false": false, **more}, CHAMPION)
    return all(line.passes for line in lines)


@pytest.mark.parametrize(
    ("recall", "false", "good"),
    [
        (0.90, 0.10, True),
        (0.90, 0.12, True),  # worse, but within the spread
        (0.90, 0.14, False),  # worse by more than the spread
        (0.90, 0.01, True),
        (0.81, 0.01, False),  # better by less than the spread
        (0.80, 0.10, False),
        (0.70, 0.01, False),
    ],
)
def test_better_beyond_the_spread_and_worse_nowhere(
    recall: float, false: float, good: bool
) -> None:
    assert passes(recall, false) is good


def test_the_spread_of_a_run_over_seeds_counts_before_the_declared_one() -> None:
    assert passes(0.83, 0.10)
    assert not passes(0.83, 0.10, recall_sd=0.04)
    (line, _) = compare(GATE, {"recall": 0.83, "false": 0.1, "recall_sd": 0.03}, CHAMPION)
    assert line.spread == pytest.approx(math.hypot(0.03, 0.01))


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_two_never_beat_each_other(a: float, b: float, c: float, d: float) -> None:
    one, other = {"recall": a, "false": b}, {"recall": c, "false": d}
    both = [compare(GATE, one, other), compare(GATE, other, one)]
    assert not all(all(line.passes for line in lines) for lines in both)
    for there, back in zip(*both, strict=True):
        assert there.gain == pytest.approx(-back.gain)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_was_not_measured_is_named(value: float) -> None:
    with pytest.raises(InputError, match=r"'recall'.*candidate has no number"):
        compare(GATE, {"recall": value, "false": 0.1}, CHAMPION)
    with pytest.raises(InputError, match=r"'false'.*champion has no number"):
        compare(GATE, {"recall": 1, "false": 0.1}, {"recall": 0.8})


def test_a_difference_without_a_spread_is_no_difference() -> None:
    gate = Gate(better={"recall": "up"})
    with pytest.raises(InputError, match="no spread is known"):
        compare(gate, {"recall": 0.9, "recall_sd": 0.01}, {"recall": 0.8})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not_worse: {a: up}\n", "field 'better'"),
        ("better: {}\n", "field 'better'"),
        ("better: {a: sideways}\n", r"field 'better.a'.*'up' or 'down'"),
        ("better: {a: up}\nbest: {a: up}\n", "field 'best'"),
    ],
)
def test_a_malformed_gate_names_the_field(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ParamsError, match=message):
        Gate.load(path)


def test_our_own_gate_is_well_formed_and_speaks_of_metrics_there_are() -> None:
    import json

    root = Path(__file__).parents[2]
    gate = Gate.load(root / "gate.yaml")
    for metric in [*gate.better, *gate.not_worse]:
        stage, _, key = metric.partition("/")
        values = json.loads((root / "metrics" / f"{stage}.json").read_text(encoding="utf-8"))
        assert key in values
        assert f"{key}_sd" in values or metric in gate.spread
