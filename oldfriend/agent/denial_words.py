"""The forms in which people take things back, and what may not stand beside them."""

import re
from typing import Literal

TRIGGER = re.compile(
    r"\b(?:not?|nope|never|wrong|incorrect|mistake|stopped|quit|given up|broke up|broken up|"
    r"split up|separated)\b|n't\b",
    re.I,
)
SENTENCE = re.compile(r"[^.!?\n]+[.!?\n]*")

# A wish, a guess, a quotation, a tale: nothing that is said there is claimed.
HEDGED = re.compile(
    r"\b(?:if|unless|wish\w*|hop(?:e|ing)|pretend\w*|imagin\w+|suppos\w+|would|could|might|maybe|"
    r"perhaps|probably|possibly|sometimes|dream\w*|jok(?:e|ing)|kidding|almost|nearly|feels? (?:as|"
    r"like)|seems?|as though|not that|it isn't that|not sure|unsure|i (?:think|guess|bet|doubt)|"
    r"rumou?r|(?:he|she|they|mum|dad|people|everyone|somebody|someone|[A-Z]\w+) (?:says?|said|"
    r"thinks?|thought|told|asks?|asked|claims?|swears?)|in (?:a|an|the|that|this) (?:film|movie|"
    r"book|novel|song|game|story|play))\b|\b(?:[A-Z]\w+'d|(?:i|we|you|he|she|they)'d)\b",
    re.I,
)
# True only just now: "Tonight it's not pizza, it's pasta".
PASSING = re.compile(
    r"\b(?:tonight|today|tomorrow|yesterday|this (?:time|week|morning|evening|month|year|once)|"
    r"for once|right now|at the moment|just for|last (?:night|week))\b",
    re.I,
)
# It was true before: a change, not a mistake.
CHANGED = re.compile(
    r"\b(?:now|nowadays|these days|any ?more|any longer|no longer|since|moved|left|changed|"
    r"used to|new|from now on|became|become|switched|swapped)\b",
    re.I,
)
PUTS_RIGHT = re.compile(
    r"\b(?:no|nope|actually|i mean|i meant|wrong|mistake|mistaken|incorrect|correction|misheard|"
    r"mixed (?:it|that|them) up|got (?:it|that|them|her|his|the)|not right|not true)\b",
    re.I,
)
DAYS = frozenset({"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"})
OF_ONESELF = re.compile(r"(?:^|\W)(?:I'm|I am|we're|we are)\b", re.I)

_START = (
    r"(?:^|(?<=[.!?,;:\n]\s)|(?<=[-\u2013\u2014]\s))"
    r"(?:(?:and|but|well|so|oh|no|actually|sorry|wait)\s+)?"
)
_COPULA = (
    r"(?:it(?:'s| is)|that(?:'s| is)|she(?:'s| is)|he(?:'s| is)|they(?:'re| are)|"
    r"(?:her|his|its|their|the|my \w+(?:'s)?) name(?:'s| is)|my (?P<noun>[a-z ]{2,30}?)(?:'s| is)|"
    r"i meant|i said|i'm|i am|spell(?:ed|t)|called)"
)
_COPULA2 = _COPULA.replace("(?P<noun>", "(?:")  # a name may stand once in a form
_OPEN, _CLOSE = r"['\"]?", r"['\"]?"
_SPACE = r"[\s,;:.!-]*(?:but\s+)?"
_GAP = r"(?:\s*[,;:.!\u2013\u2014-]+\s*|\s+(?=but\b))(?:but\s+|no,?\s+)?"
_END = r"(?=['\"]?\s*(?:[.!;,]|$))"
_REALLY = r"(?:\s+(?:actually|really|called|named|spelled|simply|just|the|an?|on|my))*\s+"
_DENIED = (
    rf"(?:{_COPULA}\s+not|"
    r"(?:it|that|she|he|(?:her|his|its|the|(?:the|my) \w+'s) name|my (?P<noun2>[a-z ]{2,30}?)) "
    r"(?:isn't|is not)|not)"
    r"(?:\s+(?:called|named|really|actually|the|an?|on|my))*\s+"
)

