"""The whole turn: danger first, feelings, strategy, drafts that are judged, and what is kept."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from friend_fakes import START, Table, on_disk
from hypothesis import given
from hypothesis import strategies as st

from oldfriend.agent import moods
from oldfriend.agent.friend import Friend
from oldfriend.agent.heart import Heart
from oldfriend.agent.persona import Persona
from oldfriend.agent.sessions import QUIET
from oldfriend.agent.settings import DraftParams, FriendParams
from oldfriend.agent.speaking import OTHER
from oldfriend.corpus.schema import Precedent, Suited
from oldfriend.empathy.context import COURSE, Choice
from oldfriend.empathy.emotion import Feelings
from oldfriend.empathy.judge import Draft, Judge, Situation
from oldfriend.empathy.mood import Mood
from oldfriend.empathy.repertoire import Repertoire
from oldfriend.empathy.strategies import PLAYFUL, STRATEGIES, Strategy
from oldfriend.empathy.strategy import FEATURES, Maps, Strategist
from oldfriend.lm.generate import Answer
from oldfriend.memory.store.embed import HashEmbedder
from oldfriend.memory.store.journal import Add

CARD = Path(__file__).parents[2] / "data" / "seeds" / "personas" / "tormod.yaml"
DANGER = "I am going to kill myself tonight."


WORDS = {
    "died": ("grief", -0.9, 0.9),
    "won": ("joy", 0.8, 0.7),
    "train": ("annoyance", -0.5, 0.4),
}


class WordEmotion:
    """Feelings by one word of a message."""

    def read(self, texts: Sequence[str]) -> list[Feelings]:
        found = []
        for text in texts:
            word = next((w for w in WORDS if w in text), "")
            label, valence, intensity = WORDS.get(word, ("neutral", 0.0, 0.05))
            found.append(Feelings({label: 0.9}, (label,), valence, intensity))
        return found

    def cause(self, text: str) -> str:
        return text


class BankVoice:
    """Hands out prepared drafts, batch by batch; ``asked``: how each batch was asked for."""

    def __init__(self, *batches: Sequence[str | tuple[str, float]]) -> None:
        self.batches, self.asked = list(batches), list[tuple[int, float, int, str]]()
        self.prompts: list[Any] = []

    def reply(self, prompt: Sequence[dict[str, str]], max_new_tokens: int) -> str:
        self.prompts.append(prompt)
        return str(self.batches[0][0])

    def drafts(
        self, prompt: Sequence[dict[str, str]], max_new_tokens: int, count: int, *,
        temperature: float, seed: int,
    ) -> list[Answer]:  # fmt: skip
        self.asked.append((count, temperature, seed, prompt[0]["content"]))
        self.prompts.append(prompt)
        batch = self.batches[min(len(self.asked), len(self.batches)) - 1]
        rows = [(text, 0.0) if isinstance(text, str) else text for text in batch]
        return [Answer(text, (logprob,)) for text, logprob in rows]


class LengthJudge(Judge):
    """Judges by rules, and likes the longest: a taste whose outcome is known."""

    seen: list[tuple[Situation, list[Draft]]]

    def score(self, situation: Situation, drafts: Sequence[Draft]) -> Any:
        self.__dict__.setdefault("seen", []).append((situation, list(drafts)))
        from dataclasses import replace

        found = super().score(situation, drafts)
        return [
            replace(v, total=v.total * min(len(d.text), 50) / 50)
            for v, d in zip(found, drafts, strict=True)
        ]


def strategist(favourite: Strategy) -> Strategist:
    """Real features, persona and rules; the head always thinks of one strategy first."""
    life = np.zeros((len(STRATEGIES), COURSE + 1), np.float32)
    life[STRATEGIES.index(favourite), -1] = 3.0
    return Strategist(Maps(life, np.zeros((0, FEATURES + 1), np.float32)))


def heart(judge: Judge | None = None, way: Strategy = "teasing", **parts: Any) -> Heart:
    return Heart(None, WordEmotion(), strategist(way), judge, **parts)  # type: ignore[arg-type]


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    with Table(tmp_path) as table:
        table.friend._heart = heart()
        yield table


def drafted(table: Table, *batches: Any, **params: Any) -> tuple[BankVoice, LengthJudge]:
    """Give the table's friend these drafts and a judge."""
    voice, judge = BankVoice(*batches), LengthJudge()
    table.friend._voice, table.friend._heart.judge = voice, judge
    table.friend.params = FriendParams(drafts=DraftParams(**params))
    return voice, judge


