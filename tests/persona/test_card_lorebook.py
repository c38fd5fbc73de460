"""Which lore wakes, in which order, and what no lorebook may do to us."""

import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oldfriend.persona.decorators import undecorate
from oldfriend.persona.fields import Entry, Lorebook
from oldfriend.persona.lorebook import Lore, active
from oldfriend.persona.macros import expand
from oldfriend.persona.triggers import Patterns, Text

HELLO = [{"role": "assistant", "content": "Hello."}]
ST: dict[str, Any] = {"display_index": 0, "selectiveLogic": 0}  # marks an entry of SillyTavern


def said(*texts: str) -> list[dict[str, str]]:
    """A talk in which the user says ``texts``, each answered."""
    both = ([{"role": "user", "content": text}, *HELLO] for text in texts)
    return [message for pair in both for message in pair][:-1]


def entry(*keys: str, content: str = "lore", **fields: Any) -> dict[str, Any]:
    return {"keys": list(keys), "content": content, **fields}


def book(*entries: dict[str, Any], **fields: Any) -> Lorebook:
    return Lorebook.model_validate({"entries": list(entries), **fields})


def wakes(one: dict[str, Any], *texts: str, **fields: Any) -> bool:
    return bool(active(book(one), said(*texts), **fields))


def woken(found: Sequence[Lore]) -> list[int]:
    return [lore.index for lore in found]


@pytest.mark.parametrize(
    ("one", "text", "expected"),
    [
        (entry("cat"), "My CAT sleeps.", True),
        (entry("cat"), "My category.", False),
        (entry("cat", extensions={"match_whole_words": False}), "My category.", True),
        (entry("cat", case_sensitive=True), "My CAT sleeps.", False),
        (entry("Cat", case_sensitive=True), "Cat!", True),
        (entry("cat", extensions={"case_sensitive": True}), "My CAT.", False),
        (entry("old cat", "dog"), "an old cat", True),
        (entry("old cat", "dog"), "old, cat", False),
        (entry("猫"), "黑猫睡了", True),
        (entry("straße"), "Hauptstr. und STRASSE", True),
        (entry("C++"), "I write C++ daily", True),
        (entry(""), "anything", False),
        (entry(), "anything", False),
        (entry("cat", enabled=False), "cat", False),
        (entry(constant=True), "anything", True),
        (entry(constant=True, enabled=False), "anything", False),
        (entry("cat", content=""), "cat", False),
        (entry("cat", content="@@depth 3\n\n"), "cat", False),
        # selective
        (entry("cat", selective=True, secondary_keys=["ill"]), "my cat", False),
        (entry("cat", selective=True, secondary_keys=["ill"]), "my cat is ill", True),
        (entry("cat", selective=False, secondary_keys=["ill"]), "my cat", True),
        (entry("cat", selective=True, secondary_keys=[]), "my cat", True),
        (entry("cat", selective=True, secondary_keys="ill, old"), "my old cat", True),
        (entry("cat", selective=True, secondary_keys=["ill"]), "ill", False),
        # SillyTavern's selectiveLogic
        *(
            (
                entry("cat", selective=True, secondary_keys=["ill", "old"],
                      extensions=ST | {"selectiveLogic": logic}),
                text, expected,
            )
            for logic, text, expected in [
                (0, "cat ill", True), (1, "cat ill old", False), (1, "cat old", True),
                (2, "cat old", False), (2, "cat", True), (3, "cat old", False),
                (3, "cat old ill", True), ("3", "cat old", True),
            ]
        ),
        # regular expressions
        (entry(r"\bcats?\b", use_regex=True), "two cats", True),
        (entry(r"\bCATS?\b", use_regex=True), "two cats", True),
        (entry(r"CATS", use_regex=True, case_sensitive=True), "two cats", False),
        (entry(r"/CATS/", use_regex=True), "two cats", False),
        (entry(r"/CATS/i", use_regex=True), "two cats", True),
        (entry(r"c.t", use_regex=False), "cat", False),
        (entry(r"(cat", use_regex=True), "(cat", False),
        (entry(r"[cat", "dog", use_regex=True), "dog", True),
        (entry("cat", use_regex=True, constant=True), "nothing", False),
        (entry("cat", use_regex=True, selective=True, secondary_keys=["x"]), "cat", True),
        # SillyTavern writes use_regex everywhere and means slashes only
        (entry("c.t", use_regex=True, extensions=ST), "cat", False),
        (entry("/c.t/", use_regex=True, extensions=ST), "cat", True),
        (entry("x", use_regex=True, constant=True, extensions=ST), "nothing", True),
        (entry("cat", use_regex=True, selective=True, secondary_keys=["x"], extensions=ST),
         "cat", False),
        # decorators
        (entry("cat", content="@@dont_activate\nlore"), "cat", False),
        (entry(content="@@activate\nlore"), "nothing", True),
        (entry(content="@@dont_activate\n@@activate\nlore"), "nothing", True),
        (entry(content="@@activate\nlore", enabled=False), "nothing", False),
        (entry("cat", content="@@exclude_keys dog, fox\nlore"), "cat and fox", False),
        (entry("cat", content="@@exclude_keys dog, fox\nlore"), "cat", True),
        (entry(constant=True, content="@@exclude_keys dog\nlore"), "dog", False),
        (entry("cat", content="@@additional_keys ill,old\nlore"), "cat", False),
        (entry("cat", content="@@additional_keys ill,old\nlore"), "old cat", True),
        (entry("cat", content="@@activate_only_after 1\nlore"), "cat", False),
        (entry("cat", content="@@activate_only_after 0\nlore"), "cat", True),
        (entry("cat", content="@@activate_only_after soon\nlore"), "cat", True),
        (entry("cat", content="@@unheard_of 7\nlore"), "cat", True),
        (entry("cat", content="@@unheard_of 7\n@@@dont_activate\nlore"), "cat", False),
        (entry("cat", content="@@activate\n@@@dont_activate\nlore"), "nothing", True),
        (entry("cat", content="@@role elf\n@@@what\n@@@dont_activate\nlore"), "cat", False),
    ],
)  # fmt: skip
def test_what_wakes_an_entry(one: dict[str, Any], text: str, expected: bool) -> None:
    assert wakes(one, text) is expected


