"""How a person has been feeling: single feelings, added up and fading, within a talk and beyond."""

import json
import math
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, Self

from oldfriend.empathy.emotion import Feelings
from oldfriend.errors import InputError

TALK = timedelta(minutes=20)  # half-life of what colours this talk
LIFE = timedelta(days=4)  # half-life of what is carried from talk to talk
TURN = 0.6  # share of the talk's colour that outlasts one more turn, however quick
NEAR = 2.0  # how many times more than the last days the last turns count
STRONG = 0.6  # intensity from which a feeling is an event of its own
KEPT = 32  # events kept; the faintest go first
CALM = 0.5  # weight of a neutral feeling that is always there: what everything fades to
STEADY = 0.1  # trend within which nothing moves
MAX_TEXT = 300  # characters of a cause
VERSION = 1


@dataclass(frozen=True)
class Event:
    """One strong feeling: when, what, how strong, and what brought it, in the person's words."""

    time: datetime
    label: str
    valence: float
    intensity: float
    cause: str = ""

    def strength(self, now: datetime) -> float:
        """Intensity that is left: half of it is gone after LIFE."""
        return self.intensity * _faded(now - self.time, LIFE)


@dataclass(frozen=True)
class Trace:
    """Exponentially fading sums over feelings; each weighs as much as it is intense."""

    weight: float = 0.0
    valence: float = 0.0  # sum of weight times valence
    intensity: float = 0.0  # sum of weight times intensity

    def fade(self, left: float) -> "Trace":
        return Trace(self.weight * left, self.valence * left, self.intensity * left)

    def add(self, valence: float, intensity: float) -> "Trace":
        return Trace(
            self.weight + intensity,
            self.valence + intensity * valence,
            self.intensity + intensity * intensity,
        )

    @property
    def level(self) -> tuple[float, float]:
        """Valence and intensity now, drawn towards calm as the weight fades."""
        return self.valence / (self.weight + CALM), self.intensity / (self.weight + CALM)


@dataclass(frozen=True)
class Mood:
    """What has been felt so far. Immutable: ``heard`` gives the next one.

    Two traces, one that follows the last few turns and one with the half-life LIFE; the trend is
    their difference, and a session next week finds only the slow one left. Times must all have a
    zone, or none; a time before the last counts as the last.
    """

    time: datetime | None = None  # of the last feeling heard
    talk: Trace = Trace()
    life: Trace = Trace()
    events: tuple[Event, ...] = ()  # oldest first
    heard_count: int = 0

    def heard(self, feelings: Feelings, at: datetime, cause: str = "") -> "Mood":
        """The mood after a turn with these feelings; ``cause`` in the person's own words."""
        now = self._now(at)
        faded = self.at(now)
        events = faded.events
        if feelings.intensity >= STRONG:
            label = feelings.top[0] if feelings.top else "neutral"
            event = Event(now, label, feelings.valence, feelings.intensity, cause[:MAX_TEXT])
            events = _strongest((*events, event), now)
        return replace(
            faded,
            talk=faded.talk.fade(TURN).add(feelings.valence, feelings.intensity),
            life=faded.life.add(feelings.valence, feelings.intensity),
            events=events,
            heard_count=self.heard_count + 1,
        )

    def at(self, now: datetime) -> "Mood":
        """The same mood, faded until ``now``."""
        if self.time is None:
            return replace(self, time=now)
        now = self._now(now)
        gone = now - self.time
        return replace(
            self,
            time=now,
            talk=self.talk.fade(_faded(gone, TALK)),
            life=self.life.fade(_faded(gone, LIFE)),
        )

    @property
    def valence(self) -> float:
        """-1 to 1: mostly of the last few turns, and of what is carried along."""
        return self._both.level[0]

    @property
    def intensity(self) -> float:
        """0 to 1."""
        return self._both.level[1]

    @property
    def trend(self) -> float:
        """Valence of the last turns less that of the last days: above 0 it is getting better."""
        share = self.talk.weight / (self.talk.weight + CALM)
        return share * (self.talk.level[0] - self.life.level[0])

    @property
    def direction(self) -> str:
        """The trend in a word: rising, steady or falling."""
        if abs(self.trend) < STEADY:
            return "steady"
        return "rising" if self.trend > 0 else "falling"

    def last_strong(
        self, now: datetime | None = None, *, within: timedelta = 3 * LIFE
    ) -> Event | None:
        """The latest event no older than ``within``, or None."""
        if self.time is None:
            return None
        until = self._now(now) if now else self.time
        recent = [event for event in self.events if until - event.time <= within]
        return recent[-1] if recent else None

    def describe(self) -> str:
        """One line for a trace or ``/why``."""
        tone = "low" if self.valence < -STEADY else "good" if self.valence > STEADY else "even"
        said = f"mood {tone} ({self.valence:+.2f}), {self.direction}"
        event = self.last_strong()
        why = f" over: {event.cause}" if event and event.cause else ""
        return f"{said}; last strong feeling {event.label}{why}" if event else said

    def to_json(self) -> str:
        """As JSON with sorted keys; ``from_json`` gives the same mood back, bit for bit."""
        document = {"version": VERSION, **asdict(self)}
        return json.dumps(document, default=_time_text, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote. InputError says what is wrong with it."""
        try:
            found = json.loads(text)
            if found["version"] != VERSION:
                raise ValueError(f"version {found['version']}, expected {VERSION}")
            return cls(
                time=None if found["time"] is None else datetime.fromisoformat(found["time"]),
                talk=_trace(found["talk"]),
                life=_trace(found["life"]),
                events=tuple(_event(event) for event in found["events"][-KEPT:]),
                heard_count=int(found["heard_count"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            message = f"not a mood ({error or 'nested too deep'}); delete it to start anew"
            raise InputError(message) from None

    @property
    def _both(self) -> Trace:
        """Both traces in one, the talk's counting NEAR times."""
        near = self.talk.fade(NEAR)
        return Trace(*(getattr(near, f.name) + getattr(self.life, f.name) for f in fields(Trace)))

    def _now(self, at: datetime) -> datetime:
        return at if self.time is None else max(at, self.time)


def _faded(gone: timedelta, half_life: timedelta) -> float:
    return float(2.0 ** -(gone / half_life))


def _strongest(events: tuple[Event, ...], now: datetime) -> tuple[Event, ...]:
    """At most KEPT events, in their order; the faintest are let go."""
    if len(events) <= KEPT:
        return events
    faintest = min(range(len(events)), key=lambda place: events[place].strength(now))
    return events[:faintest] + events[faintest + 1 :]


def _trace(found: dict[str, Any]) -> Trace:
    trace = Trace(**{key: float(value) for key, value in found.items()})
    if not all(map(math.isfinite, (trace.weight, trace.valence, trace.intensity))):
        raise ValueError("numbers must be finite")
    return trace


def _event(found: dict[str, Any]) -> Event:
    numbers = float(found["valence"]), float(found["intensity"])
    if not all(map(math.isfinite, numbers)):
        raise ValueError("numbers must be finite")
    return Event(
        datetime.fromisoformat(found["time"]), str(found["label"]), *numbers, str(found["cause"])
    )


def _time_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} has no place in a mood")
