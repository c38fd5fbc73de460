"""Many people at once: the server against the same model asked one at a time, and under faults.

    python -m benchmarks.serve --models models --minutes 10 --json metrics/bench/serve.json

``engine``: the model alone, N prompts at once: continuous batching against ``generate`` of plain
transformers, one prompt after the other. ``server``: whole turns over HTTP (memory, reply, notes)
against one ``Friend`` in front of which N people queue. Both of the same script, in one run. Then
mixed load with faults, among them a kill -9 of the server, and a count of what was lost.
"""

import argparse
import json
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from oldfriend.files import write_json

PEOPLE = (1, 8, 32)
TOKENS = 40  # of each answer of the model alone
TURNS = 4  # of each person
Turn = tuple[str, float, float]  # the reply, seconds until it began and until it was remembered
NAMES = ("Miro", "Bella", "Otis", "Nala", "Rex", "Luna", "Fig", "Pepper")
CITIES = ("Rome", "Oslo", "Porto", "Riga", "Graz", "Lyon", "Turin", "Malmo")


def script(person: int) -> list[str]:
    """What a person says; everybody something else."""
    rng = random.Random(person)
    name, city = f"{rng.choice(NAMES)}{person}", f"{rng.choice(CITIES)}{person}"
    return [
        f"My cat is called {name}.", "What is my cat called?", f"I moved to {city} last week.",
        "Where do I live?",
    ][:TURNS]  # fmt: skip


def spread(prefix: str, seconds: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    ordered = sorted(seconds)
    at = min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))
    return {f"{prefix}_p50": statistics.median(ordered), f"{prefix}_p95": ordered[at]}


def engine_alone(models: Path) -> dict[str, float]:
    """The model alone: N prompts that are there at the same moment."""
    import torch

    from oldfriend.app.serve.engine import Engine, Wanted
    from oldfriend.lm.chat import message, render_prompt, stop_ids
    from oldfriend.lm.model import load

    model, tokenizer = load(models / "friend")
    model.eval()
    found: dict[str, float] = {}
    for people in PEOPLE:
        prompts = [[message("user", text) for text in script(n)[:2]] for n in range(people)]
        engine = Engine(model, tokenizer, rows=max(PEOPLE))
        began = time.perf_counter()
        futures = [engine.submit(Wanted(prompt, TOKENS)) for prompt in prompts]
        ends = _ends(began, futures)
        tokens = sum(future.result().tokens for future in futures)
        engine.close()
        found[f"engine_tokens_per_s_{people}"] = tokens / max(ends)
        found |= spread(f"engine_done_s_{people}", ends)

        began, ends, tokens = time.perf_counter(), [], 0
        for prompt in prompts:
            text = render_prompt(tokenizer, prompt)
            ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
            with torch.no_grad(), torch.autocast(model.device.type, torch.bfloat16):
                written = model.generate(
                    input_ids=ids["input_ids"], attention_mask=ids["attention_mask"],
                    max_new_tokens=TOKENS, do_sample=False,
                    eos_token_id=stop_ids(tokenizer), pad_token_id=tokenizer.pad_token_id,
                )  # fmt: skip
            tokens += written.shape[1] - ids["input_ids"].shape[1]
            ends.append(time.perf_counter() - began)
        found[f"plain_tokens_per_s_{people}"] = tokens / max(ends)
        found |= spread(f"plain_done_s_{people}", ends)
    return found


def _ends(began: float, futures: "Sequence[Future[Any]]") -> list[float]:
    """When each was done, in seconds."""
    ends: list[float] = []
    for future in futures:
        future.add_done_callback(lambda _: ends.append(time.perf_counter() - began))
    wait(futures)
    while len(ends) < len(futures):  # the callbacks come after the result
        time.sleep(0)
    return ends


class Stopwatch:
    """Notes when it was called."""

    at = 0.0

    def __call__(self, _: str) -> None:
        self.at = time.perf_counter()


def one_friend(models: Path, folder: Path, people: int) -> dict[str, float]:
    """N people before one Friend, who takes one turn at a time."""
    from oldfriend.agent.friend import Friend

    with Friend.open(folder / f"one-{people}", models) as friend:
        friend.turn("warm", "Hello.")

        def live(person: int) -> list[Turn]:
            took = []
            for text in script(person):
                began, said = time.perf_counter(), Stopwatch()
                reply = friend.turn(f"p{person}", text, say=said)
                took.append((reply.text, said.at - began, time.perf_counter() - began))
            return took

        return _measured("one", models, people, live)


