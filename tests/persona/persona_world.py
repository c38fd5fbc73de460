"""The cards we ship, made-up rows, and a tiny real model: what the persona tests start from."""

from functools import cache
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from oldfriend.corpus.schema import Conversation, GroundExample, MemoryLine, Turn, write_rows
from oldfriend.lm import lora
from oldfriend.lm import model as models
from oldfriend.lm.settings import BaseParams, FitParams, LoraParams
from oldfriend.lm.tokenizer import train_tokenizer
from oldfriend.persona.cast import read_voice
from oldfriend.persona.pushback import Pressure, read_pressure
from oldfriend.persona.voice import Voice

SEEDS = Path(__file__).parents[2] / "data" / "seeds"
NAMES = tuple(sorted(path.stem for path in (SEEDS / "personas").glob("*.yaml")))
FIT = FitParams(
    steps=2, rows=2, row_tokens=512, lr=1e-3, precision="32-true", accelerator="cpu", warmup=0
)
CITIES = ("Velmora", "Brenholm", "Lund", "Oshkar", "Tavi", "Ness Point")
LORA = LoraParams(rank=3, alpha=6)


@cache
def voice(name: str) -> Voice:
    """The voice of a shipped card."""
    return read_voice(SEEDS / "personas" / f"{name}.yaml")[0]


@cache
def bank() -> Pressure:
    """The shipped phrases of pressure."""
    return read_pressure(SEEDS / "pressure.yaml")


def recall(n: int) -> GroundExample:
    """Somebody asks where they live, and the friend knows."""
    city = CITIES[n % len(CITIES)]
    line = MemoryLine(owner="Ana", slot="home_city", value=city, text=f"Ana lives in {city}")
    return GroundExample(
        id=f"r{n}", user="Ana", source="s", kind="recall", slot="home_city", memories=(line,),
        message="Where do I live?", reply=f"You live in {city}. I don't forget that.",
        quote=f"your home city: {city}", value=city,
    )  # fmt: skip


def abstain(n: int) -> GroundExample:
    """Somebody asks what was never told."""
    return GroundExample(
        id=f"a{n}", user="Ana", source="s", kind="abstain", slot="job",
        message="What do I do for a living?", reply="You never told me that. I'm all ears.",
        quote="your job: nothing",
    )  # fmt: skip


def plain(n: int) -> GroundExample:
    """Small talk."""
    return GroundExample(
        id=f"p{n}", user="Ana", source="s", kind="plain", message=f"The bus was late {n} times.",
        reply="That bus has a very good excuse. It's tired of its own route.",
    )  # fmt: skip


def rows(count: int) -> list[GroundExample]:
    """A mix of all three."""
    return [(recall, abstain, plain)[n % 3](n // 3) for n in range(count)]


def conversation(n: int) -> Conversation:
    """A little talk in which the friend teases and says goodbye."""
    said: list[Turn] = []
    for place in range(4):
        said.append(Turn(speaker="user", text=f"It rained again, {n} {place}."))
        strategy = "teasing" if place == 1 else None
        said.append(Turn(speaker="friend", text="Rain has no manners.", strategy=strategy))
    return Conversation(id=f"c{n}", person="p", source="s", licence="ours", turns=tuple(said))


def write_data(folder: Path, count: int = 36) -> Path:
    """ground/ and talk/ as curate writes them."""
    for split in ("train", "test"):
        write_rows(folder / "ground" / f"{split}.jsonl", rows(count))
        write_rows(folder / "talk" / f"{split}.jsonl", [conversation(n) for n in range(4)])
    return folder


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of a few words with our chat template."""
    return train_tokenizer([row.reply + row.message for row in rows(9)], 320)


def tiny(family: str = "lfm2", seed: int = 0) -> PreTrainedModel:
    """A random model with weights large enough for sharp answers."""
    params = BaseParams.model_validate(
        {"hidden": 32, "layers": 2, "heads": 2, "ffn": 32, "family": family, "init_std": 0.2}
        | {"fit": FIT.model_dump()}
    )
    return models.build(params, tokenizer(), seed).eval()


def write_friend(folder: Path) -> Path:
    """A model folder such as `ground` leaves it."""
    folder.mkdir(parents=True)
    models.save(tiny(), tokenizer(), folder, {"seed": 0})
    return folder


def write_adapter(folder: Path, seed: int, *, rank: int = 3, family: str = "lfm2") -> Path:
    """A random adapter that changes every layer it is on."""
    adapted = lora.attach(tiny(family), LORA.model_copy(update={"rank": rank}), seed=seed)
    torch.manual_seed(100 + seed)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    lora.save(adapted, folder)
    return folder
