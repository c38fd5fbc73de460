"""Self-report questionnaires, answered by likelihood and held against what the card declares.

The inventories are read in InCharacter's JSON format (Wang et al. 2024, arXiv:2310.17976). Each
item is put as a question, and the answer is an expectation: five graded answers, weighted by how
likely the model finds them here against how likely it finds them after a question without content
(contextual calibration, Zhao et al. 2021, arXiv:2102.09690). No answer is ever parsed. What a
persona learns about itself are other questions, those of data/seeds/traits.yaml.
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from transformers import PreTrainedTokenizerBase

from oldfriend.errors import InputError, MissingDataError
from oldfriend.lm.chat import answer_documents, message
from oldfriend.outcome import Outcome, Row
from oldfriend.persona.character import BigFive
from oldfriend.persona.likelihood import nats
from oldfriend.persona.voice import Voice, introduced

MAX_BYTES = 4_000_000
SYSTEM = "You are talking with a friend."
EMPTY = ("Well?", "And?", "So?")  # questions without content
# From no to yes; several wordings each, so that none decides by its own frequency.
GRADES: tuple[tuple[str, ...], ...] = (
    ("No, not at all.", "No, never."),
    ("No, not really.", "Not often."),
    ("I don't know, now and then.", "Half and half."),
    ("Yes, mostly.", "Yes, often."),
    ("Yes, very much.", "Yes, always."),
)
BFI = "BFI"
GUESSES = 2000  # simulated random answerers


class Trait(BaseModel):
    """Questions about oneself: whoever has much of the trait says yes to ``high``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    high: tuple[str, ...] = Field(min_length=1)
    low: tuple[str, ...] = Field(min_length=1)


def read_traits(path: Path) -> dict[str, Trait]:
    """The questions of data/seeds/traits.yaml by trait. InputError names the first mistake."""
    if not path.is_file():
        raise MissingDataError(f"{path} is not there; it holds questions about oneself")
    kind = TypeAdapter(dict[str, Trait])
    try:
        found = kind.validate_python(YAML(typ="safe", pure=True).load(path.read_text("utf-8")))
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"not YAML: {error}", path=path) from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(step) for step in first["loc"])
        raise InputError(first["msg"], path=path, field=field) from None
    if unknown := sorted(found.keys() - BigFive.model_fields.keys()):
        raise InputError(f"no trait '{unknown[0]}'", path=path)
    return found


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    rewritten_en: str = Field(min_length=1)


