"""Whatever a model prefers, what it may write is a note of words that were said."""

import random
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from transformers import PreTrainedTokenizerBase

from oldfriend.corpus.schema import Fact, NoteExample, Turn, slot_words
from oldfriend.errors import InputError
from oldfriend.lm.chat import stop_ids
from oldfriend.lm.tokenizer import train_tokenizer
from oldfriend.memory import notes
from oldfriend.memory.notes import MAX_RECORDS, NOTHING, Note, NoteGrammar

SENTENCES = (
    "My cat is called Miro and my sister is Ana Bellweather.",
    "I moved to Velmora in May, didn't I? We'd planned it for ages!",
    "O'Brien plays the cello; Zoë paints (badly) at 17 Elm Street.",
    "pet name: Miro\nhome city: Velmora\nlikes: chess",
    "Nothing to say, nothing to note: nothing.",
)
SLOTS = ("pet_name", "home_city", "likes", "nothing_much")
OTHER_SLOTS = ("x", "shift_name_2")
SEEDS = Path(__file__).parents[2] / "data" / "seeds"
BANKS = (*sorted((SEEDS / "slots").glob("*.yaml")), SEEDS / "niches.yaml")
SEED_SLOTS = sorted(name for path in BANKS for name in YAML(typ="safe").load(path))
NASTY = "_ \t\n\r\u2028\x85.,:;!?'\u2019\"-()0aZ\u00ebe\u0301\u65e5\u672c\U0001f600\u00b2\ufffd"

PLAIN = train_tokenizer(SENTENCES, 400)
WITH_SLOTS = train_tokenizer(SENTENCES, 420, words=[slot_words(slot) for slot in SLOTS])
TOKENIZERS = (PLAIN, WITH_SLOTS)
GRAMMARS: dict[tuple[int, tuple[str, ...]], NoteGrammar] = {
    (place, slots): NoteGrammar(tokenizer, slots)
    for place, tokenizer in enumerate(TOKENIZERS)
    for slots in (SLOTS, OTHER_SLOTS)
}

texts = st.one_of(
    st.text(st.sampled_from(NASTY), min_size=1, max_size=25),
    st.text(min_size=1, max_size=15),
    st.sampled_from(SENTENCES),
    st.lists(
        st.sampled_from(("Miro", "Ana", "didn't", "O'Brien", "Zoë", "...", "日本", "a_b")),
        min_size=1,
        max_size=6,
    ).map(" ".join),
)  # fmt: skip


def walk(
    tokenizer: PreTrainedTokenizerBase,
    grammar: NoteGrammar,
    text: str,
    rng: random.Random,
    most: int,
) -> tuple[str, bool]:
    """What a model that picks at random would write, and whether it came to an end."""
    ends, written = stop_ids(tokenizer), list[int]()
    while len(written) < most:
        allowed = grammar.allow(text, written)
        assert allowed, "a model must always have something to pick"
        # An adversary does not stop while it may go on.
        going = [i for i in allowed if i not in ends] if rng.random() < 0.8 else allowed
        chosen = rng.choice(going or allowed)
        if chosen in ends:
            return tokenizer.decode(written), True
        written.append(chosen)
    return tokenizer.decode(written), False


def stands_whole(value: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None


@settings(max_examples=250, deadline=None, derandomize=True)
@given(texts, st.integers(0, 2**32), st.sampled_from(sorted(GRAMMARS)))
@example("...", 1, (0, SLOTS))
@example("日本", 2, (0, SLOTS))
@example("Zo\u00eb\u00eb a_b", 3, (0, OTHER_SLOTS))
@example("Miro.\nAna!", 4, (1, SLOTS))
def test_whatever_is_picked_parses_and_was_said(
    text: str, seed: int, which: tuple[int, tuple[str, ...]]
) -> None:
    tokenizer, slots = TOKENIZERS[which[0]], which[1]
    written, ended = walk(tokenizer, GRAMMARS[which], text, random.Random(seed), most=60)
    found = notes.parse(written, text)
    for note in found:
        assert note.slot in slots
        assert text[note.start : note.end] == note.value
        assert stands_whole(note.value, text)
    if ended and written != NOTHING:
        lines = written.split("\n")
        assert 0 < len(lines) <= MAX_RECORDS
        assert {f"{slot_words(note.slot)}: {note.value}" for note in found} == set(lines)
    if not re.search(r"\w", text):
        assert written == NOTHING


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(
        st.from_regex(r"[A-Za-z0-9]{1,8}([ '-][A-Za-z0-9]{1,6})?", fullmatch=True),
        min_size=0,
        max_size=MAX_RECORDS,
    ),
    st.lists(
        st.sampled_from(("well, ", "so ", "\u2026 ", "日本! ", "\n", "(", "é ")),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 2**32),
    st.sampled_from(sorted(GRAMMARS)),
)
def test_the_true_note_of_any_text_can_be_written(
    values: list[str], between: list[str], seed: int, which: tuple[int, tuple[str, ...]]
) -> None:
    tokenizer, slots = TOKENIZERS[which[0]], which[1]
    rng = random.Random(seed)
    text, facts = rng.choice(between), list[Fact]()
    for value in values:
        start = len(text)
        fact = Fact(slot=rng.choice(slots), value=value, start=start, end=start + len(value))
        facts.append(fact)
        text += value + rng.choice((" ", ". ", "!", "'s ", "\n")) + rng.choice(between)
    text = NoteExample(id="1", user="u", source="s", text=text, facts=tuple(facts)).text
    truth = notes.write(facts)
    ids = [*tokenizer(truth, add_special_tokens=False)["input_ids"], *stop_ids(tokenizer)[:1]]
    for place, token in enumerate(ids):
        allowed = GRAMMARS[which].allow(text, ids[:place])
        assert token in allowed, tokenizer.decode(ids[: place + 1])
    told = {(fact.slot, fact.value) for fact in facts}
    assert {(note.slot, note.value) for note in notes.parse(truth, text)} == told


