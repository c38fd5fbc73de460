"""dvc.yaml, params.yaml, the stage files and the code they call tell the same story."""

import ast
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from ruamel.yaml import YAML
from test_architecture import STAGES, imported

from oldfriend.app import report
from oldfriend.params import Params

ROOT = Path(__file__).parents[1]
# Public datasets are on some machines only, and DVC has no optional dependencies.
OPTIONAL_INPUTS = {"data/external"}
# Plain types, and settings whose values dvc.yaml lists as params.
NOT_CODE_OF_A_STAGE = {"oldfriend/corpus/schema.py", "oldfriend/__init__.py"}


def read(name: str) -> Any:
    return YAML(typ="safe").load((ROOT / name).read_text(encoding="utf-8"))


DVC: dict[str, dict[str, Any]] = read("dvc.yaml")["stages"]
PARAMS: dict[str, Any] = read("params.yaml")
NAMES = sorted(DVC)


def paths(stage: str, key: str) -> set[str]:
    """Paths under ``key`` of a stage, with or without options."""
    return {next(iter(e)) if isinstance(e, dict) else str(e) for e in DVC[stage].get(key, [])}


def covered(path: str, by: set[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(other) for other in by)


def source(stage: str) -> ast.Module:
    return ast.parse((ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8"))


def named(stage: str) -> set[str]:
    """Every Path("...") in a stage file."""
    calls = (node for node in ast.walk(source(stage)) if isinstance(node, ast.Call))
    found = (c.args[0] for c in calls if isinstance(c.func, ast.Name) and c.func.id == "Path")
    return {str(arg.value) for arg in found if isinstance(arg, ast.Constant)}


def test_one_name_everywhere() -> None:
    assert sorted(path.stem for path in STAGES) == NAMES
    assert sorted(set(Params.model_fields) - {"seed"}) == NAMES
    assert sorted(set(PARAMS) - {"seed"}) == NAMES
    assert sorted(report.STAGES) == NAMES


@pytest.mark.parametrize("stage", NAMES)
def test_a_stage_goes_by_its_name(stage: str) -> None:
    assert DVC[stage]["cmd"] == f"python -m stages.{stage}"
    assert paths(stage, "metrics") == {f"metrics/{stage}.json"}
    assert paths(stage, "plots") <= {f"plots/{stage}"}
    assert all(entry[f"metrics/{stage}.json"]["cache"] is False for entry in DVC[stage]["metrics"])
    calls = [node for node in ast.walk(source(stage)) if isinstance(node, ast.Call)]
    by_name = {"stage_run", "fit"}
    given = {
        call.args[0].value
        for call in calls
        if ast.unparse(call.func).split(".")[-1] in by_name
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }
    assert given == {stage}


@pytest.mark.parametrize("stage", NAMES)
def test_params_exist_and_are_the_stage_s_own(stage: str) -> None:
    assert DVC[stage]["params"] == ["seed", stage]
    assert set(DVC[stage]["params"]) <= set(PARAMS)
    used = {
        node.attr
        for node in ast.walk(source(stage))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "run.params"
    }
    assert used <= {"seed", stage}


@pytest.mark.parametrize("stage", NAMES)
def test_the_stage_file_and_dvc_name_the_same_paths(stage: str) -> None:
    deps, outs = paths(stage, "deps"), paths(stage, "outs")
    here = named(stage)
    unknown = {p for p in here if not covered(p, deps | outs)}
    holds_inputs = {p for p in unknown if any(covered(dep, {p}) for dep in deps)}
    assert unknown - holds_inputs <= OPTIONAL_INPUTS
    data = {path for path in deps if path.startswith(("data/", "models/"))}
    assert all(covered(path, here) for path in data | outs)
    assert f"stages/{stage}.py" in deps


@pytest.mark.parametrize("stage", NAMES)
def test_inputs_exist_or_are_made_by_a_stage(stage: str) -> None:
    made = {out for other in NAMES if other != stage for out in paths(other, "outs")}
    for path in paths(stage, "deps"):
        assert covered(path, made) or (ROOT / path).exists(), path


def test_no_two_stages_make_the_same() -> None:
    outs = [out for stage in NAMES for out in paths(stage, "outs")]
    assert len(outs) == len(set(outs))
    assert not [out for out in outs if covered(out, set(outs) - {out})]


@pytest.mark.parametrize("stage", NAMES)
def test_a_change_of_the_code_that_runs_is_seen(stage: str) -> None:
    """All code of the task packages that a stage runs is a dependency of it."""
    deps = paths(stage, "deps")
    parts = ("corpus", "empathy", "lm", "memory", "moe", "persona")
    packages = tuple(f"oldfriend/{part}" for part in parts)
    ran = {p for p in reachable(f"stages/{stage}.py") if p.startswith(packages)}
    ran = {p for p in ran if not p.endswith(("settings.py", "__init__.py"))} - NOT_CODE_OF_A_STAGE
    assert ran
    assert {path for path in ran if not covered(path, deps)} == set()


def reachable(start: str) -> set[str]:
    """The files that ``start`` imports, and theirs; params and tracking are everybody's."""
    seen: set[str] = set()
    queue = [start]
    while queue:
        path = queue.pop()
        if path not in seen and path not in ("oldfriend/params.py", "oldfriend/tracking.py"):
            seen.add(path)
            queue += files_imported(path)
    return seen - {start}


@lru_cache
def files_imported(path: str) -> tuple[str, ...]:
    found = []
    for name in imported(ROOT / path):
        parts = name.split(".")
        for end in range(len(parts), 0, -1):
            file = PurePosixPath(*parts[:end]).with_suffix(".py")
            if (ROOT / file).is_file():
                found.append(str(file))
                break
    return tuple(found)
