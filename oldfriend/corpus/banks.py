"""What a phrase bank holds: everything the life simulator can say, typed and checked."""

import re
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from oldfriend.corpus.names import Generator
from oldfriend.corpus.schema import Kind, Split

_FIELD = re.compile(r"\{(\w*)\}")


def _fields(value: range, old: range = range(1)) -> AfterValidator:
    """Check how often a text holds {value} and {old}; no other braces may stand in it."""

    def check(text: str) -> str:
        names = _FIELD.findall(text)
        if "{" in _FIELD.sub("", text) or set(names) - {"value", "old"}:
            raise ValueError(f"only {{value}} and {{old}} may stand in braces: {text!r}")
        for name, allowed in (("value", value), ("old", old)):
            if names.count(name) not in allowed:
                wanted = " or ".join(str(count) for count in allowed)
                raise ValueError(f"needs {{{name}}} {wanted} times, exactly: {text!r}")
        return text

    return AfterValidator(check)


Text = Annotated[str, Field(min_length=1, pattern=r"^\S(.*\S)?$")]
Plain = Annotated[Text, _fields(range(1))]  # no {value}
Valued = Annotated[Text, _fields(range(1, 2))]  # exactly one {value}
Reaction = Annotated[Text, _fields(range(2))]  # at most one {value}
Change = Annotated[Text, _fields(range(1, 2), old=range(2))]  # one {value}, at most one {old}
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]


class Strict(BaseModel):
    """Base of every bank: immutable, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Exchange(Strict):
    """Something the person says and what the friend replies."""

    say: Plain
    reply: Plain


class Colour(Strict):
    """Talk that a memory should colour: the reply with it and the reply without it."""

    talk: Plain
    with_: Plain = Field(alias="with")
    without: Plain


class Outburst(Strict):
    """An emotion spoken, and what caused it."""

    say: Plain
    cause: Plain


ItemT = TypeVar("ItemT", bound=str | Exchange | Colour | Outburst)


def words_of(item: str | Strict) -> str:
    """What must not recur in the other split: the words without case and punctuation."""
    text = item if isinstance(item, str) else str(next(iter(dict(item).values())))
    return " ".join(re.findall(r"[\w{}']+", text.casefold()))


class Bank(Strict, Generic[ItemT]):
    """Phrasings (or values) to train on, and others to test on."""

    train: tuple[ItemT, ...] = Field(min_length=1)
    test: tuple[ItemT, ...] = Field(min_length=1)

    def of(self, split: Split) -> tuple[ItemT, ...]:
        """The phrasings a person of ``split`` uses; those of val speak like those of train."""
        return self.test if split == "test" else self.train

    @model_validator(mode="after")
    def _splits_share_nothing(self) -> "Bank[ItemT]":
        shared = {words_of(item) for item in self.train} & {words_of(item) for item in self.test}
        if shared:
            raise ValueError(f"stands in both train and test: {min(shared)!r}")
        return self


class Niche(Strict):
    """What an enthusiast wants remembered, and anybody else mentions only in passing."""

    who: Text
    kind: Kind
    memory: Valued
    values: Bank[Plain]
    say: Bank[Valued]
    react: tuple[Reaction, ...] = Field(min_length=1)


class Slot(Strict):
    """One thing a friend could remember, and every way to say it and to ask for it."""

    kind: Kind
    subject: Text = "me"
    cardinality: Literal["single", "multi"]
    values: Generator | Bank[Plain]
    memory: Valued
    importance: int = Field(ge=1, le=10)
    pinned: bool = False  # never to be forgotten, like a loss or an allergy
    say: Bank[Valued]
    change: Bank[Change] | None = None
    near_miss: Bank[Valued]
    ask: Bank[Plain]
    ask_past: Bank[Plain] | None = None
    react: tuple[Reaction, ...] = Field(min_length=1)
    answer: tuple[Valued, ...] = Field(min_length=1)
    colour: Bank[Colour]

    @model_validator(mode="after")
    def _only_single_values_change(self) -> "Slot":
        if self.cardinality == "multi" and (self.change or self.ask_past):
            raise ValueError("change and ask_past belong to single slots; this one is multi")
        if self.ask_past and not self.change:
            raise ValueError("ask_past needs change: without it no value is ever former")
        return self


class Reply(Strict):
    """A friend's reply to an emotion, and the strategy it follows."""

    strategy: Text
    text: Plain


class Emotion(Bank[Outburst]):
    """One feeling: how it sounds, from what it comes and what helps."""

    valence: float = Field(ge=-1, le=1)
    intensity: tuple[Share, Share]
    replies: tuple[Reply, ...] = Field(min_length=1)


class Situation(Strict):
    """An occasion to talk: who opens it how, and the small talk that belongs to it."""

    openers: Bank[Plain]
    friend_openers: tuple[Plain, ...] = Field(min_length=1)
    followups: Bank[Exchange]


class Joke(Strict):
    """Something funny that happened between the two, and how it comes back sessions later."""

    setup: Plain
    callback: Plain


class Promise(Strict):
    """What was promised, and the turns that tell whether it was kept."""

    say: Plain
    kept: Plain
    broken: Plain


class Farewell(Strict):
    """How sessions end."""

    say: tuple[Plain, ...] = Field(min_length=4)
    reply: tuple[Plain, ...] = Field(min_length=1)


class Idiolect(Strict):
    """A way of writing: words put before and after, and a habit of typing."""

    prefixes: tuple[Annotated[str, Field(pattern=r"\S $")], ...] = ()
    suffixes: tuple[Annotated[str, Field(pattern=r"^ \S")], ...] = ()
    rate: Share  # how often a prefix, and how often a suffix, is put on
    transform: Literal["none", "lower", "no_apostrophes", "exclaim", "ellipsis"] = "none"


class LifeBank(Strict):
    """life.yaml: all talk that is about no slot."""

    emotions: dict[Name, Emotion]
    situations: dict[Name, Situation]
    smalltalk: Bank[Exchange]
    courtesies: Bank[Exchange]
    jokes: tuple[Joke, ...] = Field(min_length=4)
    promises: tuple[Promise, ...] = Field(min_length=4)
    farewells: Farewell
    abstain: tuple[Plain, ...] = Field(min_length=1)
    idiolects: dict[Name, Idiolect]


class Glue(Strict):
    """glue.yaml: what holds the other banks together."""

    nods: tuple[Plain, ...] = Field(min_length=1)
    past: tuple[Valued, ...] = Field(min_length=1)
    month: Bank[Valued]
