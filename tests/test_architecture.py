"""The arrows of docs' design: who may import whom."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = sorted((ROOT / "oldfriend").rglob("*.py"))
STAGES = sorted((ROOT / "stages").glob("[!_]*.py"))
MAX_STAGE_LINES = 25
PACKAGES = {
    part: {f"oldfriend.{other}" for other in others}
    for part, others in {
        "corpus": ("lm", "memory", "agent", "app", "params", "tracking", "outcome"),
        "lm": ("memory", "agent", "app", "params", "tracking"),
        "memory": ("agent", "bench", "app", "params", "tracking"),
        "persona": ("agent", "empathy", "bench", "app", "params", "tracking"),
        "empathy": ("agent", "persona", "bench", "app", "params", "tracking"),
        "moe": ("agent", "persona", "empathy", "bench", "app", "params", "tracking"),
        "agent": ("bench", "app", "params", "tracking", "outcome"),
    }.items()
}


def imported(path: Path) -> Iterator[str]:
    """Full names of all that a file imports, wherever the import stands."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (str(arg.value) for arg in node.args if isinstance(arg, ast.Constant))


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def importers(package: str) -> set[str]:
    found = (p for p in LIBRARY if any(within(name, package) for name in imported(p)))
    return {label(path) for path in found}


def test_there_is_something_to_check() -> None:
    assert len(LIBRARY) > 30
    assert {path.stem for path in STAGES} >= {"curate", "base", "ground", "summarizer"}


def test_only_tracking_imports_mlflow() -> None:
    assert importers("mlflow") == {"oldfriend/tracking.py"}


def test_only_the_pipeline_package_imports_dvc() -> None:
    assert all(name.startswith("oldfriend/pipeline/") for name in importers("dvc"))


@pytest.mark.parametrize("package", ["prefect", "stages", "flows", "tests", "benchmarks"])
def test_the_library_imports_nothing_that_stands_on_it(package: str) -> None:
    assert importers(package) == set()


@pytest.mark.parametrize("part", sorted(PACKAGES))
def test_arrows_point_one_way(part: str) -> None:
    for path in sorted((ROOT / "oldfriend" / part).rglob("*.py")):
        names = set(imported(path))
        bad = {name for name in names for other in PACKAGES[part] if within(name, other)}
        assert not bad, label(path)


def test_experts_know_of_memory_only_the_words_of_its_prompts() -> None:
    """A mixture must keep what the dense model was taught, in the very words."""
    known = {
        (path.stem, name.removeprefix("oldfriend.memory.").split(".")[0])
        for path in (ROOT / "oldfriend" / "moe").rglob("*.py")
        for name in imported(path)
        if within(name, "oldfriend.memory")
    }
    words = ("grounding", "intent", "notes", "store")
    assert known == {("lessons", word) for word in words}


@pytest.mark.parametrize("part", ["lm", "memory", "empathy", "agent", "moe"])
def test_the_corpus_is_known_by_its_rows_only(part: str) -> None:
    for path in sorted((ROOT / "oldfriend" / part).rglob("*.py")):
        corpus = {name for name in imported(path) if within(name, "oldfriend.corpus")}
        assert all(within(name, "oldfriend.corpus.schema") for name in corpus), label(path)


@pytest.mark.parametrize("path", STAGES, ids=lambda path: path.stem)
def test_a_stage_is_short_and_stands_alone(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_STAGE_LINES
    assert not [name for name in imported(path) if within(name, "stages")]
    assert not [name for name in imported(path) if within(name, "oldfriend.app")]
