"""The evaluation: lives are lived, everybody is asked the same, and the simulator judges."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from oldfriend.bench.evaluate.moments import Feeling, Moment, Question, Talk, moments, new_worlds
from oldfriend.bench.evaluate.rules import Act, Rules
from oldfriend.bench.evaluate.settings import EvaluateParams
from oldfriend.bench.evaluate.systems import Answer, System, systems
from oldfriend.bench.life_writing import Noise, World, Writing, live
from oldfriend.bench.lives import NOISY
from oldfriend.bench.recall import scratch_pool
from oldfriend.bench.ways import Once
from oldfriend.corpus.seeds import Seeds
from oldfriend.memory import grounding
from oldfriend.memory.store.embed import Embedder, embedder
from oldfriend.memory.store.pool import MemoryPool
from oldfriend.memory.store.settings import ForgettingParams
from oldfriend.outcome import Outcome, Row, spread
from oldfriend.persona import shelf
from oldfriend.persona.card import read as read_card

SHOWN = ("memory_acc", "false_memory_rate", "emotional_change", "strategy_fit", "mechanical_rate",
         "apt_rate")  # fmt: skip
Scores = dict[str, list[float]]


@dataclass(frozen=True)
class Said:
    """A moment and what a system said in it."""

    world: World
    moment: Moment
    answer: Answer


def evaluate(
    params: EvaluateParams,
    *,
    seed: int = 0,
    seeds: Path,
    models: Path,
    adapters: Path | None = None,
    embed: Embedder | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Mean over ``params.seeds`` (``_sd``: sample deviation) with the banks in ``seeds``, and with
    the personas' ``adapters``, if there are any.

    Metrics of the whole friend stand under their names, those of every other system with
    ``_<system>`` behind. Tables: ``ablations``, a row a system; ``gains``, how much better the
    whole friend is than each, of the same moments; ``replies``, some to read.
    """
    banks, read = Seeds.load(seeds), Once(embed or embedder())
    runs: list[dict[str, dict[str, float]]] = []
    examples: list[Row] = []
    with scratch_pool(read.whole) as pool:
        people = systems(
            params, pool=pool, encoder=read.whole, models=models, cards=seeds / "personas",
            adapters=adapters,
        )  # fmt: skip
        cards = [read_card(path).character for path in shelf.card_files(seeds / "personas")]
        known = [character for character in cards if character]
        rules = Rules(banks, seeds / "judge.yaml", read.whole.encode, known)
        for number in params.seeds:
            worlds = new_worlds(params, banks, seed + number)
            for world in worlds:
                tell(f"the year of {world.life.person}")
                _write(pool, world, banks, params)
            said = {
                name: _ask(name, system, worlds, banks, params, tell)
                for name, system in people.items()
            }
            runs.append({name: _scores(rows, rules) for name, rows in said.items()})
            examples += _shown(said) if number == params.seeds[0] else []
    return _outcome(params, runs, examples)


def _write(pool: MemoryPool, world: World, banks: Seeds, params: EvaluateParams) -> None:
    """A life into memory as the friend writes it, and as a plain store would: nothing ever ends."""
    noise = NOISY if params.notes == "noisy" else Noise()
    user, forgetting = world.life.name, ForgettingParams(capacity=params.capacity)
    live(pool.of(user), world, banks, Writing(forgetting=forgetting, noise=noise))
    live(pool.of(f"{user} rag"), world, banks, Writing(supersede=False, noise=noise))


def _ask(
    name: str,
    system: System,
    worlds: Sequence[World],
    banks: Seeds,
    params: EvaluateParams,
    tell: Callable[[str], None],
) -> list[Said]:
    tell(f"asking: {name}")
    found = []
    for world in worlds:
        others = [other.life for other in worlds if other is not world]
        for moment in moments(world, others, banks, params):
            answer = system(world.life.name, world, moment.text, world.now)
            found.append(Said(world, moment, answer))
    return found


