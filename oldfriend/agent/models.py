"""The models that the friend speaks and takes notes with, loaded when they are first needed."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from oldfriend.corpus.schema import NoteExample, Turn
from oldfriend.errors import InputError, MissingDataError

if TYPE_CHECKING:  # these import torch
    from oldfriend.lm.chat import Message
    from oldfriend.lm.generate import Answer
    from oldfriend.memory.extract import Summarizer
    from oldfriend.memory.grounding import Encode
    from oldfriend.memory.notes import Note, SlotType
    from oldfriend.memory.quoting import QuoteGrammar
    from oldfriend.persona.serving import Personas

MAKES_THEM = "run `dvc repro`, or name the folder that has it with --models"
PERSONA = "persona"  # the one that a model speaks through
LOADED_READERS = 4  # people whose own adapters are kept in memory


class Voice(Protocol):
    """Writes replies."""

    def reply(self, prompt: "Sequence[Message]", max_new_tokens: int) -> str:
        """What the friend says next; MissingDataError if there is no model."""
        ...


@runtime_checkable
class Drafter(Protocol):
    """Writes several replies to choose from."""

    def drafts(
        self,
        prompt: "Sequence[Message]",
        max_new_tokens: int,
        count: int,
        *,
        temperature: float,
        seed: int,
    ) -> "list[Answer]":
        """``count`` replies in one batch, the likeliest first; MissingDataError without a model."""
        ...


class Reader(Protocol):
    """Takes notes."""

    def read(self, user: str, text: str, context: Sequence[Turn]) -> "list[tuple[Note, SlotType]]":
        """What ``text`` says that is worth remembering; MissingDataError if there is no model."""
        ...

    def forget(self, user: str) -> None:
        """Drop what was learnt of this person from memory."""
        ...


class FriendModel:
    """The ``friend`` model of the pipeline, asked with the hints that it was trained with.

    ``persona``: the folder of an adapter through which it speaks. ``encode``: sentence vectors of
    MiniLM, if somebody has them already.
    """

    def __init__(
        self, folder: Path, *, persona: Path | None = None, encode: "Encode | None" = None
    ) -> None:
        self._folder, self._persona, self._encode = folder, persona, encode
        self._loaded: tuple[Any, Any] | None = None
        self._hints: Callable[[Sequence[str]], list[str]] | None = None
        self._quotes: QuoteGrammar | None = None
        self._personas: Personas | None = None

    def reply(self, prompt: "Sequence[Message]", max_new_tokens: int) -> str:
        """A greedy reply."""
        from oldfriend.lm.generate import generate

        model, tokenizer = self._ready()
        asked = [self._hinted(prompt)]
        allow = self._quotes.allow(asked) if self._quotes else None
        return generate(model, tokenizer, asked, max_new_tokens=max_new_tokens, allow=allow)[0]

    def drafts(
        self,
        prompt: "Sequence[Message]",
        max_new_tokens: int,
        count: int,
        *,
        temperature: float,
        seed: int,
    ) -> "list[Answer]":
        """``count`` replies, the first greedy, each held to quotes of what stands in its prompt."""
        from oldfriend.lm.drafts import draft

        model, tokenizer = self._ready()
        asked = self._hinted(prompt)
        allow = self._quotes.allow([asked] * count) if self._quotes else None
        return draft(
            model, tokenizer, asked, count,
            max_new_tokens=max_new_tokens, temperature=temperature, seed=seed, allow=allow,
        )  # fmt: skip

    def _ready(self) -> tuple[Any, Any]:
        """Model and tokenizer, loaded when first asked; MissingDataError if there is none."""
        from oldfriend.lm.model import load

        if not (self._folder / "config.json").is_file():
            raise MissingDataError(f"no model to speak with in {self._folder}: {MAKES_THEM}")
        if self._loaded is None:
            self._loaded = load(self._folder)
            self._prepare(self._loaded[1])
            if self._persona is not None:
                from oldfriend.persona.serving import Personas

                self._personas = Personas(*self._loaded)
                self._personas.load(PERSONA, self._persona)
                self._personas.select([PERSONA])
        return self._loaded

    def _hinted(self, prompt: "Sequence[Message]") -> "list[Message]":
        """The prompt with what each of the person's messages asks about behind it, put to the
        persona if there is one."""
        if self._personas is not None:
            prompt = self._personas.introduced(prompt, PERSONA)
        said = [message["content"] for message in prompt if message["role"] == "user"]
        hinted = iter(self._hints(said) if self._hints else said)
        return [m | {"content": next(hinted)} if m["role"] == "user" else m for m in prompt]

    def _prepare(self, tokenizer: Any) -> None:
        """Load what the model was trained to rely on, if it was: hints and constrained quotes."""
        from oldfriend.memory import intent
        from oldfriend.memory.quoting import QuoteGrammar
        from oldfriend.memory.store.minilm import MiniLM

        if head := intent.load(self._folder):
            encode = self._encode or MiniLM().encode
            self._hints = lambda texts: head.hints(texts, encode)
            self._quotes = QuoteGrammar(tokenizer, head.topics)


class NoteTaker:
    """The summarizer of the pipeline, with a person's own readers where there are any."""

    def __init__(self, models: Path) -> None:
        self._models = models
        self._generic: Summarizer | None = None
        self._own: OrderedDict[Path, Summarizer] = OrderedDict()

    def read(self, user: str, text: str, context: Sequence[Turn]) -> "list[tuple[Note, SlotType]]":
        """Notes that are certain enough, with what is known of their slots."""
        summarizer = self._summarizer(user)
        plain = tuple(Turn(speaker=turn.speaker, text=turn.text) for turn in context)
        example = NoteExample(id="turn", user=user, source="talk", context=plain, text=text)
        (notes,) = summarizer.write([example])
        return [(n, summarizer.slots[n.slot]) for n in notes if n.slot in summarizer.slots]

    def _summarizer(self, user: str) -> "Summarizer":
        from oldfriend.memory import extract

        if self._generic is None:
            generic = self._models / "summarizer"
            if not (generic / "adapter_config.json").is_file():
                raise MissingDataError(
                    f"no summarizer to take notes with in {generic}: {MAKES_THEM}"
                )
            self._generic = extract.load(self._models / "friend", generic)
        folder = adapter(self._models, user)
        if folder is None:
            return self._generic
        if folder not in self._own:
            self._own[folder] = extract.for_person(self._generic, self._models / "tagger", folder)
        self._own.move_to_end(folder)
        while len(self._own) > LOADED_READERS:
            self._own.popitem(last=False)
        return self._own[folder]

    def forget(self, user: str) -> None:
        """Drop this person's readers from memory."""
        folder = own_folder(self._models, user)
        if folder is not None:
            self._own.pop(folder, None)


def own_folder(models: Path, user: str) -> Path | None:
    """Where a person's own adapter would lie; None for a name that is no folder's."""
    plain = user not in ("", ".", "..") and not set(user) & set("/\\\0")
    return models / "users" / user if plain else None


def adapter(models: Path, user: str) -> Path | None:
    """The person's own adapter, if there is one. InputError if it is a link out of the folder."""
    folder = own_folder(models, user)
    if folder is None or not (folder / "adapter_config.json").is_file():
        return None
    if folder.is_symlink():
        raise InputError("an adapter must be a folder of its own, not a link", path=folder)
    return folder
