"""What a message asks about: a linear head on MiniLM's sentence vectors.

A small model from scratch finds a memory by its name as soon as it knows which one is meant; what
it lacks is the many ways to ask. Those a sentence encoder knows. The head's guess stands behind the
message, "(about your home city)", and the model looks that up, or finds that it is not there.
"""

import calendar
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oldfriend.corpus.schema import GroundExample, Turn
from oldfriend.errors import CheckpointError
from oldfriend.files import write_json
from oldfriend.memory.grounding import Encode

NOTHING = ""  # the topic of talk that asks for no memory
L2 = 0.002
LEAST_SURE = 0.4  # below, the message goes without a hint
MONTHS = re.compile(rf"\b({'|'.join(calendar.month_name[1:])})\b")
TOPICS, WEIGHTS = "intent.json", "intent.safetensors"


@dataclass(frozen=True)
class Intent:
    """``weight`` [T, D] and ``bias`` [T] of ``topics`` over unit sentence vectors."""

    topics: tuple[str, ...]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def read(self, vectors_ND: NDArray[np.float32]) -> list[tuple[str, float]]:
        """The likeliest topic of each message and its probability."""
        odds_NT = self.odds(vectors_ND)
        best_N = odds_NT.argmax(1)
        return [(self.topics[t], float(odds_NT[n, t])) for n, t in enumerate(best_N)]

    def odds(self, vectors_ND: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probability of each topic [N, T]."""
        logits_NT = vectors_ND @ self.weight.T + self.bias
        odds_NT = np.exp(logits_NT - logits_NT.max(1, keepdims=True))
        return np.asarray(odds_NT / odds_NT.sum(1, keepdims=True), np.float32)

    def hints(self, texts: Sequence[str], encode: Encode) -> list[str]:
        """The texts, each with what it seems to ask about behind it."""
        if not texts:
            return []
        found = self.read(encode(texts))
        return [
            f"{text} (about {topic}{_when(text)})" if topic and sure >= LEAST_SURE else text
            for text, (topic, sure) in zip(texts, found, strict=True)
        ]


def month_in(text: str) -> str:
    """The month that ``text`` names, if it names exactly one."""
    found = set(MONTHS.findall(text))
    return found.pop() if len(found) == 1 else ""


def _when(text: str) -> str:
    month = month_in(text)
    return f" in {month}" if month else ""


def fit(examples: Sequence[GroundExample], encode: Encode, most: int) -> Intent | None:
    """Multinomial logistic regression on ``most`` different last messages of ``examples``.

    None if the examples ask about fewer than two things, as public talk does.
    """
    asked = sorted({_asked(example)[-1] for example in examples})
    asked = random.Random("hints").sample(asked, min(most, len(asked)))
    topics = tuple(sorted({topic for _, topic in asked}))
    if len(topics) < 3:
        return None
    places = {topic: place for place, topic in enumerate(topics)}
    vectors_ND = encode([text for text, _ in asked])
    return Intent(topics, *_regress(vectors_ND, [places[topic] for _, topic in asked]))


def _regress(
    vectors_ND: NDArray[np.float32], labels: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight [T, D] and bias [T] of least cross entropy with a little L2 on the weight."""
    import torch

    features_ND, labels_N = torch.from_numpy(vectors_ND), torch.tensor(labels)
    weight_TD = torch.zeros(max(labels) + 1, features_ND.shape[1], requires_grad=True)
    bias_T = torch.zeros(max(labels) + 1, requires_grad=True)
    solver = torch.optim.LBFGS([weight_TD, bias_T], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        solver.zero_grad()
        logits_NT = features_ND @ weight_TD.T + bias_T
        total = torch.nn.functional.cross_entropy(logits_NT, labels_N)
        total = total + L2 * weight_TD.square().sum() / len(labels)
        total.backward()  # type: ignore[no-untyped-call]
        return total

    solver.step(loss)  # type: ignore[no-untyped-call]
    return weight_TD.detach().numpy(), bias_T.detach().numpy()


def hinted(
    intent: Intent | None, examples: Sequence[GroundExample], encode: Encode
) -> list[GroundExample]:
    """The examples with a hint behind every message that asks for a memory."""
    if intent is None:
        return list(examples)
    texts = [text for example in examples for text, _ in _asked(example)]
    said = iter(intent.hints(texts, encode))
    return [_said(example, [next(said) for _ in _asked(example)]) for example in examples]


def _asked(example: GroundExample) -> list[tuple[str, str]]:
    """Everything the person says, in its order, with the topic that the reply stands on."""
    replies = [turn.quote for turn in example.history if turn.speaker == "friend"]
    before = [turn.text for turn in example.history if turn.speaker == "user"]
    quotes = [*(replies if len(replies) == len(before) else [""] * len(before))]
    own = example.quote if example.kind in ("recall", "past", "abstain") else ""
    return [(t, _topic(q)) for t, q in zip([*before, example.message], [*quotes, own], strict=True)]


def _topic(quote: str) -> str:
    return quote.partition(": ")[0] if ": " in quote else NOTHING


def _said(example: GroundExample, texts: Sequence[str]) -> GroundExample:
    words = iter(texts)
    history = tuple(
        Turn(speaker=turn.speaker, text=next(words), quote=turn.quote)
        if turn.speaker == "user"
        else turn
        for turn in example.history
    )
    return example.model_copy(update={"history": history, "message": next(words)})


def save(intent: Intent, folder: Path) -> None:
    """Write the head into ``folder``, beside the model that reads its hints."""
    from safetensors.numpy import save_file

    save_file({"weight": intent.weight, "bias": intent.bias}, folder / WEIGHTS)
    write_json(folder / TOPICS, list(intent.topics))


def load(folder: Path) -> Intent | None:
    """What ``save`` wrote; None if the model there knows no hints. CheckpointError if broken."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not (folder / TOPICS).is_file():
        return None
    try:
        topics = tuple(map(str, json.loads((folder / TOPICS).read_text(encoding="utf-8"))))
        arrays = load_file(folder / WEIGHTS)
        intent = Intent(topics, arrays["weight"], arrays["bias"])
        if intent.weight.shape[:1] != intent.bias.shape or len(topics) != len(intent.bias):
            raise ValueError("shapes differ")
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{folder}: broken intent head ({error})") from None
    return intent
