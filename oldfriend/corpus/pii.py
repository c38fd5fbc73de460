"""Replace personal data in real text: mail, phone, street, bank and profile addresses."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from phonenumbers import PhoneNumberMatcher
from pyap.parser import AddressParser

from oldfriend.corpus.schema import Conversation, Fact, Turn

Country = Literal["US", "GB"]


@dataclass(frozen=True)
class Find:
    """Personal data of one kind at one place of a text."""

    start: int
    end: int
    kind: str


_WORTH_A_LOOK = re.compile(r"\d|@|://|www\.|\.com/", re.IGNORECASE)
_EMAIL = re.compile(r"\b[\w.+%-]+@(?:[\w-]+\.)+[^\W\d_]{2,24}\b")
_URL = re.compile(r"(?:https?://|www\.)[^\s<>\"')\]]+|\b(?:[\w-]+\.)+com/[^\s<>\"')\]]+", re.I)
_PERSONAL_URL = re.compile(
    r"://[^/\s]+@"  # name or password before the host
    r"|(?:facebook|instagram|twitter|x|github|gitlab|pinterest|tumblr|soundcloud|venmo)\.com/\w"
    r"|linkedin\.com/in/|t\.me/\w|/(?:~|@)\w|/(?:users?|u|profiles?|people|members?)/\w",
    re.IGNORECASE,
)
_CARD = re.compile(  # as printed: fours, Amex's 4-6-5, or without blanks
    r"(?<![\w.,-])(?:[2-6]\d{3}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{1,3})?|3[47]\d{2}([ -])\d{6}\2\d{5}"
    r"|[2-6]\d{12,18})(?![\w-]|[.,]\d)"
)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b")
_SSN = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")
_LOCAL_PHONE = re.compile(  # seven digits are a phone number only where the talk says so
    r"\b(?:call|phone|text|number|cell|mobile|tel|reach)\b[^.!?\d]{0,24}(\d{3}[-. ]\d{4})(?![\w-])",
    re.IGNORECASE,
)
_MONEY_BEFORE = re.compile(r"[$\u00a3\u20ac\u00a5#]\s?$|\d[.,/:]$")
_UNIT_AFTER = re.compile(r"\s?(?:%|\u20ac|dollars|euros|pounds|bucks|points|[.,/:]\d)", re.I)
_PHONE_LIKE = {  # without such digits the slow matcher need not look
    "US": re.compile(r"(?:\d[\s().-]{0,3}){9}\d|\+"),
    "GB": re.compile(r"(?<!\d)0(?:[\s().-]{0,3}\d){8}"),
}

_PHONE_SHAPE = re.compile(r"\+|\(?0|\(?(?:1[-. ]?)?\(?\d{3}\)?[-. ]?\d{3}[-. ]?\d{4}(?!\d)")
_STREET_TYPE = (
    r"(?:(?:Street|Avenue|Road|Boulevard|Lane|Drive|Court|Terrace|Place|Square|Highway|Parkway"
    r"|Crescent|Close|Way|Row|Mews)\b|(?:St|Ave|Rd|Blvd|Ln|Dr|Ct|Pl|Sq|Hwy|Pkwy)\b\.?)"
)
_STREET = re.compile(  # a number, capitalised words and a street type: "742 Evergreen Terrace"
    r"(?<![\w.,/$-])\d{1,5}[A-Za-z]?,? (?:[NSEW]\.? |North |South |East |West )?"
    rf"(?:[A-Z][\w'-]*\.? |\d{{1,3}}(?:st|nd|rd|th) ){{1,3}}{_STREET_TYPE}"
    r"(?:,? (?:Apt|Apartment|Suite|Unit|Flat|#)\.? ?\w{1,5}\b)?"
)
# The address parser is slow and makes sentences into addresses, so it sees no more than the
# words before a postcode.
_POSTCODE: dict[Country, re.Pattern[str]] = {
    "US": re.compile(r"\b(?:[A-Z]{2}|[A-Z]\.[A-Z]\.|[A-Z][a-z]{3,}),? \d{5}(?:-\d{4})?\b"),
    "GB": re.compile(r"\b[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b"),
}
_ADDRESS_LENGTH = 110
_WHOLE_NUMBER = re.compile(r"(?<![\w-])\d")


def find(text: str) -> list[Find]:
    """Return personal data in reading order, without overlaps."""
    if not _WORTH_A_LOOK.search(text):
        return []
    taken: list[Find] = []
    for candidate in _candidates(text):
        if all(candidate.end <= old.start or old.end <= candidate.start for old in taken):
            taken.append(candidate)
    return sorted(taken, key=lambda found: found.start)


def scrub_text(text: str, counts: Counter[str]) -> str:
    """Return ``text`` with personal data as ``<EMAIL>``, ``<PHONE>``...; count each kind."""
    return _replace(text, find(text), counts)


def scrub_turn(turn: Turn, counts: Counter[str]) -> Turn:
    """Scrub one turn. A fact that is itself personal data is dropped (``facts_lost``)."""
    found = find(turn.text)
    update: dict[str, object] = {}
    if found:
        facts = _shift(turn.facts, found)
        if lost := len(turn.facts) - len(facts):
            counts["facts_lost"] += lost
        update = {"text": _replace(turn.text, found, counts), "facts": facts}
    if turn.cause and find(turn.cause):
        update["cause"] = scrub_text(turn.cause, counts)
    return turn.model_copy(update=update) if update else turn


def scrub(conversations: Iterable[Conversation], counts: Counter[str]) -> Iterator[Conversation]:
    """Yield conversations without personal data; count what was replaced by kind."""
    for conversation in conversations:
        update: dict[str, object] = {}
        turns = tuple(scrub_turn(turn, counts) for turn in conversation.turns)
        if turns != conversation.turns:
            update["turns"] = turns
        if conversation.situation and find(conversation.situation):
            update["situation"] = scrub_text(conversation.situation, counts)
        yield conversation.model_copy(update=update) if update else conversation


def luhn(digits: str) -> bool:
    """Check digit of payment cards (ISO/IEC 7812)."""
    doubled = (
        int(digit) if place % 2 == 0 else sum(divmod(2 * int(digit), 10))
        for place, digit in enumerate(reversed(digits))
    )
    return sum(doubled) % 10 == 0


def iban_length(text: str) -> int:
    """Characters of ``text`` that are a valid IBAN (ISO 13616), ending at a blank; else 0."""
    ends = [match.start() for match in re.finditer(r" |$", text)]
    for end in reversed(ends):
        code = text[:end].replace(" ", "")
        number = "".join(str(int(char, 36)) for char in code[4:] + code[:4])
        if 15 <= len(code) <= 34 and int(number) % 97 == 1:
            return end
    return 0


def _candidates(text: str) -> Iterator[Find]:
    """Yield finds, the surest kinds first."""
    for match in _URL.finditer(text):
        if _PERSONAL_URL.search(match[0]):
            yield Find(match.start(), match.start() + len(match[0].rstrip(".,;:!?")), "URL")
    yield from _matches(_EMAIL, text, "EMAIL")
    for match in _IBAN.finditer(text):
        if length := iban_length(match[0]):
            yield Find(match.start(), match.start() + length, "IBAN")
    for match in _CARD.finditer(text):
        if luhn(re.sub(r"\D", "", match[0])):
            yield Find(*match.span(), "CARD")
    yield from _matches(_SSN, text, "SSN")
    yield from _addresses(text)
    yield from _phones(text)


def _matches(pattern: re.Pattern[str], text: str, kind: str) -> Iterator[Find]:
    for match in pattern.finditer(text):
        yield Find(*match.span(), kind)


def _addresses(text: str) -> Iterator[Find]:
    for country, code in _POSTCODE.items():
        for match in code.finditer(text):
            first = max(0, match.start() - _ADDRESS_LENGTH)
            for address in _address_parser(country).parse(text[first : match.end()]):
                found = text[first + address.match_start : first + address.match_end]
                start = first + address.match_end - len(found.lstrip())
                if address.postal_code and _WHOLE_NUMBER.match(text, start):
                    yield Find(start, start + len(found.strip()), "ADDRESS")
    yield from _matches(_STREET, text, "ADDRESS")


def _phones(text: str) -> Iterator[Find]:
    for region, digits in _PHONE_LIKE.items():
        for match in PhoneNumberMatcher(text if digits.search(text) else "", region):
            start = match.start + (match.raw_string[0] == "(" and ")" not in match.raw_string)
            if _PHONE_SHAPE.match(text, start) and not _is_amount(text, start, match.end):
                yield Find(start, match.end, "PHONE")
    for local in _LOCAL_PHONE.finditer(text):
        yield Find(*local.span(1), "PHONE")


def _is_amount(text: str, start: int, end: int) -> bool:
    """A price, score or share that happens to have the digits of a phone number."""
    before, after = text[max(0, start - 3) : start], text[end : end + 10]
    return bool(_MONEY_BEFORE.search(before) or _UNIT_AFTER.match(after))


def _replace(text: str, found: list[Find], counts: Counter[str]) -> str:
    parts, last = [], 0
    for item in found:
        parts += [text[last : item.start], f"<{item.kind}>"]
        counts[item.kind] += 1
        last = item.end
    return "".join([*parts, text[last:]])


def _shift(facts: tuple[Fact, ...], found: list[Find]) -> tuple[Fact, ...]:
    kept = []
    for fact in facts:
        if any(item.start < fact.end and fact.start < item.end for item in found):
            continue
        before = [item for item in found if item.end <= fact.start]
        by = sum(len(item.kind) + 2 - (item.end - item.start) for item in before)
        old = None if fact.old_value and find(fact.old_value) else fact.old_value
        place = {"start": fact.start + by, "end": fact.end + by, "old_value": old}
        kept.append(fact.model_copy(update=place))
    return tuple(kept)


@cache
def _address_parser(country: Country) -> AddressParser:
    return AddressParser(country)