def test_danger_comes_first_and_nothing_else_is_done(table: Table) -> None:
    table.say("My cat is called Miro.")
    prompts = len(table.voice.prompts)
    reply = table.say(DANGER + " My dog is called Rex.")
    assert reply.why.alarm and reply.why.alarm.sure
    assert reply.text == reply.why.alarm.answer
    assert len(table.voice.prompts) == prompts, "nothing was generated"
    assert table.reader.heard == ["My cat is called Miro."], "no notes were taken"
    assert set(reply.seconds) == {"session", "danger", "remember"}
    kept = [r for r in table.friend.memory("ada").records(archived=True) if DANGER in r.text]
    assert [r.archived for r in kept] == [QUIET]


def test_what_was_said_in_danger_is_never_brought_up(table: Table) -> None:
    table.say(DANGER)
    table.say("Well. Lovely weather.")
    later = table.say("Did I tell you what I am going to do tonight?")
    assert all("kill" not in hit.record.text for hit in later.hits)
    table.friend._sessions.clear()  # as after a restart: the talk is read from memory
    table.say("Anything new?")
    assert not any("kill" in m["content"] for prompt in table.voice.prompts for m in prompt)


def test_nobody_jokes_for_days_after_danger(table: Table) -> None:
    chatty = [f"Number {n} is fun." for n in range(3)]
    assert [table.say(text) for text in chatty][-1].why.strategy.strategy == "teasing"
    table.say(DANGER)
    after = [table.say(text).why.strategy for text in chatty]
    assert all(choice.strategy not in PLAYFUL for choice in after)
    assert "no joke so soon after danger" in after[-1].reasons
    assert sum(after[-1].probabilities.values()) == pytest.approx(1)
    table.now += timedelta(days=11)
    assert [table.say(text) for text in chatty][-1].why.strategy.strategy == "teasing"


def test_perhaps_danger_is_asked_about_and_a_memory_still_told(table: Table) -> None:
    alarm = table.friend._heart.crisis.heard(DANGER)
    assert alarm

    class Unsure:
        def heard(self, text: str) -> Any:
            from dataclasses import replace

            return replace(alarm, sure=False, answer="Are you safe?") if "hm" in text else None

    table.friend._heart.crisis = Unsure()  # type: ignore[assignment]
    table.say("My cat is called Miro.")
    assert table.say("hm, it is all so grey").text == "Are you safe?"
    assert table.say("hm, what is my cat called?").text == "Are you safe?\n\nIt is Miro."


def test_feelings_are_kept_as_ones_own_memory_and_fade(table: Table) -> None:
    reply = table.say("My gran died.")
    assert reply.why.feelings.top == ("grief",)
    assert "grief over: My gran died." in reply.why.mood
    assert table.say("Hm.").why.mood.startswith("mood low")
    table.friend._sessions.clear()
    table.now += timedelta(days=2)
    memory = table.friend.memory("ada")
    assert moods.read(memory.state, "ada").valence < -0.1
    assert table.say("Hm.").why.mood.startswith("mood low"), "carried into the next session"
    assert len([r for r in memory.records() if r.slot == moods.SLOT]) == 1
    assert moods.read(table.friend.memory("ben").state, "ben") == Mood()
    turns = [r for r in memory.records(("turn",)) if r.source and r.source.speaker == "user"]
    assert [r.emotion for r in turns] == ["grief", None, None]


def test_forgetting_the_cause_forgets_the_mood(table: Table) -> None:
    table.say("Good morning.")
    table.say("My gran died.")
    assert table.friend.forget("ada", "gran", now=table.now).clean
    assert moods.read(table.friend.memory("ada").state, "ada") == Mood()
    table.say("I won!")
    assert moods.read(table.friend.memory("ada").state, "ada").valence > 0


