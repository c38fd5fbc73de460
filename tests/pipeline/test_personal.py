"""What a person confirmed and rejected, and when new readers of theirs are put in place."""

from datetime import timedelta
from pathlib import Path

import pytest
from friend_fakes import START, Table
from hypothesis import given
from hypothesis import strategies as st

from oldfriend.corpus.schema import Fact, NoteExample, write_rows
from oldfriend.lm import model as models
from oldfriend.lm.fit import Run
from oldfriend.lm.settings import BaseParams, FitParams
from oldfriend.lm.tokenizer import train_tokenizer
from oldfriend.memory import extract, tagger
from oldfriend.memory.settings import SummarizerParams, TaggerParams
from oldfriend.memory.store.journal import Add, Correct, Entry, Opened, Recall
from oldfriend.memory.store.record import MemoryRecord, Source, record_id
from oldfriend.memory.store.state import State, replay
from oldfriend.pipeline import personal
from oldfriend.pipeline.personal import judged, renew

FIT = FitParams(
    lr=1e-3, steps=2, rows=2, row_tokens=256, precision="32-true", accelerator="cpu", warmup=0
)
NOTES = SummarizerParams(fit=FIT, user_fit=FIT, max_eval=10, max_new_tokens=8)
NAMES = ("Miro", "Quill", "Pax", "Ashby")


def opening(n: int) -> tuple[str, str]:
    value = NAMES[n % len(NAMES)]
    return f"I played the {value} today", value


def remembered(confirmed: int, rejected: int = 0, untouched: int = 0) -> State:
    """Turns with a note each: used since, put right since, or neither."""
    entries: list[Entry] = [Opened(at=START, user="ada")]
    for n in range(confirmed + rejected + untouched):
        text, value = opening(n)
        at = START + timedelta(hours=n)
        place = Source(session="s", turn=n, end=len(text))
        turn = MemoryRecord(
            id=record_id("ada", str(n)), user="ada", kind="turn", text=text, created_at=at,
            source=place,
        )  # fmt: skip
        start = text.index(value)
        spot = place.model_copy(update={"start": start, "end": start + len(value)})
        note = MemoryRecord(
            id=record_id("ada", str(n), "note"), user="ada", kind="preference", slot="opening",
            value=value, text=f"opening: {value}", created_at=at, source=spot,
        )  # fmt: skip
        entries += [Add(at=at, record=turn), Add(at=at, record=note)]
        if n < confirmed:
            entries.append(Recall(at=at, ids=(note.id,)))
        elif n < confirmed + rejected:
            entries.append(Correct(at=at, old=note.id))
    return replay(entries)


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_only_what_was_judged_is_learnt(confirmed: int, rejected: int, untouched: int) -> None:
    examples = judged(remembered(confirmed, rejected, untouched))
    assert [bool(e.facts) for e in examples] == [True] * confirmed + [False] * rejected
    for n, example in enumerate(examples[:confirmed]):
        (fact,) = example.facts
        assert (example.text, fact.value) == opening(n)
        assert example.text[fact.start : fact.end] == fact.value


def test_a_real_talk_is_judged_by_what_was_said_of_it(tmp_path: Path) -> None:
    with Table(tmp_path) as table:
        table.say("my cat is called Miro")
        table.say("i live in Lund")
        own = table.friend.memory("ada")
        cat, city = (
            next(r for r in own.records() if r.slot == s) for s in ("pet_name", "home_city")
        )
        own.pin([cat.id], table.now)
        table.friend.correct("ada", city.id, "Malmo")
        found = {example.text: [f.value for f in example.facts] for example in judged(own.state)}
    assert found["my cat is called Miro"] == ["Miro"]
    assert found.get("i live in Lund", []) == []


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generic readers, hardly trained, and their data."""
    folder = tmp_path_factory.mktemp("world")
    for split, count in (("train", 8), ("val", 3), ("test", 4)):
        rows = []
        for n in range(count):
            text, value = f"my cat is called {NAMES[n % 4]}", NAMES[n % 4]
            fact = Fact(slot="pet_name", value=value, start=17, end=17 + len(value))
            rows.append(
                NoteExample(id=str(n), user="ana", source="s", text=text, facts=(fact,))
                if n % 3 else NoteExample(id=str(n), user="ana", source="s", text=f"morning {n}")
            )  # fmt: skip
        write_rows(folder / "notes" / f"{split}.jsonl", rows)
    tokenizer = train_tokenizer([opening(n)[0] for n in range(9)], 300)
    params = BaseParams(hidden=32, layers=2, heads=2, ffn=32, fit=FIT)
    friend, run = folder / "models" / "friend", Run(folder / "checkpoints", 0)
    friend.mkdir(parents=True)
    models.save(models.build(params, tokenizer, 0), tokenizer, friend, {"seed": 0})
    tags = folder / "models" / "tagger"
    tagger.train(TaggerParams(fit=FIT), run=run, data=folder / "notes", out=tags)
    extract.train(
        NOTES, run=run, data=folder / "notes", friend=friend, base=friend,
        out=folder / "models" / "summarizer", second=tags,
    )  # fmt: skip
    return folder


def renewed(world: Path, state: State) -> personal.Verdict:
    return renew(
        NOTES, run=Run(world / "checkpoints", 0), state=state, data=world / "notes",
        models=world / "models",
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gain", "loss", "kept", "why"),
    [
        (0.2, 0.0, True, "better"),
        (0.0, 0.0, False, "no gain; what was in place stays"),
        (0.2, 0.02, False, "other people's notes suffer; what was in place stays"),
    ],
)
def test_readers_are_put_in_place_only_past_the_replay_test(
    world: Path, monkeypatch: pytest.MonkeyPatch, gain: float, loss: float, kept: bool, why: str
) -> None:
    """Trained for real, with the measurement replaced: two steps teach nobody anything."""
    measured = iter([gain, -loss, 0.0])
    monkeypatch.setattr(personal, "_gain", lambda *_: next(measured))
    before = sorted((world / "models").rglob("*"))
    verdict = renewed(world, remembered(9, 4))
    assert (verdict.kept, verdict.why, verdict.examples) == (kept, why, 13)
    assert (sorted((world / "models").rglob("*")) != before) is kept
    if kept:
        own = world / "models" / "users" / "ada"
        assert (own / "adapter_config.json").is_file()
        generic = extract.load(world / "models" / "friend", world / "models" / "summarizer")
        assert "opening" in extract.for_person(generic, world / "models" / "tagger", own).slots


def test_too_little_to_learn_from_is_said(tmp_path: Path) -> None:
    verdict = renewed(tmp_path, remembered(3, 2, 9))
    assert (verdict.kept, verdict.examples) == (False, 5)
    assert verdict.why == "fewer than 12 turns were judged"
