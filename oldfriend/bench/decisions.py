"""Fits and measures the three decisions of memory on simulated lives.

Each grounding example (``data/curated/ground``) is a message with the memories its person has; the
memories of other examples stand beside them as distractors. Needed: every kind but plain. Bears on
the message: the memory whose slot the example names. Said: recall, past and abstain against colour.
Fit on the training split, report on the test split; no public benchmark is involved.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time
from pathlib import Path
from random import Random

import numpy as np

from oldfriend.bench.recall import auroc
from oldfriend.corpus.schema import GroundExample, MemoryLine, read_rows
from oldfriend.memory.store.decide import Calibration, Features, Logit, features
from oldfriend.memory.store.embed import TokenReader
from oldfriend.memory.store.journal import Add
from oldfriend.memory.store.keys import asked_about
from oldfriend.memory.store.minilm import MiniLM
from oldfriend.memory.store.record import MemoryRecord, record_id
from oldfriend.memory.store.rerank import LateInteraction
from oldfriend.memory.store.retrieve import Hit, Weights
from oldfriend.memory.store.state import replay
from oldfriend.outcome import Outcome

DISTRACTORS = 30  # memories of other examples beside an example's own
RATED = 8  # best hits of a message that support is learned from
NEW = datetime(2025, 1, 1, tzinfo=UTC)
RIDGE = 0.001  # beside the mean log-likelihood; keeps separable features finite

Cases = tuple[list[Features], list[bool]]


def run(
    data: Path, *, reader: TokenReader | None = None, limit: int = 600, seed: int = 0
) -> tuple[Calibration, Outcome]:
    """Calibration fitted on ``train.jsonl`` of the folder, and AUROC and Brier score on
    ``test.jsonl``: ``<need|support|say|abstain>.auroc``. ``limit`` examples of each are used."""
    reader = reader or MiniLM()
    train, _ = _cases(data / "train.jsonl", reader, limit, seed)
    test, asked = _cases(data / "test.jsonl", reader, limit, seed)
    models = {name: fit(*train[name]) for name in ("need", "support", "say")}
    metrics: dict[str, float] = {}
    for name, model in models.items():
        rows, labels = test[name]
        probabilities = [model(row) for row in rows]
        metrics[f"{name}.auroc"] = auroc(probabilities, labels)
        metrics[f"{name}.brier"] = float(np.mean((np.array(probabilities) - labels) ** 2))
    # Abstaining: of the questions to memory, which have an answer there at all?
    best = [max(map(models["support"], rows), default=0.0) for rows, _ in asked]
    metrics["abstain.auroc"] = auroc(best, [answered for _, answered in asked])
    calibration = Calibration(models["need"], models["support"], models["say"])
    return calibration, Outcome(metrics)


def fit(rows: Sequence[Features], labels: Sequence[bool], steps: int = 50) -> Logit:
    """Ridge logistic regression on standardised features, by Newton's method."""
    plain = np.array(rows, float)
    mean, spread = plain.mean(0), np.maximum(plain.std(0), 1e-3)
    x = np.column_stack([np.ones(len(rows)), (plain - mean) / spread])
    y = np.array(labels, float)
    weights = np.zeros(x.shape[1])
    penalty = RIDGE * np.eye(x.shape[1])
    penalty[0, 0] = 0
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        slope = x.T @ (p - y) / len(y) + penalty @ weights
        curve = (x * (p * (1 - p))[:, None]).T @ x / len(y) + penalty
        step = np.linalg.solve(curve + 1e-9 * np.eye(len(weights)), slope)
        weights -= step
        if np.abs(step).max() < 1e-8:
            break
    slopes = weights[1:] / spread
    bias = round(float(weights[0] - slopes @ mean), 4)
    asks, recalls, own, match, gap, theirs = (round(float(slope), 4) for slope in slopes)
    return Logit(bias, (asks, recalls, own, match, gap, theirs))


def _cases(
    path: Path, reader: TokenReader, limit: int, seed: int
) -> tuple[dict[str, Cases], list[tuple[list[Features], bool]]]:
    """Rows for each model; and of every question, the rows of its hits and whether it has an
    answer."""
    random = Random(f"{path.name}-{seed}")
    examples = list(read_rows(path, GroundExample))
    random.shuffle(examples)
    examples = examples[:limit]
    others = [line for example in examples for line in example.memories]
    late = LateInteraction(reader, capacity=len(others) + 1)
    cases: dict[str, Cases] = {name: ([], []) for name in ("need", "support", "say")}
    asked: list[tuple[list[Features], bool]] = []

    def put(name: str, row: Features, label: bool) -> None:
        cases[name][0].append(row)
        cases[name][1].append(label)

    for example in examples:
        lines = [*example.memories, *random.sample(others, min(DISTRACTORS, len(others)))]
        hits = _hits(example, list(dict.fromkeys(lines)), late)
        seen, needed = features(example.message, hits), example.kind != "plain"
        put("need", seen, needed)
        if needed:
            put("say", features(example.message, []), example.kind != "colour")
        rated = [features(example.message, hits, place) for place in range(min(RATED, len(hits)))]
        if needed and example.kind != "colour":
            asked.append((rated, example.kind != "abstain"))
        right = _bears(example)
        for row, hit in zip(rated, hits[:RATED], strict=True):
            put("support", row, needed and right(hit.record))
    return cases, asked


def _hits(example: GroundExample, lines: Sequence[MemoryLine], late: LateInteraction) -> list[Hit]:
    made = [_record(example.user, line) for line in lines]
    state = replay(Add(at=NEW, record=record) for record in made)
    kept = list(state.values())
    match = late.match(example.message, kept, state)
    about = asked_about(example.message, sorted({r.subject for r in kept}), example.user)
    weight = Weights().speaker
    found = [
        Hit(record, float(w), float(w), float(o), _whose(record, about, weight), {})
        for record, w, o in zip(kept, match.window, match.own, strict=True)
    ]
    return sorted(found, key=lambda hit: (-sum(hit.parts.values()), -hit.match, hit.record.id))


def _whose(record: MemoryRecord, about: str, weight: float) -> dict[str, float]:
    return {"speaker": weight if record.subject == about else -weight} if about else {}


def _record(user: str, line: MemoryLine) -> MemoryRecord:
    start = datetime.combine(line.since, time(), UTC) if line.since else None
    end = datetime.combine(line.until, time(), UTC) if line.until else None
    return MemoryRecord(
        id=record_id(line.owner, line.slot, line.value, str(line.since)), user=user,
        kind="profile", subject=line.owner, slot=line.slot, value=line.value, text=line.text,
        created_at=start or NEW, valid_from=start, valid_to=end,
    )  # fmt: skip


def _bears(example: GroundExample) -> Callable[[MemoryRecord], bool]:
    """Whether a record is what the example is about."""
    if example.kind in ("abstain", "plain"):
        return lambda record: False
    return lambda record: record.slot == example.slot and record.subject == example.user
