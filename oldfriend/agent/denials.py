"""What a person takes back in talk: "it's not Anna, it's Hanna", "I never had a dog", "I don't live
there any more".

No model: a sentence counts only if it has one of a few forms and points, by its own words, at
exactly one note that is held to be true. In every other case, and wherever it is hedged, asked,
imagined or told of somebody else, nothing is taken back: a note too many can be corrected later.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from oldfriend.agent import denial_words as words
from oldfriend.agent import noting
from oldfriend.agent.noting import Place
from oldfriend.corpus.schema import slot_words
from oldfriend.memory.store.change import believed, correct, retract, same
from oldfriend.memory.store.forgetting import TYPED
from oldfriend.memory.store.function_words import FUNCTION_WORDS
from oldfriend.memory.store.journal import Entry
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.state import State

How = Literal["never", "over", "instead"]


@dataclass(frozen=True)
class Denial:
    """``record`` was never true, is over, or is something else instead: ``value``, which stands at
    ``start`` in the text."""

    record: MemoryRecord
    how: How
    value: str = ""
    start: int = 0

    @property
    def end(self) -> int:
        """Where the value ends."""
        return self.start + len(self.value)


def denials(state: State, text: str, told: Sequence[MemoryRecord] = ()) -> list[Denial]:
    """What ``text`` takes back of the notes in ``state``, at most once each. ``told``: the notes
    that the friend told in the reply before."""
    text = text.replace("\u2019", "'")
    if not words.TRIGGER.search(text):
        return []
    held = [r for r in state.values() if r.slot and r.kind in TYPED and _held(r)]
    told = [r for r in told if r.id in state and _held(state[r.id])]
    found: dict[object, Denial] = {}
    for ways in (_instead(text, held, told), _by_sentence(text, held, state), _that(text, told)):
        for denial in ways:
            found.setdefault(denial.record.id, denial)
    return list(found.values())


def entries(
    state: State,
    taken_back: Sequence[Denial],
    place: Place,
    text: str,
    noted: Sequence[MemoryRecord],
) -> list[Entry]:
    """Entries that take in what the turn ``text`` at ``place`` says: the ``noted`` records, and
    what it takes back. What is denied is not noted, and what is true instead is noted once."""
    found: list[Entry] = []
    rest = list(noted)
    for denial in taken_back:
        old, now = denial.record, place.now
        of_slot = [r for r in rest if (r.subject, r.slot) == (old.subject, old.slot)]
        rest = [r for r in rest if r not in of_slot]
        others = [r for r in of_slot if not same(r.value, old.value)]
        if denial.how == "instead":
            right = noting.instead(place, old, denial.value, denial.start)
            found += correct(state, old.id, now, right)
            if old.cardinality == "multi":
                rest += [r for r in others if not same(r.value, right.value)]
        elif old.cardinality == "multi" or not others:
            over = retract(state, old.slot, now, subject=old.subject, value=old.value)
            found += over if denial.how == "over" else correct(state, old.id, now)
            rest += others
        elif denial.how == "never":
            found += correct(state, old.id, now, others[-1])
        else:  # what follows it ends it
            rest += others
    return [*found, *noting.entries_for(state, text, rest)]


def _held(record: MemoryRecord) -> bool:
    return believed(record) and record.valid_to is None and not record.archived


def _instead(
    text: str, held: Sequence[MemoryRecord], told: Sequence[MemoryRecord]
) -> Iterator[Denial]:
    """ "It's not Anna, it's Hanna", "Hanna, not Anna", "Anna is wrong, it's Hanna"; and, where one
    note was just told, "No, it's Hanna"."""
    if words.HEDGED.search(text) or words.PASSING.search(text) or words.CHANGED.search(text):
        return
    for record in _named_once(text, held):
        value = re.escape(record.value)
        for form in words.INSTEAD:
            pattern = form.replace("OLD", value).replace("NEW", words.new_value(record.value))
            match = re.search(pattern, text)
            if match and _replaces(record, match, text):
                yield Denial(record, "instead", match["new"], match.start("new"))
                break
    if len(told) == 1:
        pattern = words.JUST_TOLD.replace("NEW", words.new_value(told[0].value))
        match = re.search(pattern, text)
        if match and _replaces(told[0], match, text, told=True):
            yield Denial(told[0], "instead", match["new"], match.start("new"))


def _replaces(
    record: MemoryRecord, match: "re.Match[str]", text: str, *, told: bool = False
) -> bool:
    """Whether what stands there can be the value instead."""
    new = match["new"]
    first = new.split()[0].casefold()
    if same(new, record.value) or first in FUNCTION_WORDS or first in words.DAYS:
        return False
    if record.subject != "me" and words.OF_ONESELF.match(match[0]):
        return False  # "I'm not Anna, I'm Hanna" says nothing of a sister
    groups = match.groupdict()
    noun = groups.get("noun") or groups.get("noun2")
    if noun and not _is_named(record, noun.casefold()):
        return False
    # What is no name ("pizza") may be meant otherwise, unless it is said to be put right.
    name = record.value[:1].isupper() or record.value[:1].isdigit()
    return told or name or bool(words.PUTS_RIGHT.search(text))


def _by_sentence(text: str, held: Sequence[MemoryRecord], state: State) -> Iterator[Denial]:
    """ "I never had a dog", "I don't live there any more", "Ana isn't my boss any more"."""
    for match in words.SENTENCE.finditer(text):
        sentence = match[0].strip()
        if sentence.endswith("?") or words.HEDGED.search(sentence):
            continue
        for how, verb, thing, rest in _claims(sentence):
            meant = [r for r in held if _means(r, verb, thing, rest, state)]
            if len(meant) == 1:
                yield Denial(meant[0], how)


def _claims(sentence: str) -> Iterator[tuple[How, str, str, str]]:
    """How, verb (or "is"), what it is about, and for "is" as which thing, in small letters."""
    for how, form in words.CLAIMS:
        match = form.search(sentence)
        if match is None:
            continue
        found = {name: (value or "").strip() for name, value in match.groupdict().items()}
        ends = how == "over" or bool(found.get("end"))
        if "noun" in found:  # "Ana isn't my boss" may be for now, unless more is said
            if ends or words.PUTS_RIGHT.search(sentence):
                yield ("over" if ends else "never", "is", found["thing"], found["noun"].casefold())
        else:
            yield how, found["verb"].casefold(), found["thing"], ""


def _means(record: MemoryRecord, verb: str, thing: str, noun: str, state: State) -> bool:
    """Whether "not VERB THING any more" is about ``record``."""
    if verb == "is":
        return same(thing, record.value) and _is_named(record, noun)
    slots = words.SLOTS_OF.get(words.STEM.get(verb, verb), frozenset())
    if record.slot not in slots:
        return False
    if thing.casefold() in words.THERE:
        return thing.casefold() in words.THERE_OF.get(record.slot, ())
    if same(thing, record.value):
        return True
    return verb in words.HAVING and _is_named(record, thing.casefold(), state)


def _is_named(record: MemoryRecord, noun: str, state: State | None = None) -> bool:
    """Whether ``noun`` is what ``record`` is of: by its slot or subject, or because the sentence it
    was taken from says so ("My dog is called Rex")."""
    slot = slot_words(record.slot).removesuffix(" name")
    if noun in {slot, record.subject, *words.ALSO.get(record.slot, ())}:
        return True
    if state is None or record.source is None:
        return False
    for id in state.said_with([record.id]):
        turn = state[id]
        if turn.kind != "turn":
            continue
        said = (m[0] for m in words.SENTENCE.finditer(turn.text) if record.value in m[0])
        if any(re.search(rf"\bmy {re.escape(noun)}\b", one, re.I) for one in said):
            return True
    return False


def _that(text: str, told: Sequence[MemoryRecord]) -> Iterator[Denial]:
    """ "That's not true", "I never said that", of the one note that was just told."""
    if len(told) == 1 and words.THAT.fullmatch(text.strip()):
        yield Denial(told[0], "never")


def _named_once(text: str, held: Sequence[MemoryRecord]) -> list[MemoryRecord]:
    """Notes whose value stands in ``text`` and is no other note's."""
    found = [r for r in held if r.value and re.search(rf"(?<!\w){re.escape(r.value)}(?!\w)", text)]
    return [r for r in found if sum(same(r.value, other.value) for other in found) == 1]
