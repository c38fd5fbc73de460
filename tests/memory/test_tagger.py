"""The tagger: real MiniLM weights, a few made-up turns."""

from pathlib import Path

import pytest
import torch

from oldfriend.corpus.schema import Fact, NoteExample
from oldfriend.errors import CheckpointError, MissingDataError
from oldfriend.lm.fit import Run
from oldfriend.lm.settings import FitParams, LoraParams
from oldfriend.memory import notes, tagger
from oldfriend.memory.tagger import Tagger

FIT = FitParams(steps=60, rows=4, row_tokens=64, lr=5e-4, accelerator="cpu", schedule="cosine")
OWN_FIT = FIT.model_copy(update={"lr": 2e-3})
NAMES = ("Miro", "Tibbles", "Ashby", "Quill", "Brindle", "Pax")
UNSEEN = ("Velmora", "Juno", "Sable", "Orrin", "Wickett", "Fenna", "Thistle", "Bramwell")


def told(start: str, slot: str, value: str) -> NoteExample:
    fact = Fact(slot=slot, value=value, start=len(start), end=len(start) + len(value))
    return NoteExample(id=value, user="ana", source="s", text=f"{start}{value}.", facts=(fact,))


PETS = [told("My dog is called ", "pet_name", name) for name in NAMES]
PETS += [told("Our puppy is called ", "pet_name", name) for name in NAMES]
IDLE = [
    NoteExample(id=str(n), user="ana", source="s", text=text)
    for n, text in enumerate(["Good morning to you.", "It rains again, Miro says."])
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Tagger:
    found = tagger.new(notes.slot_types(PETS), seed=0)
    run = Run(tmp_path_factory.mktemp("checkpoints"), seed=0)
    lessons = tagger.lessons(found.slots, [*PETS, *IDLE] * 8, seed=0)
    tagger.fit_model(found.network, lessons, FIT, run, pad_id=tagger.PAD)
    return found


def said(reader: Tagger, text: str) -> list[tuple[str, str]]:
    ((*found,),) = [reader.read([text])[0]]
    return [(note.slot, note.value) for note, _ in found]


def share_right(reader: Tagger, start: str, slot: str) -> float:
    """Share of names never seen that are marked, and nothing else. Which ones differs by CPU."""
    right = [said(reader, f"{start}{name}.") == [(slot, name)] for name in UNSEEN]
    return sum(right) / len(right)


def test_it_marks_names_that_it_never_saw(trained: Tagger) -> None:
    assert share_right(trained, "My dog is called ", "pet_name") >= 0.75
    assert share_right(trained, "The puppy is called ", "pet_name") >= 0.75
    assert said(trained, "It rains again, Miro says.") == []
    assert trained.read([]) == []


def test_a_text_reads_the_same_in_any_company(trained: Tagger) -> None:
    texts = [example.text for example in (*PETS, *IDLE)]
    together = trained.read(texts)
    alone = [trained.read([text])[0] for text in texts]
    assert [[n for n, _ in row] for row in together] == [[n for n, _ in row] for row in alone]


def test_saved_and_loaded_it_reads_the_same(trained: Tagger, tmp_path: Path) -> None:
    tagger.save(trained, tmp_path / "tagger", {"seed": 0})
    texts = [example.text for example in PETS]
    assert tagger.load(tmp_path / "tagger").read(texts) == trained.read(texts)
    with pytest.raises(MissingDataError, match="no tagger"):
        tagger.load(tmp_path / "nothing")
    (tmp_path / "tagger" / tagger.WEIGHTS).write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match="not a tagger of ours"):
        tagger.load(tmp_path / "tagger")


def test_new_slots_change_nothing_until_they_are_learnt(trained: Tagger) -> None:
    more = trained.slots | {"a_new_one": trained.slots["pet_name"]}
    wider = tagger.with_slots(trained, dict(sorted(more.items())))
    texts = [example.text for example in (*PETS, *IDLE)]
    assert [[n for n, _ in row] for row in wider.read(texts)] == [
        [n for n, _ in row] for row in trained.read(texts)
    ]


def test_a_person_teaches_a_slot_of_their_own(trained: Tagger, tmp_path: Path) -> None:
    starts = ("Tonight I opened with the ", "I won with the ")
    own = [told(start, "opening", name) for start in starts for name in NAMES]
    slots = dict(sorted((trained.slots | notes.slot_types(own)).items()))
    before = {name: weight.clone() for name, weight in trained.network.state_dict().items()}
    run = Run(tmp_path / "checkpoints", seed=0)
    lora = LoraParams(rank=4, alpha=8)
    mine = tagger.personal(trained, slots, [*own, *PETS, *IDLE] * 6, OWN_FIT, lora, run)
    assert share_right(mine, "Tonight I opened with the ", "opening") >= 0.75
    assert share_right(mine, "My dog is called ", "pet_name") >= 0.75
    after = trained.network.state_dict()
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())

    tagger.save(trained, tmp_path / "tagger", {"seed": 0})
    tagger.save(mine, tmp_path / "own", {"seed": 0})
    again = tagger.load(tmp_path / "tagger", tmp_path / "own")
    texts = [example.text for example in (*own, *PETS)]
    assert again.read(texts) == mine.read(texts)
    size = sum(path.stat().st_size for path in (tmp_path / "own").iterdir())
    assert size < 3_000_000, "an adapter, not a model"
