"""Memory on simulated lives, without any language model: is what matters found, and is it true?

Whole years of people of the test split go through the real write path; then they are asked what
the simulator knows the answers to. Each way of writing and of searching is measured on true notes
and on noisy ones.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from oldfriend.bench.life_questions import TEMPORAL, Asked, answer, holds, questions
from oldfriend.bench.life_writing import Noise, World, Writing, live, truths, worlds
from oldfriend.bench.recall import scratch_pool
from oldfriend.bench.ways import Narrow, Once, Way, retriever_of, ways
from oldfriend.corpus.people import Known, Life
from oldfriend.corpus.seeds import Seeds
from oldfriend.errors import InputError
from oldfriend.memory.store import change
from oldfriend.memory.store.embed import Embedder, embedder
from oldfriend.memory.store.forgetting import TYPED
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.retrieve import Hit, Query, Retriever
from oldfriend.memory.store.user import UserMemory
from oldfriend.outcome import Outcome, Row, spread

MATTERS = 6  # importance from which a fact should be found
TOP = 5
PREFIX = "lives"
SHOWN = (  # in the table of ablations; the metrics of the whole memory are all there are
    f"recall_at_{TOP}", f"note_recall_at_{TOP}", "current.accuracy", "stale_rate",
    "stale_rate_with_turns", "supersede.accuracy", "temporal.accuracy", "kept_that_matter",
    "junk_rate", "pool.active_per_turn",
)  # fmt: skip
# Not the measured rates of a summarizer, which change with every training, but of their order.
NOISY = Noise(missed=0.2, lookalikes=0.3, smalltalk=0.03)

Scores = dict[str, list[float]]  # one value a question, fact or life


def run(
    data: Path = Path("data/seeds"),
    *,
    lives: int = 4,
    seeds: Sequence[int] = (0, 1, 2),
    capacity: int = 200,
    noise: Noise = NOISY,
    embed: Embedder | None = None,
    only: Sequence[str] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Mean over ``seeds`` (``_sd``: sample deviation) with ``lives`` people each, from the banks in
    ``data``. ``only``: these of ``ways``, beside ``full``. ``tell`` hears of progress.

    Metrics ``lives.<metric>`` with true notes and ``lives.noisy.<metric>``; tables ``ablations``
    (a row for every way and kind of notes) and ``growth`` (pool size by session).
    """
    if lives < 1 or not seeds:
        raise InputError("lives: at least one life and one seed are needed")
    chosen = {name: way for name, way in ways(capacity).items() if name == "full" or not only
              or name in only}  # fmt: skip
    runs: list[dict[str, dict[str, float]]] = []
    growth: list[Row] = []
    banks, read = Seeds.load(data), Once(embed or embedder())
    for seed in seeds:
        found, grown = _seed(worlds(banks, lives, seed), banks, chosen, noise, read, tell)
        runs.append(found)
        growth += grown
    outcome = Outcome({f"{PREFIX}.lives": float(lives), f"{PREFIX}.seeds": float(len(seeds))})
    rows: list[Row] = []
    for place in runs[0]:
        name, _, notes = place.partition(" ")
        means = spread([one[place] for one in runs])
        rows.append({"way": name, "notes": notes, **{key: means[key] for key in means
                     if key.removesuffix("_sd") in SHOWN}})  # fmt: skip
        if name == "full":
            prefix = PREFIX if notes == "true" else f"{PREFIX}.{notes}"
            outcome.metrics |= {f"{prefix}.{key}": value for key, value in means.items()}
    outcome.tables = {"ablations": rows, "growth": _by_session(growth)}
    return outcome


def measure(
    memory: UserMemory, world: World, seeds: Seeds, retriever: Retriever, least: int = MATTERS
) -> Scores:
    """What a written life scores: lists of values in [0, 1], and sizes of the pool."""
    found: Scores = _kept(memory, world.life, seeds, least)
    for asked in questions(world.life, seeds, world.now):
        if asked.kind in TEMPORAL:
            right = float(answer(asked, memory, retriever, world.now) == asked.truth)
            for name in ("temporal.accuracy", f"temporal.{asked.kind}"):
                found.setdefault(name, []).append(right)
            continue
        query = Query(asked.text, limit=2 * TOP, now=world.now, asker="user", current=True)
        hits = retriever.search(memory, query)
        notes = retriever.search(memory, replace(query, kinds=TYPED))
        if asked.importance >= least:
            found.setdefault(f"recall_at_{TOP}", []).append(_recalled(hits, asked))
            found.setdefault(f"note_recall_at_{TOP}", []).append(_recalled(notes, asked))
        if asked.stale:
            found.setdefault("stale_rate", []).append(_stale(notes, asked))
            found.setdefault("stale_rate_with_turns", []).append(_stale(hits, asked))
        values = answer(asked, memory, retriever, world.now)
        found.setdefault("current.accuracy", []).append(float(bool(values & asked.truth)))
    return found


