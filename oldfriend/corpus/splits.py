"""Hold out whole persons for validation and test, and prove that nothing leaks."""

import hashlib
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from oldfriend.corpus.dedup import Index, roles, sketches, text_of, words_digest
from oldfriend.corpus.progress import progress
from oldfriend.corpus.schema import Conversation, Fact, GroundExample, NoteExample, Split, Turn
from oldfriend.corpus.settings import DedupParams, SplitParams
from oldfriend.errors import LeakError

Talk = Mapping[Split, Sequence[Conversation]]
Notes = Mapping[Split, Sequence[NoteExample]]
Ground = Mapping[Split, Sequence[GroundExample]]

_HELD_OUT_FIRST: tuple[Split, ...] = ("test", "val", "train")
_WORD = re.compile(r"\w+")
_EXAMPLES = 3  # leaks of each kind that an error names


def assign(
    conversations: Sequence[Conversation], params: SplitParams, seed: int, removed: Counter[str]
) -> list[Conversation]:
    """Return conversations with ``split`` set, persons and conversations never crossing.

    Conversations joined by a person, an id or a mirrored view form a group. A source's own split
    comes first; where it puts a group on both sides, the held-out side stays and the other goes
    (counted as ``crosses_split``). The rest follow a hash of their person, so new data never
    moves old persons; only a source of few persons moves one to a split that would stay empty.
    """
    group_of = _groups(conversations)
    prescribed: dict[str, set[Split]] = defaultdict(set)
    for conversation in conversations:
        if conversation.split:
            prescribed[group_of[conversation.person]].add(conversation.split)
    chosen = {group: _most_held_out(splits) for group, splits in prescribed.items()}
    free: dict[str, set[str]] = defaultdict(set)  # by source, where nothing is prescribed
    for conversation in conversations:
        if group_of[conversation.person] not in prescribed:
            free[conversation.source].add(group_of[conversation.person])
    for groups in free.values():
        chosen |= {group: hashed_split(group, params, seed) for group in groups}
    for groups in free.values():
        _fill(groups, chosen, params, seed)
    placed = []
    for conversation in conversations:
        split = chosen[group_of[conversation.person]]
        if conversation.split in (None, split):
            placed.append(conversation.model_copy(update={"split": split}))
        else:
            removed["crosses_split"] += 1
    return placed


def hashed_split(key: str, params: SplitParams, seed: int) -> Split:
    """Choose a split from a key alone: the same key always lands in the same split."""
    place = _place(key, seed)
    if place < params.test:
        return "test"
    return "val" if place < params.test + params.val else "train"


def by_split(conversations: Iterable[Conversation]) -> dict[Split, list[Conversation]]:
    """Group conversations by their split."""
    groups: dict[Split, list[Conversation]] = {"train": [], "val": [], "test": []}
    for conversation in conversations:
        groups[conversation.split or "train"].append(conversation)
    return groups


def check_leaks(
    talk: Talk,
    params: DedupParams,
    *,
    notes: Notes | None = None,
    ground: Ground | None = None,
    simulator: str = "simulator",
) -> int:
    """Return 0, or raise LeakError naming examples of every kind of leak.

    Held apart are persons, conversations and near-identical texts; users of task examples;
    and, for the source ``simulator``, the values and phrasings of the test.
    """
    kinds = {
        "person": _shared({split: {c.person for c in talk[split]} for split in talk}),
        "conversation": _shared({split: {c.id for c in talk[split]} for split in talk}),
        "text": _near_texts(talk, params),
        "user of notes": _shared(_users(notes or {})),
        "user of grounding": _shared(_users(ground or {})),
        "value": _values_seen(talk, simulator),
        "phrasing": _phrasings_seen(talk, ground or {}, simulator),
    }
    leaks = {kind: found for kind, found in kinds.items() if found}
    if leaks:
        raise LeakError(_message(leaks))
    return 0


def values_heard(talk: Talk, simulator: str = "simulator") -> list[str]:
    """Values told in the simulated test whose words stand in training, though told as no fact.

    Common words ("fire") come up anyway; this is no leak, but copying them proves little.
    """
    told = {value for turn in _turns(talk, "test", simulator) for value in _values(turn.facts)}
    values = {tuple(_WORD.findall(value)): value for value in told}
    longest = max(map(len, values), default=0)
    heard = set()
    for turn in _turns(talk, "train", simulator):
        words = tuple(_WORD.findall(turn.text.casefold()))
        for start, size in itertools.product(range(len(words)), range(1, longest + 1)):
            heard.add(values.get(words[start : start + size]))
    return sorted(value for value in heard if value)


