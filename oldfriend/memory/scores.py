"""How good notes are: gate, records, and memories of things nobody said."""

from collections.abc import Sequence

from oldfriend.corpus.schema import NoteExample
from oldfriend.memory.notes import Note


def note_scores(
    examples: Sequence[NoteExample], noted: Sequence[Sequence[Note]]
) -> dict[str, float]:
    """Gate precision/recall/F1 (a turn has something to remember or not), micro record F1 over
    (slot, value) pairs, and ``false_memory_rate``: of all records written, those not true.
    """
    gate_hit = gate_said = gate_true = hit = said = true = 0
    for example, notes in zip(examples, noted, strict=True):
        want = {(f.slot, f.value) for f in example.facts}
        have = {(n.slot, n.value) for n in notes}
        gate_said += bool(have)
        gate_true += bool(want)
        gate_hit += bool(have and want)
        said, true, hit = said + len(have), true + len(want), hit + len(have & want)
    return {
        "gate_precision": _ratio(gate_hit, gate_said),
        "gate_recall": _ratio(gate_hit, gate_true),
        "gate_f1": _ratio(2 * gate_hit, gate_said + gate_true),
        "record_f1": _ratio(2 * hit, said + true),
        "record_recall": _ratio(hit, true),
        "false_memory_rate": _ratio(said - hit, said),
        "examples": float(len(examples)),
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