def _seed(
    people: Sequence[World],
    banks: Seeds,
    chosen: Mapping[str, Way],
    noise: Noise,
    read: Once,
    tell: Callable[[str], None],
) -> tuple[dict[str, dict[str, float]], list[Row]]:
    """Means of every way with true and with noisy notes over the lives of one seed."""
    scores: dict[str, Scores] = {}
    growth: list[Row] = []
    with scratch_pool(read.whole) as pool:
        for world in people:
            tell(f"the year of {world.life.person}")
            read.clear()
            for notes, errs in (("true", Noise()), ("noisy", noise)):
                for name, way, memory, grown in _written(pool.of, world, banks, chosen, errs):
                    place = f"{name} {notes}"
                    retriever = retriever_of(way, read)
                    for key, values in measure(memory, world, banks, retriever).items():
                        scores.setdefault(place, {}).setdefault(key, []).extend(values)
                    if name == "full":
                        growth += [{"notes": notes, **row} for row in grown]
    means = {place: {key: fmean(values) for key, values in of.items()}
             for place, of in scores.items()}  # fmt: skip
    return means, growth


def _written(
    of: Callable[[str], UserMemory], world: World, seeds: Seeds, chosen: Mapping[str, Way],
    noise: Noise,
) -> Iterator[tuple[str, Way, UserMemory, list[Row]]]:  # fmt: skip
    """Each way with the memory that it wrote; those that write alike share one."""
    done: list[tuple[Writing, str, list[Row]]] = []
    for name, way in chosen.items():
        writing = replace(way.writing, noise=noise)
        alike = next((one for one in done if one[0] == writing), None)
        if alike is None:
            user = f"{world.life.person} {name} {noise}"
            alike = writing, user, live(of(user), world, seeds, writing)
            done.append(alike)
        _, user, grown = alike
        yield name, way, Narrow(of(user), way.leaves), grown


def _kept(memory: UserMemory, life: Life, seeds: Seeds, least: int) -> Scores:
    """What can be said of the pool without asking: changes, junk, what was put away, size."""
    state, true = memory.state, truths(life)
    active = [record for record in state.values() if not record.archived]
    found: Scores = {"supersede.accuracy": [], "supersede.kept": [], "kept_that_matter": []}
    for place, known in enumerate(life.facts):
        if known.valid_to is not None:
            later = next(k for k in life.facts[place + 1 :] if k.slot == known.slot)
            found["supersede.accuracy"].append(float(_followed(memory, known, later)))
            continue
        own = [r for r in state.values() if (r.slot, r.value) == (known.slot, known.value)]
        if own:
            found["supersede.kept"].append(float(any(record.current for record in own)))
        if seeds.slots[known.slot].importance >= least:
            here = any(record.current and not record.archived for record in own)
            found["kept_that_matter"].append(float(here))
    typed = [record for record in active if record.kind in TYPED]
    junk = len(typed) - len({(r.slot, r.value) for r in typed} & true)
    turns = sum(record.kind == "turn" for record in state.values())
    found["junk_rate"] = [junk / len(typed)] if typed else []
    found |= {
        "pool.turns": [float(turns)], "pool.records": [float(len(state))],
        "pool.active": [float(len(active))], "pool.typed": [float(len(typed))],
        "pool.records_per_turn": [len(state) / turns],
        "pool.active_per_turn": [len(active) / turns],
    }  # fmt: skip
    return found


def _followed(memory: UserMemory, old: Known, new: Known) -> bool:
    """Whether the books say that ``old`` ended where ``new`` began, and nothing in between."""
    records = [r for r in memory.state.values() if (r.slot, r.value) == (old.slot, old.value)]
    subject = records[0].subject if records else "me"
    after = change.after(memory.state, old.slot, old.value, subject).values
    return bool(records) and not any(r.current for r in records) and after == (new.value,)


def _recalled(hits: Sequence[Hit], asked: Asked) -> float:
    """Whether a note of a right value, or the turn that told it, is among the first TOP."""
    return float(any(_right(hit.record, asked) for hit in hits[:TOP]))


def _right(record: MemoryRecord, asked: Asked) -> bool:
    if record.kind == "turn" and record.source:
        return (record.source.session, record.source.turn) in asked.told
    return record.slot == asked.slot and record.value in asked.truth


def _stale(hits: Sequence[Hit], asked: Asked) -> float:
    """Whether the first hit that holds any value of the slot holds only one that has ended."""
    for hit in hits:
        if holds(hit.record, asked.truth):
            return 0.0
        if holds(hit.record, asked.stale):
            return 1.0
    return 0.0


def _by_session(growth: Sequence[Row]) -> list[Row]:
    rows: list[Row] = []
    for notes, session in sorted({(row["notes"], row["session"]) for row in growth}):
        own = [row for row in growth if (row["notes"], row["session"]) == (notes, session)]
        sizes = {key: fmean(row[key] for row in own)
                 for key in ("turns", "records", "active", "typed")}  # fmt: skip
        rows.append({"notes": notes, "session": session + 1, "lives": len(own), **sizes})
    return rows
