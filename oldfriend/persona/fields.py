"""The typed view of a card's fields: what programs read, while the card itself keeps everything.

Fields of Character Card V1, V2 (malfoyslastname/character-card-spec-v2) and V3
(kwaroran/character-card-spec-v3). Null counts as absent; fields unknown here are left alone.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)


def _comma_list(value: object) -> object:
    """V3 speaks of values separated by commas; everybody writes a list."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) else value


Keys = Annotated[tuple[str, ...], BeforeValidator(_comma_list)]
Named = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: item for key, item in value.items() if item is not None}


class Entry(_View):
    """One piece of lore and what wakes it."""

    keys: tuple[str, ...] = ()
    content: str = ""
    extensions: dict[str, Any] = {}
    enabled: bool = True
    insertion_order: Finite = 100
    case_sensitive: bool | None = None
    use_regex: bool = False
    constant: bool = False
    priority: Finite | None = None
    selective: bool = False
    secondary_keys: Keys = ()
    position: str | int = "after_char"
    name: str = ""
    comment: str = ""

    @property
    def rank(self) -> float:
        """What decides who stays when the budget is short; higher stays longer."""
        return self.insertion_order if self.priority is None else self.priority


class Lorebook(_View):
    """What a character may know, and when it should come to mind."""

    name: str = ""
    description: str = ""
    scan_depth: int | None = Field(default=None, ge=0)
    token_budget: int | None = Field(default=None, ge=0)
    recursive_scanning: bool = False
    extensions: dict[str, Any] = {}
    entries: tuple[Entry, ...] = ()


class Asset(_View):
    """A file that the card mentions: in the CharX (``embeded://``), on the web, or inline."""

    type: str = ""
    uri: str = ""
    name: str = ""
    ext: str = ""


class CardData(_View):
    """All that V1, V2 and V3 define."""

    name: Named
    description: str = ""
    personality: str = ""
    scenario: str = ""
    first_mes: str = ""
    mes_example: str = ""
    creator_notes: str = ""
    system_prompt: str = ""
    post_history_instructions: str = ""
    alternate_greetings: tuple[str, ...] = ()
    character_book: Lorebook | None = None
    tags: tuple[str, ...] = ()
    creator: str = ""
    character_version: Annotated[str, BeforeValidator(_as_text)] = ""
    extensions: dict[str, Any] = {}
    assets: tuple[Asset, ...] = ()
    nickname: str = ""
    creator_notes_multilingual: dict[str, str] = {}
    source: tuple[str, ...] = ()
    group_only_greetings: tuple[str, ...] = ()
    creation_date: Finite | None = None
    modification_date: Finite | None = None

    @property
    def called(self) -> str:
        """What ``{{char}}`` stands for: the nickname, or else the name."""
        return self.nickname.strip() or self.name

    @property
    def greetings(self) -> Sequence[str]:
        """``first_mes``, then the alternates: V3's greeting 0, 1, 2..."""
        return (self.first_mes, *self.alternate_greetings)
