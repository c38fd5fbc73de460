"""The memory API: by it a person sees, corrects and erases what is kept of them."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from friend_fakes import on_disk
from serving import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as server:
        yield server


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with server.http() as http:
        yield http


def notes(http: httpx.Client) -> dict[str, str]:
    """Text and id of the notes that are held to be true."""
    found = http.get("/v1/memories", params={"kind": "notes", "current": True}).json()["data"]
    return {note["text"]: note["id"] for note in found}


def test_list_search_and_show(server: Server, http: httpx.Client) -> None:
    for text in ("My cat is called Miro.", "I live in Rome.", "I moved to Oslo."):
        server.say(text)
    assert set(notes(http)) == {"pet name: Miro", "home city: Oslo"}
    everything = http.get("/v1/memories?limit=3").json()
    assert len(everything["data"]) == 3 and everything["total"] == 9
    assert everything["data"][0]["text"] == "home city: Oslo"
    rest = http.get("/v1/memories?limit=500&offset=3").json()["data"]
    assert len(rest) == 6 and not {m["id"] for m in rest} & {m["id"] for m in everything["data"]}
    found = http.get("/v1/memories/search", params={"q": "What is my cat called?"}).json()["data"]
    assert found[0]["text"] == "pet name: Miro" and found[0]["score"] is not None
    shown = http.get(f"/v1/memories/{notes(http)['home city: Oslo']}").json()
    assert ["said in", "I moved to Oslo."] in shown["about"]
    assert any(name == "history" and "Rome" in value for name, value in shown["about"])
    assert any("I moved to Oslo." in line for line in shown["erases"])


def test_put_right_pin_and_let_go(server: Server, http: httpx.Client) -> None:
    server.say("My cat is called Miro.")
    id = notes(http)["pet name: Miro"]
    right = http.patch(f"/v1/memories/{id}", json={"value": "Mira", "pinned": True}).json()
    assert (right["text"], right["pinned"]) == ("pet name: Mira", True)
    assert server.say("What is my cat called?") == "It is Mira."
    url = f"/v1/memories/{right['id']}"
    assert http.patch(url, json={"pinned": False}).json()["pinned"] is False
    for bad in ({}, {"value": ""}, {"value": "Mira"}, {"user": "eve"}, {"pinned": "perhaps"}, []):
        assert http.patch(url, json=bad).status_code == 400, bad
    (turn,) = http.get("/v1/memories?kind=turn").json()["data"][-1:]
    refused = http.patch(f"/v1/memories/{turn['id']}", json={"value": "x"})
    assert refused.status_code == 400 and "only a note" in refused.json()["error"]["message"]


def test_what_is_forgotten_is_in_no_file_and_in_no_answer(
    server: Server, http: httpx.Client, tmp_path: Path
) -> None:
    server.say("My cat is called Miro.")
    server.say("I live in Rome.")
    server.say("Miro is asleep.")
    done = http.delete(f"/v1/memories/{notes(http)['pet name: Miro']}").json()
    assert done["erased"] >= 2 and done["clean"] and done["also"] == ["Miro"]
    assert http.delete("/v1/memories", params={"topic": "Miro"}).json()["clean"]
    assert http.delete("/v1/memories", params={"topic": "Miro"}).status_code == 404
    assert not on_disk(tmp_path / "memory", "Miro")
    assert "Miro" not in server.say("What is my cat called?")
    assert set(notes(http)) == {"home city: Rome"}
    assert http.delete("/v1/memories").status_code == 400
    assert http.delete("/v1/memories?topic=x&everything=true").status_code == 400


def test_everything_is_everything(server: Server, http: httpx.Client, tmp_path: Path) -> None:
    server.say("My cat is called Miro.")
    card = b'{"name": "Miro", "description": "a cat", "first_mes": "Meow."}'
    assert http.post("/v1/personas?filename=m.json", content=card).status_code == 201
    assert http.delete("/v1/memories?everything=true").json()["clean"]
    assert http.get("/v1/memories").json() == {"data": [], "total": 0}
    assert not on_disk(tmp_path, "Miro")
    assert server.pool_users() == []


def test_an_export_can_be_imported(server: Server, http: httpx.Client, tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from friend_fakes import WordEncoder

    from oldfriend.memory.store import rights
    from oldfriend.memory.store.pool import MemoryPool

    server.say("My cat is called Miro.")
    answer = http.get("/v1/memories/export")
    assert "attachment" in answer.headers["content-disposition"]
    file = tmp_path / "taken.jsonl"
    file.write_bytes(answer.content)
    with MemoryPool.open(tmp_path / "elsewhere", WordEncoder()) as pool:
        new = rights.load(pool.of("ada"), file, datetime.now(UTC))
        assert len(new) == len(answer.text.splitlines())
    assert {json.loads(line)["user"] for line in answer.text.splitlines()} == {"ada"}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/memories?limit=0", "/v1/memories?limit=many", "/v1/memories?offset=-1",
        "/v1/memories/search", "/v1/memories/search?q=", "/v1/memories/not-an-id",
        "/v1/memories/search?q=" + "x" * 2001, "/v1/memories?current=perhaps",
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
