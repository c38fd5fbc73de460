"""Which of many texts are most like all the others."""

import math
import re
from collections import Counter
from collections.abc import Sequence

from oldfriend.memory.store.record import MemoryRecord


def central(turns: Sequence[MemoryRecord], count: int) -> list[MemoryRecord]:
    """The turns most like all others of their session, in order.

    Degree centrality over cosine similarity of tf-idf weighted words (Erkan and Radev 2004,
    without the random walk); of equal turns the earlier one.
    """
    bags = [Counter(re.findall(r"\w{3,}", turn.text.casefold())) for turn in turns]
    seen = Counter(word for bag in bags for word in bag)
    vectors = []
    for bag in bags:
        weights = {word: n * math.log1p(len(bags) / seen[word]) for word, n in bag.items()}
        length = math.sqrt(math.fsum(w * w for w in weights.values())) or 1.0
        vectors.append({word: w / length for word, w in weights.items()})
    total: Counter[str] = Counter()  # of weights
    for vector in vectors:
        total.update(vector)
    degree = [math.fsum(w * (total[word] - w) for word, w in v.items()) for v in vectors]
    best = sorted(range(len(turns)), key=lambda n: (-round(degree[n], 9), n))[:count]
    return [turns[n] for n in sorted(best)]
