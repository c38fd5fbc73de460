"""`oldfriend moe inspect` and the picture: what a layer has, does and went through."""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
import typer
from moe_layers import expert, random_layer, seen
from moe_tiny import tiny_config
from typer.testing import CliRunner

from oldfriend.app import moe
from oldfriend.errors import InputError
from oldfriend.lm import model as models
from oldfriend.lm.tokenizer import train_tokenizer
from oldfriend.moe.config import make_config
from oldfriend.moe.layer import Layer
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.pruning.anatomy import (
    draw,
    expert_rows,
    layer_rows,
    loads_of,
    picture,
    redundancy,
    used_rows,
)

LAYERS = [
    random_layer(4),
    random_layer(3, shared=expert(50, width=8)),
    Layer(experts=(expert(1, width=16),)),
    Layer(),
]


def test_rows_say_what_each_layer_has() -> None:
    rows = layer_rows(LAYERS, ["keep", "drop 3x24+8", "dense 1x16", "cancel"])
    assert [row["experts"] for row in rows] == [4, 3, 1, 0]
    assert [row["width"] for row in rows] == ["24", "24", "16", "0"]
    assert [row["shared"] for row in rows] == [0, 8, 0, 0]
    per = 3 * 16 * 24  # weights of an expert
    assert [row["parameters"] for row in rows] == [4 * per, 3 * per + 3 * 16 * 8, 3 * 16 * 16, 0]
    assert [row["active"] for row in rows] == [2 * per, 2 * per + 3 * 16 * 8, 3 * 16 * 16, 0]
    assert rows[3]["done"] == "cancel"


def test_rows_say_how_experts_are_used() -> None:
    idle = random_layer(4, bias=torch.tensor([0.0, 0.0, 0.0, -10.0]))
    rows = used_rows([seen(idle), seen(LAYERS[2]), seen(LAYERS[3])])
    assert rows[0]["dead"] == 1 and rows[0]["load_cv"] > 0.3
    assert rows[0]["reap_max"] > 0 and rows[0]["reap_min"] == 0
    assert rows[1]["dead"] == 0 and rows[1]["reap_min"] == rows[1]["reap_max"] > 0
    assert rows[2]["reap_max"] == 0


def test_redundancy_tells_copies_from_strangers() -> None:
    one = expert(0)
    assert redundancy(seen(random_layer(3, experts=(one, one, one)))) == pytest.approx(1, abs=1e-4)
    assert redundancy(seen(random_layer(3))) < 0.5


def test_every_expert_has_its_row() -> None:
    rows = expert_rows([seen(layer) for layer in LAYERS])
    assert [(r["layer"], r["expert"]) for r in rows] == [(0, i) for i in range(4)] + [
        (1, 0), (1, 1), (1, 2), (2, 0)
    ]  # fmt: skip
    assert sum(r["frequency"] for r in rows if r["layer"] == 0) == pytest.approx(2)


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_picture_is_a_file_of_its_kind_and_the_same_twice(kind: str, tmp_path: Path) -> None:
    loads = loads_of([seen(layer) for layer in LAYERS])
    assert [load is None for load in loads] == [False, False, True, True]
    paths = [tmp_path / f"{name}.{kind}" for name in "ab"]
    for path in paths:
        draw(path, picture(LAYERS, loads, title="a model", done=["keep", "", "", "cancel"]))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    if kind == "svg":
        root = ElementTree.fromstring(paths[0].read_text(encoding="utf-8"))
        assert root.tag.endswith("svg")
    else:
        assert paths[0].read_bytes().startswith(b"\x89PNG")


def test_boxes_are_as_wide_as_experts_and_gaps_say_so() -> None:
    figure = picture(LAYERS, [None] * 4)
    boxes = [patch.get_width() for patch in figure.axes[0].patches]
    assert boxes == [24] * 4 + [8] + [24] * 3 + [16]
    assert "no feed-forward network" in [text.get_text() for text in figure.axes[0].texts]


def test_a_picture_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'\.txt' is no picture"):
        draw(tmp_path / "a.txt", picture(LAYERS, [None] * 4))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A small mixture with tokenizer, as pruning leaves it."""
    tokenizer = train_tokenizer(["the old friend remembers what matters"] * 5, 300)
    layers = [{"num_experts": count, "moe_intermediate_size": 16} for count in (4, 1, 0)]
    torch.manual_seed(0)
    model = OFMoeForCausalLM(make_config(tiny_config("lfm2", vocab_size=len(tokenizer)), layers))
    meta = {"actions": ["drop 4x16", "dense 1x16", "cancel"]}
    models.save(model, tokenizer, tmp_path / "moe", meta)
    return tmp_path / "moe"


def call(*arguments: object) -> str:
    app = typer.Typer()
    app.add_typer(moe.app, name="moe")
    result = CliRunner().invoke(app, ["moe", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_inspect_shows_the_anatomy(saved: Path, tmp_path: Path) -> None:
    file = tmp_path / "anatomy.svg"
    out = call("inspect", saved, "--tokens", "0", "--picture", file)
    assert "cancel" in out and "drop 4x16" in out and file.is_file()
    rows = json.loads(call("inspect", saved, "--tokens", "0", "--json"))
    assert [row["experts"] for row in rows] == [4, 1, 0]


def test_inspect_reads_text_to_tell_what_experts_do(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "external" / "domain_fiction" / "original"
    folder.mkdir(parents=True)
    for number in range(40):
        (folder / f"{number}.txt").write_text(f"the old friend {number} remembers " * 20)
    more = ("--external", tmp_path / "external", "--domain", "fiction", "--tokens", "400")
    rows = json.loads(call("inspect", saved, *more, "--json"))
    assert 0 < rows[0]["entropy"] <= 1 and rows[1]["entropy"] == 0
    each = json.loads(call("inspect", saved, *more, "--experts", "--json"))
    assert [row["layer"] for row in each] == [0, 0, 0, 0, 1]
    assert sum(row["frequency"] for row in each[:4]) == pytest.approx(2, abs=1e-3)


def test_bench_times_models_in_turn(saved: Path) -> None:
    rows = json.loads(
        call("bench", saved, saved, "--prompt", "8", "--new", "2", "--rounds", "1", "--json")
    )
    assert rows[0]["active"] < rows[0]["parameters"]
    assert rows[0]["prefill tokens/s"] > 0 and rows[0]["decode tokens/s"] > 0


def test_the_command_line_imports_nothing_heavy() -> None:
    import subprocess

    code = "import sys, oldfriend.app.moe; print({'torch', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
