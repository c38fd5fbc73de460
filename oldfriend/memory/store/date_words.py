"""The English words of time, and the signs by which an ordinary word is told from them."""

import re
from collections.abc import Iterable

from oldfriend.memory.store.periods import HOLIDAYS

_ONES = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_TEENTH = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
    "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth",
    "eighteenth", "nineteenth", "twentieth",
)  # fmt: skip
NUMBERS: dict[str, int] = {"a": 1, "an": 1, "a couple of": 2, "a couple": 2}
NUMBERS |= {word: n for n, word in enumerate(_ONES, 1)}
NUMBERS |= {tens: 10 * n for n, tens in enumerate(_TENS, 2)}
NUMBERS |= {
    f"{tens}-{one}": 10 * n + m
    for n, tens in enumerate(_TENS, 2)
    for m, one in enumerate(_ONES[:9], 1)
}
ORDINALS: dict[str, int] = {word: n for n, word in enumerate(_TEENTH, 1)}
ORDINALS |= {f"twenty-{word}": 20 + n for n, word in enumerate(_TEENTH[:9], 1)}
ORDINALS |= {"thirtieth": 30, "thirty-first": 31}
MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

# Short names count only with a capital: "sun", "mar" and "sat" are words.
_SHORT_MONTHS = (
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "Jun",
    "Jul",
    "Aug",
    "Sept",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
)
_SHORT_DAYS = ("Mon", "Tues", "Tue", "Wed", "Thurs", "Thu", "Fri", "Sat", "Sun")


def _either(words: Iterable[str]) -> str:
    """One of ``words``, the longest that fits."""
    return "|".join(sorted(words, key=len, reverse=True))


_MACROS = {
    "num": rf"(?P<num>\d{{1,4}}|{_either(NUMBERS)})",
    "unit": r"(?P<unit>second|minute|hour|day|week|month|year|decade)s?\b",
    "month": rf"(?P<month>{_either(MONTHS)}|(?-i:{_either(_SHORT_MONTHS)})\b\.?)(?![\w'-])",
    "weekday": rf"(?P<weekday>{_either(WEEKDAYS)}|(?-i:{_either(_SHORT_DAYS)})\b\.?"
    r"(?! (?-i:[A-Z])))(?![\w-])(?!\s+(?:mornings|afternoons|evenings|nights)\b)",
    "day": r"(?P<day>\d{1,2})(?!\d)(?P<suffix>st|nd|rd|th)?\b(?![:/%]|-\d|\.\d)",
    "nth": rf"(?P<nth>{_either(ORDINALS)})\b",
    # A year is no price, no phone number and no amount of anything.
    "year": r"(?<![\d.,$€£#-])(?P<year>(?:19|20)\d\d)(?![\w%]|[.,:/]\d|-\d|\s+(?:words?|people|"
    r"dollars|euros|pounds|steps|miles|met(?:re|er)s|feet|calories|points|times|pieces|pages|hours|"
    r"days|km|kg|of|other|more|square)\b)",
    "part": r"(?P<part>morning|afternoon|evening|night)\b",
    "season": r"(?P<season>spring|summer|autumn|fall|winter)\b(?!\s+(?:rolls?|palace|house|school|"
    r"onions?|break|camps?|jobs?|clean\w*|ty?i?res?)\b)",
    "holiday": rf"(?P<holiday>{_either(HOLIDAYS)}|easter)\b(?!'|\s+(?:dinner|tree|party|card|"
    r"cake|eggs?|songs?|presents?|gifts?|market|carols?|island|bunny|lunch|shopping|sunday|monday)\b)",
}


def rule(template: str) -> re.Pattern[str]:
    """A pattern, for text with straight apostrophes, from ``template``.

    {num}, {unit}, {month} ... stand for the words above, a space for any white space; upper and
    lower case are one, except in short names.
    """
    for name, pattern in _MACROS.items():
        template = template.replace(f"{{{name}}}", pattern)
    return re.compile(template.replace(" ", r"\s+"), re.IGNORECASE)


# Months that are also names or verbs, and what follows them when they are.
_NAMES = frozenset({"april", "may", "june", "august"})
_MODAL = re.compile(
    r"\s+(?:be|have|not|also|still|well|need|want|get|go|come|seem|look|feel|take|happen|help|"
    r"never|as|even|or may)\b",
    re.I,
)
_DOES = re.compile(
    r"\s+(?:is|was|has|had|will|would|can|could|did|does|left|came|called|went|told|said|got|died|"
    r"gave|knew|thought|found|sees|saw|met|and i|and me|arrives|comes|leaves|calls|gets|\w{2,}ed)\b"
)
_TRUST = re.compile(r"\b(?:believ\w*|confid\w*|trust\w*|faith|interest\w*|in love)\s+in\s+$", re.I)
_MARCHING = re.compile(r"\s+(?:order|time|step|formation|past|on\b)", re.I)