def test_forgetting_a_person_forgets_how_they_felt(table: Table, tmp_path: Path) -> None:
    table.say("My gran died.")
    table.say("I won!", "ben")
    assert table.friend.forget("ada", "all", now=table.now).clean
    assert on_disk(tmp_path, "gran") == []
    assert moods.read(table.friend.memory("ada").state, "ada") == Mood()
    assert moods.read(table.friend.memory("ben").state, "ben").valence > 0


@given(st.lists(st.tuples(st.sampled_from(["died", "won", "train", "tea"]), st.integers(1, 9000))))
def test_a_mood_survives_being_written_down(turns: list[tuple[str, int]]) -> None:
    from uuid import UUID

    from oldfriend.memory.store.state import State

    state, now, mood = State(), START, Mood()
    felt = Heart(None, WordEmotion())  # type: ignore[arg-type]
    for number, (word, minutes) in enumerate(turns):
        now += timedelta(minutes=minutes)
        found = felt.feel(f"The {word}.", moods.read(state, "ada"), now, FriendParams())
        mood = found.mood
        for entry in moods.entries(state, "ada", mood, now, UUID(int=number), found.strong):
            state.apply(entry)
        assert isinstance(entry, Add) == (number == 0)
        kept = moods.read(state, "ada")
        assert (kept.valence, kept.trend) == (mood.valence, mood.trend)
        assert kept.events == mood.events[-moods.EVENTS :]


def test_the_best_draft_is_said_with_its_reason(table: Table) -> None:
    voice, judge = drafted(
        table, ["Hm.", "That sounds like a truly splendid afternoon by the sea."]
    )
    reply = table.say("We went swimming.")
    assert reply.text.startswith("That sounds like")
    assert (reply.why.chosen, len(voice.asked), len(judge.seen)) == (1, 1, 1)
    assert "good enough" in reply.why.because
    printed = "\n".join(reply.why.lines())
    assert "said, batch 1" in printed and "draft 1, batch 1" in printed and "Hm." in printed


def test_poor_drafts_are_drawn_again_warmer_within_the_budget(table: Table) -> None:
    poor, good = ["Hm.", "Oh."], ["Hm.", "Tell me everything about it, from the very beginning on."]
    voice, _ = drafted(table, poor, good)
    reply = table.say("We went swimming.")
    assert reply.text == good[1]
    (few, cool, seed, _), (more, warm, other, _) = voice.asked
    assert (few, more) == (3, 4) and warm > cool and other != seed
    assert [d.round for d in reply.why.drafts] == [0, 0, 1]
    voice, _ = drafted(table, poor, good, redrafts=0)
    assert table.say("We went sailing.").text in poor
    voice, _ = drafted(table, poor, good, seconds=0.0)
    reply = table.say("We went skating.")
    assert len(voice.asked) == 1 and "time" in reply.why.because


def test_a_model_that_follows_instructions_hears_what_was_wrong(table: Table) -> None:
    voice, _ = drafted(table, ["Hm."], ["Oh."], instructed=True)
    table.say("We went swimming.")
    assert "Your last attempt was not good" in voice.asked[1][3]
    assert "Answer with" in voice.asked[0][3]
    voice, _ = drafted(table, ["Hm."], ["Oh."])
    table.say("We went sailing.")
    assert "Answer with" not in voice.asked[0][3] and "attempt" not in voice.asked[1][3]


def test_a_fact_is_never_lost_for_a_prettier_draft(table: Table) -> None:
    table.say("My cat is called Miro.")
    table.say("My dog is called Rex.")
    pretty = "I could listen to stories of that animal all day long, I really could."
    other = "[your pet name: Rex] It is {}, and what a wonderful name for a cat that is."
    drafted(
        table, ["[your pet name: Miro] {}.", other, pretty, "[your pet name: Bo] It is {}, dear."]
    )
    reply = table.say("What is my cat called?")
    assert reply.text == "Miro."
    assert [r.value for r in reply.memories] == ["Miro"]
    rejected = [draft.rejected for draft in reply.why.drafts]
    assert rejected[0] == "" and rejected[1] == OTHER and all(rejected[1:])


def test_drafts_that_all_make_things_up_are_not_heard(table: Table) -> None:
    table.say("My cat is called Miro.")
    drafted(table, ["[your pet name: Rex] It is Rex.", "It is Bo."])
    reply = table.say("What is my cat called?")
    assert reply.text == "I have it noted: your pet name: Miro."
    assert reply.why.chosen == -1 and "did not stand on memory" in reply.notices[-1]


