"""BM25 token weights that both engines share; the inverse document frequency is the engine's."""

from functools import cache

import qdrant_edge as edge

from oldfriend.memory.store.engine import Sparse

# Chat turns have about 25 words; the default of 256 would all but switch off the length norm.
MEAN_WORDS = 25.0


def document(text: str) -> Sparse:
    """Token ids and BM25 weights (k1 1.2, b 0.75) of what is stored; stems, no stopwords."""
    found = _bm25().embed_document(text)
    return found.indices, found.values


def question(text: str) -> Sparse:
    """Token ids of what is asked, each once with weight 1."""
    found = _bm25().embed_query(text)
    return found.indices, found.values


@cache
def _bm25() -> edge.Bm25:
    return edge.Bm25(edge.Bm25Config(avg_len=MEAN_WORDS, language="english"))