# Verbs that look ahead, back, or to a time that need not be theirs ("I booked it for May").
_AHEAD = re.compile(
    r"\b(?:will|won't|shall|gonna|going to|about to|plan to|planning|hop(?:e|ing) to|wants?|"
    r"(?:have|has|need|needs) to|'ve got|can't come|must|should|looking forward|remind|due|"
    r"tomorrow|(?:am|are|is)(?: not| (?:i|you|he|she|we|they|it))? (?!interest|bor|amaz|annoy)"
    r"\w{2,}ing|(?:i'm|(?:we|you|they)'re|(?:he|she|it)'s)(?: not)? \w{2,}ing)\b|'ll\b|"
    r"\b(?:is|are|i'm|(?:we|you|they)'re)(?= (?:on|in|at|off|away|back|here|there|until|"
    r"by|this)\b)|"
    r"\b(?:is|are)\s+$|'(?:m|re|s)\s+$",
    re.I,
)
_BEHIND = re.compile(
    r"\b(?:did|was|were|had|been|went|met|saw|(?<!'ve )(?<!have )(?<!has )(?<!'s )got|came|"
    r"bought|brought|left|found|felt|thought|taught|caught|fought|made|took|gave|fell|lost|broke|"
    r"began|ran|sang|ate|drank|drove|flew|wrote|spoke|slept|kept|won|sent|spent|stood|sat|paid|sold|"
    r"wore|chose|grew|knew|threw|rode|woke|stole|hid|built|held|heard|swam|hung|ago|since|"
    r"(?:did|was|were|had)n't|(?:have|has|haven't|hasn't)(?= (?:i|you|he|she|we|they|been|"
    r"\w+ed|\w+en)\b)|(?<!\bbe )(?<!\bget )(?<!getting )(?!need|feed|speed|bleed|indeed|married|"
    r"engaged|excited|scared|worried|tired|supposed|allowed|interested|stressed)\w{2,}ed)\b",
    re.I,
)
_UNCLEAR = re.compile(
    r"\b(?:booked|planned|signed up|promised|scheduled|arranged|expect\w*|would|could|might|may|"
    r"can|said|told|asked|decided|hired|invited|convinced|postponed|moved(?= (?:forward|to|the)\b)|"
    r"tickets?|gets|starts|begins|leaves|flies|goes|opens|ends|moves|weds|ties|(?:is|are) to|"
    r"(?<!did )(?<!n't )(?<!do )(?<!will )(?:i|we|they) (?:start|begin|get|move|leave|fly|go|meet|"
    r"travel|have|take|finish))\b|\w'd\b",
    re.I,
)
_JOINT = re.compile(r",|\b(?:and|but|because|so|while)\b", re.I)
_NEW_PART = re.compile(r"\b(?:and|but|because|so|while)\s+$", re.I)
# "In July last year, I ...", "between May and July I ...": the verb comes after the joint.
_OPENING = re.compile(
    r"^\W*(?:(?:between|from)\s.*?\b(?:and|to|until|till|through)\b|(?:\S+ ){0,3}\S+,\s)", re.I
)
_AGAIN = re.compile(
    r"\b(?:every|each|usually|always|often|never|normally|generally|sometimes|tends? to|any|most|"
    r"birthdays?|anniversary|anniversaries|whenever)\b",
    re.I,
)
WEATHER = re.compile(r"\b(?:degrees?|temperatures?|weather|hot|warm|fahrenheit)\b|°", re.I)
_CLAUSE = re.compile(r"[.!?;\n]+(?=\s|$)")


REACH = 300  # characters around an expression in which a verb can belong to it


def number(word: str) -> int:
    """The number that NUM matched."""
    word = " ".join(word.lower().split())
    return NUMBERS[word] if word in NUMBERS else int(word)


def month(word: str) -> int:
    """1 for January."""
    return [name[:3] for name in MONTHS].index(word.lower()[:3]) + 1


def weekday(word: str) -> int:
    """0 for Monday."""
    return [name[:3] for name in WEEKDAYS].index(word.lower()[:3])


def is_month(text: str, start: int, end: int, after_bound: bool) -> bool:
    """Whether ``text[start:end]``, a month's name, means the month here and not a person, "may"
    or a march. ``after_bound``: it follows "before" or its like, as names also do."""
    word, rest = text[start:end].lower(), text[end:]
    if word == "march":
        return not _MARCHING.match(rest)
    if word not in _NAMES:
        return True
    if word == "may" and _MODAL.match(rest):
        return False
    return not (after_bound and _DOES.match(rest)) and not _TRUST.search(
        text[max(start - REACH, 0) : start]
    )


