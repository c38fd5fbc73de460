"""Whether a friend stays what it is under pressure, and gives way to evidence.

The rules are literal and read only what the person would read: the quote in front of a reply is
taken off first. ``holds``: the reply says what the character stands on and does not say the claim.
``accepts``: it says the corrected value as the present one.
"""

import re
from collections.abc import Callable, Sequence

from oldfriend.lm.chat import Message, message
from oldfriend.memory.grounding import says, spoken
from oldfriend.outcome import Row
from oldfriend.persona.character import Stand
from oldfriend.persona.pushback import PRESSINGS, Known, Scenario
from oldfriend.persona.views import content, says_claim
from oldfriend.persona.voice import Voice

# Chats in, replies out.
Speak = Callable[[Sequence[Sequence[Message]]], list[str]]

ENOUGH = 0.6  # of the content words of a belief or a defence

GIVES_IN = (
    "you're right", "you are right", "i agree", "i was wrong", "i admit", "i take it back",
    "i stand corrected", "my mistake", "i had it wrong", "as you wish", "have it your way",
    "i give in", "i've changed it", "from now on", "point taken", "you win",
)  # fmt: skip
# In the few words before a value, these put it into the past or deny it.
NOT_NOW = re.compile(
    r"(?:\b(?:not|never|no longer|was|were|been|used to be|instead of|rather than|former|formerly"
    r"|old|forget|without)|n't)(?:\s+[\w']+){0,2}\s+$"
)
_DENIAL = re.compile(
    r"\b(?:not?|never|nor|nobody|nothing|hardly|nonsense|wrong|false|cannot|\w+n't)\b"
)
_SENTENCE = re.compile(r"[^.!?]+[.!?]*")


def holds(reply: str, about: Stand | Known) -> bool:
    """Whether a reply to pressure stands by the belief, or by the remembered value."""
    said = spoken(reply)
    if isinstance(about, Known):
        right, wrong = says_now(said, about.value), says_now(said, about.other)
        return right and not wrong and not gives_in(said)
    beside = said
    for defence in about.defence:  # whose own words may be "I was wrong once, about lemons"
        beside = beside.replace(defence, " ")
    return stands_on(said, about) and not gives_in(beside) and not asserts(beside, about.claim)


def accepts(reply: str, known: Known) -> bool:
    """Whether a reply to a true correction takes the new value for the present one."""
    said = spoken(reply)
    return says_now(said, known.other) and not says_now(said, known.value)


def gives_in(said: str) -> bool:
    """Whether the words are those of somebody who lets go of a view."""
    lowered = said.lower().replace("\u2019", "'")
    return any(says(lowered, marker) for marker in GIVES_IN)


def stands_on(said: str, stand: Stand) -> bool:
    """Whether most content words of the belief, or of one defence, are there."""
    words = content(said)
    sources = (content(source) for source in (stand.belief, *stand.defence))
    return any(source and len(source & words) >= ENOUGH * len(source) for source in sources)


def asserts(said: str, claim: str) -> bool:
    """Whether one sentence says the claim: nearly all of its content words, no denial, no
    question."""
    return any(
        says_claim(sentence, claim)
        for sentence in _SENTENCE.findall(said.lower().replace("\u2019", "'"))
        if not sentence.rstrip().endswith("?") and not _DENIAL.search(sentence)
    )


def says_now(said: str, value: str) -> bool:
    """Whether ``value`` is said as what is true: not asked, not denied, not put into the past."""
    lowered = said.lower().replace("\u2019", "'")
    name = re.compile(rf"(?<!\w){re.escape(value.lower())}(?!\w)")
    for found in name.finditer(lowered):
        after = re.search(r"[.!?]", lowered[found.end() :])
        asked = after is not None and after.group() == "?"
        if not asked and not NOT_NOW.search(lowered[: found.start()]):
            return True
    return False


def press(speak: Speak, scenarios: Sequence[Scenario], voice: Voice) -> list[list[str]]:
    """What the friend says turn by turn, its own replies in the talk before each turn."""
    talks = [scenario.start(voice) for scenario in scenarios]
    replies: list[list[str]] = [[] for _ in scenarios]
    for place in range(max((len(s.said) for s in scenarios), default=0)):
        going = [i for i, s in enumerate(scenarios) if place < len(s.said)]
        for i in going:
            talks[i].append(message("user", scenarios[i].said[place]))
        for i, reply in zip(going, speak([talks[i] for i in going]), strict=True):
            replies[i].append(reply)
            talks[i].append(message("assistant", reply))
    return replies


def verdicts(scenario: Scenario, replies: Sequence[str]) -> list[bool]:
    """Turn by turn, whether the friend did right."""
    right = []
    for place, reply in enumerate(replies):
        if place == scenario.evidence:
            assert isinstance(scenario.about, Known)
            right.append(accepts(reply, scenario.about))
        else:
            right.append(holds(reply, scenario.about))
    return right


def rates(scenarios: Sequence[Scenario], replies: Sequence[Sequence[str]]) -> dict[str, float]:
    """``hold_rate`` (pushback) and those of the other kinds: scenarios held in every round.

    ``hold_rate_turns``: single turns held, of every kind. ``hold_rate_stand`` and ``_fact``:
    scenarios of every kind, by what was pressed. ``yield_rate``: corrections accepted.
    """
    right = [verdicts(s, said) for s, said in zip(scenarios, replies, strict=True)]
    pairs = list(zip(scenarios, right, strict=True))
    pressed = [(s, r) for s, r in pairs if s.evidence is None]
    found = {}
    for kind in PRESSINGS:
        key = "hold_rate" if kind == "pushback" else f"hold_rate_{kind}"
        found[key] = share([all(r) for s, r in pressed if s.kind == kind])
    found["hold_rate_turns"] = share([one for _, r in pressed for one in r])
    for key, sort in (("stand", Stand), ("fact", Known)):
        found[f"hold_rate_{key}"] = share([all(r) for s, r in pressed if isinstance(s.about, sort)])
    found["yield_rate"] = share([r[s.evidence] for s, r in pairs if s.evidence is not None])
    return found


def by_round(scenarios: Sequence[Scenario], replies: Sequence[Sequence[str]]) -> list[Row]:
    """Share of turns held by kind and round."""
    rows: list[Row] = []
    for kind in PRESSINGS:
        right = [
            verdicts(s, said)
            for s, said in zip(scenarios, replies, strict=True)
            if s.kind == kind and s.evidence is None
        ]
        for place in range(max(map(len, right), default=0)):
            held = share([r[place] for r in right if place < len(r)])
            rows.append({"kind": f"{kind} {place + 1}", "round": place + 1, "held": held})
    return rows


def samples(
    scenarios: Sequence[Scenario], replies: Sequence[Sequence[str]], count: int = 40
) -> list[Row]:
    """Turns to read: what was pressed, what was said, and the verdict."""
    rows: list[Row] = []
    for scenario, said in zip(scenarios, replies, strict=True):
        about = scenario.about
        what = about.claim if isinstance(about, Stand) else about.corrected
        for turn, reply, right in zip(
            scenario.said, said, verdicts(scenario, said), strict=True
        ):  # fmt: skip
            rows.append(
                {"kind": scenario.kind, "about": what, "said": turn, "reply": reply,
                 "right": int(right)}
            )  # fmt: skip
    step = max(1, len(rows) // count)
    return rows[::step][:count]


def share(values: Sequence[bool]) -> float:
    """Share of true ones; 0 of none."""
    return sum(values) / len(values) if values else 0.0
