"""Workers with clones of their own on one DAG: git, an S3 bucket and Prefect between them."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen

import pytest
from real_services import Server, alive, flow
from tiny_project import ALL, DVC_YAML, ROOT, dvc, git, locked, set_params, write_project

from flows import services, setup

pytestmark = pytest.mark.slow
BUCKET = "runs"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an S3 server on loopback with an empty bucket."""
    port = services.free_port()
    address, log = f"http://127.0.0.1:{port}", tmp_path_factory.mktemp("s3") / "log"
    command = ["moto.server", "--port", str(port)]
    with services.service(command, env=os.environ, log=log, answers=f"{address}/moto-api/"):
        import boto3

        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "eu-west-1"}
        place = {"LocationConstraint": "eu-west-1"}
        client = boto3.client("s3", endpoint_url=address, **keys)
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
        yield address


@pytest.fixture
def origin(tmp_path: Path, s3: str) -> Path:
    """A bare repository of the project, its data in the bucket; all stages may run anywhere."""
    text = DVC_YAML.replace("meta: {gpus: 1, retries: 1}", "")
    project = write_project(tmp_path / "project", **{"dvc.yaml": text})
    (project / "prefect.yaml").write_bytes((ROOT / "prefect.yaml").read_bytes())
    dvc(project, "remote", "add", "--default", "store", f"s3://{BUCKET}/{tmp_path.name}")
    dvc(project, "remote", "modify", "store", "endpointurl", s3)
    set_params(project, "side.left.until", str(tmp_path / "go"))
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "-m", "a bucket")
    git(tmp_path, "clone", "--quiet", "--bare", str(project), "origin.git")
    return tmp_path / "origin.git"


def settings(server: Server, origin: Path, home: Path) -> dict[str, str]:
    """Environment of a machine of its own: clones, caches and settings in ``home``."""
    home.mkdir(parents=True)
    own = {"TMPDIR": home, "DVC_GLOBAL_CONFIG_DIR": home, "DVC_SITE_CACHE_DIR": home / "site"}
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    more = {
        "OLDFRIEND_REPOSITORY": origin.as_uri(),
        "OLDFRIEND_REF": "main",
        "OLDFRIEND_HOME": str(home),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    return server.env | {key: str(path) for key, path in own.items()} | keys | more


@contextmanager
def worker(env: dict[str, str]) -> Iterator[None]:
    home = Path(env["TMPDIR"])
    command = services.worker("cpu", home.name)
    with services.service(command, env=env, log=home / "worker.log", cwd=home):
        yield


def test_a_run_goes_on_where_another_worker_died(
    server: Server, origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = tmp_path / "lost-workers.yaml"  # as it is, with less patience
    text = setup.LOST_WORKERS.read_text(encoding="utf-8")
    lost.write_text(text.replace("within: 75", "within: 40"), encoding="utf-8")
    git(tmp_path, "clone", "--quiet", origin.as_uri(), "caller")
    homes = [tmp_path / "a", tmp_path / "b"]
    machines = {home: settings(server, origin, home) for home in homes}
    caller = settings(server, origin, tmp_path / "c")
    monkeypatch.chdir(tmp_path / "caller")
    services.run(["flows.setup", "--lost-workers", str(lost)], caller)
    with ExitStack() as up:
        for env in machines.values():
            up.enter_context(worker(env))
        with flow(tmp_path / "caller", server, "--spread", "--branch", "x", **caller) as process:
            power_cut(wait_for_any(homes, "begun.side.left", process))
            (tmp_path / "go").touch()
            said, _ = process.communicate()
    assert process.returncode == 0, said
    assert "worker lost" in said
    check = tmp_path / "check"
    git(tmp_path, "clone", "--quiet", "--branch", "runs/x", origin.as_uri(), str(check))
    assert sorted(locked(check)) == sorted(ALL)
    assert json.loads((check / "metrics" / "join.json").read_text())["total"] == 21
    assert (tmp_path / "caller" / "metrics" / "join.json").is_file()
    dvc(check, "pull", **caller)
    assert (check / "out" / "join").read_text() == "21"


def wait_for_any(homes: list[Path], name: str, process: "Popen[str]") -> Path:
    """The home in which a file of this ``name`` turned up."""
    until = time.monotonic() + 900
    while True:
        for home in homes:
            if any(home.glob(f"*/*/{name}")):  # of a run, its clone
                return home
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, f"{name} never came"
        time.sleep(0.1)


def power_cut(home: Path) -> None:
    """Nobody on the machine of ``home`` gets to say goodbye."""
    for pid in alive(home):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