# OLD and NEW are put in; case matters in what they stand for, but not in the words around it.
INSTEAD = (
    rf"(?i:{_START}{_DENIED}){_OPEN}OLD{_CLOSE}(?i:{_GAP}(?:{_COPULA2}{_REALLY})?){_OPEN}NEW{_END}",
    rf"(?i:{_START}(?:{_COPULA}){_REALLY}){_OPEN}NEW{_CLOSE}"
    rf"(?i:\s*[,;-]*\s*(?:and\s+)?(?:not|never)\s+(?:(?:called|the|an?|on)\s+)?){_OPEN}OLD{_END}",
    rf"{_OPEN}OLD{_CLOSE}(?i:(?:'s| is| was)?\s*[,:]?\s*(?:wrong|incorrect|a mistake|not right|"
    rf"not true){_SPACE}(?:{_COPULA}{_REALLY})?){_OPEN}NEW{_END}",
    rf"{_OPEN}OLD{_CLOSE}(?i:\s*\?+\s*(?:no|nope|wrong|not at all)\b{_SPACE}"
    rf"(?:{_COPULA}{_REALLY})?){_OPEN}NEW{_END}",
)
JUST_TOLD = (
    rf"^(?i:\W*(?:no+|nope|wrong|not quite|that's (?:wrong|not right)|actually)\b{_SPACE}"
    rf"(?:actually,?\s+)?(?:{_COPULA}){_REALLY}){_OPEN}NEW{_END}"
)
_NAME = r"(?P<new>[A-Z][\w'-]*(?: [A-Z][\w'-]*){0,3})"
_PLAIN = r"(?P<new>[a-z][\w'-]*(?: [a-z][\w'-]*){0,2})"
_DATE = r"(?P<new>\d[\w ]{0,24}?|[A-Z]\w+ \d[\w ]{0,8}?)"


def new_value(old: str) -> str:
    """What may stand for NEW: a name in place of a name, a date of a date."""
    if any(c.isdigit() for c in old):
        return _DATE
    return _NAME if old[:1].isupper() else _PLAIN


# Words that may come before the claim, and what may follow it.
_LEAD = (
    r"^\W*(?:(?:no+|nope|well|actually|but|and|oh|so|sorry|wait|listen|hang on|hey|by the way|btw|"
    r"besides|anyway|also|honestly|look|you know|guess what|for the record|to be (?:clear|fair|"
    r"honest)|mind you|as it happens|as you know|sadly|thankfully|i'm afraid|the thing is|truth is|"
    r"just so you know|fun fact|that's (?:wrong|not right|not true)|wrong)\b[\s,:;.!-]*)*"
)
_TAIL = (
    r"(?:\s+(?:at all|in my (?:whole )?life|ever|actually|you know|though|either|to begin with|"
    r"in the first place|i'm afraid|sadly|thankfully))*\s*(?:[.,;!-]\s*(?!(?:until|till|except|"
    r"unless|before|only when|but then)\b)|$)"
)
_THING = r"(?P<thing>[^,.;!?]{1,60}?)"
_NOUN = r"(?P<noun>[a-z ]{2,30}?)"
_DETERMINED = r"(?:(?:an?|any|the|my|our)\s+)?"
_AT = r"(?:\s+(?:in|at|for|as|with|to|on|of|about))?"
_MORE = r"\s+(?:any ?more|any longer|now|these days|nowadays)"
_VERBS = (
    r"(?P<verb>live|living|work|working|play|playing|learn|learning|study|studying|drive|driving|"
    r"ride|riding|own|have|keep|drink|eat|like|love|enjoy|see|seeing|date|dating|married|together|with|do|doing|"
    r"listen|watch|read|save|saving|afraid|scared|frightened|worry|worried|allergic|rent)"
)
_PAST_VERBS = (
    r"(?P<verb>had|owned|kept|lived|worked|played|learnt|learned|studied|drove|driven|dated|"
    r"married|rented|liked|loved)"
)
_ADVERBS = r"(?:(?:really|actually|even|ever|properly)\s+)?"

Claim = tuple[Literal["never", "over"], re.Pattern[str]]
_FORMS: tuple[tuple[Literal["never", "over"], str], ...] = (
    ("never", rf"(?:i|we)(?:'ve| have)? never {_ADVERBS}{_PAST_VERBS}{_AT}\s+{_DETERMINED}{_THING}"
              rf"{_TAIL}"),
    ("never", rf"(?:i|we) (?:did not|didn't) ever (?P<verb>have|own|live|work|play|learn|study|"
              rf"drive|date|like){_AT}\s+{_DETERMINED}{_THING}{_TAIL}"),
    ("over", rf"(?:i|we) (?:don't|do not) {_ADVERBS}{_VERBS}{_AT}\s+{_DETERMINED}{_THING}{_MORE}"
             rf"{_TAIL}"),
    ("over", rf"(?:i|we) no longer {_VERBS}{_AT}\s+{_DETERMINED}{_THING}{_TAIL}"),
    ("over", rf"(?:i'm|i am|we're|we are) not {_VERBS}{_AT}\s+{_DETERMINED}{_THING}{_MORE}{_TAIL}"),
    ("over", rf"(?:i'm|i am|we're|we are) no longer {_VERBS}{_AT}\s+{_DETERMINED}{_THING}{_TAIL}"),
    ("over", rf"(?:i|we)(?:'ve| have) (?:stopped|quit|given up) {_VERBS}{_AT}\s+{_DETERMINED}"
             rf"{_THING}(?:\s+for good)?{_TAIL}"),
    ("over", rf"{_THING} and (?:i|me)(?:'ve| have)? (?P<verb>broke(?:n)? up|split up|separated)"
             rf"(?:\s+for good)?{_TAIL}"),
    ("over", rf"(?:i|we)(?:'ve| have)? (?P<verb>broke(?:n)? up|split up|separated) (?:with|from) "
             rf"{_THING}{_TAIL}"),
    ("never", rf"{_THING} (?:isn't|is not|'s not) (?:my|our) {_NOUN}(?P<end>{_MORE})?{_TAIL}"),
    ("over", rf"{_THING} is no longer (?:my|our) {_NOUN}{_TAIL}"),
    ("never", rf"(?:my|our) {_NOUN} (?:isn't|is not) (?:called )?{_THING}(?P<end>{_MORE})?{_TAIL}"),
)  # fmt: skip
CLAIMS: tuple[Claim, ...] = tuple((how, re.compile(_LEAD + form, re.I)) for how, form in _FORMS)

