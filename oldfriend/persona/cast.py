"""A card as a voice: its character, the name that prompts call it, its example talks."""

import re
from pathlib import Path

from oldfriend.corpus.schema import Speaker, Turn
from oldfriend.errors import InputError
from oldfriend.persona import card as cards
from oldfriend.persona.voice import Voice

_LINE = re.compile(r"^\s*\{\{(user|char)\}\}:\s*(.+)$", re.IGNORECASE)
_FIELD = re.compile(r"\{\{(user|char)\}\}", re.IGNORECASE)


def read_voice(path: Path) -> tuple[Voice, list[list[Turn]]]:
    """The voice of a card in any format, and its example dialogues.

    InputError names what is missing: a card without ``extensions.oldfriend`` has no voice that
    could be trained.
    """
    card = cards.read(path)
    character = card.character
    if character is None:
        raise InputError(
            "this card says nothing of how the character talks and where it will not bend",
            path=path,
            field="data.extensions.oldfriend",
        )
    called = card.data.called
    return Voice(called, character), dialogues(card.data.mes_example, called)


def dialogues(text: str, name: str, user: str = "friend") -> list[list[Turn]]:
    """The dialogues of a card's ``mes_example``: blocks after <START>, one utterance a line."""
    found: list[list[Turn]] = []
    for block in re.split(r"<START>", text, flags=re.IGNORECASE):
        turns = []
        for line in block.splitlines():
            if match := _LINE.match(line):
                said = _FIELD.sub(lambda f: name if f[1].lower() == "char" else user, match[2])
                speaks: Speaker = "user" if match[1].lower() == "user" else "friend"
                turns.append(Turn(speaker=speaks, text=said.strip()))
        if turns:
            found.append(turns)
    return found
