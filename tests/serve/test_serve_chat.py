"""The API as the official OpenAI client, SillyTavern and curl meet it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from serving import PERSONAS, Server

from oldfriend.persona import card as cards


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    names = [f"user{n}" for n in range(30)]
    with Server(tmp_path_factory.mktemp("serve"), names) as server:
        yield server


@pytest.fixture
def user(server: Server, request: pytest.FixtureRequest) -> str:
    """Somebody whom nobody talked with before."""
    free: list[str] = getattr(server, "free", None) or sorted(server.keys)
    name = free.pop()
    server.free = free  # type: ignore[attr-defined]
    return name


def said(*texts: str) -> Any:
    """Messages of a conversation: user, assistant, user..."""
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]


def test_each_persona_is_a_model(server: Server, user: str) -> None:
    client = server.openai(user)
    names = [model.id for model in client.models.list()]
    assert names[0] == "friend"
    assert {"dragana", "ashdown", "ofelia"} <= set(names)
    assert client.models.retrieve("dragana").id == "dragana"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("nobody")
    assert caught.value.code == "model_not_found"
    client.chat.completions.create(model="dragana", messages=said("Hello."))
    assert server.voice.personas[-1] == "Dragana"


def test_who_one_talks_with_may_change_within_a_conversation(server: Server, user: str) -> None:
    http, who = server.http(user), []
    for n, name in enumerate(("friend", "dragana", "mairi", "friend", "dragana")):
        asked = {**body(f"Hello for the {n + 1}. time."), "model": name, "oldfriend": {"why": True}}
        answer = http.post("/v1/chat/completions", json=asked)
        found = [r for r in answer.json()["oldfriend"]["reasons"] if r.startswith("persona")]
        who.append(found[0] if found else "")
    names = [cards.read(PERSONAS / f"{name}.yaml").data.called for name in ("dragana", "mairi")]
    dragana, mairi = (f"persona: {name}" for name in names)
    assert who == ["", dragana, mairi, "", dragana]
    rows = [json.loads(line) for line in http.get("/v1/memories/export").text.splitlines()]
    places = [(row["source"]["session"], row["source"]["turn"]) for row in rows]
    assert sorted(places) == [(places[0][0], n) for n in range(10)], "one conversation"


def test_a_reply_in_one_piece_is_remembered(server: Server, user: str) -> None:
    client = server.openai(user)
    create = client.chat.completions.create
    first = create(model="friend", messages=said("My cat is called Miro."))
    assert first.object == "chat.completion"
    assert first.choices[0].message.content == "Tell me more."
    assert first.choices[0].finish_reason == "stop"
    assert first.usage and first.usage.completion_tokens == 3
    assert first.usage.total_tokens == first.usage.prompt_tokens + 3
    again = create(model="friend", messages=said("What is my cat called?"))
    assert again.choices[0].message.content == "It is Miro."
    assert again.id != first.id


def test_a_stream_says_the_same_and_ends_when_it_is_remembered(server: Server, user: str) -> None:
    client = server.openai(user)
    client.chat.completions.create(model="friend", messages=said("My dog is called Rex."))
    stream = client.chat.completions.create(
        model="friend", messages=said("What is my dog called?"), stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    chunks = list(stream)
    deltas = [c.choices[0].delta for c in chunks if c.choices]
    assert deltas[0].role == "assistant"
    assert "".join(d.content or "" for d in deltas) == "It is Rex."
    assert sum(bool(d.content) for d in deltas) == 3, "word by word"
    ends = [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
    assert ends == ["stop"]
    assert chunks[-1].usage and chunks[-1].usage.completion_tokens > 0
    assert {c.id for c in chunks} == {chunks[0].id}
    texts = [m["text"] for m in server.http(user).get("/v1/memories").json()["data"]]
    assert "friend: It is Rex." in texts


def test_stop_length_and_several_answers(server: Server, user: str) -> None:
    create = server.openai(user).chat.completions.create
    cut = create(model="friend", messages=said("Hm."), stop=["more", "x"]).choices[0]
    assert (cut.message.content, cut.finish_reason) == ("Tell me ", "stop")
    short = create(model="friend", messages=said("Well."), max_tokens=2).choices[0]
    assert short.finish_reason == "length"
    create(model="friend", messages=said("My cat is called Miro."))
    several = create(model="friend", messages=said("What is my cat called?"), n=3, temperature=1.3)
    assert [c.index for c in several.choices] == [0, 1, 2]
    assert several.choices[0].message.content == "It is Miro."
    assert all("miro" in str(c.message.content).lower() for c in several.choices)
    turns = server.http(user).get("/v1/memories?kind=turn").json()["data"]
    assert sum("cat called" in t["text"] for t in turns) == 1, "remembered once"
    stream = create(model="friend", messages=said("And now."), n=2, stream=True, stop="more")
    texts = {0: "", 1: ""}
    for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == {0: "Tell me ", 1: "TELL ME MORE."}


def test_the_same_conversation_again_is_the_same_turn(server: Server, user: str) -> None:
    """Clients try again when a connection breaks; what was said is not said twice."""
    create = server.openai(user).chat.completions.create
    talk = said("Hello.", "Tell me more.", "My cat is called Miro.")
    first, again = (create(model="friend", messages=talk) for _ in range(2))
    assert first.choices[0].message.content == again.choices[0].message.content
    for count in ("0", "1", "2"):
        create(
            model="friend", messages=said("I live in Rome."),
            extra_headers={"x-stainless-retry-count": count},
        )  # fmt: skip
    for _ in range(2):
        create(
            model="friend", messages=said("Yes."), extra_headers={"Idempotency-Key": "a"}
        )  # fmt: skip
    for _ in range(2):  # a single message may be meant twice
        create(model="friend", messages=said("No."))
    turns = [m["text"] for m in server.http(user).get("/v1/memories?kind=turn").json()["data"]]
    heard = [text for text in turns[::-1] if text.startswith("user")]
    words = ["My cat is called Miro.", "I live in Rome.", "I live in Rome.", "Yes.", "No.", "No."]
    # The client says 0 at its first try: that one stands for itself.
    assert heard == [f"user: {text}" for text in words]


def test_why_tells_what_is_behind_a_reply(server: Server, user: str) -> None:
    http = server.http(user)
    http.post("/v1/chat/completions", json=body("My cat is called Miro."))
    asked = {**body("What is my cat called?"), "oldfriend": {"why": True}}
    why = http.post("/v1/chat/completions", json=asked).json()["oldfriend"]
    assert why["quote"] == "your pet name: Miro"
    assert why["told"][0]["text"] == "pet name: Miro"
    assert any("memory needed" in line for line in why["reasons"])
    assert why["hits"] and why["seconds"]["speak"] >= 0
    asked = {**body("My sister is Ana."), "oldfriend": {"why": True}, "stream": True}
    lines = http.post("/v1/chat/completions", json=asked).text.split("\n\n")
    assert any('"noted":[{' in line for line in lines)
    assert lines[-2:] == ["data: [DONE]", ""]


def body(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "friend", "messages": said(text), **more}


@pytest.mark.parametrize(
    ("asked", "status", "param"),
    [
        (b"{", 400, None),
        (b"[]", 400, None),
        (b'"\xff"', 400, None),
        (b"", 400, None),
        (b"{}", 400, "model"),
        (b"[" * 100_000, 400, None),
        ({"model": "friend", "messages": []}, 400, "messages"),
        ({"model": "friend", "messages": [{"role": "pope", "content": "x"}]}, 400, "messages.0"),
        ({"model": "friend", "messages": [{"role": "system", "content": "x"}]}, 400, "messages"),
        (body(" "), 400, "text"),
        (body("x" * 4001), 400, "text"),
        (body("x", n=0), 400, "n"),
        (body("x", n=9), 400, "n"),
        (body("x", temperature=3), 400, "temperature"),
        (body("x", temperature="warm"), 400, "temperature"),
        (body("x", max_tokens=0), 400, "max_tokens"),
        (body("x", stream="maybe"), 400, "stream"),
        (body("x", response_format={"type": "json_object"}), 400, "response_format.type"),
        (body("x", model="../../etc/passwd"), 404, "model"),
        (body("x", model="nobody"), 404, "model"),
        (body("x", stream=True, model="nobody"), 404, "model"),
        (body("", stream=True), 400, "text"),
        (
            {"model": "friend", "messages": [{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "http://127.0.0.1/x"}}]}]},
            400, "messages.0",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_openais_shape(
    server: Server, asked: Any, status: int, param: str | None
) -> None:
    data = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
    headers = {"content-type": "application/json"}
    answer = server.http("user0").post("/v1/chat/completions", content=data, headers=headers)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error" and error["message"]
    assert (error["param"] or "").startswith(param or "")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_client_raises_what_it_raises_for_openai(server: Server, user: str) -> None:
    create = server.openai(user).chat.completions.create
    with pytest.raises(openai.BadRequestError, match="say something"):
        create(model="friend", messages=said(" "))
    with pytest.raises(openai.NotFoundError, match="no such model"):
        create(model="nobody", messages=said("x"))
    stranger = openai.OpenAI(base_url=f"{server.url}/v1", api_key="of-wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError, match="API key"):
        stranger.models.list()


# Bodies as SillyTavern sends them with "Custom (OpenAI-compatible)" as source: main prompt and card
# as system messages, example dialogue, "[Start a new Chat]", the greeting, the talk, and the
# post-history instructions last. Sampling fields of other back ends come along.
def sillytavern(*talk: dict[str, str], **more: Any) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "system", "content": "Write Dragana's next reply in a fictional chat."},
            {"role": "system", "content": "Dragana keeps bees and has no patience for lies."},
            {"role": "system", "content": "[Example Chat]"},
            {"role": "system", "name": "example_user", "content": "Hi."},
            {"role": "system", "name": "example_assistant", "content": "You are late."},
            {"role": "system", "content": "[Start a new Chat]"},
            *talk,
        ],
        "model": "dragana", "temperature": 0.9, "frequency_penalty": 0, "presence_penalty": 0,
        "top_p": 1, "top_k": 0, "min_p": 0, "repetition_penalty": 1, "max_tokens": 300,
        "stream": True, "stop": ["\nAda:"], "logit_bias": {}, "n": 1, "seed": -1,
        "custom_prompt_post_processing": "", "include_reasoning": False, "tools": [], **more,
    }  # fmt: skip


def test_sillytaverns_requests_are_understood(server: Server, user: str) -> None:
    http = server.http(user)
    greeting = {"role": "assistant", "content": "The kettle is on."}
    told = {"role": "user", "content": "My cat is called Miro."}
    jailbreak = {"role": "system", "content": "[Stay in character]"}
    first = http.post("/v1/chat/completions", json=sillytavern(greeting, told, jailbreak))
    assert first.status_code == 200, first.text
    assert "text/event-stream" in first.headers["content-type"]
    swipe = http.post("/v1/chat/completions", json=sillytavern(greeting, told, jailbreak))
    assert swipe.status_code == 200
    replied = {"role": "assistant", "content": "Tell me more."}
    asked = {"role": "user", "content": "What is my cat called?"}
    whole = sillytavern(greeting, told, replied, asked, jailbreak, stream=False, max_tokens=None)
    assert http.post("/v1/chat/completions", json=whole).json()["choices"][0]["message"] == {
        "role": "assistant", "content": "It is Miro.",
    }  # fmt: skip
    turns = [m["text"] for m in http.get("/v1/memories?kind=turn").json()["data"]]
    assert sum(text == "user: My cat is called Miro." for text in turns) == 1, "a swipe is no turn"
    assert not any("fictional" in text or "kettle" in text for text in turns)
    assert http.get("/v1/models").json()["data"][0]["id"] == "friend", "its connection test"


def test_a_card_comes_in_by_png_and_goes_out_to_sillytavern(
    server: Server, user: str, tmp_path: Path
) -> None:
    from oldfriend.persona.shelf import card_files

    http = server.http(user)
    (path,) = (p for p in card_files(server.folder / "personas") if p.stem == "mairi")
    mine = cards.read(path).edited(name="Kestrel", nickname="")
    answer = http.post("/v1/personas?filename=kestrel.png", content=mine.png())
    assert answer.status_code == 201, answer.text
    assert answer.json()["id"] == "kestrel" and answer.json()["own"]
    assert http.post("/v1/personas?filename=k.png", content=mine.png()).status_code == 409
    assert "kestrel" in [m["id"] for m in http.get("/v1/models").json()["data"]]
    other = server.http("user1")
    assert "kestrel" not in [m["id"] for m in other.get("/v1/models").json()["data"]]
    for path_ in (
        "/v1/models/kestrel",
        "/v1/personas/kestrel/picture",
        "/v1/personas/kestrel/card",
    ):
        assert other.get(path_).status_code == 404
    assert other.delete("/v1/personas/kestrel").status_code == 404
    for format in ("json", "png", "charx"):
        got = http.get(f"/v1/personas/kestrel/card?format={format}")
        assert cards.load(got.content).data == mine.data, format
    assert http.get("/v1/personas/kestrel/picture").content.startswith(b"\x89PNG")
    server.openai(user).chat.completions.create(model="kestrel", messages=said("Hello."))
    assert server.voice.personas[-1] == "Kestrel"
    assert http.delete("/v1/personas/mairi").status_code == 404, "a common one is not theirs"
    assert http.delete("/v1/personas/kestrel").status_code == 204
    for bad in (b"\x89PNG\r\n\x1a\nrubbish", b"PK\x03\x04", b"{}", b"\xff"):
        refused = http.post("/v1/personas?filename=../../x.png", content=bad)
        assert refused.status_code == 400 and refused.json()["error"]["message"]
