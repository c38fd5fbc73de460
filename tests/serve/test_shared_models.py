"""One voice and one reader for many: batches give what single turns would."""

import copy
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from serve_tiny import tiny
from serving import PERSONAS

from oldfriend.agent.models import FriendModel
from oldfriend.app.serve.shared import SharedEmbedder, SharedReader, SharedVoice
from oldfriend.app.serve.wishes import WISHES, Wishes
from oldfriend.corpus.schema import NoteExample
from oldfriend.errors import MissingDataError
from oldfriend.lm import lora
from oldfriend.lm.chat import message
from oldfriend.lm.settings import LoraParams
from oldfriend.memory.notes import Note, SlotType
from oldfriend.memory.store.embed import HashEmbedder
from oldfriend.persona import card as cards


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("models") / "friend"
    model, tokenizer = tiny("llama")
    model.save_pretrained(found)
    tokenizer.save_pretrained(found)
    return found


def ask(n: int) -> list[dict[str, str]]:
    return [message("user", f"Anna found {n} pears")]


def test_many_voices_at_once_say_what_each_would_alone(folder: Path) -> None:
    plain = FriendModel(folder)
    alone = [plain.reply(ask(n), 12) for n in range(12)]
    sizes: list[int] = []
    voice = SharedVoice(folder, rows=6, seen=sizes.append)
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lambda n: voice.reply(ask(n), 12), range(12)))
    voice.close()
    assert max(sizes) > 1, "they were written together"
    # In bfloat16 padding may turn a near tie; most must be the very same.
    assert sum(a == b for a, b in zip(alone, together, strict=True)) >= 9


def test_a_wish_is_its_own_turns_only(folder: Path) -> None:
    voice = SharedVoice(folder)
    greedy = voice.reply(ask(1), 10)
    wish = Wishes(temperature=1.5, drafts=3, max_tokens=4, seed=5)
    token = WISHES.set(wish)
    voice.reply(ask(1), 10)
    WISHES.reset(token)
    assert len(wish.others) == 2 and 3 <= wish.tokens <= 12 and wish.prompt_tokens > 0
    assert voice.reply(ask(1), 10) == greedy
    voice.close()


def test_drafts_share_their_prompt_and_begin_with_the_likeliest(folder: Path) -> None:
    sizes: list[int] = []
    voice = SharedVoice(folder, seen=sizes.append)
    greedy = voice.reply(ask(1), 10)
    sizes.clear()
    drafts = voice.drafts(ask(1), 10, 4, temperature=1.5, seed=3)
    assert drafts[0].text == greedy and len(drafts) == 4 and len(set(drafts)) > 1
    assert all(len(d.logprobs) == len(d.ids) > 0 >= max(d.logprobs) for d in drafts)
    assert drafts == voice.drafts(ask(1), 10, 4, temperature=1.5, seed=3)
    assert max(sizes) > 1
    wish = Wishes(temperature=0.0, drafts=6)
    token = WISHES.set(wish)
    assert {d.text for d in voice.drafts(ask(1), 10, 2, temperature=1.5, seed=3)} == {greedy}
    WISHES.reset(token)
    assert len(wish.others) == 4
    voice.close()


def test_each_persona_speaks_through_its_own_adapter_in_one_batch(tmp_path: Path) -> None:
    model, tokenizer = tiny("llama")
    model.save_pretrained(tmp_path / "friend")
    tokenizer.save_pretrained(tmp_path / "friend")
    for seed, name in enumerate(("dragana", "mairi")):
        adapted = lora.attach(copy.deepcopy(model), LoraParams(rank=2), seed=seed)
        torch.manual_seed(seed)
        for part, weight in adapted.named_parameters():
            if "lora_B" in part:
                torch.nn.init.normal_(weight, std=0.4)
        (tmp_path / "personas" / name).mkdir(parents=True)
        lora.save(adapted, tmp_path / "personas" / name)
    sizes: list[int] = []
    voice = SharedVoice(
        tmp_path / "friend", trained=tmp_path / "personas", seen=sizes.append
    )  # fmt: skip

    def speak(name: str) -> str:
        card = cards.read(PERSONAS / f"{name}.yaml") if name else None
        token = WISHES.set(Wishes(persona=card))
        try:
            return voice.reply(ask(1), 12)
        finally:
            WISHES.reset(token)

    names = ["", "dragana", "mairi", "dez", "dragana", ""]  # dez has a card and no adapter
    apart = [speak(name) for name in names]
    assert len({*apart[:3]}) == 3 and apart[0] == apart[3] == apart[5] and apart[1] == apart[4]
    sizes.clear()
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(speak, names))
    voice.close()
    assert max(sizes) > 1
    assert sum(a == b for a, b in zip(apart, together, strict=True)) >= 4, "near ties may turn"


def test_without_a_model_it_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="dvc repro"):
        SharedVoice(tmp_path / "none").reply(ask(1), 10)
    with pytest.raises(MissingDataError, match="dvc repro"):
        SharedReader(tmp_path).read("ada", "x", ())


class Slow:
    """A summarizer that notes the first word, counts its batches, and cannot bear "bad"."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.slots = {"word": SlotType("profile", "me", "multi", 5)}

    def write(self, examples: Sequence[NoteExample]) -> list[list[Note]]:
        self.batches.append(len(examples))
        time.sleep(0.05)
        if any(example.text == "bad" for example in examples):
            raise ValueError("bad")
        words = [example.text.split()[0] for example in examples]
        return [[Note("word", word, 0, len(word))] for word in words]


def test_what_waits_is_read_together_and_fails_alone(tmp_path: Path) -> None:
    reader = SharedReader(tmp_path)
    common, own = Slow(), Slow()
    reader._summarizer = lambda user: own if user == "own" else common  # type: ignore
    texts = [f"w{n} x" for n in range(10)] + ["bad"]

    def read(text: str) -> Any:
        try:
            return reader.read("own" if text.startswith("w9") else "ada", text, ())[0][0].value
        except ValueError as error:
            return error

    with ThreadPoolExecutor(11) as pool:
        found = list(pool.map(read, texts))
    assert found[:10] == [f"w{n}" for n in range(10)]
    assert isinstance(found[10], ValueError)
    assert max(common.batches) > 1 and own.batches == [1]
    reader.close()


def test_vectors_are_right_from_several_threads() -> None:
    vectors = SharedEmbedder(HashEmbedder(), capacity=3)
    texts = [f"text {n}" for n in range(20)]
    wanted = HashEmbedder().encode(texts)
    wrong: list[str] = []

    def work(start: int) -> None:
        for n in range(200):
            at = (start + n) % 20
            if not (vectors.encode([texts[at]])[0] == wanted[at]).all():
                wrong.append(texts[at])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
