"""The importers read the public data itself, where it is there."""

import os
import tarfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from oldfriend.corpus.importers import load

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the folder of a public dataset, unpacked where it is an archive; skip without it."""
    unpacked = tmp_path_factory.mktemp("data")
    given = Path(os.environ.get("OLDFRIEND_DATA", REPOSITORY / "data" / "external"))

    def folder(name: str) -> Path:
        if (given / name).is_dir():
            return given / name
        archive = REPOSITORY.parent / "shared" / "data" / f"{name}.tar.xz"
        if not archive.is_file():
            pytest.skip(f"no public data: OLDFRIEND_DATA has no folder {name}")
        if not (unpacked / name).is_dir():
            with tarfile.open(archive) as source:
                source.extractall(unpacked, filter="data")
        return unpacked / name

    return folder


@dataclass(frozen=True)
class Real:
    """A public dataset: its importer, its folder, and what is known of it."""

    name: str
    folder: str
    splits: dict[str | None, int]  # conversations
    facts: int = 0  # at least


REAL = [
    Real("mts_dialog", "mts_dialog", {"train": 1201, "val": 100, "test": 400}, facts=2000),
    Real("locomo", "locomo", {None: 2 * 272}, facts=1900),
    Real("esconv", "esconv", {"train": 910, "val": 195, None: 196}),
    Real(
        "empathetic_dialogues", "empathetic_dialogues", {"train": 19904, "val": 2438, "test": 2514}
    ),
    Real("synthetic_persona_chat", "synthetic_persona_chat", {"val": 2 * 1000}, facts=2500),
    Real("goemotions", "goemotions", {"train": 43410, "val": 5426}),
    Real("dailydialog", "dailydialog", {"train": 7710, "val": 993, "test": 985}),
    Real("persona_chat", "personachat", {"val": 1000}, facts=1500),
    Real("msc_personas", "msc_personas", {"train": 7987, "val": 2000, "test": 2030}, facts=65_000),
    Real("pdnc", "pdnc", {None: 7328}),
    Real("memorybank", "memorybank", {None: 149}),
    Real("incharacter", "incharacter", {None: 572}),
    Real("gsm8k", "domain_math", {"train": 7473}),
    Real("medquad", "domain_medical", {None: 16407}),
    Real("schema_guided", "domain_assistant", {"train": 8000, "val": 2098}),
    Real("legal", "domain_legal", {None: 2765}),
]


@pytest.mark.parametrize("real", REAL, ids=lambda real: real.name)
def test_reads_the_public_data(real: Real, data: Callable[[str], Path]) -> None:
    splits: Counter[str | None] = Counter()
    ids: set[str] = set()
    facts = 0
    for conversation in load(real.name, data(real.folder)):
        splits[conversation.split] += 1
        ids.add(conversation.id)
        facts += sum(len(turn.facts) for turn in conversation.turns)
    assert dict(splits) == real.splits
    assert len(ids) == sum(splits.values())
    assert facts >= real.facts


def test_locomo_has_ten_dialogues(data: Callable[[str], Path]) -> None:
    people = {conversation.person for conversation in load("locomo", data("locomo"))}
    assert len({person.split(":")[1] for person in people}) == 10
    assert len(people) == 20
