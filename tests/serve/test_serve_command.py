"""``oldfriend serve`` as a process: started, talked with, stopped and killed."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

MAIN = "from oldfriend.app.cli import main; main()"
PERSONAS = Path(__file__).parents[2] / "data" / "seeds" / "personas"


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", MAIN, "serve", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A server without models, which remembers words as they are said."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    words = [
        "--port",
        str(port),
        "--embedder",
        "hash",
        "--user",
        "ada",
        "--personas",
        str(PERSONAS),
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "serve", *words], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as http:
            for _ in range(1200):
                try:
                    http.get("/health")
                    break
                except httpx.TransportError:
                    assert process.poll() is None, process.communicate()
                    time.sleep(0.1)
            yield process, http
    finally:
        process.kill()
        process.communicate()


def say(http: httpx.Client, text: str) -> None:
    messages = [{"role": "user", "content": text}]
    answer = http.post("/v1/chat/completions", json={"model": "friend", "messages": messages})
    assert answer.status_code == 200, answer.text


def test_it_stops_as_asked_and_outlives_a_kill(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, http):
        say(http, "My cat is called Miro.")
        assert http.get("/").text.startswith("<!doctype html>")
        say(http, "I live in Rome.")
        process.send_signal(signal.SIGKILL)  # what was answered is on disk
        process.wait(60)
    with serving(tmp_path) as (process, http):
        texts = http.get("/v1/memories/export").text
        assert "Miro" in texts and "Rome" in texts
        say(http, "I work nights.")
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
        assert "Traceback" not in said and "the friend is at http://127.0.0.1" in said
    with serving(tmp_path) as (_, http):
        assert '"kind":"session"' in http.get("/v1/memories/export").text


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--host", "0.0.0.0"], "serve keys add"),
        (["--backend", "http://127.0.0.1:1"], "--backend-model"),
        (["--backend", "ftp://x", "--backend-model", "m"], "an address like"),
        (["keys", "add", ""], "printable"),
        (["keys", "remove", "abc"], "no key begins with"),
    ],
)
def test_bad_usage_is_one_line(tmp_path: Path, words: list[str], problem: str) -> None:
    done = run(tmp_path, *words)
    assert done.returncode == 2, done.stderr
    assert problem in done.stderr and "Traceback" not in done.stderr


def test_keys_by_command(tmp_path: Path) -> None:
    key = run(tmp_path, "keys", "add", "ada").stdout.strip()
    assert key.startswith("of-") and key not in (tmp_path / "keys.json").read_text()
    (line,) = run(tmp_path, "keys", "list").stdout.splitlines()
    assert line.endswith("ada")
    assert "ada" in run(tmp_path, "keys", "remove", line.split()[0]).stdout
    assert run(tmp_path, "keys", "list").stdout == ""