def served(models: Path, folder: Path, people: int) -> dict[str, float]:
    """The same over HTTP, streaming."""
    with Serving(models, folder / f"served-{people}", [f"p{n}" for n in range(people)]) as server:
        server.talk("p0", "Hello.")

        def live(person: int) -> list[Turn]:
            return [server.talk(f"p{person}", text) for text in script(person)]

        found = _measured("server", models, people, live)
        return found | {f"server_memory_mb_{people}": server.memory_mb()}


def _measured(
    name: str, models: Path, people: int, live: Callable[[int], list[Turn]]
) -> dict[str, float]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(models / "friend")
    began = time.perf_counter()
    with ThreadPoolExecutor(people) as pool:
        turns = [turn for turns in pool.map(live, range(people)) for turn in turns]
    took = time.perf_counter() - began
    tokens = sum(len(tokenizer(text)["input_ids"]) for text, _, _ in turns)
    return {
        f"{name}_turns_per_s_{people}": len(turns) / took,
        f"{name}_tokens_per_s_{people}": tokens / took,  # of what is heard, drafts aside
        **spread(f"{name}_first_s_{people}", [first for _, first, _ in turns]),
        **spread(f"{name}_turn_s_{people}", [whole for _, _, whole in turns]),
    }


class Serving:
    """``oldfriend serve`` as a process of its own, with a key for each of ``users``."""

    def __init__(self, models: Path, folder: Path, users: Sequence[str], port: int = 0) -> None:
        from oldfriend.app.serve import keys

        self._models, self._folder, self.port = models.resolve(), folder, port or _free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self.keys = {user: keys.add(folder / "keys.json", user) for user in users}
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        code = "from oldfriend.app.cli import main; main()"
        personas = Path("data/seeds/personas").resolve()
        command = [
            sys.executable, "-c", code, "serve", "--port", str(self.port), "--models",
            str(self._models), "--memory", "memory", "--keys", "keys.json", "--personas",
            str(personas), "--per-minute", "100000",
        ]  # fmt: skip
        log = (self._folder / "log").open("ab")
        self.process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log)
        for _ in range(600):
            try:
                httpx.get(f"{self.url}/health", trust_env=False).raise_for_status()
                return
            except httpx.HTTPError:
                time.sleep(0.2)
        raise RuntimeError((self._folder / "log").read_text())

    def stop(self, how: int = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(120)

    def http(self, user: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.keys[user]}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=300, trust_env=False)

    def talk(self, user: str, text: str) -> Turn:
        """Say ``text``, streaming."""
        body = {"model": "friend", "stream": True, "messages": [{"role": "user", "content": text}]}
        began, first, said = time.perf_counter(), 0.0, ""
        with self.http(user) as http, http.stream("POST", "/v1/chat/completions", json=body) as got:
            got.raise_for_status()
            for line in got.iter_lines():
                if line == "data: [DONE]":
                    return said, first, time.perf_counter() - began
                if line.startswith("data: ") and '"content":"' in line:
                    piece = json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
                    first = first or (time.perf_counter() - began if piece else 0.0)
                    said += piece
        raise httpx.RemoteProtocolError("the stream ended early")

    def memory_mb(self, kind: str = "VmRSS") -> float:
        """Of the process; ``RssAnon``: without mapped files, which the system may take back."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(status.partition(f"{kind}:")[2].split()[0]) / 1024

    def __enter__(self) -> "Serving":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass
class Tally:
    """What came of a mixed load. ``heard``: turns whose end a client saw."""

    heard: dict[str, list[str]] = field(default_factory=dict)
    count: Counter[str] = field(default_factory=Counter)
    leaks: list[str] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)


def mixed(models: Path, folder: Path, minutes: float, people: int = 6) -> dict[str, float]:
    """Talk, faults and a kill -9 at half time; afterwards everything that was heard must be there,
    and nobody else's."""
    users = [f"p{n}" for n in range(people)]
    server, tally, stop = Serving(models, folder / "mixed", users), Tally(), threading.Event()
    began, seconds = time.monotonic(), 60 * minutes

    def talker(user: str) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            text = f"My cat is called {user.title()}cat{number}."
            try:
                said, _, _ = server.talk(user, text if number % 2 else "What is my cat called?")
                if number % 2:
                    tally.heard.setdefault(user, []).append(f"{user.title()}cat{number}")
                if any(f"{u.title()}cat" in said for u in users if u != user):
                    tally.leaks.append(said)
                tally.count["turns"] += 1
            except httpx.HTTPStatusError as error:
                tally.count[f"turns_{error.response.status_code}"] += 1
            except httpx.HTTPError:
                tally.count["turns_cut"] += 1
                time.sleep(0.2)

    faults = (_leave, _malformed, _huge, _other_ids)

    def breaker(seed: int) -> None:
        rng = random.Random(seed)
        while not stop.is_set():
            fault = rng.choice(faults)
            try:
                found = fault(server, users, rng)
                tally.count[f"{fault.__name__.strip('_')}_{found}"] += 1
            except (httpx.HTTPError, OSError):
                tally.count[f"{fault.__name__.strip('_')}_cut"] += 1
            time.sleep(0.2)

    server.start()
    work = [threading.Thread(target=talker, args=(user,)) for user in users]
    work += [threading.Thread(target=breaker, args=(seed,)) for seed in range(2)]
    for thread in work:
        thread.start()
    killed = False
    while (past := time.monotonic() - began) < seconds:
        time.sleep(min(5.0, seconds / 20))
        if not killed and past > seconds / 2:
            server.stop(signal.SIGKILL)
            server.start()
            killed = True
        tally.memory.append((past, server.memory_mb("RssAnon")))
    stop.set()
    for thread in work:
        thread.join()
    lost, crossed = 0, len(tally.leaks)
    for user in users:
        with server.http(user) as http:
            exported = http.get("/v1/memories/export").text
        lost += sum(name not in exported for name in tally.heard.get(user, []))
        crossed += sum(f"{other.title()}cat" in exported for other in users if other != user)
    server.stop()
    # A minute after the restart everything is loaded; what grows from there on is a leak.
    after = [mb for past, mb in tally.memory if past > max(seconds / 2 + 60, 0.6 * seconds)]
    third = max(1, len(after) // 3)
    return {
        "mixed_minutes": minutes, "mixed_lost_turns": lost, "mixed_cross_user": crossed,
        "mixed_heard": sum(map(len, tally.heard.values())),
        "mixed_memory_mb_first": statistics.median(after[:third] or [0]),
        "mixed_memory_mb_last": statistics.median(after[-third:] or [0]),
        **{f"mixed_{name}": float(count) for name, count in sorted(tally.count.items())},
    }  # fmt: skip


def _leave(server: Serving, users: Sequence[str], rng: random.Random) -> str:
    """Ask, and go before the answer."""
    user = rng.choice(users)
    body = json.dumps(
        {"model": "friend", "messages": [{"role": "user", "content": "Hold on."}], "stream": True}
    ).encode()
    with socket.create_connection(("127.0.0.1", server.port)) as wire:
        wire.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
            % (server.keys[user].encode(), len(body), body)
        )
        time.sleep(rng.random() / 5)
    return "done"


