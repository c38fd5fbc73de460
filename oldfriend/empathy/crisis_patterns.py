"""Words that tell of danger to oneself or others, of abuse, of a medical emergency.

Patterns are over text as ``crisis_signs.plain`` makes it: lower case, straight apostrophes. A weak
sign needs the classifier to agree.
"""

import re

from oldfriend.empathy.crisis_words import (
    ALL,
    BODY,
    DEAD,
    HIGH,
    ME,
    NEAR,
    PILLS,
    POISON,
    TO,
    WEAPON,
    WHO,
    Danger,
    Sign,
)


def _sign(
    danger: Danger, reason: str, *patterns: str, strong: bool = True, deniable: bool = True
) -> Sign:
    return Sign(danger, reason, re.compile("|".join(patterns)), strong, deniable)


SIGNS: tuple[Sign, ...] = (
    _sign(
        "self", "speaks of killing themself",
        r"\b(?:kill|hang|unalive|drown|shoot|poison|off|suffocat|starv|stab)\w*\s+my ?self\b",
        r"\b(?:end|ending|top|topping)\s+my ?self\b|\b(?:do|doing) my ?self in\b",
        r"\b(?:end|ending|ended|take|taking|took)\s+my\s+(?:own\s+)?life\b|\bend(?:ing)? it all\b",
        r"(?:^|[.!?,] |\b(?:i|to|gonna|wanna|might|will|just) )kms\b(?! (?:away|from|per|an))",
        r"\bi\b.{0,40}\bcommit(?:ting)? suicide\b|\b(?:i'?m|i am|feel|feeling) (?:so |really |"
        r"quite |very )?suicidal\b",
        r"\bthink\w* (?:about|of) (?:suicide|ending (?:it|things|my))|\bending (?:it|things) for "
        r"good",
        r"\b(?:tried|trying|attempt\w*) to (?:die|hang|overdose)\b|\bsuicide (?:attempt|note|plan)",
    ),
    _sign(
        "self", "wishes to be dead",
        r"\bi (?:\w+ ){0,2}(?:want|wanna|hope|ready|deserve|need|trying|tried|try|like|wish) "
        r"(?:to )?(?:just )?die\b(?! (?:laughing|young|for|of old|in my))|\bi'?m ready to die\b",
        r"\b(?:wish|wished|if only) (?:that )?i (?:was|were|wasn'?t|weren'?t) (?:dead|alive|"
        r"born)\b",
        r"\bwish i'?d never been born\b|\bi (?:want|wanna) (?:to )?be dead\b|\blet me die\b",
        r"\b(?:better|happier|easier|relief|relieved|fine)\b.{0,40}\b(?:without me\b(?! (?:for|"
        r"at|to))"
        rf"|if i (?:died|vanished|just vanished|disappeared)|(?:i'm|i was|i were) {DEAD})",
        r"\bbetter off dead\b|\bif i died\b|\bwould(?:n't)? (?:care|notice|miss me) if i\b.{0,12}"
        r"(?:died|dead|gone)",
    ),
    _sign(
        "self", "does not want to live",
        r"\b(?:don'?t|do not|no longer|never) (?:\w+ )?(?:want|wanna|wish) (?:to )?"
        r"(?:live(?! (?:in|with|near|on|at|there|here|together|by|next))|be alive|exist(?! on))\b",
        r"\bnever wake up(?: again)?\s*(?:$|[.!])|\bnot wake up\s*(?:$|[.!])",
        r"\bdon'?t want to wake up\s*(?:$|[.!]|tomorrow|again|ever|any ?more)",
        r"\bno (?:reason|point|sense) (?:for me )?(?:to|in) (?:keep |be |being )?(?:liv|alive|go "
        r"on)",
        r"\b(?:point|reason) (?:in|of|for) (?:living|being alive)\b|\bwill to live\b",
        r"\b(?:isn'?t|not|hardly) worth living|\bdone with (?:life|living)\b|\bgo on living\b",
        r"\bonly way out is\b|\b(?:disappear|vanish)(?:ed)? for (?:good|ever)\b",
        r"\b(?:easier|better) if i (?:wasn'?t|weren'?t) (?:alive|here)\b|\bnothing to live for\b",
        r"\b(?:stay|staying|being|remain\w*|keep\w*(?: myself)?) alive (?:is|any|feels|seems|"
        r"until)",
        r"\b(?:not|stop|stopped|no longer) (?:existing|breathing for good)\b|\bi (?:don'?t|do not) "
        r"deserve to (?:live|be alive|breathe|be breathing|exist)\b|\btired of (?:living|being "
        r"alive)",
        r"\b(?:last (?:night|day) (?:on earth|alive))\b|\bsee myself alive\b",
        deniable=False,
    ),
    _sign(
        "self", "hurts themself or is about to",
        r"\b(?:started|keep|want|wanna|going to|gonna|need|urge|thinking of|can'?t stop|been|stop)"
        rf" (?:\w+ ){{0,2}}(?:hurt|cut|harm|burn|starv)\w* (?:myself|my {BODY})\b",
        r"\b(?:hurt|cut|harm|burn)\w* myself (?:again|on purpose|deeper|every|last night|tonight)",
        r"\bself[- ]harm|\b(?:slit|slash|cut)\w* my (?:wrists?|throat|veins)\b|\brazor blades?\b",
        rf"\b(?:blade|razor|knife|scissors|glass|lighter|cigarettes?)\b.{{0,25}}\bmy {BODY}\b",
        rf"\b(?:scratch|slic|carv|cutt?|burn)\w* (?:up )?my {BODY} (?:open|again|deeper|up|to "
        rf"feel)",
    ),
    _sign(
        "self", "speaks of a means or a plan",
        r"\b(?:jump|step|leap|throw myself|drive|walk|swerv|steer|crash)\w* (?:\w+ ){0,3}(?:off|"
        r"from|"
        rf"in front of|into) (?:a|the|this|that|oncoming)\b ?(?:\w+ )?(?:{HIGH}|wall|tree|lorries|"
        r"trucks|river)",
        rf"\b(?:on|at|edge of|over) (?:a|the|this) {HIGH}\b.{{0,30}}\b(?:to jump|jump off|let go|"
        rf"legs)",
        rf"\b(?:jump|let go)\b.{{0,25}}\b(?:every time|when(?:ever)?)\b.{{0,20}}\b{HIGH}",
        r"\blegs (?:over|off) the (?:side|edge|ledge)|\bwrong side of the (?:railing|barrier|"
        r"fence)",
        rf"\bi(?:'ve| have|'m|'ll)? (?:just )?(?:took|taken|take|taking|swallowed|downed|swallow) "
        rf"{ALL}\b.{{0,25}}(?:{PILLS}|bottle|them|tablet)|\bi(?:'ve| have)? overdosed\b",
        rf"\bhow many {PILLS}.{{0,30}}(?:die|kill|overdose|fatal|enough)|{PILLS} lined up\b",
        rf"\b(?:count|hoard|stash|sav|collect|stockpil|star)\w* (?:at |up )?(?:\w+ ){{0,2}}{PILLS}",
        r"\b(?:painless|least painful|easiest|quickest|best|fastest) way to (?:die\b|kill my|end "
        r"my)",
        r"\bhow (?:do|can|could|would|to) (?:i )?(?:die|kill my)|\bgun\b.{0,30}\b(?:on my ?self|"
        r"my head"
        r"|my mouth)\b|\bbleed (?:out|to death)\b|\bnoose\b.{0,20}\b(?:ready|tied|neck|made)",
        r"\b(?:rope|belt|cord)\b.{0,25}\b(?:neck|beam|ceiling|rafters|banister)",
    ),
    _sign(
        "self", "may be saying goodbye",
        r"\brather (?:be dead|die)\b|\bwon'?t be (?:here|around|alive)\b|\bnot (?:going to )?be "
        r"around\b",
        r"\b(?:goodbye|farewell|last) (?:letter|note|message|words)s?\b|\bsay(?:ing)? (?:goodbye|"
        r"farewell)",
        r"\bcan'?t (?:go on|do this|carry on|keep going|take (?:it|this|any more))|\blast night\b",
        r"\bnothing (?:left|keeping me|matters)|\bend(?:ing)? it\b|\bgiv\w+ (?:my things|"
        r"everything) away",
        r"\bno (?:future|way out|hope left)|\bhopeless\b|\bpills\b|\brope\b|\bthis is (?:it|"
        r"goodbye)\b",
        r"\bmade up my mind\b|\bi have a plan\b|\bhurt my ?self\b|\bburden\b|\bsuicid\w+",
        strong=False,
    ),
    _sign(
        "others", "speaks of hurting somebody",
        rf"\bi\b.{{0,20}}\b{TO} (?:kill|stab|shoot|murder|strangle|poison|hurt|burn|"
        rf"beat)\b.{{0,60}}"
        r"\b(?:gun|knife|rifle|loaded|petrol|bat|i know where|for weeks|i mean it|not joking|"
        r"i swear|i'?ll do it|i'?ve got everything|not messing)\b|\bshoot up (?:my|the|a) \w+",
        r"\b(?:hurt|harm|shak|shook|drown|kill|smother|suffocat)\w* (?:my|the) (?:own )?"
        r"(?:baby|child|children|kids|toddler|newborn|twins)\b|\bpillow (?:on|"
        r"over)\b.{0,20}\bface\b",
        r"\bburn\b.{0,30}\bdown with\b|\bset fire to\b.{0,30}\b(?:while|with|inside|house|asleep)",
        r"\bvoices\b.{0,25}\bkill\b|\bmake (?:him|her|them|you) (?:pay|bleed|suffer)\b",
        r"\bslit (?:his|her|their|my \w+'s) throat|\b(?:getting|put|puts?) a bullet\b",
        rf"\b(?:outside|waiting (?:for|outside)) (?:his|her|their|him|them)\b.{{0,25}}\bwith a "
        rf"{WEAPON}",
        rf"\btaking a {WEAPON} to (?:his|her|their)\b|\bplanning how to (?:poison|kill|hurt|"
        rf"murder)",
        r"\b(?:poison|kill|murder|strangl|stab)\w* (?:my (?:husband|wife|ex|mother|father|boss|"
        r"partner)|him|her|them)\b.{0,40}\b(?:i know where|plan\w*|where (?:she|he) sleeps)",
        rf"\bso that (?:he|she) dies\b|\b{NEAR}\b.{{0,30}}\bgun\b.{{0,40}}\bshoot\b",
    ),
    _sign(
        "others", "speaks of killing somebody",
        rf"\bi\b.{{0,12}}\b{TO} (?:kill|stab|shoot|murder|strangle|poison|run|hurt) (?:him|her|"
        rf"them)\b",
        r"\bbe dead by\b|\bhurt (?:someone|somebody|people)\b|\bkill (?:someone|somebody|people)\b",
        strong=False,
    ),
    _sign(
        "others", "somebody near them is in danger",
        rf"\bmy (?:\w+ )?{NEAR}\b.{{0,60}}\b(?:says?|said|saying|texted|threaten\w*|is|'s|wants?|"
        r"tried|keeps|found)\b.{0,40}\b(?:kill|hang|cut|hurt|shoot|harm)(?:s|ing)? (?:him|her|"
        r"them)sel",
        rf"\bmy (?:\w+ )?{NEAR}\b.{{0,40}}(?:\bwants? to (?:die|jump)|\bgoing to jump|\bsuicid|"
        r"\brather (?:be dead|die)|\bno (?:reason|point)\b.{0,20}\bliv|\bdoesn'?t want to "
        r"(?:live|be "
        r"here)|\bgoodbye (?:message|text|note|letter)|\btook an overdose|\boverdosed|\bshoot "
        r"(?:some|"
        r"every|people)|\bend (?:his|her|their) (?:own )?life)",
        rf"\b(?:his|her|their) {PILLS} (?:are|is) (?:missing|gone)|\bleft a (?:suicide "
        rf")?note\b(?! (?:for "
        r"the|to the|on the))|\bfound (?:blades|a noose|razors?)\b",
    ),
    _sign(
        "abuse", "is being hurt",
        rf"\b{WHO} (?:has |have |had )?(?:keeps? |just |often |always |still )?"
        r"(?:hits|beats|punch(?:es|ed)|chok(?:es|ed)|slap(?:s|ped)|strangl\w+|burns|rap(?:es|ed)|"
        rf"hit|is hitting|is beating|kick(?:s|ed)|whips?|headbutt\w*) {ME}\b"
        r"(?! (?:at|to|with (?:the|a) (?:news|bill|question|price|letter|smile)|over|under|off|"
        r"every time|when i snore))",
        r"\bbe(?:at|aten|ats|ating) me (?:up|black)\b|\bbeing (?:beaten|abused|hit)\b",
        r"\b(?:hit|hits|beats?|hitting) (?:me|us) with (?:a|his|her|the) (?:belt|bottle|stick|"
        r"pan|bat|"
        r"fist|hammer|cane|chair)|\bpush(?:ed|es) me (?:down|against)",
        r"\b(?:grab|grabs|grabbed|pins?|pinned|drag\w*|slam\w*|shov\w*|throws|threw) me (?:by "
        r"(?:the|my)"
        r"|against|into|across|down|onto|to the (?:floor|ground|wall))",
        r"\b(?:smash|bash|slam|bang|bounc)\w* my (?:head|face) (?:against|into|on|off)",
        rf"\b{WEAPON} (?:to|at|against) my (?:throat|head|face|back)\b|\b(?:dad|father|mum|"
        rf"he)'?s? belt "
        r"(?:again|came)|\b(?:he|she|they) broke my (?:arm|nose|ribs?|finger|jaw|wrist|tooth)\b",
        r"\b(?:black eye|bruis\w+)\b.{0,40}\b(?:told|said|say|lied|hide|cover)\b.{0,40}\b(?:fell|"
        r"walked|"
        r"door|stairs|long sleeves|make ?up)",
    ),
    _sign(
        "abuse", "was or is being abused",
        r"\bi(?:'ve been| was| got| am being|'m being) (?:raped|molested|drugged|sexually|"
        r"assaulted)",
        r"\braped me\b|\bsexual(?:ly)? (?:abuse|assault)|\btrafficked\b|\bmolest\w*",
        r"\bforc(?:es|ed|ing) (?:me|himself|herself)(?: to have sex| into sex| on me| to touch| "
        r"to do)",
        r"\bmade me do (?:it|things)\b.{0,20}\b(?:no|don'?t|didn'?t)|\bmakes me do things\b",
        r"\btouch(?:es|ed|ing) (?:me|us) (?:at night|there|where|down|inappropriately|and i|under)",
        r"\b(?:comes|came|climbs|gets|crawls|creeps) into my (?:bed|room)\b.{0,30}\b(?:night|"
        r"when|while|"
        r"asleep|sleep|lies|touch)|\b(?:made|makes) (?:us|me) (?:undress|strip|take (?:my|our) "
        r"clothes)",
        r"\b(?:said|told (?:him|her)|saying) (?:no|stop|to stop)\b.{0,40}\b(?:carried on|didn'?t "
        r"stop|"
        r"kept (?:going|on)|anyway|didn'?t listen|wouldn'?t stop)|\bour (?:little )?secret\b",
        r"\b(?:nurse|carer|staff|home)\b.{0,50}\b(?:black and blue|rough(?:ly)?|ties|tied|"
        r"slap\w*|hits)",
    ),
    _sign(
        "abuse", "is threatened or held",
        r"\bthreat\w* to (?:kill|hurt|shoot|stab|harm|burn|beat|drown)\b",
        rf"\b{WHO} (?:said|says|swore|swears|promised|keeps saying)\b.{{0,12}}\b(?:he|she|"
        rf"they)(?:'ll| "
        r"will|'d| would|'s going to| is going to) (?:kill|hurt|shoot|stab|burn|find)",
        r"\b(?:sworn|swore|promised) to (?:kill|shoot|hurt|find|stab|bury) (?:me|us)\b",
        r"\bkill me if i (?:leave|tell|talk|call|go to the|scream|say)|\bsend more (?:pictures|"
        r"photos)",
        r"\b(?:scared|afraid|terrified) to go home\b|\b(?:scared|afraid|terrified) of (?:my|what) "
        r"(?:husband|wife|dad|father|boyfriend|partner|he'll)",
        r"\b(?:won'?t|doesn'?t|never) (?:let|allow)s? me (?:to )?(?:leave|out|see|outdoors|go "
        r"out|talk)",
        r"\block(?:s|ed)? (?:me|us) in\b(?!to the)|\bkeeps my (?:passport|papers|phone)\b",
        r"\b(?:someone|somebody|man|men|he|they)(?:'s| is|'re| are)? (?:trying to get in|"
        r"breaking in|"
        r"break(?:ing)? down|kicking (?:in|down)|forcing|prising|climbing (?:in|through))\b",
        r"\b(?:outside|at) my door with\b|\bfollow(?:ing|s|ed) me home (?:every|again|and)|"
        r"\bintruder\b",
        r"\b(?:waiting|waits|sits|parked|stands) (?:by|outside|in front of) my (?:car|house|flat|"
        r"door|"
        r"work|window)\b|\b(?:someone|somebody)(?:'s| is) in(?:side)? (?:my|the) (?:house|flat)\b",
    ),
    _sign(
        "medical", "cannot breathe",
        r"\b(?:can'?t|cannot|struggling to|fighting to|unable to|hard to) (?:breathe|get (?:my|any|"
        r"enough|a) (?:breath|air)|get air|catch (?:my|his|her) breath)|\bgasping for (?:air|"
        r"breath)\b",
        r"\b(?:isn'?t|not|stopped|barely|hardly) breathing\b|\bis choking\b|\bchoking on\b",
        r"\b(?:throat|tongue|lips|face|neck)(?:'s| is| are)? (?:\w+ ){0,2}(?:swell\w*|swollen|"
        r"closing|"
        r"bigger|puff\w*|turning blue|blue|purple)\b|\bturn(?:ed|ing) blue\b",
        r"\b(?:inhaler|asthma)\b.{0,40}\b(?:run out|empty|not (?:working|helping)|struggl\w*|"
        r"worse)",
        deniable=False,
    ),
    _sign(
        "medical", "heart, stroke or consciousness",
        r"\b(?:i think|having|is having|'s having|he'?s had|she'?s had)\b.{0,12}"
        r"\b(?:heart attack|stroke|seizure|miscarriage)",
        r"\b(?:face|mouth|eye|smile)(?:'s| is| has)? (?:\w+ )?(?:droop\w*|lopsided|sagg\w*|slid\w*|"
        r"crooked|gone numb)|\bslurr\w+\b.{0,30}\b(?:words|speech)|\b(?:speech|"
        r"words)\b.{0,25}\b(?:slurr"
        r"\w+|as mush|jumbled|garbled)|\bcan'?t (?:feel|move) (?:one|my left|my right|half)",
        r"\b(?:unconscious|unresponsive|no pulse)\b|\bhas collapsed|\bjust collapsed|"
        r"\b(?:can'?t|cannot) (?:find|feel) (?:a|his|her) pulse",
        r"\b(?:won'?t|can'?t|doesn'?t|cannot) (?:wake|rouse)\b(?! up (?:early|before))(?! me)|"
        r"\bwon'?t (?:respond|open (?:his|her) eyes)|\bgone (?:floppy|limp|blue|all grey)\b",
        r"\b(?:lips|fingers|skin) (?:are|is|have gone|has gone|turned)\b.{0,8}\b(?:blue|grey|"
        r"gray|purple|"
        r"funny)|\b(?:been|is|'s|having a) (?:fitting|convuls\w*|fit)\b(?! (?:a|the|in|new|"
        r"person))",
        r"\b(?:chest|heart)\b.{0,40}\b(?:crush\w*|pain|hurts|squeez\w*|pressure|elephant|"
        r"vice)\b.{0,40}"
        r"\b(?:arm|breath\w*|jaw|sweat\w*|shoulder|sick)\b",
        r"\b(?:elephant|crush\w*|pressure|vice)\b.{0,20}\bchest\b|\bchest feels crushed\b|"
        r"\bpass(?:ed|ing) out (?:twice|again|and)|\bhead\b.{0,40}\b(?:keep being sick|can'?t "
        r"stay awake)",
    ),
    _sign(
        "medical", "bleeding, poison or injury",
        r"\bbleeding (?:heavily|badly|a lot|to death|out)|\b(?:won'?t|doesn'?t) stop bleeding",
        r"\bblood (?:everywhere|keeps coming|won'?t stop|is pouring|pouring)|\b(?:cough|vomit|"
        r"throw)\w* "
        r"(?:up )?blood|\blost a lot of blood|\bto the bone\b(?<!sisters to the bone)",
        r"\b(?:towel|bandage|sheet|plaster|dressing)(?:'s| is| has)? (?:\w+ )?soaked",
        r"\b(?:saw|chop|cut|slic)\w* (?:\w+ )?(?:into|through|off) my (?:own )?(?:leg|arm|hand|"
        r"foot|"
        r"finger|thumb|toe)",
        rf"\b(?:swallow\w*|drank|drunk|drinks?|ate|eaten) (?:\w+ ){{0,4}}{POISON}",
        rf"\b(?:too many|double|twice|a week'?s worth|wrong)\b.{{0,25}}\b(?:{PILLS}|dose)\b|"
        rf"\bmixed up "
        rf"my (?:\w+ )?{PILLS}|\btook twice my\b",
        r"\belectrocuted\b|\bbitten by a (?:snake|viper|adder)|\bwaters (?:broke|have "
        r"broken)\b.{0,30}"
        r"\b(?:month|week)s|\bstiff neck\b.{0,40}\brash\b|\brash\b.{0,30}\b(?:doesn'?t|won'?t) "
        r"fade",
        r"\b(?:pregnan\w+|birth|newborn)\b.{0,50}\b(?:bleed\w*|blood|floppy|won'?t (?:feed|wake)|"
        r"not "
        r"moving)|\bbleed\w*\b.{0,30}\bpregnant",
    ),
    _sign(
        "medical", "fire, gas, water or an accident",
        r"\b(?:house|flat|home|kitchen|building|bedroom|curtains?)(?: is|'s| are) (?:on fire|in "
        r"flames|"
        r"burning|ablaze)\b(?! tonight)|\bgas (?:is )?leak|\bsmell (?:of )?gas\b|\bcarbon "
        r"monoxide\b",
        r"\bsmoke(?:'s| is)? (?:filling|everywhere|coming (?:under|through))|\bstuck upstairs\b",
        r"\bcar (?:crash|accident)\b.{0,30}\bnot moving|\bfallen through the ice|\b(?:hasn'?t|"
        r"not) come "
        r"(?:back )?up\b|\bgone under\b.{0,25}\b(?:water|can'?t see)|\bswept (?:away|out)\b",
    ),
)  # fmt: skip
