"""One turn of conversation and what stays of it, on a real pool."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from random import Random
from time import sleep
from typing import ClassVar

import pytest
from friend_fakes import SLOTS, START, Table, on_disk
from hypothesis import given
from hypothesis import strategies as st
from talk_worker import line

from oldfriend.agent import grounded, noting
from oldfriend.agent.friend import Friend
from oldfriend.agent.models import own_folder
from oldfriend.agent.noting import Place
from oldfriend.agent.settings import FriendParams
from oldfriend.errors import InputError
from oldfriend.lm import lora
from oldfriend.lm import model as models
from oldfriend.lm.settings import BaseParams, FitParams, LoraParams
from oldfriend.lm.tokenizer import train_tokenizer
from oldfriend.memory import interests, notes
from oldfriend.memory.extract import SLOTS as SLOTS_FILE
from oldfriend.memory.grounding import abstains, says
from oldfriend.memory.notes import Note
from oldfriend.memory.settings import SummarizerParams
from oldfriend.memory.store.decide import Choice, Decision
from oldfriend.memory.store.record import MemoryRecord
from oldfriend.memory.store.retrieve import Hit

HERE = Path(__file__).parent
KILLS = int(os.environ.get("OLDFRIEND_KILLS", "3"))
PLACE = Place("ada", "s1", 0, START)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    with Table(tmp_path) as table:
        yield table


def test_what_is_told_is_noted_and_answered_with_its_source(table: Table) -> None:
    told = table.say("Guess what. My cat is called Miro.")
    assert told.text == "Tell me more."
    (note,) = told.noted
    assert (note.slot, note.value, note.kind) == ("pet_name", "Miro", "relationship")
    source = note.source
    assert source and "Guess what. My cat is called Miro."[source.start : source.end] == "Miro"
    answer = table.say("What is my cat called?")
    assert (answer.text, answer.quote) == ("It is Miro.", "your pet name: Miro")
    assert table.voice.lines() == ["- (March 2026) your pet name: Miro"]
    assert answer.memories == (note,)
    assert "memory needed" in answer.decision.reason
    best = next(hit for hit in answer.hits if hit.record.id == note.id)
    assert best.score == pytest.approx(sum(best.parts.values()), abs=1e-4)
    steps = {"session", "danger", "search", "decide", "feel", "choose", "speak", "note", "remember"}
    assert set(answer.seconds) == steps
    kept = table.friend.memory("ada").get(note.id)
    assert kept and kept.strength == 2 and kept.last_recalled == table.now


def test_the_talk_so_far_stands_in_the_prompt_as_in_training(table: Table) -> None:
    table.say("My cat is called Miro.")
    table.say("What is my cat called?")
    table.say("Lovely.")
    roles = [(m["role"], m["content"]) for m in table.voice.prompts[-1]]
    assert roles[1:] == [
        ("user", "What is my cat called?"),
        ("assistant", "[your pet name: Miro] It is {}."),
        ("user", "Lovely."),
    ]


def test_only_the_persons_words_are_read_for_notes(table: Table) -> None:
    said = ["My cat is called Miro.", "What is my cat called?", "Where do I live?"]
    for text in said:
        table.say(text)
    assert table.reader.heard == said
    assert [r.value for r in table.friend.memory("ada").records(("relationship",))] == ["Miro"]


def test_it_answers_first_and_remembers_then(table: Table) -> None:
    seen: list[int] = []
    memory = table.friend.memory("ada")
    table.friend.turn("ada", "Hello.", now=START, say=lambda _: seen.append(len(memory.state)))
    assert seen == [0]
    assert len(memory.state) == 2


def test_a_model_that_makes_things_up_is_not_heard(table: Table) -> None:
    table.say("My cat is called Miro.")
    table.voice.lie = "[your pet name: Rex] It is Rex."
    answer = table.say("What is my cat called?")
    assert answer.text == "I have it noted: your pet name: Miro."
    assert "did not stand on memory" in answer.notices[0]
    table.voice.lie = "[your sister name: Bo] She is Bo."
    assert table.say("Where do I live?").text == grounded.HONEST
    for lie in ("You never told me.", "pet name: Rex", "nothing", ""):
        table.voice.lie = lie or "[your pet name: Rex]"
        assert table.say("Lovely weather.").text == grounded.LISTENING


def test_what_changed_is_answered_now_and_before(table: Table) -> None:
    table.now = START - timedelta(days=4)
    table.say("I live in Rome.")
    table.now = START
    moved = table.say("I moved to Oslo last week.")
    assert table.say("Where do I live?").text == "It is Oslo."
    assert sorted(table.voice.lines()) == [
        "- (February 2026) your former home city: Rome",
        "- (February 2026) your home city: Oslo",
    ]
    assert table.say("Where did I live before?").text == "It is Rome."
    new = table.friend.memory("ada").get(moved.noted[0].id)
    assert new and new.valid_from
    assert START - timedelta(days=4) < new.valid_from < START, "last week, but after it was Rome"


def test_a_time_in_the_question_picks_what_held_then(table: Table) -> None:
    table.now = START - timedelta(days=90)
    table.say("I live in Rome.")
    table.now = START
    table.say("I moved to Oslo.")
    table.say("Where did I live in January?")
    assert table.voice.lines() == ["- (December 2025) your former home city: Rome"]


def test_putting_it_right_is_no_change(table: Table) -> None:
    table.say("My sister is Ana.")
    right = table.say("No, my sister is Ada, not Ana.").noted[0]
    assert table.say("What is my sister called, before?").text != "It is Ana."
    history = table.friend.memory("ada").history("sister_name", "sister")
    wrong = next(r for r in history if r.value == "Ana")
    assert wrong.valid_to is None and wrong.expired_at and wrong.superseded_by == right.id
    assert right.value == "Ada"


def test_correcting_by_hand(table: Table) -> None:
    note = table.say("My cat is called Miro.").noted[0]
    right = table.friend.correct("ada", note.id, "Mira", now=table.now)
    assert (right.value, right.text) == ("Mira", "pet name: Mira")
    assert table.say("What is my cat called?").text == "It is Mira."
    for id, value in ((note.id, "Mo"), (right.id, " "), (right.id, "mira")):
        with pytest.raises(InputError):
            table.friend.correct("ada", id, value, now=table.now)
    turn = table.friend.memory("ada").records(("turn",))[0]
    with pytest.raises(InputError, match="only a note"):
        table.friend.correct("ada", turn.id, "x", now=table.now)


def test_it_remembers_after_a_restart_and_goes_on_with_the_conversation(tmp_path: Path) -> None:
    with Table(tmp_path) as table:
        table.say("My cat is called Miro.")
        session = table.pool.of("ada").records()[0].source
        table.friend._sessions.clear()  # as if it had been stopped before the end
    with Table(tmp_path, START + timedelta(hours=1)) as table:
        assert table.say("What is my cat called?").text == "It is Miro."
        again = table.pool.of("ada").records(("turn",))[-1].source
        assert session and again and (again.session, again.turn) == (session.session, 3)
        assert [m["content"] for m in table.voice.prompts[-1][1:3]] == [
            "My cat is called Miro.", "Tell me more.",
        ]  # fmt: skip
    with Table(tmp_path, START + timedelta(days=3)) as table:
        assert table.say("What is my cat called?").text == "It is Miro."
        assert len(table.voice.prompts[-1]) == 2, "another conversation"
        assert len(table.texts("ada", "session")) == 1


def test_a_conversation_that_was_cut_off_is_summed_up_the_next_time(tmp_path: Path) -> None:
    with Table(tmp_path) as table:
        table.say("My cat is called Miro.")
        table.friend._sessions.clear()
    with Table(tmp_path, START + timedelta(days=1)) as table:
        assert table.texts("ada", "session") == []
        table.say("Hello.")
        (summary,) = table.texts("ada", "session")
        assert "pet name Miro" in summary
        assert len(table.texts("ada", "insight")) == 1, "the portrait"


def test_silence_ends_a_conversation(table: Table) -> None:
    table.say("My cat is called Miro.")
    table.now += timedelta(days=1)
    table.say("Hello.")
    assert len(table.texts("ada", "session")) == 1
    sessions = {r.source.session for r in table.pool.of("ada").records(("turn",)) if r.source}
    assert len(sessions) == 2


def test_two_people_never_mix(table: Table) -> None:
    table.say("My cat is called Miro.", "ada")
    table.say("My dog is called Rex.", "ben")
    for user, own, other in (("ada", "Miro", "Rex"), ("ben", "Rex", "Miro")):
        reply = table.say("What is my pet called?", user)
        assert reply.text == f"It is {own}."
        assert other not in str(table.voice.prompts[-1])
        assert {hit.record.user for hit in reply.hits} == {user}
        assert not any(other in text for text in table.texts(user))


def test_forgetting_takes_the_turn_and_the_friends_answers_along(
    table: Table, tmp_path: Path
) -> None:
    note = table.say("My cat is called Miro.").noted[0]
    table.say("What is my cat called?")
    table.say("I live in Rome.")
    assert on_disk(tmp_path, "Miro")
    erasure = table.friend.forget("ada", [note.id], now=table.now)
    assert erasure.clean, str(erasure)
    assert erasure.report.files
    assert on_disk(tmp_path, "Miro") == []
    assert table.say("What is my cat called?").text == "You never told me."
    assert table.say("Where do I live?").text == "It is Rome."
    table.say("My cat is called Miro.")
    assert table.say("What is my cat called?").text == "It is Miro.", "told anew"
    assert table.friend.forget("ada", "Miro", now=table.now).clean
    assert on_disk(tmp_path, "Miro") == []


def test_forgetting_a_person_leaves_nothing(table: Table, tmp_path: Path) -> None:
    adapter = tmp_path / "models" / "users" / "ada"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text("{}", encoding="utf-8")
    (adapter / "weights").write_text("Miro", encoding="utf-8")
    table.say("My cat is called Miro.")
    table.say("My dog is called Rex.", "ben")
    assert table.friend.forget("ada", "all", now=table.now).clean
    assert not adapter.exists()
    assert on_disk(tmp_path, "Miro") == []
    assert table.reader.forgotten == ["ada"]
    assert table.friend.pool.users() == ["ben"]
    assert table.say("What is my cat called?").text == "You never told me."


def test_names_are_no_paths(tmp_path: Path) -> None:
    for name in ("..", ".", "a/b", "a\\b", "../../etc", "\0"):
        assert own_folder(tmp_path, name) is None


def test_without_models_it_says_so_and_still_remembers(tmp_path: Path) -> None:
    with Friend.open(tmp_path / "memory", tmp_path / "none", encoder="hash") as friend:
        reply = friend.turn("ada", "My cat is called Miro.", now=START)
        assert reply.text == grounded.LISTENING
        assert len(reply.notices) == 3
        assert all("dvc repro" in notice for notice in reply.notices)
        assert friend.memory("ada").records(("turn",))[0].text == "My cat is called Miro."


def test_an_unreachable_server_is_said_and_survived(tmp_path: Path) -> None:
    with Table(tmp_path, url="http://127.0.0.1:9") as table:
        told = table.say("My cat is called Miro.")
        assert "does not answer" in told.notices[-1]
        assert table.say("What is my cat called?").text == "It is Miro."


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A models folder with a tiny random friend, summarizer, and adapter of ben's."""
    torch_fit = FitParams(steps=1, lr=1e-3, precision="32-true", accelerator="cpu")
    params = BaseParams(hidden=32, layers=2, heads=2, ffn=32, fit=torch_fit)
    tokenizer = train_tokenizer(["my cat is called Miro. good morning to you"] * 9, 300)
    model = models.build(params, tokenizer, 0)
    (tmp_path / "friend").mkdir()
    models.save(model, tokenizer, tmp_path / "friend", {"seed": 0})
    settings = SummarizerParams(fit=torch_fit, user_fit=torch_fit, max_new_tokens=12)
    folder = tmp_path / "summarizer"
    folder.mkdir()
    adapted = lora.attach(models.load(tmp_path / "friend")[0], LoraParams(rank=2, alpha=4))
    lora.save(adapted, folder)
    notes.save_slots({"pet_name": SLOTS["pet_name"]}, folder / SLOTS_FILE)
    models.write_meta(folder, {"params": settings.model_dump(), "threshold": 0.0})
    return tmp_path