def test_the_lore_comes_without_its_decorators() -> None:
    one = entry("cat", content="@@depth 2\n@@role assistant\n@@made_up x\n\nLine.\n@@no more\n")
    (lore,) = active(book(one), said("a", "b", "cat"))
    assert lore.text == "Line.\n@@no more"
    assert (lore.position, lore.depth, lore.role) == ("depth", 2, "assistant")
    assert undecorate(one["content"]).ignored == ("made_up x",)
    assert undecorate("no\n@@depth 2") == undecorate("no\n@@depth 2")
    assert undecorate("no\n@@depth 2").text == "no\n@@depth 2"
    assert undecorate("@@depth 1\n@@depth 2\nx").rules == {"depth": 1}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ("after_char", None, "system")),
        ({"position": "before_char"}, ("before_char", None, "system")),
        ({"position": 4}, ("after_char", None, "system")),
        ({"content": "@@depth 99\nx"}, ("depth", 3, "system")),
        ({"content": "@@depth 0\n@@role user\nx"}, ("depth", 0, "user")),
        ({"content": "@@reverse_depth 1\nx"}, ("depth", 2, "system")),
        ({"content": "@@depth 1\n@@reverse_depth 1\nx"}, ("depth", 1, "system")),
        ({"content": "@@position personality\n@@depth 1\nx"}, ("personality", None, "system")),
        ({"content": "@@position attic\n@@depth 1\nx"}, ("depth", 1, "system")),
        ({"content": "@@position attic\n@@@position scenario\nx"}, ("scenario", None, "system")),
        ({"extensions": ST | {"position": 4, "depth": 2, "role": 1}}, ("depth", 2, "user")),
        ({"extensions": ST | {"position": 4, "depth": -2}}, ("after_char", None, "system")),
        ({"extensions": ST | {"position": 1, "depth": 2}}, ("after_char", None, "system")),
    ],
)
def test_where_lore_is_placed(fields: dict[str, Any], expected: tuple[Any, ...]) -> None:
    (lore,) = active(book({**entry("cat"), **fields}), said("cat", "cat"))
    assert (lore.position, lore.depth, lore.role) == expected


def test_only_recent_messages_count() -> None:
    talk = said("cat", "b", "c")  # five messages; the cat is in the oldest
    assert not active(book(entry("cat")), talk)
    assert not active(book(entry("cat"), scan_depth=4), talk)
    assert active(book(entry("cat"), scan_depth=5), talk)
    assert active(book(entry("cat", content="@@scan_depth 9\nx"), scan_depth=1), talk)
    assert not active(book(entry("c"), scan_depth=0), talk)
    assert active(book(entry(constant=True), scan_depth=0), talk)
    assert not active(book(entry("cat dog")), said("cat", "dog"))


