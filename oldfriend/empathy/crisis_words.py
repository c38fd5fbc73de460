"""What a sign of danger is, and the groups of words that signs are made of."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

Danger = Literal["self", "others", "abuse", "medical"]
DANGERS: tuple[Danger, ...] = get_args(Danger)


@dataclass(frozen=True)
class Sign:
    """A pattern over normalised text. ``strong``: enough by itself where nothing guards it.
    ``deniable``: "not" in front of it turns it round, as it does not where "no" is part of it."""

    danger: Danger
    reason: str
    pattern: re.Pattern[str]
    strong: bool = True
    deniable: bool = True


NEAR = (
    r"(?:friend|mate|wife|husband|partner|boyfriend|girlfriend|fianc\w+|daughter|son|child|kid|boy|"
    r"girl|teenager|brother|sister|mum|mom|mother|dad|father|flatmate|roommate|cousin|neighbour|"
    r"neighbor|ex|grand\w+|gran|nan|aunt|uncle|niece|nephew|colleague|student|pupil|twin)"
)
WHO = (
    rf"(?:he|she|they|{NEAR}|step\w+|carer|nurse|teacher|coach|boss|parents|man|men|priest|"
    rf"landlord|"
    r"someone|somebody|bloke|guy|stranger)"
)
ME = r"(?:me|my (?:mother|mum|mom|baby|child|children|kids|sons?|daughters?|(?:little )?\w*ther))"
HIGH = (
    r"(?:(?:multi-?stor\w+ )?(?:bridge|roof|building|train|cliff|platform|window|balcony|traffic|"
    r"ledge|tube|bus|lorry|car park|railway|tracks|tower|viaduct|motorway|overpass))"
)
PILLS = (
    r"(?:pills|tablets|meds|medication|antidepressants|painkillers|paracetamol|ibuprofen|insulin|"
    r"sleeping \w+|aspirin|tylenol|xanax|opioids|morphine)"
)
ALL = r"(?:all|every|too many|a whole|the whole|an entire|a bottle|a box|a packet|a handful|lots)"
TO = r"(?:to|going to|gonna|wanna|will|'ll|might|could|about to|want to|wanted to)"
BODY = r"(?:arms?|legs?|wrists?|thighs?|skin|stomach|throat|neck|veins|hands?|hips?)"
WEAPON = r"(?:gun|knife|rifle|pistol|hammer|axe|bat|machete|crowbar|petrol|blade)"
POISON = (
    r"(?:battery|batteries|bleach|poison|antifreeze|detergent|dishwasher \w+|laundry \w+|weed ?"
    r"killer|cleaning \w+|cleaner|drain \w+|paint thinner|petrol|magnets?|lighter fluid|methanol)"
)
DEAD = r"(?:dead|gone|not (?:here|alive)|out of the way|no longer here|underground)"
