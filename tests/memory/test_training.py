"""The trainings of memory end to end, on a tiny random model and a few made-up rows."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from oldfriend.app import demo
from oldfriend.corpus.schema import Fact, GroundExample, MemoryLine, NoteExample, write_rows
from oldfriend.errors import CheckpointError, InputError, MissingDataError
from oldfriend.lm import model as models
from oldfriend.lm.fit import FitResult, Run, fit_model
from oldfriend.lm.packing import Document
from oldfriend.lm.settings import BaseParams, FitParams, LoraParams
from oldfriend.lm.tokenizer import train_tokenizer
from oldfriend.memory import extract, ground, notes, personal, tagger
from oldfriend.memory.settings import GroundParams, SummarizerParams, TaggerParams
from oldfriend.outcome import Outcome

VALUES = ("Miro", "Tibbles", "Ashby", "Quill", "Brindle", "Pax")
FIT = FitParams(
    steps=2, rows=2, row_tokens=256, lr=1e-3, precision="32-true", accelerator="cpu", warmup=0
)
GROUND = GroundParams(fit=FIT, max_new_tokens=4, drill_share=0.2)
NOTES = SummarizerParams(
    fit=FIT,
    user_fit=FIT,
    lora=LoraParams(rank=2, alpha=4),
    users=2,
    max_eval=10,
    max_new_tokens=8,
)


def note(n: int, user: str = "ana") -> NoteExample:
    if n % 3 == 2:
        return NoteExample(id=f"{user}{n}", user=user, source="s", text=f"good morning {n}")
    value = VALUES[n % len(VALUES)]
    text = f"my cat is called {value}"
    slot = "pet_name" if user == "ana" else f"{user}_find"
    fact = Fact(slot=slot, value=value, start=17, end=17 + len(value))
    return NoteExample(id=f"{user}{n}", user=user, source="s", text=text, facts=(fact,))


def question(n: int) -> GroundExample:
    value = VALUES[n % len(VALUES)]
    line = MemoryLine(owner="Ana", slot="pet_name", value=value, text=value)
    if n % 2:
        return GroundExample(
            id=str(n), user="Ana", source="s", kind="abstain", slot="home_city", memories=(line,),
            message="Where do I live?", reply="You never told me.",
        )  # fmt: skip
    return GroundExample(
        id=str(n), user="Ana", source="s", kind="recall", slot="pet_name", memories=(line,),
        message="What is my cat called?", reply=f"It is {value}.", value=value,
    )  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A folder with data for every training and a tiny random base model."""
    for split, count in (("train", 8), ("val", 3), ("test", 4)):
        write_rows(tmp_path / "notes" / f"{split}.jsonl", [note(n) for n in range(count)])
        write_rows(tmp_path / "ground" / f"{split}.jsonl", [question(n) for n in range(count)])
    for user in ("ben", "cleo", "dora"):
        rows = [note(n, user) for n in range(6)]
        write_rows(tmp_path / "users" / user / "train.jsonl", rows[:4])
        write_rows(tmp_path / "users" / user / "test.jsonl", rows[4:])
    tokenizer = train_tokenizer([note(n).text for n in range(9)], 300)
    params = BaseParams(hidden=32, layers=2, heads=2, ffn=32, fit=FIT)
    folder = tmp_path / "models" / "base"
    folder.mkdir(parents=True)
    models.save(models.build(params, tokenizer, 0), tokenizer, folder, {"seed": 0})
    return tmp_path


def run(world: Path) -> Run:
    return Run(world / "checkpoints", seed=0)


def ground_it(world: Path, params: GroundParams = GROUND) -> Outcome:
    data, base = world / "ground", world / "models" / "base"
    out = world / "models" / "friend"
    return ground.train(
        params, run=run(world), data=data, readings=world / "notes", base=base, out=out
    )


def tag_it(world: Path) -> Outcome:
    return tagger.train(
        TaggerParams(fit=FIT), run=run(world), data=world / "notes", out=world / "models" / "tagger"
    )


def extract_it(world: Path, friend: str = "base", base: str = "base") -> Outcome:
    found = world / "models"
    second = found / "tagger"
    return extract.train(
        NOTES,
        run=run(world),
        data=world / "notes",
        friend=found / friend,
        base=found / base,
        out=found / "summarizer",
        second=second if second.exists() else None,
    )


def personalize(world: Path, params: SummarizerParams = NOTES) -> Outcome:
    found = world / "models"
    return personal.train(
        params, run=run(world), data=world / "notes", users=world / "users",
        base=found / "base", generic=found / "summarizer", out=found / "users",
    )  # fmt: skip