def test_decorators_of_time() -> None:
    after = entry("cat", content="@@activate_only_after 2\nx")
    every = entry("cat", content="@@activate_only_every 2\nx")
    never = entry("cat", content="@@activate_only_every 0\nx")
    replies = [[*said(*["cat"] * n), *HELLO] for n in range(1, 5)]
    assert [bool(active(book(after), talk)) for talk in replies] == [False, True, True, True]
    assert [bool(active(book(every), talk)) for talk in replies] == [False, True, False, True]
    assert active(book(never), replies[0])
    keep = entry("cat", content="@@keep_activate_after_match\nx")
    once = entry("cat", content="@@dont_activate_after_match\nx")
    assert not wakes(keep, "dog") and wakes(keep, "dog", woken={0})
    assert wakes(once, "cat") and not wakes(once, "cat", woken={0})


def test_decorators_of_circumstance() -> None:
    second = entry("cat", content="@@is_greeting 1\nx")
    assert [wakes(second, "cat", greeting=g) for g in (None, 0, 1)] == [True, False, True]
    knight = entry("cat", content="@@is_user_icon knight\nx")
    assert [wakes(knight, "cat", user_icon=i) for i in (None, "elf", "knight")] == [
        True, False, True,
    ]  # fmt: skip


def test_order_of_insertion() -> None:
    found = active(
        book(*(entry("x", insertion_order=n) for n in (30, 10.5, 10, 10, -1))), said("x")
    )
    assert woken(found) == [4, 2, 3, 1, 0]


def test_the_budget_keeps_what_ranks_highest() -> None:
    entries = [
        entry("x", content="four", insertion_order=1, priority=1),
        entry("x", content="four", insertion_order=9, priority=5),
        entry("x", content="four", insertion_order=3),  # ranks by its order: 3
        entry("x", content="@@ignore_on_max_context\nfour", insertion_order=4, priority=99),
        entry(content="four", constant=True, insertion_order=5, priority=0),
    ]

    def kept(budget: int | None) -> list[int]:
        return woken(active(book(*entries, token_budget=budget), said("x"), tokens=len))

    assert kept(None) == [0, 2, 3, 4, 1]
    assert kept(20) == [0, 2, 3, 4, 1]
    assert kept(19) == kept(16) == [0, 2, 4, 1]  # the yielding one first, whatever its priority
    assert kept(12) == [0, 2, 1]
    assert kept(8) == [2, 1]
    assert kept(7) == [1]
    assert kept(3) == kept(0) == []
    assert woken(active(book(*entries, token_budget=2), said("x"))) == [2, 1]  # 4 characters each


def test_of_equals_the_later_goes() -> None:
    both = book(entry("x", content="aa"), entry("x", content="bb"), token_budget=2)
    assert woken(active(both, said("x"), tokens=len)) == [0]


def test_lore_wakes_lore_only_where_it_may() -> None:
    chain = [
        entry("one", content="Two."), entry("two", content="Three."),
        entry("three", content="end", extensions={"exclude_recursion": True}),
    ]  # fmt: skip
    assert woken(active(book(*chain), said("one"))) == [0]
    assert woken(active(book(*chain, recursive_scanning=True), said("one"))) == [0, 1]
    assert woken(active(book(*chain, recursive_scanning=True), said("three"))) == [2]
    silent = [entry("one", content="Two.", extensions={"prevent_recursion": True}), chain[1]]
    assert woken(active(book(*silent, recursive_scanning=True), said("one"))) == [0]
    far = book(*chain, recursive_scanning=True, scan_depth=1)
    assert woken(active(far, said("nothing", "one"))) == [0, 1]
    # decorators are no text, and what excludes an entry is the talk, not the lore
    hidden = [entry("one", content="@@additional_keys one\nx"), entry("additional_keys")]
    assert woken(active(book(*hidden, recursive_scanning=True), said("one"))) == [0]
    excluding = [entry("one", content="two"), entry("two", content="@@exclude_keys two\nx")]
    assert woken(active(book(*excluding, recursive_scanning=True), said("one"))) == [0, 1]


def test_cycles_end() -> None:
    ring = [entry(f"k{n}", content=f"k{(n + 1) % 5}") for n in range(5)]
    assert woken(active(book(*ring, recursive_scanning=True), said("k3"))) == [0, 1, 2, 3, 4]
    self_ = entry("me", content="me me me")
    assert woken(active(book(self_, recursive_scanning=True), said("me"))) == [0]


def test_a_chain_without_end_is_cut() -> None:
    chain = [entry(f"k{n}", content=f"k{n + 1}") for n in range(2000)]
    found = active(book(*chain, recursive_scanning=True), said("k0"))
    assert woken(found) == list(range(16))


