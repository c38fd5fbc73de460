"""Which lore comes to mind: the trigger semantics of lorebooks.

Follows Character Card V3 (fields and decorators) and, for entries that SillyTavern wrote, what
SillyTavern does with them: it marks every entry ``use_regex`` and means only keys in slashes.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oldfriend.persona.decorators import ROLES, Decorated, undecorate
from oldfriend.persona.fields import Entry, Lorebook
from oldfriend.persona.triggers import Patterns, Text, slashed

DEFAULT_DEPTH = 4  # messages looked at where neither book nor entry says how many
_ROUNDS = 16  # of lore waking lore; cycles end earlier, as nothing wakes twice
_LONGEST = 100_000  # characters looked at, the most recent ones
_AT_DEPTH = 4  # SillyTavern's name for "between the messages"
_ANY, _NOT_ALL, _NOT_ANY, _ALL = range(4)  # SillyTavern's selectiveLogic

Message = Mapping[str, str]  # role (system, user, assistant), content


@dataclass(frozen=True)
class Lore:
    """One entry that came to mind, and where its text belongs.

    ``position``: before_char, after_char, before_desc, after_desc, personality, scenario, or depth:
    ``depth`` messages before the end of the talk, said by ``role``.
    """

    index: int
    entry: Entry
    text: str
    position: str
    depth: int | None = None
    role: str = "system"


def active(
    book: Lorebook,
    messages: Sequence[Message],
    *,
    tokens: Callable[[str], int] = lambda text: -(-len(text) // 4),
    woken: Collection[int] = (),
    greeting: int | None = None,
    user_icon: str | None = None,
) -> list[Lore]:
    """The entries that ``messages`` (oldest first) wake, in the order of insertion.

    ``tokens`` counts what a text costs of the book's budget (four characters a token, unless told).
    ``woken`` are the indices of entries that came in earlier turns, ``greeting`` and ``user_icon``
    what the talk began with and who the user is; without them the decorators that ask are ignored.
    """
    scan = _Scan(book, messages, frozenset(woken), greeting, user_icon)
    found = scan.run()
    if book.token_budget is not None:
        found = _within(found, scan.decorated, book.token_budget, tokens)
    return sorted(found, key=lambda lore: (lore.entry.insertion_order, lore.index))


class _Scan:
    """One look through a book."""

    def __init__(
        self, book: Lorebook, messages: Sequence[Message], woken: frozenset[int],
        greeting: int | None, user_icon: str | None,
    ) -> None:  # fmt: skip
        self.book, self.messages, self.woken = book, messages, woken
        self.greeting, self.user_icon = greeting, user_icon
        self.replies = sum(message["role"] == "assistant" for message in messages)
        self.decorated = [undecorate(entry.content) for entry in book.entries]
        self.patterns = Patterns()
        self._windows: dict[int, Text] = {}
        self._heard: dict[int, Text] = {}

    def run(self) -> list[Lore]:
        """Look at the messages, then at the lore they woke, until nothing new wakes."""
        entries = self.book.entries
        asleep = {i for i, e in enumerate(entries) if e.enabled and self.decorated[i].text.strip()}
        awake: list[int] = []
        told = ""
        for round_ in range(_ROUNDS if self.book.recursive_scanning else 1):
            new = [i for i in sorted(asleep) if self._wakes(i, told, first=round_ == 0)]
            awake += new
            asleep -= set(new)
            speaking = [i for i in new if not entries[i].extensions.get("prevent_recursion")]
            if not speaking:
                break
            told = "\n".join([told, *(self.decorated[i].text for i in speaking)])[-_LONGEST:]
            self._heard.clear()
        return [self._placed(i) for i in awake]

    def _wakes(self, index: int, told: str, *, first: bool) -> bool:
        entry, rules = self.book.entries[index], self.decorated[index].rules
        if not first and entry.extensions.get("exclude_recursion"):
            return False
        if "activate" in rules:
            return True
        if "dont_activate" in rules or not self._in_season(index, rules):
            return False
        if index in self.woken and "keep_activate_after_match" in rules:
            return True
        depth = rules.get("scan_depth")
        window, text = self._window(depth), self._with_lore(depth, told)
        if not entry.use_regex and self._any(entry, rules.get("exclude_keys", ()), window):
            return False
        if "additional_keys" in rules and not self._any(entry, rules["additional_keys"], text):
            return False
        if entry.constant and not _strict_regex(entry):
            return True
        return self._any(entry, entry.keys, text) and self._selected(entry, text)

    def _in_season(self, index: int, rules: Mapping[str, Any]) -> bool:
        """Whether the decorators about time and circumstance allow an entry."""
        every = rules.get("activate_only_every", 0)
        return not (
            (index in self.woken and "dont_activate_after_match" in rules)
            or self.replies < rules.get("activate_only_after", 0)
            or (every and self.replies % every)
            or self.greeting not in (None, rules.get("is_greeting", self.greeting))
            or self.user_icon not in (None, rules.get("is_user_icon", self.user_icon))
        )

    def _selected(self, entry: Entry, text: Text) -> bool:
        """Whether the secondary keys agree; only then does a selective entry wake."""
        keys = [key for key in entry.secondary_keys if key]
        if not (entry.selective and keys) or _strict_regex(entry):
            return True
        logic = entry.extensions.get("selectiveLogic", _ANY)
        hits = [self._has(entry, key, text) for key in keys]
        return {_NOT_ALL: not all(hits), _NOT_ANY: not any(hits), _ALL: all(hits)}.get(
            logic if isinstance(logic, int) else _ANY, any(hits)
        )

    def _any(self, entry: Entry, keys: Sequence[str], text: Text) -> bool:
        return any(self._has(entry, key, text) for key in keys)

    def _has(self, entry: Entry, key: str, text: Text) -> bool:
        ours = entry.extensions
        case = entry.case_sensitive
        sensitive = bool(ours.get("case_sensitive") if case is None else case)
        if entry.use_regex and (slashed(key) or _strict_regex(entry)):
            return self.patterns.found(key, text.raw, case=sensitive)
        return text.has(key, case=sensitive, whole=ours.get("match_whole_words") is not False)

    def _window(self, depth: int | None) -> Text:
        """The last messages, as many as the entry, else the book, else the default says."""
        if depth is None:
            depth = DEFAULT_DEPTH if self.book.scan_depth is None else self.book.scan_depth
        if depth not in self._windows:
            recent = self.messages[-depth:] if depth else ()
            text = "\n".join(message["content"] for message in recent)
            self._windows[depth] = Text(text[-_LONGEST:])
        return self._windows[depth]

    def _with_lore(self, depth: int | None, told: str) -> Text:
        """The same messages, and the lore that they have woken so far."""
        window = self._window(depth)
        if not told:
            return window
        key = -1 if depth is None else depth
        if key not in self._heard:
            self._heard[key] = Text(f"{window.raw}\n{told}")
        return self._heard[key]

    def _placed(self, index: int) -> Lore:
        entry, rules = self.book.entries[index], self.decorated[index].rules
        depth = rules.get("depth")
        if depth is None and "reverse_depth" in rules:
            depth = max(len(self.messages) - int(rules["reverse_depth"]), 0)
        role = rules.get("role", "system")
        if depth is None and "position" not in rules and _sillytavern(entry):
            depth, role = _sillytavern_depth(entry, role)
        if "position" in rules:
            depth, position = None, str(rules["position"])
        elif depth is not None:
            depth, position = min(depth, len(self.messages)), "depth"
        else:
            position = "before_char" if entry.position == "before_char" else "after_char"
        return Lore(index, entry, self.decorated[index].text, position, depth, role)


def _within(
    found: Sequence[Lore], decorated: Sequence[Decorated], budget: int, tokens: Callable[[str], int]
) -> list[Lore]:
    """What fits: those that yield go first, then the lowest in rank, of equals the later."""

    def staying(lore: Lore) -> tuple[bool, float, int]:
        yields = "ignore_on_max_context" in decorated[lore.index].rules
        return not yields, lore.entry.rank, -lore.index

    kept = sorted(found, key=staying, reverse=True)
    total = sum(tokens(lore.text) for lore in kept)
    while kept and total > budget:
        total -= tokens(kept.pop().text)
    return kept


def _sillytavern(entry: Entry) -> bool:
    return not entry.extensions.keys().isdisjoint(("selectiveLogic", "display_index"))


def _strict_regex(entry: Entry) -> bool:
    """Whether V3's regex rule holds: every key a pattern, constant and secondary keys ignored."""
    return entry.use_regex and not _sillytavern(entry)


def _sillytavern_depth(entry: Entry, role: str) -> tuple[int | None, str]:
    ours = entry.extensions
    depth, number = ours.get("depth"), ours.get("role")
    if ours.get("position") != _AT_DEPTH or not isinstance(depth, int) or depth < 0:
        return None, role
    # SillyTavern numbers the roles as we list them: system, user, assistant
    return depth, ROLES[number] if isinstance(number, int) and 0 <= number < len(ROLES) else role