class OwnReader:
    """A person's own reader that always notes the same words."""

    slots: ClassVar = {"home_city": SLOTS["home_city"]}

    def read(self, texts: Sequence[str]) -> list[list[Note]]:
        return [[Note("home_city", "Miro", text.find("Miro"), len(text))] for text in texts]


def test_with_real_models_and_a_persons_own_readers(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tiny / "users" / "ben"
    own.mkdir(parents=True)
    (own / "adapter_config.json").write_text("{}")
    params = FriendParams(max_new_tokens=6)
    with Friend.open(tmp_path / "memory", tiny, encoder="hash", params=params) as friend:
        broken = friend.turn("ben", "my cat is called Miro", now=START)
        assert broken.text and any("users/ben" in notice for notice in broken.notices)
        assert friend.memory("ben").records(("turn",)), "the words are kept all the same"
        monkeypatch.setattr(interests, "load", lambda *_: OwnReader())
        for user, slot in (("ada", "pet_name"), ("ben", "home_city")):
            reply = friend.turn(user, "my cat is called Miro", now=START)
            missing = [notice for notice in reply.notices if "dvc repro" in notice]
            assert ["empathy" in notice for notice in missing] == [True]
            assert all(note.slot == slot for note in reply.noted)
            assert all(note.value in "my cat is called Miro" for note in reply.noted)
            assert reply.noted or user == "ada", "ben's own reader finds something"
        friend.forget("ben", "all", now=START)
        assert not own.exists()
        friend.turn("ben", "my cat is called Miro", now=START)


def test_the_very_first_memory_is_found_with_the_default_calibration(tmp_path: Path) -> None:
    with Table(tmp_path) as table:
        table.friend._calibration = None
        note = table.say("My cat is called Miro.").noted[0]
        looked = table.friend.look("ada", "What is my cat called?", now=table.now)
        assert [choice.hit.record.id for choice in looked.decision.choices] == [note.id]
        assert table.friend.look("ada", "Where do I live?", now=table.now).decision.choices == ()


def test_messages_must_say_something_and_be_short(table: Table) -> None:
    for text in ("", "  \n", "x" * 4001):
        with pytest.raises(InputError, match="say"):
            table.say(text)
    assert table.texts() == []


@given(st.text(max_size=40), st.text(max_size=8), st.integers(0, 50), st.integers(0, 50))
def test_a_note_stands_in_its_span_or_is_not_taken(
    text: str, value: str, start: int, end: int
) -> None:
    record = noting.note_record(PLACE, text, Note("pet_name", value, start, end), SLOTS["pet_name"])
    if record is None:
        assert not value or text[start:end] != value
    else:
        assert record.source and text[record.source.start : record.source.end] == record.value


@given(
    st.text(max_size=40) | st.sampled_from(["Miro", "It is Miro.", "You never told me.", "Rex"]),
    st.sampled_from(["", "[your pet name: Miro] ", "[your pet name: Rex] ", "[x: nothing] "]),
    st.booleans(),
)
def test_a_question_is_answered_from_memory_or_not_at_all(
    said: str, quote: str, known: bool
) -> None:
    note = noting.note_record(PLACE, "cat Miro", Note("pet_name", "Miro", 4, 8), SLOTS["pet_name"])
    assert note
    records = [note] if known else []
    choices = (Choice(Hit(note, 1, 1, 1, {}, {}), 0.9, "say"),) if known else ()
    decision = Decision(True, 0.9, 0.9, choices, "")
    found = grounded.checked(quote + said, decision, records, START)
    assert abstains(found.text) or (known and says(found.text, "Miro"))


def test_killed_in_the_middle_of_a_conversation(tmp_path: Path) -> None:
    rng, number = Random(3), 1
    for _ in range(KILLS):
        worker = subprocess.Popen(
            [sys.executable, str(HERE / "talk_worker.py"), str(tmp_path), str(number)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        )  # fmt: skip
        assert worker.stdout is not None
        wanted = rng.randrange(3, 14)
        said = [worker.stdout.readline() for _ in range(wanted)]
        sleep(rng.random() * 0.03)
        worker.kill()
        rest, trouble = worker.communicate()
        assert worker.returncode == -9, trouble
        said += rest.splitlines()
        number += len([text for text in said if text.startswith("said")])
        with Table(tmp_path, START + timedelta(days=1)) as table:
            kept = {r.text for r in own_turns(table)}
            assert {line(n) for n in range(1, number)} <= kept
            assert kept <= {line(n) for n in range(1, number + 1)}
            notes = {r.value for r in table.pool.of("ada").records(("relationship",))}
            assert {f"Miro{n}" for n in range(1, number, 2)} <= notes
            if line(number) in kept:  # it was written, and the word of it was lost
                number += 1
            table.friend._sessions.clear()


def own_turns(table: Table) -> list[MemoryRecord]:
    turns = table.pool.of("ada").records(("turn",))
    return [r for r in turns if r.source and r.source.speaker == "user"]


def test_importing_costs_nothing() -> None:
    code = (
        "import sys, oldfriend\n"
        "print(sorted(m for m in ('torch', 'numpy', 'pydantic') if m in sys.modules))\n"
        "from oldfriend import Friend\n"
        "print(Friend.__name__, 'torch' in sys.modules, 'qdrant_client' in sys.modules)\n"
        "print(hasattr(oldfriend, 'Enemy'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == ["[]", "Friend False False", "False"]
