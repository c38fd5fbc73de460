"""Stages run by a real DVC: what is said of them, and what is left when they are stopped."""

import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from real_services import alive, wait_for
from tiny_project import ALL, dvc, environment, locked, ran, set_params, write_project

from oldfriend.pipeline import graph, leash
from oldfriend.pipeline.graph import Stage
from oldfriend.pipeline.runner import Runner, StageFailed, stop_on_error


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project")


def stages(project: Path) -> dict[str, Stage]:
    return {stage.name: stage for stage in graph.load(project)}


def test_a_stage_is_completed_then_unchanged_then_cached(project: Path) -> None:
    runner, data, lines = Runner(project), stages(project)["data"], []
    assert runner.repro(data, lines.append) == "Completed"
    assert "data begins" in lines
    assert runner.repro(data, lines.append) == "Unchanged"
    set_params(project, "data.start", 4)
    assert runner.repro(data, lines.append) == "Completed"
    set_params(project, "data.start", 3)
    assert runner.repro(data, lines.append) == "Cached"
    assert (project / "out" / "data").read_text() == "3"
    assert ran(project) == ["data", "data"]
    assert runner.repro(data, lines.append, force=True) == "Completed"
    assert len(ran(project)) == 3


def test_side_by_side_stages_are_all_recorded(project: Path) -> None:
    runner, by_name, problems = Runner(project), stages(project), []
    runner.repro(by_name["data"], print)

    def run(name: str) -> None:
        try:
            runner.repro(by_name[name], print)
        except StageFailed as error:
            problems.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in ("side@left", "side@right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runner.repro(by_name["join"], print)
    assert problems == []
    assert sorted(locked(project)) == sorted(ALL)
    assert (project / "out" / "join").read_text() == "21"


@pytest.mark.parametrize(("code", "final"), [(1, False), (2, True)])
def test_a_failure_tells_its_end_and_bad_input_is_final(
    project: Path, code: int, final: bool
) -> None:
    set_params(project, "data.fail", code)
    said = rf"data failed \(exit code {code}\)[\s\S]*something went wrong"
    with pytest.raises(StageFailed, match=said) as failure:
        Runner(project).repro(stages(project)["data"], print)
    assert failure.value.final is final
    assert locked(project) == {}


def test_a_lost_metrics_file_is_noticed(project: Path) -> None:
    dvc(project, "repro", "data")
    (project / "metrics" / "data.json").unlink()
    lazy = Runner(project, lazy=True)
    dvc(project, "remote", "add", "--default", "store", str(project.parent / "store"))
    with pytest.raises(StageFailed, match=r"metrics/data.json is gone.*git checkout"):
        lazy.repro(stages(project)["data"], print)


def test_stopping_leaves_no_process_and_no_lock_entry(project: Path) -> None:
    set_params(project, "data.sleep", 600)
    runner, failures = Runner(project), []

    def run() -> None:
        try:
            runner.repro(stages(project)["data"], print)
        except StageFailed as error:
            failures.append(str(error))

    thread = threading.Thread(target=run)
    with pytest.raises(KeyboardInterrupt), stop_on_error(runner):
        thread.start()
        wait_for(project / "begun.data")
        raise KeyboardInterrupt
    thread.join()
    assert failures == ["data was stopped; run again to continue"]
    assert alive(project) == {}
    assert locked(project) == {}
    with pytest.raises(StageFailed, match="the pipeline is stopping"):
        runner.repro(stages(project)["data"], print)


def test_a_killed_parent_leaves_no_process(project: Path) -> None:
    set_params(project, "data.sleep", 600)
    code = (
        "from pathlib import Path; from oldfriend.pipeline import graph, runner\n"
        "root = Path.cwd(); runner.Runner(root).repro(graph.load(root)[0], print)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=project, env=environment())
    wait_for(project / "begun.data")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 60
    while alive(project):
        assert time.monotonic() < deadline, alive(project)
        time.sleep(0.1)


def test_a_process_that_ignores_the_signal_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "leash.py"  # the same leash with less patience
    text = Path(leash.__file__).read_text(encoding="utf-8")
    script.write_text(text.replace("GRACE = 20.0", "GRACE = 0.2"), encoding="utf-8")
    monkeypatch.setattr(leash, "__file__", str(script))
    stubborn = "trap '' TERM; touch begun; while true; do sleep 0.1; done"
    process = leash.start(["sh", "-c", stubborn], cwd=tmp_path, env=environment())
    wait_for(tmp_path / "begun")
    leash.let_go(process)
    assert process.wait() == 128 + signal.SIGKILL
    assert alive(tmp_path) == {}


def test_the_leash_hands_on_the_exit_code(tmp_path: Path) -> None:
    process = leash.start(["sh", "-c", "echo said; exit 7"], cwd=tmp_path, env=environment())
    assert process.stdout and process.stdout.read() == "said\n"
    assert process.wait() == 7


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs a disk of its own to fill")
def test_a_full_disk_is_said_and_nothing_is_recorded(project: Path) -> None:
    """In a mount namespace of its own the outputs' folder is a disk of 64 KiB that is full."""
    code = (
        "from pathlib import Path; from oldfriend.pipeline import graph, runner\n"
        "root = Path.cwd(); runner.Runner(root).repro(graph.load(root)[0], print)"
    )
    script = (
        "mkdir -p out && mount -t tmpfs -o size=64k none out && "
        f'(cat /dev/zero > out/full || true) && "{sys.executable}" -c "{code}"'
    )
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(
        command, cwd=project, env=environment(), capture_output=True, text=True, check=False
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("this machine gives no mount namespaces")
    assert "No space left on device" in done.stderr
    assert done.returncode == 1
    assert locked(project) == {}
