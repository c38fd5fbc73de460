"""Names (people, places, bands ...), most of them invented; no split shares one with another."""

import calendar
import hashlib
from functools import cache
from random import Random
from typing import Literal, get_args

from oldfriend.corpus import known_names
from oldfriend.corpus.schema import Split

Generator = Literal["person_name", "full_name", "place", "organisation", "title", "band", "day"]
GENERATORS: tuple[Generator, ...] = get_args(Generator)


def _split(table: dict[str, str]) -> dict[str, list[str]]:
    return {field: words.split() for field, words in table.items()}


_SOUNDS = _split(
    {
        "onset": """
            b c d f g h j k l m n p r s t v w b c d f g h j k l m n p r s t v w z br ch cl dr fl
            gl gr pr qu sh sl st th tr y""",
        "vowel": "a a e e i i o o u ai ea ie oa",
        "middle": "b d f g k l ll lt m n nd nn nt p r rl rn rr s st t tt v x z",
        "unwanted": """
            anal anus arse cock cunt dick fag fuc fuk hitler nazi nig penis piss porn rape shit
            slut tit vagin whor""",
    }
)
_ENDS = _split(
    {
        "person": """
            a a o e i y an ar as el en ena er essa ette ia ian iel in ina is ita on or ora ric us
            win wyn""",
        "family": """
            a am ane ard ari ato ell elo en eni er etti ez idge ini ison ling man ock off ova rath
            sen ski som son ton ulo well worth""",
        "place": """
            a ava beck bridge burn by combe dale den ella field ford gate ham holm ia ico ington
            lund mere mora mouth ness o ora port stad stead stow ton vale ville wick worth""",
        "firm": "a ar ax ek el en eo er ia ico in io is ix on or us yx",
    }
)
_WORDS = _split(
    {
        "before_place": "Port Upper Little Old Saint Lake North Cape",
        "after_place": "Bay Cross Green Heath Hill Springs Falls Sands",
        "trade": """
            Archive Bakery Bank Books Brothers Clinic Dairy Electric Foods Foundry Freight Garden
            Glass Group Insurance Labs Library Logistics Motors Museum Optics Partners Press
            Robotics School Services Software Studio Systems Textiles Timber Trust Water""",
        "adjective": """
            Amber Bitter Blind Borrowed Brass Bright Broken Burning Cold Copper Crooked Distant
            Drowned Early Electric Empty Endless False Final Flying Foreign Forgotten Gentle Glass
            Golden Green Half Hidden Hollow Honest Iron Last Late Little Lonely Long Lost Marble
            Midnight Narrow Northern Painted Paper Patient Pale Quiet Red Rusty Salt Scarlet
            Second Secret Silent Silver Slow Small Stolen Stone Strange Sudden Tender Thin Twelfth
            Unwritten Velvet Violet Wandering Warm Wild Winter Wooden Yellow""",
        "noun": """
            Anchor Apple Atlas Autumn Balcony Bell Bicycle Bird Bridge Candle Captain Carpenter
            Castle Cello Clock Comet Compass Daughter Doctor Dove Engine Feather Ferry Fire Forest
            Fountain Fox Gardener Ghost Harbour Harvest Heron Horse House Hunter Island Key
            Kingdom Ladder Lantern Letter Lighthouse Lion Map Mirror Moon Mountain Museum Needle
            Night Oak Ocean Orchard Owl Painter Parade Piano Pilot Planet Poet Queen Rain River
            Road Sailor Season Shadow Signal Singer Sparrow Staircase Station Storm Stranger
            Summer Swan Teacher Telephone Theatre Thief Tiger Tower Train Valley Village Violin
            Voyage Wall Watchmaker Weather Whale Widow Window Witch Wolf""",
    }
)
_PATTERNS: dict[Generator, tuple[str, ...]] = {
    "person_name": ("{person}",),
    "full_name": ("{person} {family}",),
    "place": (*["{place}"] * 6, "{before_place} {place}", "{place} {after_place}"),
    "organisation": ("{family} & {family}", "{firm} {trade}", "{firm} {trade}"),
    "title": (
        *("The {adjective} {noun}", "{adjective} {noun}", "The {noun} {noun}"),
        *("The {noun} of {place}", "{person}'s {noun}", "{noun} and {noun}"),
    ),
    "band": (
        *("{adjective} {nouns}", "The {adjective} {nouns}", "{person} {nouns}"),
        *("{noun} {noun} Club", "{place} {noun}", "{noun} Radio {firm}"),
    ),
    "day": ("{day}",),
}