def test_half_a_word_may_not_end_a_note() -> None:
    written = PLAIN("likes: che", add_special_tokens=False)["input_ids"]
    allowed = GRAMMARS[0, SLOTS].allow("I play chess.", written)
    assert not set(stop_ids(PLAIN)) & set(allowed)
    done = [*written, *PLAIN("ss", add_special_tokens=False)["input_ids"]]
    assert set(stop_ids(PLAIN)) <= set(GRAMMARS[0, SLOTS].allow("I play chess.", done))


def test_after_the_last_record_comes_the_end() -> None:
    line = "likes: chess"
    written = PLAIN("\n".join([line] * MAX_RECORDS), add_special_tokens=False)["input_ids"]
    assert GRAMMARS[0, SLOTS].allow("I play chess", written) == stop_ids(PLAIN)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("likes: chess", [("likes", "chess")]),
        ("likes: chess\nlikes: chess", [("likes", "chess")]),
        ("  likes: chess  \r\npet name: Miro", [("likes", "chess"), ("pet_name", "Miro")]),
        ("likes: draughts", []),  # never said
        ("likes: che", []),  # half a word
        ("likes: chess and Miro", []),  # said, but not in one piece
        ("likes: CHESS", []),  # not as it was said
        ("likes:", []),
        ("likes: ", []),
        ("likes chess", []),
        ("Likes It: chess", []),
        ("pet\tname: Miro", []),
        (": chess", []),
        (NOTHING, []),
        ("", []),
    ],
)
def test_only_what_was_said_survives_parsing(written: str, kept: list[tuple[str, str]]) -> None:
    text = "Miro, my cat, and I play chess."
    found = notes.parse(written, text)
    assert [(note.slot, note.value) for note in found] == kept
    assert all(text[note.start : note.end] == note.value for note in found)


def test_a_note_points_at_the_whole_word() -> None:
    assert notes.parse("likes: art", "A party with art.") == [Note("likes", "art", 13, 16)]


def test_nothing_to_remember_is_said_in_so_many_words() -> None:
    assert notes.write([]) == NOTHING


def test_notes_stand_in_the_order_of_the_text() -> None:
    text = "Miro plays chess"
    chess = Fact(slot="likes", value="chess", start=11, end=16)
    miro = Fact(slot="pet_name", value="Miro", start=0, end=4)
    example = NoteExample(id="1", user="u", source="s", text=text, facts=(chess, miro))
    said = notes.dialogue(example, context_turns=0)
    assert said[-1] == {"role": "assistant", "content": "pet name: Miro\nlikes: chess"}


def test_every_slot_of_the_seeds_is_written_in_words_and_comes_back() -> None:
    assert len(SEED_SLOTS) > 40 and any("_" in slot for slot in SEED_SLOTS)
    text = "Miro plays chess"
    grammar = NoteGrammar(PLAIN, SEED_SLOTS)
    for slot in SEED_SLOTS:
        fact = Fact(slot=slot, value="chess", start=11, end=16)
        written = notes.write([fact])
        assert "_" not in written
        assert notes.parse(written, text) == [Note(slot, "chess", 11, 16)]
        ids = [*PLAIN(written, add_special_tokens=False)["input_ids"], *stop_ids(PLAIN)[:1]]
        assert all(token in grammar.allow(text, ids[:n]) for n, token in enumerate(ids)), slot


def test_only_the_latest_context_is_shown() -> None:
    turns = tuple(Turn(speaker="user", text=f"turn {n}") for n in range(3))
    example = NoteExample(id="1", user="u", source="s", text="now", context=turns)
    assert notes.dialogue(example, 0)[1]["content"] == "now"
    assert notes.dialogue(example, 2)[1]["content"] == "(user: turn 1)\n(user: turn 2)\nnow"


def test_slot_catalogue_survives_the_disk(tmp_path: Path) -> None:
    facts = (
        Fact(slot="pet_name", value="Miro", start=0, end=4, kind="relationship", importance=7),
        Fact(slot="home_city", value="Velmora", start=5, end=12, cardinality="single"),
    )
    rows = [NoteExample(id="1", user="u", source="s", text="Miro Velmora", facts=facts)]
    slots = notes.slot_types(rows)
    assert list(slots) == ["home_city", "pet_name"]
    notes.save_slots(slots, tmp_path / "slots.json")
    assert notes.load_slots(tmp_path / "slots.json") == slots


@pytest.mark.parametrize("text", ["", "[]", "[1]", '{"a": 1}', '{"a": {"kind": "x"}}', "\x00"])
def test_a_bad_catalogue_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "slots.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"slots\.json: not a slot catalogue"):
        notes.load_slots(path)


def test_a_missing_catalogue_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a slot catalogue"):
        notes.load_slots(tmp_path / "slots.json")
