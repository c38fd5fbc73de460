"""A voice: how a character would say what anybody could say, deterministic by seed."""

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

from oldfriend.corpus.schema import GroundExample, MemoryLine, Turn
from oldfriend.lm.chat import Message, message
from oldfriend.memory import grounding
from oldfriend.persona.character import Character, Topic
from oldfriend.persona.views import VIEW, woken

HELD_OUT = 5  # every so many lines of a topic are kept for the test
FAVOURITE = 0.6  # of all openers and closers
ATTEMPTS = 6  # at a retelling without a word that the character never says

# What a good friend does in a turn, and the lines of a character that do it.
TOPIC_OF: dict[str, Topic] = {
    "humour": "tease",
    "teasing": "tease",
    "question": "curiosity",
    "companionship": "comfort",
    "reflection_of_feelings": "comfort",
    "affirmation": "comfort",
    "suggestions": "advice",
    "information": "advice",
    "praise": "celebrate",
}

# A character that never says "don't" contracts nothing.
FULL = {
    "n't": " not", "'m": " am", "'re": " are", "'ve": " have", "'ll": " will", "'d": " would",
    "can't": "cannot", "won't": "will not", "shan't": "shall not", "let's": "let us",
}  # fmt: skip
FULL |= {f"{word}'s": f"{word} is" for word in (
    "it", "that", "there", "here", "what", "who", "where", "how", "he", "she", "everything",
    "something", "nothing", "somebody", "someone", "nobody", "everybody", "everyone", "one",
)}  # fmt: skip

_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
_KEPT = "\0{}\0"


@dataclass(frozen=True)
class Voice:
    """A character by the name that prompts call it."""

    name: str
    character: Character
    mute: bool = False  # says everything as it stands, under no name

    @cached_property
    def contracts(self) -> bool:
        """Whether contractions are in character."""
        return "don't" not in (word.lower() for word in self.character.never)

    @cached_property
    def exclaims(self) -> float:
        """Share of the character's own sentences that end in an exclamation mark."""
        lines = " ".join(line for _, line in self.character.replies())
        marks = re.findall(r"[.!?](?=\s|$)", lines)
        return marks.count("!") / max(len(marks), 1)

    def lines(self, topic: Topic, *, test: bool = False) -> list[str]:
        """The character's own replies on a topic, those for training or those held out."""
        lines = self.character.lines[topic]
        return [line for i, line in enumerate(lines) if (i % HELD_OUT == HELD_OUT - 1) == test]

    def retell(
        self, text: str, rng: Random, keep: Sequence[str] = (), doing: str = ""
    ) -> str | None:
        """``text`` as this character says it: its words for plain ones, its way of ending
        sentences, and one to three of its openers, interjections, endearments and closers.

        ``doing`` names what the turn does; every doing has a favourite opener and closer. A model
        that says the likeliest would otherwise never say one of eight equally likely.
        Each of ``keep`` (a remembered value) stays letter for letter. None if the character would
        have to say what it never says.
        """
        if self.mute:
            return text
        for _ in range(ATTEMPTS):
            said = self._retold(text, rng, keep, doing)
            rest = said
            for value in keep:
                rest = rest.replace(value, "")
            if not self.character.slips(rest):
                return said
        return None

    def _retold(self, text: str, rng: Random, keep: Sequence[str], doing: str) -> str:
        speech = self.character.speech
        held = sorted((value for value in set(keep) if value), key=len, reverse=True)
        for place, value in enumerate(held):
            text = text.replace(value, _KEPT.format(place))
        text = _WORD.sub(lambda found: self._word(found.group()), text)
        sentences = [self._ended(part, rng) for part in _SENTENCE.split(text) if part]
        habits = _some(("opener", "closer", "interjection", "pet name"), rng)
        if "pet name" in habits and speech.pet_names:
            sentences[0] = _addressed(sentences[0], rng.choice(speech.pet_names))
        if "interjection" in habits:
            sentences.insert(rng.randrange(len(sentences) + 1), rng.choice(speech.interjections))
        if "opener" in habits or (habits == {"pet name"} and not speech.pet_names):
            sentences.insert(0, _favourite(speech.openers, doing, rng))
        if "closer" in habits:
            sentences.append(_favourite(speech.closers, doing, rng))
        said = " ".join(sentences)
        for place, value in enumerate(held):
            said = said.replace(_KEPT.format(place), value)
        return said

    def _word(self, word: str) -> str:
        other = self.character.speech.replacements.get(word.lower())
        if other is not None:
            return other[0].upper() + other[1:] if word[0].isupper() and word != "I" else other
        return word if self.contracts or "'" not in word else in_full(word)

    def _ended(self, sentence: str, rng: Random) -> str:
        if sentence.endswith(".") and not sentence.endswith("..") and rng.random() < self.exclaims:
            return sentence[:-1] + "!"
        if sentence.endswith("!") and "!" in self.character.never:
            return sentence[:-1] + "."
        return sentence


