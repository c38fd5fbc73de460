"""Sentence vectors: MiniLM by default, any sentence-transformers model else.

An embedder is asked for many texts at once and answers with unit vectors, so that a dot product is
a cosine. Nothing is loaded before the first text.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from oldfriend.errors import InputError, MissingDataError

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Tokens:
    """A text's word pieces: ``ids`` [n] and contextual unit ``vectors`` [n, size] as float16."""

    ids: NDArray[np.int64]
    vectors: NDArray[np.float16]


@runtime_checkable
class TokenReader(Protocol):
    """A model that also gives a vector for every word piece, for late interaction."""

    @property
    def vocabulary(self) -> int:
        """How many word pieces there are; ids are below it."""
        ...

    def read(self, texts: Sequence[str], *, content: bool = False) -> list[Tokens]:
        """The pieces of each text; ``content``: without function words and punctuation."""
        ...

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids alone, of all pieces: no model is run."""
        ...


class Embedder(Protocol):
    """Texts to unit vectors. ``id`` changes whenever the vectors would."""

    @property
    def id(self) -> str: ...

    @property
    def size(self) -> int: ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors [len(texts), size]; an empty list gives an array of no rows."""
        ...


def embedder(name: str = "minilm", cache: int = 4096) -> "Cached":
    """The embedder called ``name``: ``minilm``, ``hash``, or a sentence-transformers id or folder.

    ``cache`` is how many texts to keep vectors of. A folder that is not there is an InputError: it
    is never looked up on a hub.
    """
    from oldfriend.memory.store.minilm import MiniLM  # which needs the protocols above

    known: dict[str, type[MiniLM] | type[HashEmbedder]] = {"minilm": MiniLM, "hash": HashEmbedder}
    return Cached(known[name]() if name in known else SentenceTransformers(name), cache)


class Cached:
    """An embedder that remembers its latest texts (in memory only), least recently used first out.

    ``clear`` forgets them, as erasing a person's memories must.
    """

    def __init__(self, inner: Embedder, capacity: int) -> None:
        self.inner, self._capacity = inner, capacity
        self._kept: OrderedDict[str, Vectors] = OrderedDict()

    @property
    def id(self) -> str:
        return self.inner.id

    @property
    def size(self) -> int:
        return self.inner.size

    def encode(self, texts: Sequence[str]) -> Vectors:
        """As the embedder inside; texts met twice are embedded once."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._kept]
        found = dict(zip(fresh, self.inner.encode(fresh), strict=True)) if fresh else {}
        rows = [found[text] if text in found else self._kept[text] for text in texts]
        for text, row in zip(texts, rows, strict=True):
            self._kept[text] = row.copy()  # a view would keep the whole batch alive
            self._kept.move_to_end(text)
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
        return np.stack(rows) if rows else np.zeros((0, self.size), np.float32)

    def clear(self) -> None:
        """Forget every text and vector."""
        self._kept.clear()


class SentenceTransformers:
    """Any sentence-transformers model by folder or id; needs the package of that name."""

    def __init__(self, name: str) -> None:
        if name.startswith((".", "/", "~")) and not Path(name).expanduser().is_dir():
            raise InputError("no such folder of an embedding model", path=Path(name))
        self._name = name

    @property
    def id(self) -> str:
        return f"sentence-transformers:{self._name}"

    @property
    def size(self) -> int:
        return int(self._model.get_embedding_dimension())

    def encode(self, texts: Sequence[str]) -> Vectors:
        found = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(found, np.float32).reshape(len(texts), self.size)

    @cached_property
    def _model(self) -> Any:
        try:
            module = import_module("sentence_transformers")
        except ImportError:
            raise MissingDataError(
                f"the embedder {self._name!r} needs: pip install sentence-transformers"
            ) from None
        return module.SentenceTransformer(str(Path(self._name).expanduser()), device="cpu")


class HashEmbedder:
    """Character trigrams hashed to signs (feature hashing): no weights, for tests and fallbacks."""

    def __init__(self, size: int = 64) -> None:
        self.size = size

    @property
    def id(self) -> str:
        return f"hash-{self.size}"

    def encode(self, texts: Sequence[str]) -> Vectors:
        found = np.zeros((len(texts), self.size), np.float32)
        for row, text in zip(found, texts, strict=True):
            padded = f"  {text.lower()} "
            for at in range(len(padded) - 2):
                code = int.from_bytes(
                    hashlib.blake2b(padded[at : at + 3].encode(), digest_size=4).digest(), "little"
                )
                row[(code >> 1) % self.size] += 1.0 if code & 1 else -1.0
            if not row.any():
                row[0] = 1.0
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        return found