@pytest.mark.parametrize("pattern", ["(a|aa)+$", "(a|a)*b|(a|a?)+$", "((a{1,999}){1,999})+b"])
def test_a_pattern_that_runs_away_is_no_match(pattern: str) -> None:
    patterns = Patterns()
    text = "a" * 3000 + "!"
    for _ in range(50):  # the same pattern is not tried again, so it costs its time but once
        assert not patterns.found(pattern, text, case=True)
    assert patterns.slow == [pattern]
    many = [f"{pattern}{n}" for n in range(200)]
    assert not any(patterns.found(one, text, case=True) for one in many)
    assert patterns.left <= 0 and len(patterns.slow) < 100  # the allowance ends them all
    assert not patterns.found("a", text, case=True)


def test_a_runaway_entry_does_not_silence_the_others() -> None:
    mixed = book(entry("(a|aa)+$", use_regex=True), entry("b+", use_regex=True), entry("plain"))
    start = time.process_time()
    assert woken(active(mixed, said("a" * 3000 + "! bb plain"))) == [1, 2]
    assert time.process_time() - start < 30  # and not the years it would take


@pytest.mark.parametrize("pattern", ["(" * 999, "(?R)", "a" * 1001, "[" * 99, "a{99999999999}", ""])
def test_odd_patterns_are_no_match(pattern: str) -> None:
    assert not Patterns().found(pattern, "a" * 2000, case=True)


WORD = st.sampled_from(["cat", "dog", "old", "x", "@@activate", ""])
FIELDS = st.fixed_dictionaries(
    {"keys": st.lists(WORD, max_size=2), "content": st.lists(WORD, max_size=4).map(" ".join)},
    optional={
        "enabled": st.booleans(), "constant": st.booleans(), "selective": st.booleans(),
        "secondary_keys": st.lists(WORD, max_size=2), "use_regex": st.booleans(),
        "insertion_order": st.integers(0, 3), "priority": st.integers(0, 3),
    },
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(FIELDS, max_size=6), st.lists(WORD, max_size=4), st.booleans(), st.integers(0, 12))
def test_what_always_holds(
    entries: list[dict[str, Any]], words: list[str], recursive: bool, budget: int
) -> None:
    talk = said(*words) if words else []
    all_ = active(book(*entries, recursive_scanning=recursive), talk, tokens=len)
    some = active(
        book(*entries, recursive_scanning=recursive, token_budget=budget), talk, tokens=len
    )
    plain = active(book(*entries), talk, tokens=len)
    assert len(set(woken(all_))) == len(all_)
    assert all(lore.entry.enabled and lore.text.strip() for lore in all_)
    orders = [lore.entry.insertion_order for lore in all_]
    assert orders == sorted(orders)
    assert set(woken(plain)) <= set(woken(all_))
    assert sum(len(lore.text) for lore in some) <= budget
    dropped = [lore for lore in all_ if lore.index not in woken(some)]
    assert all(d.entry.rank <= s.entry.rank for d in dropped for s in some)


@given(st.text("ab c.", max_size=12), st.text("abc", min_size=1, max_size=3))
def test_whole_words_are_those_of_a_split(text: str, key: str) -> None:
    words = text.replace(".", " ").split()
    assert Text(text).has(key, case=True) == (key in words)
    assert Text(text).has(key, case=True, whole=False) == (key in text)


def test_rank_falls_back_on_the_order() -> None:
    assert Entry(insertion_order=3).rank == 3
    assert Entry(insertion_order=3, priority=0).rank == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{char}} met {{USER}} and <bot>.", "Ada met Ben and Ada."),
        ("{{reverse:Hello}}{{// secret}}{{hidden_key:x}}{{comment: y}}", "olleH"),
        ("{{made_up:x}} {{", "{{made_up:x}} {{"),
        ("{{random:a}}{{pick:b}}{{roll:1}}{{roll:D1}}", "ab11"),
        ("{{random:a\\,b}}", "a,b"),
        ("{{pick::{{char}}}}", "Ada"),
        ("{{roll:0}}{{roll:x}}", "{{roll:0}}{{roll:x}}"),
    ],
)
def test_macros(text: str, expected: str) -> None:
    assert expand(text, "Ada", "Ben") == expected


def test_macros_of_chance_follow_the_seed() -> None:
    text = "{{random:a,b,c,d}}{{pick:a,b,c,d}}{{pick:a,b,c,d}}{{roll:d6}}"
    all_ = [expand(text, "Ada", "Ben", seed) for seed in range(60)]
    assert all_ == [expand(text, "Ada", "Ben", seed) for seed in range(60)]
    assert {one[0] for one in all_} == {one[1] for one in all_} == set("abcd")
    assert all(one[1] == one[2] for one in all_)
    assert {one[3] for one in all_} == set("123456")