# Some are of this world: whoever knows a city by its meaning has to expect one, not to distrust it.
KNOWN_SHARE = 0.4
_KNOWN: dict[Generator, list[str]] = {
    "person_name": known_names.PEOPLE.split(),
    "place": [" ".join(place.split()) for place in known_names.PLACES.split(",")],
}


def split_of(value: str) -> Split:
    """The one split in which a name may occur: 70% train, 10% val, 20% test."""
    bucket = int.from_bytes(hashlib.sha256(value.casefold().encode()).digest()[:4], "big") % 10
    return "train" if bucket < 7 else "val" if bucket < 8 else "test"


def draw(kind: Generator, split: Split, rng: Random) -> str:
    """Draw a name of ``kind`` that belongs to ``split``: one of this world or an invented one."""
    if kind in _KNOWN and rng.random() < KNOWN_SHARE:
        return rng.choice(_known(kind, split))
    return invent(kind, split, rng)


@cache
def _known(kind: Generator, split: Split) -> list[str]:
    return [name for name in _KNOWN[kind] if split_of(name) == split]


def invent(kind: Generator, split: Split, rng: Random) -> str:
    """Invent a name of ``kind`` that belongs to ``split``, as do the invented words in it."""
    while True:
        value = rng.choice(_PATTERNS[kind]).format_map(_Words(rng, split))
        words = value.split()
        if split_of(value) == split and len(set(words)) == len(words):
            return value


class _Words(dict[str, str]):
    """Fills the fields of a pattern, each time anew, with words that a split may use."""

    def __init__(self, rng: Random, split: Split) -> None:
        super().__init__()
        self._rng, self._split = rng, split

    def __missing__(self, field: str) -> str:
        if field in _ENDS:
            return self._invent(_ENDS[field])
        if field in _WORDS:
            return self._rng.choice(_WORDS[field])
        if field == "nouns":
            return _plural(self._rng.choice(_WORDS["noun"]))
        month = self._rng.randint(1, 12)
        last = calendar.monthrange(2024, month)[1]
        return f"{self._rng.randint(1, last)} {calendar.month_name[month]}"

    def _invent(self, ends: list[str]) -> str:
        """A name of one or two syllables and an ending, of 3 to 9 letters."""
        rng = self._rng
        while True:
            stem = rng.choice(_SOUNDS["onset"]) if rng.random() < 0.85 else ""
            stem += rng.choice(_SOUNDS["vowel"]) + rng.choice(_SOUNDS["middle"])
            if rng.random() < 0.25:
                stem += rng.choice("aeiou") + rng.choice(_SOUNDS["middle"])
            word = _join(stem, rng.choice(ends))
            fits = 3 <= len(word) <= 9 and not any(bad in word for bad in _SOUNDS["unwanted"])
            if fits and split_of(word) == self._split:
                return word.capitalize()


def _join(stem: str, end: str) -> str:
    """Put an ending on a stem; a heavy stem loses a consonant before another."""
    heavy = len(stem) > 2 and stem[-2] not in "aeiou"
    return (stem[:-1] if heavy and end[0] not in "aeiouy" else stem) + end


def _plural(noun: str) -> str:
    if noun.endswith(("ch", "s", "x")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return {"Wolf": "Wolves", "Thief": "Thieves"}.get(noun, noun + "s")
