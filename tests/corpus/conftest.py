"""Two sets of seeds: a small one made here, and the real one; and a world grown from each."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from oldfriend.corpus.people import Life
from oldfriend.corpus.schema import Conversation
from oldfriend.corpus.seeds import Seeds
from oldfriend.corpus.settings import SimulatorParams
from oldfriend.corpus.simulator import simulate

REAL = Path(__file__).parents[2] / "data" / "seeds"
Bank = dict[str, object]
World = tuple[list[Conversation], list[Life]]


def phrases(*words: str, train: int = 4, test: int = 2) -> Bank:
    """Sentences that all hold ``words`` and are all different."""
    text = " ".join(words)
    return {
        "train": [f"Well, I'd say {text} in train sentence {n}. Yes." for n in range(train)],
        "test": [f"Hear me, that's {text} by test line {n}. No." for n in range(test)],
    }


def talk(key: str, **others: str) -> Bank:
    """Exchanges: what is said under ``key`` and what goes with it."""
    said = phrases(key, *others)
    return {
        split: [{key: line, **others} for line in lines]  # type: ignore[attr-defined]
        for split, lines in said.items()
    }


def slot(name: str, values: object, cardinality: str = "multi", **fields: object) -> Bank:
    """A complete slot, whose sentences name it."""
    bank: Bank = {
        "kind": "profile",
        "subject": "me",
        "cardinality": cardinality,
        "values": values,
        "memory": f"has {name} {{value}}",
        "importance": 5,
        "say": phrases("my", name, "is {value}"),
        "near_miss": phrases("some", name, "was {value}"),
        "ask": phrases("what is my", name),
        "react": [f"Ah, a {name}.", "{value}, then."],
        "answer": [f"Your {name} is {{value}}.", "{value}, I think."],
        "colour": {
            split: [
                {"talk": f"A {split} day for {name}.", "with": "Warm words.", "without": "Words."}
            ]
            for split in ("train", "test")
        },
    }
    if cardinality == "single":
        bank["change"] = phrases("my", name, "was {old} and is now {value}")
        bank["ask_past"] = phrases("what was my", name, "before")
    return bank | fields


def small_banks() -> dict[str, Bank]:
    """The contents of data/seeds in little, by file."""
    fruits = {
        "train": [f"{colour} apples" for colour in ("red", "green", "yellow", "brown")],
        "test": [f"{colour} pears" for colour in ("blue", "grey", "white", "black")],
    }
    return {
        "slots/people.yaml": {"pet_name": slot("pet", "person_name")},
        "slots/profile.yaml": {
            "home_city": slot("home", "place", "single"),
            "birthday": slot("birthday", "day", "single", change=None, ask_past=None),
            "favourite_band": slot("band", "band", "single"),
            "disliked_food": slot("food", fruits),
        },
        "niches.yaml": {
            name: {
                "who": f"a {name} person",
                "kind": "event",
                "memory": "saw {value}",
                "values": {
                    "train": [f"{name.title()} Train {n}" for n in range(6)],
                    "test": [f"{name.title()} Test {n}" for n in range(6)],
                },
                "say": phrases("out with", name, "{value}"),
                "react": ["{value}, well."],
            }
            for name in ("heron", "gambit")
        },
        "life.yaml": {
            "emotions": {
                "joy": {
                    "valence": 0.8,
                    "intensity": [0.4, 0.9],
                    "replies": [{"strategy": "praise", "text": "Good for you."}],
                    **talk("say", cause="luck"),
                }
            },
            "situations": {
                "commute": {
                    "openers": phrases("on the bus"),
                    "friend_openers": ["Still on that bus?"],
                    "followups": talk("say", reply="Buses, eh."),
                }
            },
            "smalltalk": {
                "train": [{"say": f"What's {n} plus 1?", "reply": f"{n + 1}."} for n in range(6)],
                "test": [{"say": f"What's {n} less 1?", "reply": f"{n - 1}."} for n in range(3)],
            },
            "courtesies": {
                "train": [{"say": f"Hello {n}.", "reply": "Hello."} for n in range(3)],
                "test": [{"say": f"Hi {n}.", "reply": "Hello."} for n in range(3)],
            },
            "jokes": [{"setup": f"Joke {n}.", "callback": f"Again {n}."} for n in range(5)],
            "promises": [
                {"say": f"I'll do {n}.", "kept": f"I did {n}.", "broken": f"I didn't do {n}."}
                for n in range(5)
            ],
            "farewells": {"say": [f"Bye {n}." for n in range(5)], "reply": ["See you."]},
            "abstain": ["You never told me.", "I don't know that."],
            "idiolects": {
                name: {
                    "prefixes": ["Well. "],
                    "suffixes": [" Anyway."],
                    "rate": 0.5,
                    "transform": name,
                }
                for name in ("none", "lower", "no_apostrophes", "exclaim", "ellipsis")
            },
        },
        "glue.yaml": {
            "nods": ["I see.", "Go on."],
            "past": ["It was {value}."],
            "month": phrases("told in {value}"),
        },
    }


def write_banks(folder: Path, banks: dict[str, Bank]) -> Path:
    """Write every bank; JSON is YAML too."""
    for name, bank in banks.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(bank, indent=1), encoding="utf-8")
    return folder


@pytest.fixture
def load_changed(tmp_path: Path) -> Callable[[Callable[[dict[str, Bank]], None]], Seeds]:
    """Load the small banks after a change."""

    def load(change: Callable[[dict[str, Bank]], None]) -> Seeds:
        banks = small_banks()
        change(banks)
        return Seeds.load(write_banks(tmp_path, banks))

    return load


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Seeds:
    return Seeds.load(write_banks(tmp_path_factory.mktemp("seeds"), small_banks()))


@pytest.fixture(scope="session")
def real() -> Seeds:
    return Seeds.load(REAL)


@pytest.fixture(scope="session", params=["small", "real"])
def seeds(request: pytest.FixtureRequest) -> Seeds:
    found: Seeds = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def world(seeds: Seeds) -> World:
    """Forty people, of whom twelve are held out."""
    return simulate(SimulatorParams(people=40), seeds)