def _some(habits: Sequence[str], rng: Random) -> set[str]:
    """One habit for sure, each of the others sometimes."""
    sure = rng.choices(habits, weights=(8, 2, 1, 1))[0]
    return {sure, *(habit for habit in habits if rng.random() < 0.2)}


def _favourite(choices: Sequence[str], doing: str, rng: Random) -> str:
    """Mostly the favourite of what is done, else any."""
    favourite = zlib.crc32(doing.encode()) % len(choices)
    return choices[favourite] if rng.random() < FAVOURITE else rng.choice(choices)


def _addressed(sentence: str, name: str) -> str:
    """The sentence with an endearment before its last mark."""
    body = sentence.rstrip(".!?")
    return f"{body}, {name}{sentence[len(body) :]}" if body != sentence else sentence


def in_full(word: str) -> str:
    """A contraction in full: "don't" is "do not"; a genitive ("Ana's") stays."""
    if full := FULL.get(word.lower()):
        return full[0].upper() + full[1:] if word[0].isupper() else full
    ending = next((e for e in FULL if e[0] in "n'" and word.lower().endswith(e)), None)
    return word[: -len(ending)] + FULL[ending] if ending else word


def introduced(
    prompt: Sequence[Message], name: str, views: Iterable[tuple[str, str]] = ()
) -> list[Message]:
    """The prompt with the persona named first, if any, and last what it holds of what was said.

    The name is what an adapter listens for: a prompt without it is answered as the friend would,
    so that one model with its adapters keeps every skill that was trained without a persona.
    """
    known = [part["content"] for part in prompt[:1] if part["role"] == "system"]
    talk = prompt[len(known) :]
    said = [part["content"] for part in talk if part["role"] == "user"]
    named = [f"You are {name}."] if name else []
    held = [f"- {VIEW}: {belief}" for belief in woken(views, said)]
    return [message("system", "\n".join([*named, *known, *held])), *talk]


def asked(voice: Voice, example: GroundExample) -> list[Message]:
    """The prompt of a grounding example, put to this persona."""
    plain = grounding.prompt(example.user, example.memories, example.history, example.message)
    return introduced(plain, voice.name, voice.character.views)


def in_voice(voice: Voice, example: GroundExample, rng: Random) -> GroundExample | None:
    """The example with its reply, and those of the talk before, retold by this character.

    None where the retelling would change what the reply amounts to (an honest "I don't know" that
    is none any more, a value that is lost) or say what the character never says.
    """
    keep = [memory.value for memory in example.memories]
    reply = voice.retell(example.reply, rng, keep, example.kind)
    if reply is None or grounding.outcome(example, reply) != grounding.outcome(
        example, example.reply
    ):
        return None
    history = []
    for turn in example.history:
        text = (
            voice.retell(turn.text, rng, keep, _doing(turn))
            if turn.speaker == "friend"
            else turn.text
        )
        if text is None:
            return None
        history.append(turn.model_copy(update={"text": text}))
    return example.model_copy(update={"reply": reply, "history": tuple(history)})


def _doing(turn: Turn) -> str:
    """What a turn of the friend's does, in the words of ``GroundExample.kind``."""
    if not turn.quote:
        return "plain"
    return "recall" if grounding.quoted(f"[{turn.quote}]") else "abstain"


def exchanges(
    voice: Voice,
    turns: Sequence[Turn],
    user: str,
    memories: Sequence[MemoryLine],
    rng: Random,
    *,
    opens: bool = False,
    closes: bool = False,
) -> list[Message] | None:
    """A stretch of talk as a dialogue with this persona; None if nothing can be learnt from it.

    Where a turn does what the character has lines for, half of the time one of them is the reply.
    ``opens`` and ``closes``: whether the stretch is the beginning or the end of a conversation.
    """
    system = grounding.prompt(user, memories, (), "")[0]
    said: list[Message] = []
    for place, turn in enumerate(turns):
        if turn.speaker == "user":
            said.append(message("user", turn.text))
            continue
        topic = TOPIC_OF.get(turn.strategy or "")
        if topic is None and opens and place < 2:
            topic = "greeting"
        if closes and place == len(turns) - 1:
            topic = "farewell"
        line = rng.choice(voice.lines(topic)) if topic and rng.random() < 0.5 else None
        keep = [memory.value for memory in memories]
        reply = line or voice.retell(turn.text, rng, keep, _doing(turn))
        if reply is None:
            return None
        said.append(message("assistant", grounding.reply_text(turn.quote, reply)))
    if not any(part["role"] == "assistant" for part in said):
        return None
    return introduced([system, *said], voice.name)
