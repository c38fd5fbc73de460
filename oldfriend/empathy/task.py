"""Does a message ask for something to be done? Then do that, whatever one feels."""

import re
from typing import Literal

Asked = Literal["task", "advice", "memory"]

_LEAD = r"(?:^|[.!?;:,]\s+|\b(?:ok|okay|so|and|but|hey|hi|hello|well|right|now|also|then)[,!]?\s+)"
_DO = (
    "add|analyse|analyze|arrange|book|calculate|cancel|change|check|choose|compare|compose|"
    "convert|correct|count|create|define|describe|design|draft|edit|estimate|explain|find|fix|"
    "format|generate|help me|identify|list|look up|make me|make a|make an|name|order|outline|"
    "paraphrase|pick|plan|play|proofread|put together|rank|read me|recommend|remind me|rephrase|"
    "reserve|rewrite|schedule|search|send|set|show me|solve|sort|spell|suggest|summari[sz]e|"
    "translate|work out|write"
)
_IDIOM = re.compile(
    r"\b(?:where was i(?: going with (?:this|that))?|(?<!what )(?<!who )"
    r"(?:did|have) i (?:ever |already )?(?:tell|told|mention(?:ed)?) (?:you )?"
    r"(?!(?:my|the|what|who|where|which)\b)|what did i go|"
    r"what can (?:you|i|we) do\?|you know what|guess what|"
    r"give me (?:a )?(?:break|strength)|tell me about it|help yourself|make my day|"
    r"(?:can|could|would|will) you (?:believe|imagine)|fix(?:ed)? it myself|"
    r"(?:believe|trust) me|check (?:me|this|that) out|make a (?:fuss|scene|mess))\b",
    re.IGNORECASE,
)
_TASK = re.compile(
    rf"{_LEAD}(?:please |just |kindly |maybe |(?:i )?need you to |i(?:'d| would) like you to |"
    rf"i want you to |let's )?(?:{_DO})\b"
    r"|\b(?:can|could|would|will) (?:you|u)(?: please| kindly| just| maybe| possibly)? "
    r"(?!ever\b)\w+"
    r"|\b(?:please|kindly) \w+"
    r"|\b(?:i need|i want|i'd like|i would like|i am looking|i'm looking|looking|searching|"
    r"i am searching) "
    r"(?:to (?:book|buy|find|get|make|reserve|schedule|send|order|see if|check|know|hear|listen|"
    r"play|rent|transfer|pay|set|add|look|go)|for|you to|(?:some )?help (?:with|to)|"
    r"(?:(?:a|an|some|one|my|your|\d+) )?(?:\w+ ){0,3}(?:list|recipe|summary|hand with|help|"
    r"assistance|ticket|flight|table|reservation|room|place|spot|appointment))\b"
    r"|\b(?:give|tell|show|get|find|play|send|read) (?:me|us) (?!about it\b)\w+"
    r"|\bhow (?:do|can|would|should) (?:i|you|we|one) (?!feel|cope|live|go on|get over|survive)\w+"
    r"|\b(?:what is|what's|what are|who is|who was|when is|when does|where is|where can|"
    r"how (?:much|many|far|long|old) (?:is|are|does|do|will|would)|is there|are there|"
    r"do they|does it|what time|which (?:\w+ )?(?:is|are))\b[^.!?]*\?",
    re.IGNORECASE,
)
_ADVICE = re.compile(
    r"\b(?:what (?:should|shall|can|do|would) (?:i|you) (?:do|say|suggest|advise|think i should)|"
    r"(?:any|some|your) (?:advice|ideas|suggestions|tips)|what would you do|should i|shall i|"
    r"how (?:do|can|should) i (?:cope|get over|go on|deal|handle|survive|stop)|"
    r"do you think i should)\b",
    re.IGNORECASE,
)
_MEMORY = re.compile(
    r"\b(?:(?:do|don't|can|did) you (?:still )?(?:remember|recall|know (?:my|what i|where i|who i|"
    r"which)|forget)|(?:you )?remember (?:what|who|where|when|which|how|the name)|"
    r"(?:have|did|had) i (?:ever |already )?(?:tell|told|mention(?:ed)?|sa(?:y|id))|"
    r"what did i (?:say|tell|call)|(?:what|who|where|which|when)(?:'s| is| was| are| were| do| did)"
    r"[^.!?]*\b(?:my|i|me|mine|again)\b[^.!?]*\?|remind me)",
    re.IGNORECASE,
)


def asked(text: str) -> Asked | None:
    """What a message asks for: a memory, advice, a task, or nothing. Rules over its words.

    ``advice`` is about the person's own life, where listening may have to come first; a ``task`` or
    a ``memory`` is simply to be given.
    """
    text = _IDIOM.sub(" ", text)
    if _MEMORY.search(text):
        return "memory"
    if _ADVICE.search(text):
        return "advice"
    return "task" if _TASK.search(text) else None
