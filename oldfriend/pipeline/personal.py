"""A person's own readers, learnt anew from what they confirmed and rejected since; kept if better.

Confirmed is a note that was used in an answer and not put right since, or was pinned; rejected is
a turn all of whose notes were put right. The newest quarter of the turns is held out.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oldfriend.agent.models import adapter, own_folder
from oldfriend.corpus.schema import Fact, NoteExample, read_rows
from oldfriend.errors import MissingDataError
from oldfriend.files import atomic_folder
from oldfriend.memory.store.change import believed
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.state import State

if TYPE_CHECKING:
    from oldfriend.lm.fit import Run
    from oldfriend.memory.extract import Summarizer
    from oldfriend.memory.interests import Interests
    from oldfriend.memory.settings import SummarizerParams

USER = "user"
HELD_OUT = 0.25  # share of a person's turns
ENOUGH = 12  # turns; fewer teach nothing and measure nothing
FORGETS = 0.01  # record F1 on other people's turns that a reader may cost


@dataclass(frozen=True)
class Verdict:
    """What new readers of a person are worth. ``kept``: they are in use now; else ``why`` not."""

    examples: int
    kept: bool
    why: str
    gain: float = math.nan  # record F1 on the person's held-out turns
    others_loss: float = math.nan  # record F1 lost on other people's held-out turns


def judged(state: State) -> list[NoteExample]:
    """A person's turns whose notes they confirmed or rejected, in the order they were said."""
    turns = [
        r for r in state.values() if r.kind == "turn" and r.source and r.source.speaker == USER
    ]
    found = (_example(turn, state.noted(turn)) for turn in sorted(turns, key=_when))
    return [example for example in found if example is not None]


def renew(
    params: "SummarizerParams",
    *,
    run: "Run",
    state: State,
    data: Path,
    models: Path,
) -> Verdict:
    """Train readers for the person of ``state`` and put them in place if they pass the replay test.

    ``data``: the generic examples that are replayed and tested on (data/curated/summarizer).
    Readers that gain no more than those before, or cost other people's notes more than FORGETS,
    are thrown away.
    """
    examples, folder = judged(state), own_folder(models, state.user)
    if folder is None:
        return Verdict(len(examples), False, "the person's name cannot be a folder's")
    if len(examples) < ENOUGH:
        return Verdict(len(examples), False, f"fewer than {ENOUGH} turns were judged")
    from oldfriend.memory import extract, interests, personal
    from oldfriend.memory.store.minilm import MiniLM

    cut = len(examples) - max(1, round(HELD_OUT * len(examples)))
    own, later = examples[:cut], examples[cut:]
    replayed = list(read_rows(data / "train.jsonl", NoteExample))
    others = extract.sample(list(read_rows(data / "test.jsonl", NoteExample)), params.max_eval, 0)
    if not others:
        raise MissingDataError(f"{data} has no test examples; run: dvc repro curate")
    reader = extract.load(models / "friend", models / "summarizer")
    encode = MiniLM().encode
    mine = personal.personalize(params, run, reader, state.user, own, replayed, encode)
    gain, loss = _gain(reader, mine, later), -_gain(reader, mine, others)
    before = 0.0
    if adapter(models, state.user):
        before = _gain(reader, interests.load(models / "tagger", folder, encode), later)
    if gain <= before or loss > FORGETS:
        why = "no gain" if gain <= before else "other people's notes suffer"
        return Verdict(len(examples), False, f"{why}; what was in place stays", gain, loss)
    with atomic_folder(folder) as draft:
        meta = {"params": json.loads(params.model_dump_json()), "seed": run.seed}
        interests.save(mine, draft, meta | {"user": state.user})
    return Verdict(len(examples), True, "better", gain, loss)


def _example(turn: MemoryRecord, notes: Sequence[MemoryRecord]) -> NoteExample | None:
    wrong = [note for note in notes if not believed(note)]
    good = [n for n in notes if believed(n) and (n.pinned or n.strength > 1)]
    if not notes or (not good and len(wrong) < len(notes)) or turn.source is None:
        return None
    facts = [fact for note in good if (fact := _fact(turn.text, note))]
    return NoteExample(
        id=str(turn.id), user=turn.user, source="talk", text=turn.text, time=turn.created_at,
        facts=tuple(facts),
    )  # fmt: skip


def _fact(text: str, note: MemoryRecord) -> Fact | None:
    """None where the value does not stand in the turn, as after a correction by hand."""
    start = note.source.start if note.source else 0
    if not note.value or text[start : start + len(note.value)] != note.value:
        start = text.find(note.value) if note.value else -1
    if start < 0:
        return None
    return Fact.model_validate(
        {
            "slot": note.slot, "value": note.value, "kind": note.kind, "subject": note.subject,
            "cardinality": note.cardinality, "start": start, "end": start + len(note.value),
            "importance": note.importance,
        }
    )  # fmt: skip


def _gain(reader: "Summarizer", mine: "Interests", examples: Sequence[NoteExample]) -> float:
    """Record F1 that a person's own readers add to the generic one."""
    from oldfriend.memory.interests import together
    from oldfriend.memory.scores import note_scores

    generic = reader.write(examples)
    own = mine.read([example.text for example in examples])
    both = [together(*pair) for pair in zip(generic, own, strict=True)]
    after = note_scores(examples, both)["record_f1"]
    return after - note_scores(examples, generic)["record_f1"]


def _when(turn: MemoryRecord) -> tuple[float, int]:
    return turn.created_at.timestamp(), turn.source.turn if turn.source else 0