def _scores(rows: Sequence[Said], rules: Rules) -> dict[str, float]:
    """Means over one seed's moments."""
    found: Scores = {}
    acts = iter(rules.acts([s.answer.text for s in rows if isinstance(s.moment, Feeling)]))
    for said in rows:
        match said.moment:
            case Question() as question:
                outcome = judged(question, said.answer)
                right = float(outcome in ("right", "honest"))
                for key in ("memory_acc", f"memory_acc.{question.kind}"):
                    found.setdefault(key, []).append(right)
                found.setdefault("false_memory_rate", []).append(float(outcome == "wrong"))
                found.setdefault("abstain_rate", []).append(float(outcome in ("honest", "shy")))
            case Feeling() as feeling:
                act: Act = next(acts)
                change = rules.change(feeling, act)
                found.setdefault("emotional_change", []).append(change)
                found.setdefault("made_worse_rate", []).append(float(change < 0))
                found.setdefault("strategy_fit", []).append(float(rules.fits(feeling, act)))
                recited = float(_recites(said))
                found.setdefault("mechanical_rate", []).append(recited)
            case Talk() as talk:
                outcome = grounding.outcome(talk.example, said.answer.text)
                recited = outcome == "recited" or _recites(said)
                found.setdefault("mechanical_rate", []).append(float(recited))
                apt = outcome == "apt" and not recited
                found.setdefault("apt_rate", []).append(float(apt))
    return {key: fmean(values) for key, values in found.items()}


def judged(question: Question, answer: Answer) -> str:
    """right; wrong: another value is told; of those that tell none honest (nothing was ever told,
    and it says so), shy (something was), or unclear."""
    if any(grounding.says(answer.text, value) for value in question.truth):
        return "right"
    if any(grounding.says(answer.text, value) for value in question.wrong):
        return "wrong"
    if grounding.abstains(answer.text):
        return "shy" if question.truth else "honest"
    return "wrong" if answer.value else "unclear"


def _recites(said: Said) -> bool:
    """Whether a memory is recited where nobody asked for one."""
    text = said.answer.text
    values = {fact.value for fact in said.world.life.facts}
    aloud = any(grounding.says(text, value) for value in values - {said.moment.text})
    new = [v for v in values if grounding.says(said.moment.text, v)]
    return (aloud and not new) or any(marker in text.lower() for marker in grounding.RECITAL)


def _outcome(
    params: EvaluateParams, runs: Sequence[Mapping[str, dict[str, float]]], examples: list[Row]
) -> Outcome:
    outcome = Outcome({"lives": float(params.lives), "seeds": float(len(params.seeds))})
    table: list[Row] = []
    gains: list[Row] = []
    for name in runs[0]:
        means = spread([dict(run[name]) for run in runs])
        table.append({"system": name, **{k: v for k, v in means.items() if _base(k) in SHOWN}})
        suffix = "" if name == "full" else f"_{name}"
        for key, value in means.items():
            if not suffix:
                outcome.metrics[key] = value
            elif _base(key) in SHOWN:
                end = "_sd" if key.endswith("_sd") else ""
                outcome.metrics[f"{_base(key)}{suffix}{end}"] = value
        if suffix:
            gains.append({"without": name, **_gain(runs, name)})
    outcome.tables = {"ablations": table, "gains": gains, "replies": examples}
    return outcome


def _base(key: str) -> str:
    return key.removesuffix("_sd")


def _gain(runs: Sequence[Mapping[str, dict[str, float]]], name: str) -> Row:
    """The whole friend less this one, seed by seed."""
    row: Row = {}
    for key in SHOWN:
        differences = [run["full"][key] - run[name][key] for run in runs]
        row[key] = fmean(differences)
        row[f"{key}_sd"] = stdev(differences) if len(differences) > 1 else 0.0
    return row


def _shown(said: Mapping[str, Sequence[Said]], most: int = 24) -> list[Row]:
    """What all say to the same moments."""
    rows: list[Row] = []
    for place, one in enumerate(said["full"][:most]):
        kind = one.moment.kind if isinstance(one.moment, Question) else type(one.moment).__name__
        answers = {name: rows_[place].answer.text for name, rows_ in said.items()}
        rows.append({"said": one.moment.text, "kind": kind.lower(), **answers})
    return rows