def made(world: Path) -> list[str]:
    """What stands beside the base model, hidden drafts included."""
    return sorted(path.name for path in (world / "models").iterdir() if path.name != "base")


def assert_finite(outcome: Outcome) -> None:
    assert all(math.isfinite(value) for value in outcome.metrics.values())
    json.dumps(outcome.tables)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_ground(world: Path, method: str) -> None:
    changes = {"method": method, "seeds": [0, 1] if method == "full" else [0]}
    outcome = ground_it(world, GROUND.model_copy(update=changes))
    rates = ("recall_acc", "abstain_acc", "hallucination_rate", "stale_rate", "mechanical_rate")
    assert {*rates, *(f"{rate}_before" for rate in rates), "val_loss"} <= set(outcome.metrics)
    assert ("recall_acc_sd" in outcome.metrics) == (method == "full")
    assert outcome.metrics["seeds"] == len(changes["seeds"])
    assert_finite(outcome)
    model, tokenizer = models.load(world / "models" / "friend")
    assert not hasattr(model, "peft_config"), "merged"
    base, _ = models.load(world / "models" / "base")
    moved = [
        name for name, weight in model.state_dict().items()
        if not weight.equal(base.state_dict()[name])
    ]  # fmt: skip
    assert moved
    assert models.read_meta(world / "models" / "friend")["base"] == {"seed": 0}
    _, said = ground.evaluate(model, tokenizer, [question(0), question(1)], 4)
    assert said == [row["reply"] for row in outcome.tables["samples"][:2]]
    assert made(world) == ["friend"]


