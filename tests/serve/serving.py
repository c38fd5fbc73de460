"""A real server on a loopback port, with a friend who follows rules."""

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from friend_fakes import RULE, LineVoice, RuleReader, WordEncoder
from openai import OpenAI

from oldfriend.app.serve import keys as api_keys
from oldfriend.app.serve.app import build
from oldfriend.app.serve.house import House
from oldfriend.app.serve.settings import ServeParams
from oldfriend.app.serve.wishes import wishes
from oldfriend.memory.store.pool import MemoryPool

PERSONAS = Path(__file__).parents[2] / "data" / "seeds" / "personas"
FREE = ServeParams(per_minute=1_000_000, burst=100_000, waiting_each=1000, waiting=5000)


class RuleVoice(LineVoice):
    """A LineVoice for several threads that honours the wishes of requests: a draft more is the
    same in capitals. ``gate`` holds replies back while it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.personas: list[str] = []

    def reply(self, prompt: Sequence[dict[str, str]], max_new_tokens: int) -> str:
        alone = LineVoice()
        alone.lie = self.lie
        text = alone.reply(prompt, max_new_tokens)
        self.prompts.append(list(prompt))
        assert self.gate.wait(60)
        wish = wishes()
        self.personas.append(wish.persona.data.called if wish.persona else "")
        if wish.most(max_new_tokens) < len(text.split()):
            text, wish.cut = " ".join(text.split()[: wish.max_tokens]), True
        wish.others = [text.upper()] * (wish.drafts - 1)
        wish.prompt_tokens += sum(len(m["content"].split()) for m in prompt)
        wish.tokens += len(text.split()) * wish.drafts
        return text


class Server:
    """``users`` get a key each; without any the server is the local one's."""

    def __init__(
        self,
        folder: Path,
        users: Sequence[str] = (),
        *,
        params: ServeParams = FREE,
        house: Callable[[Callable[[int], None]], House] | None = None,
    ) -> None:
        self.folder, self.voice, self.reader = folder, RuleVoice(), RuleReader()
        self.encoder, self.params = WordEncoder(), params
        self._keys = folder / "keys.json"
        self.keys = {user: api_keys.add(self._keys, user) for user in users}
        common = folder / "personas"
        if not common.exists():
            shutil.copytree(PERSONAS, common)
        self.app = build(
            house or self._house, personas_folder=common, cards=folder / "cards",
            keys=self._keys if users else None, local="ada", params=params,
        )  # fmt: skip
        config = uvicorn.Config(
            self.app, port=0, log_level="error", timeout_graceful_shutdown=30,
            timeout_keep_alive=5, lifespan="on",
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)

    def _house(self, seen: Callable[[int], None]) -> House:
        pool = MemoryPool.open(self.folder / "memory", self.encoder)

        return House(
            pool, self.encoder, self.voice, self.reader, params=self.params,
            models=self.folder / "models", calibration=RULE,
        )  # fmt: skip

    @property
    def url(self) -> str:
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    @property
    def house(self) -> House:
        found: House = self.app.state.serving.house
        return found

    def openai(self, user: str = "", **options: Any) -> OpenAI:
        options = {"max_retries": 0, "timeout": 60, **options}
        return OpenAI(base_url=f"{self.url}/v1", api_key=self.keys.get(user, "none"), **options)

    def http(self, user: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.keys[user]}"} if user else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def pool_users(self) -> list[str]:
        return self.house.pool.users()

    def say(self, text: str, user: str = "", model: str = "friend") -> str:
        """One message of ``user``'s; the reply."""
        messages: Any = [{"role": "user", "content": text}]
        done = self.openai(user).chat.completions.create(model=model, messages=messages)
        return done.choices[0].message.content or ""

    def stop(self) -> None:
        """As SIGTERM would."""
        self._server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()

    def __enter__(self) -> "Server":
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.voice.gate.set()
        self.stop()