def test_what_the_model_doubts_counts_less(table: Table) -> None:
    sure, garbled = ("So you went swimming, then.", 0.0), ("The the light about the light.", -4.0)
    drafted(table, [garbled, sure])
    assert table.say("We went swimming.").text == sure[0]
    drafted(table, [garbled, sure], fluency=0.0)
    assert table.say("We went sailing.").text == garbled[0]


def test_a_persona_speaks_in_its_own_words_where_it_has_some(table: Table) -> None:
    who = Persona.read(CARD)
    drafted(table, ["Hm."])
    table.friend._heart = heart(LengthJudge(), "companionship", persona=who)
    reply = table.say("My gran died.")
    assert reply.text in who.character.lines["comfort"]
    assert (reply.why.persona, reply.why.drafts[reply.why.chosen].source) == (who.name, "card")
    table.friend.params = FriendParams(persona=False)
    reply = table.say("My gran died.")
    assert reply.why.persona == "" and reply.text == "Hm."


@pytest.mark.parametrize("valence", [-0.8, 0.8])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_line_of_a_card_jokes_at_pain_or_consoles_the_glad(
    strategy: Strategy, valence: float
) -> None:
    who, lines = Persona.read(CARD), Persona.read(CARD).character.lines
    choice = Choice(strategy, dict.fromkeys(STRATEGIES, 0.01) | {strategy: 0.88}, ())
    felt = Feelings({}, ("any",), valence, 0.8)
    line, way = who.line(choice, felt, Random(0))
    assert line and way
    assert line not in (lines["tease"] + lines["celebrate"] if valence < 0 else lines["comfort"])
    only = Choice(strategy, {s: float(s == strategy) for s in STRATEGIES}, ())
    assert who.line(only, felt, Random(0))[1] in (strategy, ""), "no way that the rules closed"
    assert who.line(choice, Feelings({}, ("any",), valence, 0.1), Random(0)) == ("", "")


def test_a_known_reply_stands_beside_the_drafts_but_not_where_memory_is_asked_for(
    table: Table,
) -> None:
    table.say("My cat is called Miro.")
    drafted(table, ["Mm."], known=1)
    known = [Suited(text=f"Hello, you, and a good {part} to you.") for part in ("day", "night")]
    hello = Precedent(source="ours", message="Hello.", replies=tuple(known))
    table.friend._heart.repertoire = Repertoire.build([hello], HashEmbedder().encode)
    replies = [table.say("Hello.") for _ in range(3)]
    assert {reply.text for reply in replies[:2]} == {one.text for one in known}
    assert replies[2].text == "Mm.", "nothing is said twice"
    assert replies[0].why.drafts[replies[0].why.chosen].source == "known"
    asked = table.say("What is my cat called?")
    assert {draft.source for draft in asked.why.drafts} <= {"model"}
    table.friend.params = FriendParams(repertoire=False)
    assert {draft.source for draft in table.say("Hello.").why.drafts} == {"model"}


@pytest.mark.parametrize("part", ["feelings", "strategy", "judge", "recall"])
def test_every_part_can_be_switched_off(table: Table, part: str) -> None:
    table.say("My cat is called Miro.")
    voice, _ = drafted(table, ["[your pet name: Miro] It is {}."])
    table.friend.params = FriendParams.model_validate({part: False})
    reply = table.say("What is my cat called?")
    assert (reply.why.feelings is None) == (part == "feelings")
    assert (reply.why.strategy is None) == (part in ("feelings", "strategy"))
    assert bool(voice.asked) == (part != "judge")
    assert bool(reply.hits) == (part != "recall")
    assert (reply.text == "It is Miro.") == (part != "recall")
    assert table.say(DANGER).why.alarm, "danger is always listened for"


def test_without_a_trained_heart_it_says_so(tmp_path: Path) -> None:
    with Friend.open(tmp_path / "memory", tmp_path, encoder="hash") as friend:
        reply = friend.turn("ada", "Hello.", now=START)
        assert any("dvc repro empathy" in notice for notice in reply.notices)
        assert friend.turn("ada", DANGER, now=START).why.alarm