def test_extract_then_personal(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marked = tag_it(world)
    assert_finite(marked)
    assert {"gate_f1", "record_f1", "false_memory_rate", "val_loss"} <= set(marked.metrics)
    outcome = extract_it(world)
    wanted = ("gate_precision", "gate_recall", "gate_f1", "record_f1", "false_memory_rate")
    readers = ("base", "friend", "keywords", "ungated", "lm", "tagger")
    names = {*wanted, *(f"{key}_{reader}" for key in wanted for reader in readers)}
    assert names | {"val_loss", "threshold", "tokens_per_s"} <= set(outcome.metrics)
    assert {"baselines", "slots", "samples"} == set(outcome.tables)
    assert {row["reader"] for row in outcome.tables["baselines"]} == {*readers, "summarizer"}
    assert_finite(outcome)

    generic = extract.load(world / "models" / "base", world / "models" / "summarizer")
    assert set(generic.slots) == {"pet_name"}
    assert generic.threshold == outcome.metrics["threshold"]
    examples = [note(0), note(2)]
    for example, found in zip(examples, generic.read(examples), strict=True):
        assert all(example.text[n.start : n.end] == n.value for n, _ in found)
        assert all(0 <= sure <= 1 for _, sure in found)

    own = personalize(world)
    keys = {"user_record_f1", "user_record_f1_generic", "user_gain", "user_others_loss"}
    assert keys | {f"{key}_sd" for key in keys} | {"users"} == set(own.metrics)
    assert_finite(own)
    assert_finite(outcome + own)
    assert [row["user"] for row in own.tables["users"]] == ["ben", "cleo"]
    first = extract.for_person(generic, world / "models" / "tagger", world / "models/users/ben")
    assert set(first.slots) == {"pet_name", "ben_find"}
    assert first.own is not None
    assert set(first.own.slots) == {"ben_find"}
    with pytest.raises(CheckpointError, match="no readers of a person"):
        extract.for_person(generic, world / "models" / "tagger", world / "models" / "summarizer")
    assert made(world) == ["summarizer", "tagger", "users"]

    (world / "models" / "base").rename(world / "models" / "friend")
    demo.note_table("my cat is called Miro", world / "models")
    demo.note_table("my cat is called Miro", world / "models", "ben")
    demo.answer("What is my cat called?", ["my cat is called Miro"], world / "models", "Ana")
    assert capsys.readouterr().out
    with pytest.raises(MissingDataError, match="no adapter for 'eve'; there are: ben, cleo"):
        demo.note_table("my cat is called Miro", world / "models", "eve")
    (world / "models" / "friend").rename(world / "models" / "base")

    nobody = personalize(world, NOTES.model_copy(update={"users": 0}))
    assert nobody.metrics == {"users": 0.0}
    assert list((world / "models" / "users").iterdir()) == []

    # A person without later sessions stops it, and what was there before stays.
    (world / "models" / "users" / "kept").touch()
    (world / "users" / "cleo" / "test.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(MissingDataError, match="cleo has no examples"):
        personalize(world)
    assert [path.name for path in (world / "models" / "users").iterdir()] == ["kept"]
    assert made(world) == ["summarizer", "tagger", "users"]


def test_note_taking_joins_the_lessons_of_grounding(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def watched(model: Any, documents: Sequence[Document], *args: Any, **more: Any) -> FitResult:
        _, tokenizer = models.load(world / "models" / "base")
        seen.extend(tokenizer.decode(document.ids) for document in documents)
        return fit_model(model, documents, *args, **more)

    monkeypatch.setattr(ground, "fit_model", watched)
    assert_finite(ground_it(world, GROUND.model_copy(update={"notes_share": 0.3})))
    taught = [text for text in seen if notes.TASK in text]
    said = [note(n).text for n in range(8)]
    assert 0 < len(taught) < len(seen)
    assert all(any(text in lesson for text in said) for lesson in taught)


def test_readings_are_asked_for_only_if_they_have_a_share(world: Path) -> None:
    (world / "notes" / "train.jsonl").unlink()
    with pytest.raises(MissingDataError, match=r"notes/train\.jsonl is not there"):
        ground_it(world, GROUND.model_copy(update={"notes_share": 0.3}))
    assert made(world) == []
    ground_it(world)
    assert made(world) == ["friend"]


def test_the_summarizer_grows_on_friend_and_base_is_only_measured(world: Path) -> None:
    _, tokenizer = models.load(world / "models" / "base")
    shape = BaseParams(hidden=32, layers=2, heads=2, ffn=32, fit=FIT)
    models.save(models.build(shape, tokenizer, 1), tokenizer, world / "models" / "other", {})
    outcomes, adapters = {}, {}
    for friend, of in [("base", "base"), ("base", "other"), ("other", "base")]:
        outcomes[friend, of] = extract_it(world, friend, of).metrics
        folder = world / "models" / "summarizer"
        assert models.read_meta(folder)["base"] == friend
        adapters[friend, of] = load_file(folder / "adapter_model.safetensors")

    def equal(one: tuple[str, str], other: tuple[str, str]) -> bool:
        return all(w.equal(adapters[other][name]) for name, w in adapters[one].items())

    assert equal(("base", "base"), ("base", "other"))
    assert not equal(("base", "base"), ("other", "base"))
    for key in ("record_f1", "false_memory_rate", "gate_recall"):
        of_base = outcomes["base", "base"][f"{key}_friend"]
        assert outcomes["base", "base"][f"{key}_base"] == of_base
        assert outcomes["other", "base"][f"{key}_base"] == of_base
        of_other = outcomes["other", "base"][f"{key}_friend"]
        assert outcomes["base", "other"][f"{key}_base"] == of_other


def test_a_row_too_short_for_an_example_writes_nothing(world: Path) -> None:
    tight = GROUND.model_copy(update={"fit": FIT.model_copy(update={"row_tokens": 32})})
    with pytest.raises(InputError, match="fits 32 tokens"):
        ground_it(world, tight)
    assert made(world) == []


def test_a_broken_line_is_named_and_nothing_is_written(world: Path) -> None:
    with (world / "notes" / "test.jsonl").open("a", encoding="utf-8") as rows:
        rows.write('{"id": 1}\n')
    with pytest.raises(InputError, match=r"test\.jsonl:5, field"):
        extract_it(world)
    assert made(world) == []


@pytest.mark.parametrize("train", [ground_it, extract_it])
def test_missing_data_is_named(world: Path, train: Callable[[Path], Outcome]) -> None:
    for split in ("notes", "ground"):
        (world / split / "train.jsonl").unlink()
    with pytest.raises(MissingDataError, match=r"train\.jsonl is not there"):
        train(world)
    assert made(world) == []


@pytest.mark.parametrize("train", [ground_it, extract_it])
def test_empty_training_data_is_an_error_of_the_data(
    world: Path, train: Callable[[Path], Outcome]
) -> None:
    for split in ("notes", "ground"):
        (world / split / "train.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(MissingDataError, match=r"train\.jsonl"):
        train(world)
    assert made(world) == []


def test_the_curriculum_orders_by_memories() -> None:
    line = MemoryLine(owner="Ana", slot="s", value="v", text="v")
    rows = [
        question(0).model_copy(update={"id": str(n), "memories": (line,) * (n * 7 % 10)})
        for n in range(10)
    ]
    strict = [len(row.memories) for row in ground.ordered(rows, 1.0, 0)]
    assert strict == sorted(strict)
    loose = ground.ordered(rows, 0.0, 0)
    assert loose != rows
    assert sorted(row.id for row in loose) == sorted(row.id for row in rows)
    assert loose == ground.ordered(rows, 0.0, 0) != ground.ordered(rows, 0.0, 1)
