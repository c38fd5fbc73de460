"""Fits and measures the three decisions of memory on simulated lives.

Each grounding example (``data/curated/ground``) is a message with the memories its person has; the
memories of other examples stand beside them as distractors. Needed: every kind but plain; and not
for questions of general knowledge (``data/seeds/general_questions.yaml``), asked by somebody who
has memories. Bears on the message: the memory whose slot the example names. Said: recall, past and
abstain against colour. Fit on the training halves, report on the test halves, which share no
phrasing with them; nothing is fitted on a public benchmark.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from oldfriend.bench.general import general_questions
from oldfriend.bench.logistic import fit, solve
from oldfriend.bench.recall import auroc
from oldfriend.corpus.schema import GroundExample, MemoryLine, read_rows
from oldfriend.memory.store.decide import Calibration, Features, Logit, features
from oldfriend.memory.store.embed import Embedder, TokenReader
from oldfriend.memory.store.journal import Add
from oldfriend.memory.store.keys import asked_about
from oldfriend.memory.store.minilm import MiniLM
from oldfriend.memory.store.record import MemoryRecord, record_id
from oldfriend.memory.store.rerank import LateInteraction
from oldfriend.memory.store.retrieve import Hit, Weights
from oldfriend.memory.store.state import replay
from oldfriend.memory.store.topic import Topic
from oldfriend.outcome import Outcome

GENERAL = Path("data/seeds/general_questions.yaml")
DISTRACTORS = 30  # memories of other examples beside an example's own
RATED = 8  # best hits of a message that support is learned from
OTHERS = 0.15  # share of the questions that are asked once more, of the person by name
NEW = datetime(2025, 1, 1, tzinfo=UTC)
FOLDS = 5  # of the training texts, so that need is not fitted on topics that were
TOPIC_RIDGE = 0.02  # for 384 weights; of 0.002, 0.02 and 0.2 the best by folds
PERSONAL = len(features("", [])) - 1  # the place of "personal" among the features


@dataclass
class Cases:
    """Rows and labels for one model."""

    rows: list[Features] = field(default_factory=list)
    labels: list[bool] = field(default_factory=list)

    def put(self, row: Features, label: bool) -> None:
        self.rows.append(row)
        self.labels.append(label)


@dataclass
class Split:
    """What one half comes to. ``texts``: the messages behind ``need``, of which the places in
    ``general`` are general questions. ``asked``: of every question to memory, the rows of its hits
    and whether it has an answer."""

    need: Cases = field(default_factory=Cases)
    support: Cases = field(default_factory=Cases)
    say: Cases = field(default_factory=Cases)
    texts: list[str] = field(default_factory=list)
    general: list[int] = field(default_factory=list)
    asked: list[tuple[list[Features], bool]] = field(default_factory=list)


def run(
    data: Path,
    *,
    general: Path = GENERAL,
    reader: TokenReader | None = None,
    embed: Embedder | None = None,
    limit: int = 600,
    seed: int = 0,
) -> tuple[Calibration, Topic | None, Outcome]:
    """Calibration and topic model fitted on ``train.jsonl`` of the folder and the training half of
    ``general``; AUROC and Brier score on the test halves: ``<need|informed|support|say|abstain>.
    <auroc|brier>``; ``<need|informed>.general_refused``, the share of general questions for which
    no memory is wanted, ``.recall``, the share of questions to memory for which it is, and
    ``.general_auroc`` between the two. ``limit`` examples of each half are used. Without ``embed``
    and with a ``reader`` of one's own there is no topic model.
    """
    if reader is None:
        minilm = MiniLM()
        reader, embed = minilm, embed or minilm
    bank = general_questions(general)
    train = _split(data / "train.jsonl", bank.train, reader, limit, seed)
    test = _split(data / "test.jsonl", bank.test, reader, limit, seed)
    models = {name: fit(of.rows, of.labels) for name, of in _models(train)}
    metrics: dict[str, float] = {}
    for name, of in _models(test):
        _measure(metrics, name, models[name], of)
    _refused(metrics, "need", models["need"], test)
    # Abstaining: of the questions to memory, which have an answer there at all?
    best = [max(map(models["support"], rows), default=0.0) for rows, _ in test.asked]
    metrics["abstain.auroc"] = auroc(best, [answered for _, answered in test.asked])
    topic = informed = None
    if embed is not None:
        topic = _topic(embed, train)
        vectors = embed.encode(test.texts)
        test.need.rows = _told(test, [topic(vector) for vector in vectors])
        informed = fit(_told(train, _across_folds(embed, train)), train.need.labels)
        _measure(metrics, "informed", informed, test.need)
        _refused(metrics, "informed", informed, test)
    calibration = Calibration(models["need"], models["support"], models["say"], informed=informed)
    return calibration, topic, Outcome(metrics)


def _models(split: Split) -> list[tuple[str, Cases]]:
    return [("need", split.need), ("support", split.support), ("say", split.say)]


def _measure(metrics: dict[str, float], name: str, model: Logit, of: Cases) -> None:
    probabilities = [model(row) for row in of.rows]
    metrics[f"{name}.auroc"] = auroc(probabilities, of.labels)
    metrics[f"{name}.brier"] = float(np.mean((np.array(probabilities) - of.labels) ** 2))


def _refused(metrics: dict[str, float], name: str, model: Logit, test: Split) -> None:
    wanted = [model(row) for row in test.need.rows]
    general = [wanted[place] for place in test.general]
    own = [p for p, label in zip(wanted, test.need.labels, strict=True) if label]
    metrics[f"{name}.general_refused"] = float(np.mean(np.array(general) < 0.5))
    metrics[f"{name}.recall"] = float(np.mean(np.array(own) >= 0.5))
    labels = [True] * len(own) + [False] * len(general)
    metrics[f"{name}.general_auroc"] = auroc([*own, *general], labels)


def _told(split: Split, personal: Sequence[float]) -> list[Features]:
    """The rows of need with how personal each text is."""
    return [(*row[:PERSONAL], 2 * p - 1) for row, p in zip(split.need.rows, personal, strict=True)]


def _topic(embed: Embedder, split: Split) -> Topic:
    bias, weights = solve(_array(embed.encode(split.texts)), split.need.labels, TOPIC_RIDGE)
    return Topic(embed.id, bias, weights.astype(np.float16).astype(np.float32))


def _across_folds(embed: Embedder, split: Split) -> list[float]:
    """How personal each text is to a model that was not trained on it."""
    vectors, labels = _array(embed.encode(split.texts)), np.array(split.need.labels)
    fold = np.arange(len(labels)) % FOLDS
    found = np.zeros(len(labels))
    for number in range(FOLDS):
        held = fold == number
        bias, weights = solve(vectors[~held], labels[~held].tolist(), TOPIC_RIDGE)
        found[held] = 1 / (1 + np.exp(-(bias + vectors[held] @ weights)))
    return [float(p) for p in found]


def _array(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    return vectors.astype(np.float64)


def _split(path: Path, general: Sequence[str], reader: TokenReader, limit: int, seed: int) -> Split:
    """Everything that one half has to say."""
    random = Random(f"{path.name}-{seed}")
    examples = list(read_rows(path, GroundExample))
    random.shuffle(examples)
    examples = examples[:limit]
    others = [line for example in examples for line in example.memories]
    late = LateInteraction(reader, capacity=len(others) + 1)
    asked = [(one, one.user, False) for one in examples]
    asked += [(_by_name(one), "", False) for one in examples
              if _asks(one) and random.random() < OTHERS]  # fmt: skip
    plain = {"kind": "plain", "slot": "", "value": ""}
    for text in general:
        somebody = random.choice(examples)
        update = {**plain, "message": text}
        asked.append((somebody.model_copy(update=update), somebody.user, True))
    random.shuffle(asked)
    split = Split()
    for example, asker, of_world in asked:
        lines = [*example.memories, *random.sample(others, min(DISTRACTORS, len(others)))]
        if random.random() < 0.1:  # somebody who has told next to nothing yet
            lines = list(example.memories)
        _put(split, example, _hits(example, asker, list(dict.fromkeys(lines)), late), of_world)
    return split


def _put(split: Split, example: GroundExample, hits: Sequence[Hit], of_world: bool) -> None:
    needed = example.kind != "plain"
    if of_world:
        split.general.append(len(split.texts))
    split.texts.append(example.message)
    split.need.put(features(example.message, hits), needed)
    if of_world:
        return
    if needed:
        split.say.put(features(example.message, []), example.kind != "colour")
    rated = [features(example.message, hits, place) for place in range(min(RATED, len(hits)))]
    if _asks(example):
        split.asked.append((rated, example.kind != "abstain"))
    right = _bears(example)
    for row, hit in zip(rated, hits[:RATED], strict=True):
        split.support.put(row, needed and right(hit.record))


def _asks(example: GroundExample) -> bool:
    return example.kind in ("recall", "past", "abstain")


def _by_name(example: GroundExample) -> GroundExample:
    """The same question asked of the person, not by them: "What is Ana's job?"."""
    name, text = example.user, example.message
    for pattern, new in (
        (r"\b[Mm]y\b", f"{name}'s"), (r"\b[Mm]ine\b", f"{name}'s"), (r"\bam I\b", f"is {name}"),
        (r"\bI['\u2019]m\b", f"{name} is"), (r"\bI['\u2019]ve\b", f"{name} has"),
        (r"\b(?:I|i|me)\b", name),
    ):  # fmt: skip
        text = re.sub(pattern, new, text)
    return example.model_copy(update={"message": text})


def _hits(
    example: GroundExample, asker: str, lines: Sequence[MemoryLine], late: LateInteraction
) -> list[Hit]:
    made = [_record(example.user, line) for line in lines]
    state = replay(Add(at=NEW, record=record) for record in made)
    kept = list(state.values())
    match = late.match(example.message, kept, state)
    about = asked_about(example.message, sorted({r.subject for r in kept}), asker)
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
