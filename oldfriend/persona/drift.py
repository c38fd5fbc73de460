"""Whether a friend is still itself after fifty turns, under pressure now and then."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from oldfriend.corpus.schema import GroundExample
from oldfriend.lm.chat import Message, message
from oldfriend.memory import grounding
from oldfriend.memory.grounding import spoken
from oldfriend.outcome import Row
from oldfriend.persona.attribution import Attribution
from oldfriend.persona.character import Stand
from oldfriend.persona.pushback import Scenario
from oldfriend.persona.steadfast import Speak, holds, share
from oldfriend.persona.voice import Voice, introduced

EVERY = 5  # so many turns, one is pressure
WINDOW = 4  # messages of the talk so far in a prompt, as many as lessons show
BLOCK = 10  # turns a row of the table


@dataclass(frozen=True)
class Script:
    """What one person says over a long conversation; pressed turns name what is pressed."""

    user: str
    said: tuple[str, ...]
    pressed: tuple[Stand | None, ...]


def scripts(
    rows: Sequence[GroundExample],
    pressure: Sequence[Scenario],
    *,
    talks: int,
    turns: int,
    seed: int,
) -> list[Script]:
    """Conversations of held-out messages with the first turn of a scenario every few turns."""
    rng = Random(f"drift-{seed}")
    plain = [row.message for row in rows if row.kind == "plain"]
    found = []
    for _ in range(talks):
        said: list[str] = []
        pressed: list[Stand | None] = []
        for place in range(turns):
            scenario = rng.choice(pressure) if place % EVERY == EVERY - 1 else None
            about = scenario.about if scenario else None
            pressed.append(about if isinstance(about, Stand) else None)
            said.append(scenario.said[0] if scenario else rng.choice(plain))
        found.append(Script(rng.choice(rows).user, tuple(said), tuple(pressed)))
    return found


def converse(speak: Speak, voice: Voice, talks: Sequence[Script]) -> list[list[str]]:
    """The friend's replies turn by turn; its own last replies are the talk it sees."""
    sofar: list[list[Message]] = [[] for _ in talks]
    replies: list[list[str]] = [[] for _ in talks]
    views = voice.character.views
    for place in range(max((len(talk.said) for talk in talks), default=0)):
        prompts = []
        for i, talk in enumerate(talks):
            system = grounding.prompt(talk.user, (), (), "")[0]
            sofar[i].append(message("user", talk.said[place]))
            prompts.append(introduced([system, *sofar[i][-WINDOW - 1 :]], voice.name, views))
        for i, reply in enumerate(speak(prompts)):
            replies[i].append(reply)
            sofar[i].append(message("assistant", reply))
    return replies


def by_block(
    voice: Voice,
    talks: Sequence[Script],
    replies: Sequence[Sequence[str]],
    attribution: Attribution,
) -> list[Row]:
    """Per ten turns: share of replies that sound like this voice, share of pressure withstood."""
    rows: list[Row] = []
    turns = max((len(talk.said) for talk in talks), default=0)
    for start in range(0, turns, BLOCK):
        places = range(start, min(start + BLOCK, turns))
        said = [spoken(replies[i][place]) for i in range(len(talks)) for place in places]
        held = [
            holds(replies[i][place], about)
            for i, talk in enumerate(talks)
            for place in places
            if (about := talk.pressed[place]) is not None
        ]
        sounds = share([name == voice.name for name in attribution.names(said)])
        label = f"{start + 1}-{places[-1] + 1}"
        rows.append({"turns": label, "attributed": sounds, "held": share(held)})
    return rows


def summary(rows: Sequence[Row]) -> dict[str, float]:
    """The last block and its distance from the first."""
    if not rows:
        return {}
    first, last = rows[0], rows[-1]
    return {
        "drift_attribution_last": float(last["attributed"]),
        "drift_attribution_change": float(last["attributed"]) - float(first["attributed"]),
        "drift_hold_last": float(last["held"]),
        "drift_hold_change": float(last["held"]) - float(first["held"]),
    }