def skeleton(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """The phrasing of a sentence: its words with values left out."""
    for start, end in sorted(spans, reverse=True):
        text = f"{text[:start]} _ {text[end:]}"
    return " ".join(re.findall(r"[^\W_]+|_", text.casefold()))


def _groups(conversations: Iterable[Conversation]) -> dict[str, str]:
    """Map each person to the first name of the persons they share a conversation with.

    Two share one by its id, or by the same words seen from the other side.
    """
    parent: dict[str, str] = {}

    def root(person: str) -> str:
        while parent.setdefault(person, person) != person:
            parent[person] = person = parent[parent[person]]
        return person

    owner: dict[object, str] = {}
    for row in conversations:
        words = words_digest(row)
        owner.setdefault((words, roles(row)), row.person)
        mirror = owner.get((words, roles(row, swapped=True)), row.person)
        for other in (owner.setdefault(row.id, row.person), mirror):
            low, high = sorted((root(row.person), root(other)))
            parent[high] = low
    return {person: root(person) for person in parent}


def _place(key: str, seed: int) -> float:
    digest = hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _fill(groups: set[str], chosen: dict[str, Split], params: SplitParams, seed: int) -> None:
    """Move a group to a split that has none, from the fullest one, if there are three groups."""
    shares: dict[Split, float] = {"test": params.test, "val": params.val, "train": 1}
    ranked = sorted(groups, key=lambda group: _place(group, seed))
    for split, share in shares.items():
        sizes = Counter(chosen[group] for group in groups)
        if len(groups) > 2 and share > 0 and not sizes[split]:
            fullest = [
                group for group in ranked if chosen[group] == max(sizes, key=sizes.__getitem__)
            ]
            chosen[fullest[-1 if split == "train" else 0]] = split


def _most_held_out(splits: set[Split]) -> Split:
    return next(split for split in _HELD_OUT_FIRST if split in splits)


def _shared(names: Mapping[Split, set[str]]) -> list[str]:
    """Names that stand in two splits."""
    pairs = itertools.combinations(names, 2)
    return [
        f"{name!r} is in {one} and {other}"
        for one, other in pairs
        for name in sorted(names[one] & names[other])
    ]


def _users(examples: Notes | Ground) -> dict[Split, set[str]]:
    return {split: {row.user for row in rows} for split, rows in examples.items()}


def _near_texts(talk: Talk, params: DedupParams) -> list[str]:
    """Held-out conversations that training has nearly word by word."""
    index = Index(params)
    train = talk.get("train", ())
    drawn = progress(sketches(map(text_of, train), params), "looking for leaks", len(train))
    for number, sketch in enumerate(drawn):
        index.add(str(number), sketch)
    found = []
    for split in ("val", "test"):
        rows = talk.get(split, ())
        for row, sketch in zip(rows, sketches(map(text_of, rows), params), strict=True):
            if near := index.nearest(sketch):
                other = train[int(near[0])].id
                found.append(f"{row.id!r} of {split} is {near[1]:.0%} like {other!r} of train")
    return found


def _values_seen(talk: Talk, simulator: str) -> list[str]:
    """Values of the simulated test that training facts hold, now or as the former value."""
    train = {value for turn in _turns(talk, "train", simulator) for value in _values(turn.facts)}
    test = {value for turn in _turns(talk, "test", simulator) for value in _values(turn.facts)}
    return [f"{value!r}" for value in sorted(train & test)]


def _phrasings_seen(talk: Talk, ground: Ground, simulator: str) -> list[str]:
    """Sentence shapes of the simulated test, of facts and of questions, that training holds."""
    facts = _fact_shapes(talk, "test", simulator) & _fact_shapes(talk, "train", simulator)
    asked = _question_shapes(ground, "test", simulator) & _question_shapes(
        ground, "train", simulator
    )
    return [f"fact {shape!r}" for shape in sorted(facts)] + [
        f"question {shape!r}" for shape in sorted(asked)
    ]


def _fact_shapes(talk: Talk, split: Split, simulator: str) -> set[str]:
    return {
        skeleton(turn.text, [(fact.start, fact.end) for fact in turn.facts])
        for turn in _turns(talk, split, simulator)
        if turn.facts
    }


def _question_shapes(ground: Ground, split: Split, simulator: str) -> set[str]:
    return {
        skeleton(row.message, ())
        for row in ground.get(split, ())
        if row.source == simulator and row.kind != "plain"
    }


def _turns(talk: Talk, split: Split, source: str) -> Iterator[Turn]:
    for conversation in talk.get(split, ()):
        if conversation.source == source:
            yield from conversation.turns


def _values(facts: Iterable[Fact]) -> Iterator[str]:
    for fact in facts:
        yield fact.value.casefold()
        if fact.old_value:
            yield fact.old_value.casefold()


def _message(leaks: Mapping[str, list[str]]) -> str:
    lines = [f"{sum(map(len, leaks.values()))} leaks between train and held-out data"]
    for kind, found in leaks.items():
        more = f" and {len(found) - _EXAMPLES} more" if len(found) > _EXAMPLES else ""
        lines.append(f"{kind} ({len(found)}): " + "; ".join(found[:_EXAMPLES]) + more)
    return "\n".join(lines)
