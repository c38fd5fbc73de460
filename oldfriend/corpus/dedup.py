"""Exact and near-duplicate conversations, found by MinHash over word shingles."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray

from oldfriend.corpus.progress import progress
from oldfriend.corpus.schema import Conversation, Split
from oldfriend.corpus.settings import DedupParams

Shingles = NDArray[np.uint32]

# Chinese, Japanese and Korean write words without blanks: take their characters one by one.
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")
_RANK: dict[Split | None, int] = {"test": 0, "val": 1, "train": 2, None: 2}
_MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so powers of it never vanish modulo 2^64
# Missing a duplicate costs more than one comparison of two shingle sets too many.
_LSH_WEIGHTS = (0.1, 0.9)  # of false positives, of false negatives


@dataclass(frozen=True)
class Sketch:
    """Shingle hashes of one text and their MinHash signature."""

    shingles: Shingles
    signature: MinHash


class Index:
    """Texts by similarity: a MinHash index whose candidates are compared exactly."""

    def __init__(self, params: DedupParams) -> None:
        self._lsh = MinHashLSH(
            threshold=params.threshold, num_perm=params.permutations, weights=_LSH_WEIGHTS
        )
        self._threshold = params.threshold
        self._shingles: dict[str, Shingles] = {}

    def add(self, key: str, sketch: Sketch) -> None:
        """Remember a text under ``key``; texts without words are never near to others."""
        if sketch.shingles.size:
            self._lsh.insert(key, sketch.signature)
            self._shingles[key] = sketch.shingles

    def nearest(self, sketch: Sketch) -> tuple[str, float] | None:
        """Return the most similar text above the threshold and the similarity, or None."""
        if not sketch.shingles.size:
            return None
        scored = (
            (key, jaccard(sketch.shingles, self._shingles[key]))
            for key in self._lsh.query(sketch.signature)
        )
        near = [(key, score) for key, score in scored if score >= self._threshold]
        return min(near, key=lambda pair: (-pair[1], pair[0]), default=None)


def deduplicate(
    conversations: Sequence[Conversation], params: DedupParams, removed: Counter[str]
) -> list[Conversation]:
    """Drop repeats of conversations; count them as ``exact`` and ``near``.

    Of two duplicates the held-out one stays (test before val before train), else the one
    first by source, person, session and id. The order of the rest is kept, and so is the
    result when conversations come in another order. The same talk seen from both sides (user
    and friend swapped, in one source and split) counts as one and stays whole.
    """
    ranked = sorted(conversations, key=_precedence)
    unique = _drop_exact(ranked, removed)
    kept = {id(row) for views in _drop_near(unique, params, removed) for row in views}
    return [conversation for conversation in conversations if id(conversation) in kept]


def sketches(texts: Iterable[str], params: DedupParams) -> Iterator[Sketch]:
    """Sketch many texts, sharing one set of permutations."""
    blank = MinHash(num_perm=params.permutations, hashfunc=int)
    for text in texts:
        shingles = shingle(text, params.shingle)
        signature = blank.copy()
        signature.update_batch(shingles.tolist())
        yield Sketch(shingles, signature)


def shingle(text: str, width: int) -> Shingles:
    """Hash every run of ``width`` words; a shorter text is one run."""
    words = np.array([_word_hash(word) for word in _WORD.findall(text.casefold())], np.uint64)
    if not words.size:
        return np.empty(0, np.uint32)
    width = min(width, words.size)
    runs = np.zeros(words.size - width + 1, np.uint64)
    for place in range(width):
        factor = np.uint64(pow(_MULTIPLIER, place + 1, 1 << 64))
        runs += words[place : place + runs.size] * factor
    return np.unique((runs >> np.uint64(32)).astype(np.uint32))


def jaccard(left: Shingles, right: Shingles) -> float:
    """Shared shingles over all shingles."""
    shared = np.intersect1d(left, right, assume_unique=True).size
    return shared / (left.size + right.size - shared)


def text_of(conversation: Conversation) -> str:
    """All turns as one text; who speaks does not make two talks different."""
    return "\n".join(turn.text for turn in conversation.turns)


def words_digest(conversation: Conversation) -> bytes:
    """Hash of what is said, whatever its case and blanks and whoever says it."""
    words = " ".join(text_of(conversation).casefold().split())
    return hashlib.blake2b(words.encode(), digest_size=16).digest()


def roles(conversation: Conversation, *, swapped: bool = False) -> str:
    """Who speaks, turn by turn."""
    return "".join("uf"[(turn.speaker == "friend") ^ swapped] for turn in conversation.turns)


def _drop_exact(ranked: list[Conversation], removed: Counter[str]) -> list[list[Conversation]]:
    """Return one conversation of each text, with its mirror image if there is one."""
    kept: dict[bytes, list[Conversation]] = {}
    for conversation in ranked:
        views = kept.setdefault(words_digest(conversation), [])
        if not views or (len(views) == 1 and _mirrored(views[0], conversation)):
            views.append(conversation)
        else:
            removed["exact"] += 1
    return list(kept.values())


def _drop_near(
    unique: list[list[Conversation]], params: DedupParams, removed: Counter[str]
) -> Iterator[list[Conversation]]:
    index = Index(params)
    texts = (text_of(views[0]) for views in unique)
    found = progress(sketches(texts, params), "looking for duplicates", len(unique))
    for number, sketch in enumerate(found):
        if index.nearest(sketch) is not None:
            removed["near"] += len(unique[number])
        else:
            index.add(str(number), sketch)
            yield unique[number]


def _mirrored(one: Conversation, other: Conversation) -> bool:
    same_place = (one.source, one.split) == (other.source, other.split)
    return same_place and roles(one) == roles(other, swapped=True)


def _precedence(conversation: Conversation) -> tuple[int, str, str, int, str]:
    rank = _RANK[conversation.split]
    return rank, conversation.source, conversation.person, conversation.session, conversation.id


@lru_cache(maxsize=1 << 18)
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
