"""The data card: what is in a curated corpus, from where, and what was taken out."""

import csv
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from oldfriend.corpus import plots
from oldfriend.corpus.schema import SPLITS, Conversation, Fact, Turn
from oldfriend.files import atomic_write, write_json

_SHOWN_TURNS = 14
_SHOWN_CHARS = 600
_TOP = 25
_EDGES = {
    "words_per_turn": [0, 3, 6, 9, 12, 15, 20, 25, 30, 40, 50, 75, 100, 200],
    "turns_per_conversation": [1, 2, 3, 5, 7, 9, 11, 13, 16, 20, 25, 30, 40, 60, 100],
    "sessions_per_person": [1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 40, 60, 100],
}


@dataclass
class Tally:
    """What happened to one source on its way into the corpus."""

    read: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    pii: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)


def summarise(
    talk: Sequence[Conversation],
    tallies: Mapping[str, Tally],
    *,
    tasks: Mapping[str, Mapping[str, int]],
    duplicates: Mapping[str, int],
    leaks: int,
    heard: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the content of ``card.json``."""
    turns = [turn for conversation in talk for turn in conversation.turns]
    facts = [fact for turn in turns for fact in turn.facts]
    return {
        "totals": {
            "conversations": len(talk),
            "turns": len(turns),
            "words": sum(len(turn.text.split()) for turn in turns),
            "persons": len({conversation.person for conversation in talk}),
            "facts": len(facts),
        },
        "sources": [_source(name, talk, tally) for name, tally in sorted(tallies.items())],
        "tasks": {name: dict(counts) for name, counts in tasks.items()},
        "removed": _sum(tally.removed for tally in tallies.values()),
        "duplicates": dict(sorted(duplicates.items())),
        "pii": _sum(tally.pii for tally in tallies.values()),
        "repairs": _sum(tally.repairs for tally in tallies.values()),
        "leaks": leaks,
        "test_values_heard": list(heard),
        "histograms": _histograms(talk, turns),
        "emotions": _top(turn.emotion for turn in turns),
        "strategies": _top(turn.strategy for turn in turns),
        "slots": _top(fact.slot for fact in facts),
        "kinds": _top(fact.kind for fact in facts),
        "domains": _top(conversation.domain for conversation in talk),
    }


def write(
    folder: Path,
    summary: Mapping[str, Any],
    talk: Sequence[Conversation],
    *,
    samples: int,
    title: str = "Curated corpus",
) -> None:
    """Write ``card.json``, ``card.html`` and the tables of ``plots/`` into ``folder``."""
    write_json(folder / "card.json", summary)
    page = render(summary, pick_samples(talk, samples), title)
    with atomic_write(folder / "card.html") as out:
        out.write(page)
    for name, bars in summary["histograms"].items():
        _write_table(folder / "plots" / f"{name}.csv", name, bars)
    for name in ("slots", "emotions", "strategies"):
        _write_table(folder / "plots" / f"{name}.csv", name.removesuffix("s"), summary[name])


def render(
    summary: Mapping[str, Any], samples: Mapping[str, Sequence[Conversation]], title: str
) -> str:
    """Return the card as one HTML page that requests nothing."""
    shelf = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    shelf.filters["count"] = lambda number: f"{number:,}".replace(",", "\u202f")
    shelf.filters["words"] = lambda name: name.replace("_", " ")
    drawings = {
        **{name: plots.columns(name, bars) for name, bars in summary["histograms"].items()},
        **{
            name: plots.rows(name, summary[name])
            for name in ("emotions", "slots", "strategies", "domains")
            if len(summary[name]) > 1
        },
    }
    shown = {
        source: [_excerpt(conversation) for conversation in conversations]
        for source, conversations in samples.items()
    }
    page = shelf.get_template("card.html.j2")
    return page.render(title=title, card=summary, splits=SPLITS, plots=drawings, samples=shown)


def pick_samples(talk: Iterable[Conversation], number: int) -> dict[str, list[Conversation]]:
    """Choose conversations of each source by a hash of their id; training data only."""
    by_source: dict[str, list[Conversation]] = {}
    for conversation in talk:
        if conversation.split == "train":
            by_source.setdefault(conversation.source, []).append(conversation)
    return {
        source: sorted(rows, key=lambda row: hashlib.sha256(row.id.encode()).digest())[:number]
        for source, rows in sorted(by_source.items())
    }


def _source(name: str, talk: Sequence[Conversation], tally: Tally) -> dict[str, Any]:
    rows = [conversation for conversation in talk if conversation.source == name]
    splits = Counter(row.split for row in rows)
    return {
        "name": name,
        "licences": sorted({row.licence for row in rows}),
        "read": tally.read,
        "kept": len(rows),
        "splits": {split: splits[split] for split in SPLITS},
        "persons": len({row.person for row in rows}),
        "turns": sum(len(row.turns) for row in rows),
        "facts": sum(len(turn.facts) for row in rows for turn in row.turns),
        "duplicates": tally.duplicates,
        "removed": dict(sorted(tally.removed.items())),
        "pii": dict(sorted(tally.pii.items())),
        "repairs": dict(sorted(tally.repairs.items())),
    }


def _histograms(talk: Sequence[Conversation], turns: Sequence[Turn]) -> dict[str, dict[str, int]]:
    sessions = Counter(conversation.person for conversation in talk)
    values = {
        "words_per_turn": [len(turn.text.split()) for turn in turns],
        "turns_per_conversation": [len(conversation.turns) for conversation in talk],
        "sessions_per_person": list(sessions.values()),
    }
    return {name: histogram(values[name], edges) for name, edges in _EDGES.items()}


def histogram(values: Sequence[int], edges: Sequence[int]) -> dict[str, int]:
    """Count whole numbers between edges; the last bin is open."""
    counts, _ = np.histogram(values, bins=[*edges, np.inf])
    names = [
        str(low) if high == low + 1 else f"{low}-{high - 1}"
        for low, high in itertools.pairwise(edges)
    ]
    return dict(zip([*names, f"{edges[-1]}+"], counts.tolist(), strict=True))


def _top(names: Iterable[str | None]) -> dict[str, int]:
    counted = Counter(name for name in names if name)
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def _sum(counters: Iterable[Counter[str]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for counter in counters:
        total.update(counter)
    return dict(sorted(total.items()))


def _excerpt(conversation: Conversation) -> dict[str, Any]:
    hidden = len(conversation.turns) - _SHOWN_TURNS
    return {
        "id": conversation.id,
        "time": conversation.time.strftime("%-d %b %Y, %H:%M") if conversation.time else "",
        "situation": conversation.situation or "",
        "turns": [_bubble(turn) for turn in conversation.turns[:_SHOWN_TURNS]],
        "hidden": max(0, hidden),
    }


def _bubble(turn: Turn) -> dict[str, Any]:
    """Cut a turn into plain pieces and marked facts."""
    pieces: list[tuple[str, str]] = []
    last = 0
    for fact in sorted(turn.facts, key=lambda fact: fact.start):
        if last <= fact.start and fact.end <= _SHOWN_CHARS:
            pieces += [(turn.text[last : fact.start], ""), (fact.value, _caption(fact))]
            last = fact.end
    rest = turn.text[last:_SHOWN_CHARS]
    pieces.append((rest + ("\u2026" if len(turn.text) > _SHOWN_CHARS else ""), ""))
    tags = [tag for tag in (turn.emotion, turn.strategy) if tag]
    return {"speaker": turn.speaker, "pieces": pieces, "tags": tags}


def _caption(fact: Fact) -> str:
    return fact.slot.replace("_", " ") + (f", was {fact.old_value}" if fact.old_value else "")


def _write_table(path: Path, column: str, bars: Mapping[str, int]) -> None:
    with atomic_write(path) as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow([column, "count"])
        table.writerows(list(bars.items())[: max(_TOP, len(_EDGES.get(column, ())))])
