"""The phrase banks in data/seeds, read and validated."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from oldfriend.corpus.banks import Bank, Glue, LifeBank, Name, Niche, Slot, words_of
from oldfriend.errors import InputError, MissingDataError

T = TypeVar("T")


@dataclass(frozen=True)
class Seeds:
    """All banks together."""

    slots: Mapping[str, Slot]
    niches: Mapping[str, Niche]
    life: LifeBank
    glue: Glue

    @cached_property
    def name_alikes(self) -> frozenset[str]:
        """Listed values that would look like an invented name ("Judo"): nobody may be so called."""
        listed = (slot.values for slot in self.slots.values() if isinstance(slot.values, Bank))
        values = (value for bank in listed for value in (*bank.train, *bank.test))
        return frozenset(value.capitalize() for value in values if value.islower())

    @classmethod
    def load(cls, folder: Path) -> "Seeds":
        """Read data/seeds. InputError names the file, line and field of the first mistake."""
        banks = TypeAdapter(dict[Name, Slot])
        slots: dict[str, Slot] = {}
        for path in sorted((folder / "slots").glob("*.yaml")):
            slots |= _fresh(_load(path, banks), slots, path)
        if not slots:
            raise MissingDataError(f"{folder / 'slots'} holds no *.yaml: nothing to remember")
        path = folder / "niches.yaml"
        niches = _fresh(_load(path, TypeAdapter(dict[Name, Niche])), slots, path)
        _keep_apart({**slots, **niches}, folder)
        life = _load(folder / "life.yaml", TypeAdapter(LifeBank))
        return cls(slots, niches, life, _load(folder / "glue.yaml", TypeAdapter(Glue)))


def _fresh(read: dict[str, T], known: Mapping[str, object], path: Path) -> dict[str, T]:
    """``read`` itself, if it defines nothing that another file defined."""
    for name in sorted(read.keys() & known.keys()):
        raise InputError(f"'{name}' is defined in another file too", path=path, field=name)
    return read


def _keep_apart(banks: Mapping[str, Slot | Niche], folder: Path) -> None:
    """No value or sentence of one bank's training is another bank's test."""
    trained: dict[str, str] = {}
    for place, bank in _split_banks(banks):
        trained |= {words_of(item): f"{place}.train" for item in bank.train}
    for place, bank in _split_banks(banks):
        for item in bank.test:
            if other := trained.get(words_of(item)):
                message = f"{item!r} stands in {other} too; train and test must share nothing"
                raise InputError(message, path=folder, field=f"{place}.test")


def _split_banks(banks: Mapping[str, Slot | Niche]) -> Iterator[tuple[str, Bank[str]]]:
    """The values and sentences of all banks, each with the field where it stands."""
    for name, bank in banks.items():
        for field in ("values", "say", "change", "near_miss", "ask", "ask_past"):
            part = getattr(bank, field, None)
            if isinstance(part, Bank):
                yield f"{name}.{field}", part


def _load(path: Path, kind: TypeAdapter[T]) -> T:
    """Read one file."""
    if not path.is_file():
        raise MissingDataError(f"{path} is not there; data/seeds/README.md says what it holds")
    try:
        with path.open(encoding="utf-8") as text:
            document = YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise InputError(str(error.problem), path=path, line=line) from None
    try:
        return kind.validate_python(document)
    except ValidationError as error:
        errors = error.errors()  # where values are lists, that they name no generator is no news
        first = next((one for one in errors if one["type"] != "literal_error"), errors[0])
        steps = [step for step in first["loc"] if not _is_type(step)]
        field = ".".join(str(step) for step in steps)
        message = first["msg"].removeprefix("Value error, ")
        raise InputError(message, path=path, line=_line(document, steps), field=field) from None


def _is_type(step: int | str) -> bool:
    """Whether pydantic put ``step`` into a location to name a type it tried."""
    return isinstance(step, str) and (step == "[key]" or "[" in step)


def _line(document: object, steps: Sequence[int | str]) -> int | None:
    """The line on which the value at the end of ``steps``, or the last that is there, stands."""
    line: int | None = None
    for step in steps:
        if not isinstance(document, CommentedMap | CommentedSeq):
            break
        try:
            line = (
                document.lc.value(step)[0] + 1
                if isinstance(document, CommentedMap)
                else (document.lc.item(step)[0] + 1)
            )
            document = document[step]
        except (KeyError, IndexError, TypeError):
            break
    return line
