"""The stages of dvc.yaml as DVC itself resolves them, and which of them are up to date.

DVC's Python interface is not public; this file is the only one that touches it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oldfriend.errors import InputError, MissingDataError

if TYPE_CHECKING:
    from dvc.repo import Repo

DVC_YAML = "dvc.yaml"
META = ("gpus", "retries")


@dataclass(frozen=True)
class Stage:
    """One stage; an instance of a foreach or matrix stage is a stage of its own."""

    name: str
    upstream: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()  # files that it writes, relative to the repository's root
    gpus: int = 0
    retries: int = 0


def load(root: Path) -> list[Stage]:
    """All stages of ``root``/dvc.yaml, dependencies first, otherwise in dvc.yaml's order.

    ``meta: {gpus: N, retries: N}`` of a stage says what it needs and how often a failed one is
    tried again. Raises InputError for a dvc.yaml that DVC cannot read or a malformed ``meta``.
    """
    return [_stage(node, before) for node, before in _nodes(_open(root), root)]


def chosen(stages: Sequence[Stage], only: Iterable[str] = (), start: str = "") -> list[Stage]:
    """Of ``stages`` those named in ``only``, or ``start`` and all that stands on it; else all.

    A name with nothing behind the ``@`` (``persona`` of ``persona@ada``) means all its instances.
    Raises InputError for a name that dvc.yaml lacks.
    """
    wanted = {name for part in only for name in _instances(stages, part)}
    if start:
        found = set(_instances(stages, start))
        for stage in stages:  # dependencies come first, so one pass finds all that follows
            if found & set(stage.upstream):
                found.add(stage.name)
        wanted |= found
    return [stage for stage in stages if stage.name in wanted] if only or start else list(stages)


def up_to_date(root: Path, *, lazy: bool) -> frozenset[str]:
    """Names of the stages that DVC would pass over, upstream stages included in the judgement.

    ``lazy``: outputs that are not on this machine, but in dvc.lock, count as there. One look at
    all stages costs as much as starting DVC for one of them.
    """
    from dvc.repo import lock_repo

    repo, found = _open(root), set[str]()
    with lock_repo(repo):
        for node, before in _nodes(repo, root):
            written = all((root / path).is_file() for path in _metrics(node))
            if written and found.issuperset(before) and not node.changed(allow_missing=lazy):
                found.add(node.name)
    return frozenset(found)


def remote(root: Path) -> str:
    """Name of the default DVC remote of ``root``; empty if there is none."""
    return str(_open(root).config["core"].get("remote", ""))


def push(root: Path, names: Sequence[str]) -> None:
    """Send the outputs of the stages ``names`` and the run cache to the default DVC remote.

    The run cache can stand in for a stage only with all its outputs; `dvc push` leaves out those
    that git keeps (metrics), so they are sent as well.
    """
    repo = _open(root)
    nodes = [node for node, _ in _nodes(repo, root) if node.name in names]
    # A bare name is looked for in the working directory, and passed over if it is not there.
    repo.push(targets=[node.addressing for node in nodes], run_cache=True)
    kept_by_git = {out.hash_info for node in nodes for out in node.outs if not out.use_cache}
    repo.cloud.push([info for info in kept_by_git if info])


def outputs(root: Path) -> dict[str, str]:
    """MD5 of everything that dvc.lock says the stages made, by path."""
    return {
        out.def_path: out.hash_info.value
        for node, _ in _nodes(_open(root), root)
        for out in node.outs
        if out.hash_info
    }


def lay_out(root: Path, md5: str, path: Path) -> None:
    """Put what DVC keeps under ``md5`` at ``path``, from the cache or else the default remote.

    Raises MissingDataError if neither has it.
    """
    from dvc.fs import LocalFileSystem
    from dvc_data.hashfile import load as load_object
    from dvc_data.hashfile.checkout import CheckoutError, checkout
    from dvc_data.hashfile.hash_info import HashInfo

    repo, info = _open(root), HashInfo("md5", md5)
    if remote(root):
        repo.cloud.pull([info])
    path.parent.mkdir(parents=True, exist_ok=True)
    cache = repo.cache.local
    try:
        checkout(str(path), LocalFileSystem(), load_object(cache, info), cache, force=True)
    except (FileNotFoundError, CheckoutError) as error:
        raise MissingDataError(
            f"the bytes of {path.name} ({md5}) are neither in DVC's cache nor in its remote"
        ) from error


def _open(root: Path) -> "Repo":
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    try:
        return Repo(str(root), _wait_for_lock=True)
    except NotDvcRepoError:
        raise MissingDataError(f"{root} is no DVC repository; run this in its root") from None


def _nodes(repo: "Repo", root: Path) -> list[tuple[Any, tuple[str, ...]]]:
    """DVC's own stage objects, each with the names it stands on, dependencies first."""
    import networkx
    from dvc.exceptions import DvcException

    try:
        graph = repo.index.graph  # an edge points to the dependency
    except DvcException as error:
        cause = f": {error.__cause__}" if error.__cause__ else ""
        raise InputError(f"{error}{cause}", path=root / DVC_YAML) from None
    here = [node for node in graph if node.cmd and node.path_in_repo == DVC_YAML]
    place = {node: number for number, node in enumerate(here)}
    order = networkx.lexicographical_topological_sort(graph.reverse().subgraph(here), place.get)
    return [(node, _upstream(graph, node, place)) for node in order]


def _upstream(graph: Any, node: Any, place: dict[Any, int]) -> tuple[str, ...]:
    found = [other for other in graph.successors(node) if other in place]
    return tuple(other.name for other in sorted(found, key=lambda other: place[other]))


def _stage(node: Any, before: tuple[str, ...]) -> Stage:
    meta = node.meta or {}
    path = Path(DVC_YAML)
    numbers = {key: meta.get(key, 0) for key in META}
    for key, value in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            message = f"expected a whole number from 0 on, got {value!r}"
            raise InputError(message, path=path, field=f"stages.{node.name}.meta.{key}")
    return Stage(node.name, before, _metrics(node), **numbers)


def _metrics(node: Any) -> tuple[str, ...]:
    return tuple(out.def_path for out in node.outs if out.metric)


def _instances(stages: Sequence[Stage], name: str) -> list[str]:
    found = [stage.name for stage in stages if name in (stage.name, stage.name.split("@")[0])]
    if not found:
        known = ", ".join(stage.name for stage in stages)
        raise InputError(f"no stage '{name}' in {DVC_YAML}; there are: {known}")
    return found
