"""BM25 over one person's records without an engine, for when it cannot be reached."""

from collections import Counter
from collections.abc import Sequence
from math import log

from oldfriend.memory.store.engine import Hit, Leaf, Plan, Scored, Sparse, fuse, in_order, seconds
from oldfriend.memory.store.indexing import Draft, Indexer
from oldfriend.memory.store.state import State

Words = dict[int, dict[str, dict[int, float]]]  # by fingerprint, then by name of the vector


def search_lexically(indexer: Indexer, state: State, plan: Plan, words: Words) -> list[Scored]:
    """The plan's sparse leaves alone, scored as Qdrant does. ``words`` is filled for next time.

    A plan without sparse leaves finds nothing.
    """
    drafts = list(indexer.drafts(state))
    for draft in drafts:
        if draft.mark not in words:
            texts = {"bm25": draft.key, "bm25_w": draft.window}
            words[draft.mark] = {n: _weights(indexer.sparse(t)) for n, t in texts.items()}
    leaves = [leaf for leaf in plan.prefetches if isinstance(leaf.query, tuple)]
    allowed = [draft for draft in drafts if _allowed(plan, draft)]
    hits = [in_order(_hits(leaf, drafts, allowed, words)) for leaf in leaves]
    sparse = Plan(**{**vars(plan), "prefetches": leaves})
    return fuse(sparse, hits)


def _hits(leaf: Leaf, drafts: Sequence[Draft], allowed: Sequence[Draft], words: Words) -> list[Hit]:
    """Every allowed record with a word of the query: sum of idf * query weight * weight.

    idf = ln(1 + (N - df + 0.5) / (df + 0.5)), over all records of the person.
    """
    assert isinstance(leaf.query, tuple)
    asked = _weights(leaf.query)
    documents = {draft.mark: words[draft.mark][leaf.vector] for draft in drafts}
    counts = Counter(t for draft in drafts for t in asked if t in documents[draft.mark])
    idf = {t: log(1 + (len(drafts) - n + 0.5) / (n + 0.5)) for t, n in counts.items()}
    found = []
    for draft in allowed:
        shared = asked.keys() & documents[draft.mark].keys()
        if shared:
            score = sum(idf[t] * asked[t] * documents[draft.mark][t] for t in shared)
            found.append(Hit(draft.id.int, score, draft.ts, draft.importance))
    return found


def _allowed(plan: Plan, draft: Draft) -> bool:
    return (
        (plan.since is None or draft.ts >= seconds(plan.since))
        and (plan.until is None or draft.ts < seconds(plan.until))
        and (not plan.kinds or draft.kind in plan.kinds)
        and (not plan.current or draft.current)
    )


def _weights(vector: Sparse) -> dict[int, float]:
    return dict(zip(*vector, strict=True))
