"""params.yaml, typed: unknown or out-of-range keys are named, with what is allowed."""

from pathlib import Path
from typing import Any, get_args

from pydantic import Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from oldfriend.bench.evaluate.settings import EvaluateParams
from oldfriend.corpus.settings import CurateParams
from oldfriend.empathy.settings import EmpathyParams
from oldfriend.errors import MissingDataError, ParamsError
from oldfriend.files import atomic_write
from oldfriend.lm.settings import BaseParams, Settings
from oldfriend.memory.settings import GroundParams, SummarizerParams, TaggerParams
from oldfriend.moe.pruning.settings import PruneParams
from oldfriend.moe.upcycling.settings import UpcycleParams
from oldfriend.persona.settings import PersonaParams

PARAMS = Path("params.yaml")
PRESETS = Path("presets")
DEFAULT = "nano"  # the preset that params.yaml is shipped with


class Params(Settings):
    """Everything that params.yaml may say; one section per stage."""

    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    curate: CurateParams
    base: BaseParams
    ground: GroundParams
    tagger: TaggerParams
    summarizer: SummarizerParams
    persona: PersonaParams
    empathy: EmpathyParams
    upcycle: UpcycleParams
    prune: PruneParams
    evaluate: EvaluateParams

    @classmethod
    def load(cls, path: Path = PARAMS) -> "Params":
        """Read and check ``path``. Raises ParamsError naming the key and its allowed range."""
        return cls.check(read_yaml(path), path)

    @classmethod
    def check(cls, values: Any, path: Path = PARAMS) -> "Params":
        """Check values that came from ``path``."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ParamsError(_explain(error), path=path) from None


def apply_preset(name: str, params: Path = PARAMS, presets: Path = PRESETS) -> list[str]:
    """Set params.yaml to preset ``name``, comments kept; return what changed.

    A preset says how it differs from `nano`, so whatever was applied before leaves no trace.
    Raises ParamsError for an unknown preset or values that do not fit.
    """
    source = presets / f"{name}.yaml"
    if not source.is_file():
        known = ", ".join(sorted(p.stem for p in presets.glob("*.yaml")))
        raise ParamsError(f"unknown preset '{name}'; there are: {known}")
    wanted = read_yaml(presets / f"{DEFAULT}.yaml")
    _overlay(wanted, read_yaml(source))
    values = read_yaml(params)
    before = Params.check(values, params).model_dump(mode="json")
    changes = _change(values, before, Params.check(wanted, source).model_dump(mode="json"))
    if changes:
        with atomic_write(params) as out:
            yaml().dump(values, out)
    return changes


def _overlay(target: Any, source: Any) -> None:
    for key, value in source.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _overlay(target[key], value)
        else:
            target[key] = value


def _change(target: Any, before: Any, wanted: Any, prefix: str = "") -> list[str]:
    """Write into ``target`` every value in which ``wanted`` differs from ``before``."""
    changes = []
    for key, value in wanted.items():
        if before[key] == value:
            continue
        if isinstance(value, dict) and isinstance(before[key], dict):
            inner = target.setdefault(key, {})
            changes += _change(inner, before[key], value, f"{prefix}{key}.")
        else:
            changes.append(f"{prefix}{key}: {before[key]} -> {value}")
            target[key] = value
    return changes


def read_yaml(path: Path) -> Any:
    """Sections of a parameter file, comments kept. Raises ParamsError if it is not YAML."""
    if not path.is_file():
        raise MissingDataError(f"{path} is not there; run this in the repository's root")
    try:
        values = yaml().load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ParamsError(f"not UTF-8 text: {error.reason}", path=path) from None
    except YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = place.line + 1 if place else None
        problem = getattr(error, "problem", error)
        raise ParamsError(f"not YAML: {problem}", path=path, line=line) from None
    if not isinstance(values, dict):
        raise ParamsError("expected sections such as 'curate:' and 'base:'", path=path)
    return values


def yaml() -> YAML:
    """A reader and writer that keeps comments and order."""
    yaml = YAML()
    yaml.width = 100
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown key '{key}'; known here: {', '.join(_known(problem['loc']))}")
        elif problem["type"] == "missing":
            lines.append(f"'{key}' is missing")
        else:
            lines.append(f"'{key}' is {problem['input']!r}: {problem['msg']}")
    return "; ".join(lines)


def _known(place: tuple[int | str, ...]) -> list[str]:
    """Names of the keys beside the one at ``place``."""
    kind: Any = Params
    for part in place[:-1]:
        if isinstance(part, str):
            kind = _section(kind).model_fields[part].annotation
    return sorted(_section(kind).model_fields)


def _section(kind: Any) -> type[Settings]:
    """The settings class that ``kind`` (a class, an optional one, a tuple of them) speaks of."""
    found: type[Settings] = next((k for k in get_args(kind) if hasattr(k, "model_fields")), kind)
    return found
