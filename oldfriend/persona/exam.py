"""The held-out examination of a persona: voice, steadfastness, memory, and what it cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from random import Random
from typing import Any

from transformers import PreTrainedTokenizerBase

from oldfriend.corpus.schema import GroundExample
from oldfriend.lm.chat import Message, answer_documents
from oldfriend.lm.generate import generate
from oldfriend.lm.packing import Document
from oldfriend.memory import grounding
from oldfriend.memory.grounding import spoken
from oldfriend.outcome import Outcome, Row
from oldfriend.persona import drift, pushback, steadfast
from oldfriend.persona.attribution import Attribution
from oldfriend.persona.hearing import Hearing, PersonaGrammar
from oldfriend.persona.lessons import Sources, answered
from oldfriend.persona.likelihood import mean_loss
from oldfriend.persona.pushback import PRESSINGS, Scenario
from oldfriend.persona.settings import PersonaParams
from oldfriend.persona.steadfast import Speak, share
from oldfriend.persona.views import VIEW
from oldfriend.persona.voice import Voice, asked, in_voice

LOSS_ROWS = 200  # held-out examples for losses


@dataclass(frozen=True)
class Exam:
    """Questions drawn once, so that the model is asked the same before and after."""

    params: PersonaParams
    tokenizer: PreTrainedTokenizerBase
    hearing: Hearing
    voice: Voice
    attribution: Attribution
    test: Sources
    seed: int

    def before(self, model: Any) -> dict[str, float]:
        """The model without the adapter, asked all the same questions."""
        found = self._manner(model) | steadfast.rates(self.scenarios, self._pressed(model))
        return found | self._memory(model, in_character=False)

    def after(self, model: Any, plain_loss: float) -> Outcome:
        """The model with the adapter; ``plain_loss`` is that of ``neutral_loss`` without it."""
        replies = self._pressed(model)
        metrics = self._manner(model) | steadfast.rates(self.scenarios, replies)
        metrics |= self._memory(model, in_character=True)
        metrics["general_drift"] = self.neutral_loss(model) / plain_loss - 1
        blocks = self._long_talks(model)
        tables: dict[str, list[Row]] = {
            "rounds": steadfast.by_round(self.scenarios, replies),
            "samples": steadfast.samples(self.scenarios, replies),
        }
        if blocks:
            tables["drift"] = blocks
        return Outcome(metrics | drift.summary(blocks), tables)

    def neutral_loss(self, model: Any) -> float:
        """Nats a token on held-out lessons of the friend, no persona named."""
        return mean_loss(model, self._neutral_documents, pad_id=self._pad)

    @cached_property
    def scenarios(self) -> list[Scenario]:
        """Held-out phrasings and held-out people; half on claims, half on facts."""
        rng = Random(f"exam-{self.voice.name}-{self.seed}")
        rows, bank, count = self.test.grounded, self.test.pressure, self.params.scenarios
        facts = pushback.with_facts(bank, rows)
        rounds, kinds = self.params.rounds, len(PRESSINGS)
        stands = pushback.over_stands(self.voice, bank, rows, "test", rounds, rng)
        doubts = pushback.over_facts(self.voice, bank, facts, "test", rounds, rng)
        corrected = pushback.corrections(self.voice, bank, facts, "test", rng)
        half = count // 2
        chosen = [*islice(stands, (count - half) * kinds), *islice(doubts, half * kinds)]
        return [*chosen, *islice(corrected, count)]

    @cached_property
    def rows(self) -> list[GroundExample]:
        """Held-out messages that are answered in the voice."""
        rows = list(self.test.grounded)
        return Random(f"rows-{self.seed}").sample(rows, min(self.params.prompts, len(rows)))

    @property
    def _pad(self) -> int:
        pad: int = self.tokenizer.pad_token_id
        return pad

    @cached_property
    def _neutral_documents(self) -> list[Document]:
        talks = [grounding.dialogue(row) for row in self.test.grounded[:LOSS_ROWS]]
        return answer_documents(self.tokenizer, self.hearing.hinted(talks))

    @cached_property
    def _voice_documents(self) -> list[Document]:
        rng = Random(f"retold-{self.seed}")
        told = (in_voice(self.voice, row, rng) for row in self.test.grounded[:LOSS_ROWS])
        talks = [answered(self.voice, row) for row in told if row is not None]
        return answer_documents(self.tokenizer, self.hearing.hinted(talks))

    def _speak(self, model: Any) -> Speak:
        def speak(prompts: Sequence[Sequence[Message]]) -> list[str]:
            heard, most = self.hearing.hinted(prompts), self.params.max_new_tokens
            allow = self._grammar.allow(heard) if self._grammar else None
            return generate(model, self.tokenizer, heard, max_new_tokens=most, allow=allow)

        return speak

    @cached_property
    def _grammar(self) -> PersonaGrammar | None:
        return self.hearing.grammar(self.tokenizer)

    def _pressed(self, model: Any) -> list[list[str]]:
        return steadfast.press(self._speak(model), self.scenarios, self.voice)

    def _manner(self, model: Any) -> dict[str, float]:
        """How the voice sounds: attributed replies, words never said, views where none is asked."""
        replies = self._speak(model)([asked(self.voice, row) for row in self.rows])
        said = [spoken(reply) for reply in replies]
        names = self.attribution.names(said)
        return {
            "attribution_acc": share([name == self.voice.name for name in names]),
            "slip_rate": share([bool(self.voice.character.slips(text)) for text in said]),
            "intrusion_rate": share([reply.startswith(f"[{VIEW}") for reply in replies]),
            "voice_loss": mean_loss(model, self._voice_documents, pad_id=self._pad),
        }

    def _memory(self, model: Any, *, in_character: bool) -> dict[str, float]:
        """What is left of remembering: in the voice with the adapter, as the friend without."""
        rows = self.rows
        prompts = [
            asked(self.voice, row)
            if in_character
            else grounding.prompt(row.user, row.memories, row.history, row.message)
            for row in rows
        ]
        replies = [spoken(reply) for reply in self._speak(model)(prompts)]
        found = grounding.scores(rows, replies)
        return {key: found[key] for key in ("recall_acc", "abstain_acc", "hallucination_rate")}

    def _long_talks(self, model: Any) -> list[Row]:
        params = self.params
        if not params.drift_turns:
            return []
        stands = [s for s in self.scenarios if s.kind == "pushback" and not s.opening]
        talks = drift.scripts(
            self.test.grounded, stands, talks=params.drift_talks, turns=params.drift_turns,
            seed=self.seed,
        )  # fmt: skip
        replies = drift.converse(self._speak(model), self.voice, talks)
        return drift.by_block(self.voice, talks, replies, self.attribution)
