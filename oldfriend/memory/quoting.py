"""What a reply may quote: a memory that stands in its prompt, word for word, or nothing.

A small model garbles long values ("funeral peoplector"). The quote at the head of a reply is
decoded under constraint, as notes are: it names a memory that is really there, or says of a topic
that there is nothing. Asked about a month, it names none of another. What follows is free.
"""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from oldfriend.lm.chat import Message
from oldfriend.lm.generate import Allow
from oldfriend.lm.spelling import Spelling
from oldfriend.memory.grounding import NO_VALUE
from oldfriend.memory.intent import month_in

OPEN, CLOSE, OWN = "[", "]", "your "


class QuoteGrammar:
    """Constrained decoding of the quotes of replies to prompts of ``grounding.prompt``.

    ``topics``: of what a reply may say that there is nothing, as the hints name them.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, topics: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._spelling = Spelling(tokenizer)
        self._topics = [topic for topic in topics if topic]

    def allow(self, prompts: Sequence[Sequence[Message]]) -> Allow:
        """For ``generate``: which ids may follow what was written in answer to each prompt."""
        quotes: dict[int, list[str]] = {}
        free: set[int] = set()

        def narrow(place: int, generated: list[int]) -> list[int] | None:
            if place in free or not generated:
                return None
            written = self._tokenizer.decode(generated)
            if not written.startswith(OPEN) or CLOSE in written:
                free.add(place)  # small talk quotes nothing; a finished quote is followed by talk
                return None
            if place not in quotes:
                quotes[place] = self.quotes(prompts[place])
            return self._spelling.towards(written, quotes[place]) or None

        return narrow

    def quotes(self, prompt: Sequence[Message]) -> list[str]:
        """Every quote that a reply to ``prompt`` may begin with: a memory of the person's, or
        "nothing" of a topic on which there is none."""
        month = month_in(prompt[-1]["content"])
        own = []
        for line in prompt[0]["content"].split("\n"):
            date, whose, rest = line.partition(OWN)
            if line.startswith("- ") and whose and (not month or f"({month} " in date):
                own.append(f"{OWN}{rest}")
        told = {memory.partition(": ")[0] for memory in own}
        nothing = [f"{topic}: {NO_VALUE}" for topic in self._topics if topic not in told]
        return [f"{OPEN}{quote}{CLOSE}" for quote in own + nothing]
