"""What is said to somebody in danger: written beforehand, with lines that the deployer names."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError

from oldfriend.corpus.schema import Row
from oldfriend.empathy.crisis_words import Danger
from oldfriend.errors import InputError

MAX_YAML = 256 * 1024  # bytes of a file with resources
TEXTS: Mapping[Danger, str] = {
    "self": (
        "I'm glad you told me, and I'm taking it seriously. You matter, and you don't have to get "
        "through this alone.\n\nIf you might act on it, or already have, please call {emergency} "
        "now, or ask somebody near you to stay with you and to put away whatever you could use. "
        "These people are there for exactly this:\n{lines}\n\nI'm a program: I can't call anybody "
        "for you. Is there someone you could be with, or ring, right now?"
    ),
    "others": (
        "This sounds as if somebody could be badly hurt, so let's put everything else aside. If "
        "there is danger right now, call {emergency}. If it's you who might hurt someone, step "
        "away from them and from anything you could use, and tell the people on the line just what "
        "you told me. If it's someone you know who is in danger, stay with them if that is "
        "safe.\n{lines}\n\nI'm a program: I can't call anybody for you. Who is with you now?"
    ),
    "abuse": (
        "I'm sorry this is happening. It isn't your fault, and you don't deserve it.\n\nIf you are "
        "in danger now, get to where other people are if you can, and call {emergency}. If it "
        "isn't over yet, these people can help you to plan, in confidence:\n{lines}\n\nIf somebody "
        "checks your phone, delete this talk. I'm a program: I can't call anybody for you. Are you "
        "safe at this moment?"
    ),
    "medical": (
        "This could be an emergency, so please don't wait for me. Call {emergency} now, say where "
        "you are and what happened, and do what they tell you. Stay with the person, or have "
        "somebody stay with you, and leave the door open for help.\n\nI'm a program: I can't call "
        "anybody for you, and I can't judge how bad it is. Please call first."
    ),
}


CHECK = (
    "I want to be sure I understand: are you, or is somebody with you, in danger right now? If so, "
    "please call {emergency} before anything else. If not, tell me more. I'm listening."
)


class Resources(Row):
    """Whom a person in danger can turn to, as the deployer says; ``texts`` replace ours."""

    emergency: str = Field(default="your local emergency number", min_length=1, max_length=200)
    lines: tuple[str, ...] = Field(
        default=("A helpline near you, free and in confidence, is listed at findahelpline.com",),
        min_length=1,
    )
    texts: dict[Danger, str] = Field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, country: str = "") -> Self:
        """Read a YAML file of resources: one country's, or several under ``resources``.

        InputError names the file and field if it is malformed or lacks ``country``.
        """
        document = read_yaml(path)
        known = document.get("resources", document)
        if "resources" in document:
            name = country or "default"
            if not isinstance(known, dict) or name not in known:
                raise InputError(f"no resources for '{name}'", path=path, field="resources")
            known = known[name]
        try:
            return cls.model_validate(known)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise InputError(first["msg"], path=path, field=field) from None

    def check(self) -> str:
        """What is asked, word for word, where it only may be danger."""
        return CHECK.replace("{emergency}", self.emergency)

    def answer(self, danger: Danger) -> str:
        """What is said, word for word."""
        listed = "\n".join(f"- {line}" for line in self.lines)
        told = self.texts.get(danger, TEXTS[danger])
        return told.replace("{emergency}", self.emergency).replace("{lines}", listed)


def read_yaml(path: Path) -> dict[str, object]:
    """A small YAML mapping. InputError names the file and line where it is none."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if not path.is_file():
        raise InputError("there is no such file", path=path)
    if path.stat().st_size > MAX_YAML:
        raise InputError(f"larger than {MAX_YAML:,} bytes", path=path)
    try:
        document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise InputError(str(error.problem), path=path, line=line) from None
    except (YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"is not YAML: {str(error)[:100]}", path=path) from None
    if not isinstance(document, dict):
        raise InputError("expected a mapping", path=path)
    return document


def digest(path: Path) -> str:
    """SHA-256 of a file, for meta.json."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