THAT = re.compile(
    r"\W*(?:(?:no+|nope|sorry|wait|hey|but)\W+)*(?:(?:that's|that is|that was|it's|this is) "
    r"(?:wrong|not (?:true|right|correct)|never (?:been )?true|false|a mistake|incorrect|nonsense)|"
    r"that isn't (?:true|right|correct)|i(?:'ve)? never (?:said|told you|claimed) (?:that|so|it|"
    r"such a thing|any such thing|anything like that))\W*",
    re.I,
)

# Which slots a verb may be about, by its plain form; of any other verb nothing is taken back.
STEM = {
    "living": "live", "lived": "live", "rent": "live", "rented": "live", "working": "work",
    "worked": "work", "playing": "play", "played": "play", "learning": "learn", "learnt": "learn",
    "learned": "learn", "study": "learn", "studying": "learn", "studied": "learn",
    "driving": "drive", "drove": "drive", "driven": "drive", "ride": "drive", "riding": "drive",
    "with": "date", "broke up": "date", "broken up": "date",
    "split up": "date", "separated": "date", "own": "have", "owned": "have",
    "had": "have", "keep": "have", "kept": "have", "love": "like", "enjoy": "like",
    "liked": "like", "loved": "like", "drink": "like", "eat": "like", "seeing": "date",
    "see": "date", "dated": "date", "dating": "date", "married": "date", "together": "date",
    "doing": "do", "scared": "afraid", "frightened": "afraid", "worried": "worry",
    "saving": "save",
}  # fmt: skip
_PEOPLE = frozenset({
    "partner_name", "sister_name", "brother_name", "child_name", "pet_name", "boss_name",
    "best_friend_name", "teacher_name", "neighbour_name",
})  # fmt: skip
SLOTS_OF = {
    "live": frozenset({"home_city"}),
    "work": frozenset({"job", "employer"}),
    "play": frozenset({"instrument", "sport", "hobby"}),
    "learn": frozenset({"language_learning", "school_subject", "new_skill", "exam_subject"}),
    "drive": frozenset({"vehicle"}),
    "have": _PEOPLE | {"vehicle", "instrument"},
    "like": frozenset({
        "favourite_food", "favourite_drink", "favourite_band", "favourite_book", "hobby",
        "favourite_place", "comfort_show",
    }),
    "date": frozenset({"partner_name"}),
    "do": frozenset({"sport", "hobby"}),
    "listen": frozenset({"favourite_band"}),
    "watch": frozenset({"comfort_show"}),
    "read": frozenset({"favourite_book"}),
    "save": frozenset({"saving_for"}),
    "afraid": frozenset({"fear"}),
    "worry": frozenset({"worry"}),
    "allergic": frozenset({"allergy"}),
}  # fmt: skip
HAVING = frozenset({"have", "had", "own", "owned", "keep", "kept", "drive", "drove", "ride"})
THERE = frozenset({"there", "in that city", "that city", "that town", "that place", "them"})
THERE_OF = {
    "home_city": ("there", "that city", "that town", "that place"),
    "employer": ("there", "them", "that place"),
}
# Words for what a slot is of, beside its own.
ALSO = {
    "partner_name": ("girlfriend", "boyfriend", "wife", "husband"),
    "boss_name": ("manager",),
    "best_friend_name": ("friend", "best mate"),
    "mother_name": ("mum", "mom"),
    "home_city": ("city", "town", "home", "home town"),
    "employer": ("company", "firm"),
    "child_name": ("son", "daughter", "kid"),
    "vehicle": ("ride",),
    "sister_name": ("sister's name",),
    "brother_name": ("brother's name",),
    "birthday": ("birthday",),
}  # fmt: skip