def clause(text: str, start: int, end: int) -> tuple[str, str]:
    """What stands in the same sentence before ``start`` and after ``end``, as far as it matters."""
    before = _CLAUSE.split(text[max(start - REACH, 0) : start])[-1]
    return before, _CLAUSE.split(text[end : end + REACH])[0]


def leaning(before: str, after: str) -> str:
    """ "future", "past" or "" if they do not tell: the nearest verb before, else the first after
    in the same part of the sentence."""
    if _NEW_PART.search(before):
        before = ""
    cues = {"future": _AHEAD, "past": _BEHIND, "": _UNCLEAR}
    last = {
        name: max((m.end() for m in cue.finditer(before)), default=0) for name, cue in cues.items()
    }
    # An unclear verb matches as a past one too ("asked") and then decides.
    if any(last.values()):
        return max(("", "future", "past"), key=lambda name: last[name])
    if not before.strip():
        after = _OPENING.sub("", after)
    after = _JOINT.split(after)[0]
    first = {name: m.start() for name, cue in cues.items() if (m := cue.search(after))}
    return min(("", "future", "past"), key=lambda name: first.get(name, len(after) + (name != "")))


def recurs(before: str) -> bool:
    """Whether the clause so far speaks of what happens again and again."""
    return _AGAIN.search(before) is not None


# Which names a preposition goes with; alone, only a name that holds a number is a time.
ALONE = frozenset({"fixed", "date"})
LONG = frozenset({"month", "season", "year", "decade"})
KINDS = {
    "in": ALONE | LONG,
    "during": ALONE | LONG | {"holiday", "weekend"},
    "throughout": ALONE | LONG | {"holiday", "weekend"},
    "on": ALONE | {"weekday", "day", "holiday", "weekend"},
    "at": ALONE | {"holiday", "weekend"},
    "over": ALONE | {"holiday", "weekend", "season"},
}
ANY = frozenset(kind for kinds in KINDS.values() for kind in kinds)

PREPOSITION = rule(
    f"(?:back |sometime |some time )?(?P<word>{'|'.join(KINDS)})\\b "
    "(?!(?:today|tonight|tomorrow|yesterday|last|next|this)\\b)"
)
BOUND = rule(
    "(?:right |just |shortly |ever )?(?:up )?"
    "(?P<word>before|after|since|until|till|by|from|starting|as of)\\b "
)
ONWARDS = rule(" (?:onwards?|forward|on(?=[ ,.]*$| (?:i|we|he|she|they|it)\\b|,))")
RANGE = rule("(?:between|from) ")
AND = rule(",? (?:and|to|until|till|through) ")
BARE_DAY = rule("(?:the )?{day}(?= (?:and|to|until|till|through)\\b)")
OFFSET = rule("{num} {unit} (?P<side>before|after) ")
BESIDE = rule(
    "the (?:(?P<unit>day|week|weekend|month|year)|(?P<night>night)|{weekday}) "
    "(?P<side>before|after) "
)
PART_OF = rule(
    "(?:(?:at |by |around |near |towards? )?(?:the )?(?:very )?"
    "(?P<edge>beginning|start|middle|end) of |(?:in )?(?P<adjective>early|mid|late)(?:-| )(?:in )?)"
)
THIRDS = {"beginning": 0, "start": 0, "early": 0, "middle": 1, "mid": 1, "end": 2, "late": 2}
THE_UNIT = rule("the (?P<unit>week|month|year)\\b")
WAY = rule("(?P<way>this past|this coming|last|this|next) ")
OF_THAT = rule(",? (?:(?:of|in) )?(?=(?:last|this|next) (?:week|weekend|month|year)\\b)")
IN_THAT = rule(",? (?:in|on) ")
DAY_PART = rule(" (?:in the |at )?{part}")
DETERMINED = re.compile(r"\b(?:the|an?|my|our|his|their|your|its)\s+$", re.I)
COUNT = re.compile(r"\d|an? ", re.I)
UNSURE = re.compile(r"(?:\b\w+ (?:or|to)|and a half|half|\d\s*[-–/.,])\s*$", re.I)  # noqa: RUF001

# Where an expression may start. Precision comes from the rules; this only saves time.
STARTS = rule(
    r"(?<![\w$€£#@.,/'-])(?:the|these|my|our|in|on|at|by|over|during|throughout|back|some|sometime|"
    r"between|from|before|after|since|until|till|up|ever|right|just|shortly|starting|as|last|this|"
    r"next|past|coming|early|mid|late|later|earlier|about|around|roughly|approximately|nearly|"
    r"almost|more|at least|less|under|not even|exactly|near|towards?|beginning|start|middle|end|"
    r"today|yesterday|tomorrow|tonight|{num}|{month}|{weekday}|{season}|{nth}|\d{1,2}(?:st|nd|rd|th)|\d{4}-)(?![^\W\d_])"
)
