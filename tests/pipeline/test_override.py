"""Single values set in params.yaml."""

from pathlib import Path
from typing import Any

import pytest
from tiny_project import PARAMS

from oldfriend.errors import ParamsError
from oldfriend.pipeline.override import override


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS, encoding="utf-8")
    return path


def test_values_are_set_and_comments_stay(params: Path) -> None:
    changes = override(params, {"data.start": 4, "side.left.scale": 2})
    assert changes == ["data.start: 3 -> 4"]
    assert "start: 4  # the number that all others come from" in params.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data.strat", 1, r"field 'data.strat': no such parameter; data has start"),
        ("dta.start", 1, "it has data, side, join"),
        ("data.start.more", 1, "data.start has nothing"),
        ("data.start", "many", "is 3, so 'many' cannot stand there"),
        ("data.start", True, "cannot stand there"),
        ("data", 1, "cannot stand there"),
    ],
)
def test_a_value_that_does_not_fit_changes_nothing(
    params: Path, key: str, value: Any, message: str
) -> None:
    with pytest.raises(ParamsError, match=message):
        override(params, {"side.left.scale": 9, key: value})
    assert params.read_text(encoding="utf-8") == PARAMS