def _malformed(server: Serving, users: Sequence[str], rng: random.Random) -> str:
    body = rng.choice([b"{", b"[]", b'{"model": 1}', b"\xff", b'{"messages": [[[[', b"null"])
    with server.http(rng.choice(users)) as http:
        return str(http.post("/v1/chat/completions", content=body).status_code)


def _huge(server: Serving, users: Sequence[str], rng: random.Random) -> str:
    """100 MB, with or without saying so first."""
    pieces = (b" " * 1_000_000 for _ in range(100))
    content: Any = b" " * 100_000_000 if rng.random() < 0.5 else pieces
    with server.http(rng.choice(users)) as http:
        return str(http.post("/v1/chat/completions", content=content).status_code)


def _other_ids(server: Serving, users: Sequence[str], rng: random.Random) -> str:
    """Somebody's memory, asked for with another's key."""
    mine, theirs = rng.sample(list(users), 2)
    with server.http(mine) as http, server.http(theirs) as other:
        found = other.get("/v1/memories?limit=5").json()["data"]
        if not found:
            return "none"
        url = f"/v1/memories/{rng.choice(found)['id']}"
        return str(http.request(rng.choice(["GET", "DELETE"]), url).status_code)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def main() -> None:
    """Print the metrics, and write them if asked to."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--models", type=Path, default=Path("models"))
    options.add_argument("--minutes", type=float, default=10.0, help="of mixed load; 0: none")
    options.add_argument("--json", type=Path)
    asked = options.parse_args()
    metrics = engine_alone(asked.models)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for people in PEOPLE:
            metrics |= one_friend(asked.models, folder, people)
            metrics |= served(asked.models, folder, people)
        if asked.minutes:
            metrics |= mixed(asked.models, folder, asked.minutes)
    for key, value in metrics.items():
        print(f"{key:36} {value:10.3f}")
    if asked.json:
        write_json(asked.json, metrics)


if __name__ == "__main__":
    main()