class _Dimension(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    cat_name: str
    cat_questions: tuple[int, ...] = Field(min_length=1)


class Inventory(BaseModel):
    """The parts of an InCharacter questionnaire that scoring needs."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    reverse: tuple[int, ...] = ()
    categories: tuple[_Dimension, ...] = Field(min_length=1)
    questions: dict[int, _Item]


def read_inventory(path: Path) -> Inventory:
    """Read one questionnaire. InputError names the file and the field of the first mistake."""
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"larger than {MAX_BYTES:,} bytes", path=path)
    try:
        found = Inventory.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"not JSON: {error}", path=path) from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(step) for step in first["loc"])
        raise InputError(first["msg"], path=path, field=field) from None
    asked = {number for part in found.categories for number in part.cat_questions}
    if unknown := sorted(asked - found.questions.keys()):
        raise InputError(f"no question {unknown[0]}", path=path, field="categories")
    return found


def inventories(folder: Path) -> list[Inventory]:
    """All questionnaires of a folder, by name; none if it is not there."""
    return [read_inventory(path) for path in sorted(folder.glob("*.json"))]


@dataclass(frozen=True)
class Scale:
    """One dimension of an inventory: declared or found, 0 (very low) to 1 (very high)."""

    inventory: str
    dimension: str
    score: float


def answer_all(
    folder: Path, model: Any, tokenizer: PreTrainedTokenizerBase, voice: Voice
) -> list[Scale]:
    """Every inventory of the folder, filled in by the model under this persona's name."""
    found: list[Scale] = []
    for inventory in inventories(folder):
        questions = [item.rewritten_en for item in inventory.questions.values()]
        graded = grades(model, tokenizer, voice, questions)
        found += scored(inventory, dict(zip(inventory.questions, graded, strict=True)))
    return found


def grades(
    model: Any, tokenizer: PreTrainedTokenizerBase, voice: Voice, questions: Sequence[str]
) -> list[float]:
    """Expected answer to every question, 0 (no) to 1 (yes)."""
    prior = [
        statistics.fmean(column)
        for column in zip(*_logprobs(model, tokenizer, voice, EMPTY), strict=True)
    ]
    found = []
    for row in _logprobs(model, tokenizer, voice, questions):
        weights = [math.exp(here - usual) for here, usual in zip(row, prior, strict=True)]
        steps = [place / (len(weights) - 1) for place in range(len(weights))]
        found.append(sum(w * s for w, s in zip(weights, steps, strict=True)) / sum(weights))
    return found


def scored(inventory: Inventory, answers: Mapping[int, float]) -> list[Scale]:
    """Mean answer of every dimension, reversed items turned round."""
    turned = {
        number: 1 - answer if number in inventory.reverse else answer
        for number, answer in answers.items()
    }
    return [
        Scale(
            inventory.name,
            part.cat_name,
            statistics.fmean(turned[number] for number in part.cat_questions),
        )
        for part in inventory.categories
    ]


def compare(found: Sequence[Scale], plain: Sequence[Scale], voice: Voice) -> Outcome:
    """Self-report beside the card's profile, the model without adapter, and chance.

    ``bfi_error``: mean absolute distance to the declared traits. ``bfi_error_before``: without
    adapter. ``bfi_error_middle``: of answering in the middle. ``bfi_error_random``: expectation
    over random answers to every item. Nothing where the BFI is not among the inventories.
    """
    rows: list[Row] = []
    declared = voice.character.profile.bfi.model_dump()
    without = {(scale.inventory, scale.dimension): scale.score for scale in plain}
    for scale in found:
        key = (scale.inventory, scale.dimension)
        row: Row = {"dimension": f"{key[0]}: {key[1]}", "found": scale.score}
        wanted = declared.get(key[1].lower()) if key[0] == BFI else None
        rows.append(row | {"before": without[key], "declared": "" if wanted is None else wanted})
    traits = [row for row in rows if row["declared"] != ""]
    if not traits:
        return Outcome(tables={"self_report": rows} if rows else {})

    def error(key: str) -> float:
        return statistics.fmean(abs(row[key] - row["declared"]) for row in traits)

    middle = statistics.fmean(abs(0.5 - row["declared"]) for row in traits)
    metrics = {
        "bfi_error": error("found"),
        "bfi_error_before": error("before"),
        "bfi_error_middle": middle,
        "bfi_error_random": _guessing([row["declared"] for row in traits]),
    }
    return Outcome(metrics, {"self_report": rows})


def _guessing(declared: Sequence[float], items: int = 9) -> float:
    """Expected error of somebody who answers every item at random, nine items a trait."""
    rng = Random("guess")
    errors = []
    for _ in range(GUESSES):
        means = [statistics.fmean(rng.randrange(5) / 4 for _ in range(items)) for _ in declared]
        errors += [abs(mean - wanted) for mean, wanted in zip(means, declared, strict=True)]
    return statistics.fmean(errors)


def _logprobs(
    model: Any, tokenizer: PreTrainedTokenizerBase, voice: Voice, questions: Sequence[str]
) -> list[list[float]]:
    """Per question and grade, the mean log-probability a token over its wordings."""
    dialogues = [
        [
            *introduced([message("system", SYSTEM), message("user", question)], voice.name),
            message("assistant", wording),
        ]
        for question in questions
        for grade in GRADES
        for wording in grade
    ]
    documents = answer_documents(tokenizer, dialogues)
    found = [-loss / count for loss, count in nats(model, documents, pad_id=tokenizer.pad_token_id)]
    wordings = len(GRADES[0])
    by_grade = [
        statistics.fmean(found[start : start + wordings])
        for start in range(0, len(found), wordings)
    ]
    return [by_grade[start : start + len(GRADES)] for start in range(0, len(by_grade), len(GRADES))]
