"""Evidence recall on LongMemEval: which sessions, and which turns, hold the answer.

Session ids are renamed before anything is indexed, because those of the evidence begin with
"answer". Questions without an answer (``_abs``) are left out, which leaves the official 470.
``recall_all`` is strict: every piece of evidence among the first k. NDCG is the official one
(LongMemEval, src/retrieval/eval_utils.py), whose discount is 1 at rank 1 and also at rank 2.
"""

from collections.abc import Sequence
from datetime import datetime
from math import log2
from pathlib import Path
from statistics import fmean

from oldfriend.bench.recall import Line, records, scratch_pool, utc
from oldfriend.corpus.importers.read import Record, files, json_records
from oldfriend.memory.store.embed import Embedder, embedder
from oldfriend.memory.store.retrieve import Query, Retriever, Weights
from oldfriend.outcome import Outcome, Row

DEPTHS = (5, 10)
TURNS = 100  # hits that sessions are ranked by: a session stands where its best turn does
ABSTAIN = "_abs"

Scores = dict[str, float]


def run(
    data: Path,
    *,
    embed: Embedder | None = None,
    weights: Weights | None = None,
    limit: int | None = None,
) -> Outcome:
    """Metrics ``<session|turn>.<recall_all|recall_any|ndcg>_at_<k>`` and the mean of each question
    type in the table ``types``. ``limit``: only so many questions.

    Turns are scored where the file marks them with ``has_answer``. MissingDataError if there is no
    longmemeval*.json in ``data``, InputError for what is malformed.
    """
    embed = embed or embedder()
    results: list[tuple[str, Scores]] = []
    for file in files(data, "longmemeval*.json"):
        for sample in json_records(file):
            if sample.text("question_id").endswith(ABSTAIN):
                continue
            if limit is None or len(results) < limit:
                scores = _answer(sample, embed, weights or Weights())
                results.append((sample.text("question_type"), scores))
    metrics = {"questions": float(len(results))} | _means([scores for _, scores in results])
    rows: list[Row] = []
    for kind in sorted({kind for kind, _ in results}):
        own = [scores for other, scores in results if other == kind]
        rows.append({"type": kind, "questions": len(own), **_means(own)})
    return Outcome(metrics, {"types": rows})


def dcg(relevances: Sequence[float]) -> float:
    """Discounted gain as LongMemEval computes it: rank i >= 2 is divided by log2(i)."""
    return sum(gain / (log2(rank) if rank > 1 else 1) for rank, gain in enumerate(relevances, 1))


def scores(found: Sequence[str], evidence: set[str], corpus: Sequence[str], k: int) -> Scores:
    """Strict and lenient recall and NDCG of the first ``k`` found. ``corpus``: all there is."""
    top = set(found[:k])
    ideal = dcg(sorted((float(key in evidence) for key in corpus), reverse=True)[:k])
    gained = dcg([float(key in evidence) for key in found[:k]])
    return {
        f"recall_all_at_{k}": float(evidence <= top),
        f"recall_any_at_{k}": float(bool(evidence & top)),
        f"ndcg_at_{k}": gained / ideal if ideal else 0.0,
    }


def _answer(sample: Record, embed: Embedder, weights: Weights) -> Scores:
    lines, evidence = _lines(sample)
    asked = sample.text("question_id")
    with scratch_pool(embed) as pool:
        memory = pool.of(asked)
        told = records(asked, lines)
        line_of = dict(zip([r.id for r in told], [x for x in lines if x.text.strip()], strict=True))
        now = _time(sample, "question_date", sample.text("question_date"))
        memory.add(told, at=now)
        query = Query(sample.text("question"), limit=TURNS, now=now, asker="user")
        hits = Retriever(embed, weights).search(memory, query)
        found = [line_of[hit.record.id] for hit in hits]
    sessions, renamed = _renamed(sample)
    gold = {renamed[id] for id in sample.texts("answer_session_ids") if id in renamed}
    if len(gold) < len(set(sample.texts("answer_session_ids"))):
        raise sample.place.error(
            "names a session that is not in the haystack", "answer_session_ids"
        )
    result: Scores = {}
    for k in DEPTHS:
        ranked = list(dict.fromkeys(line.session for line in found))
        at_k = scores(ranked, gold, sessions, k)
        result |= {f"session.{name}": value for name, value in at_k.items()}
        if evidence:
            at_k = scores([line.key for line in found], evidence, [x.key for x in lines], k)
            result |= {f"turn.{name}": value for name, value in at_k.items()}
    return result


def _lines(sample: Record) -> tuple[list[Line], set[str]]:
    """Every turn of the haystack, and the keys of those marked as evidence."""
    sessions, _ = _renamed(sample)
    haystack, dates = sample.tables("haystack_sessions"), sample.texts("haystack_dates")
    if not len(sessions) == len(haystack) == len(dates):
        raise sample.place.error("expected as many sessions, ids and dates", "haystack_sessions")
    lines, evidence = [], set()
    for name, date, turns in zip(sessions, dates, haystack, strict=True):
        time = _time(sample, "haystack_dates", date)
        for number, turn in enumerate(turns):
            line = Line(
                f"{name}:{number}", turn.text("role"), name, number, time, turn.text("content")
            )
            lines.append(line)
            if turn.values.get("has_answer") is True:
                evidence.add(line.key)
    return lines, evidence


def _renamed(sample: Record) -> tuple[list[str], dict[str, str]]:
    """Neutral names of the sessions in their order, and the neutral name of every given one."""
    given = sample.texts("haystack_session_ids")
    names = {id: f"session {number}" for number, id in enumerate(dict.fromkeys(given))}
    return [names[id] for id in given], names


def _time(sample: Record, field: str, text: str) -> datetime:
    try:
        return utc(datetime.strptime(text, "%Y/%m/%d (%a) %H:%M"))
    except ValueError:
        raise sample.place.error(
            f"expected a time like 2023/05/20 (Sat) 02:21, found {text!r}", field
        ) from None


def _means(rows: Sequence[Scores]) -> Scores:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: fmean(row[name] for row in rows if name in row) for name in names}
