"""A trained empathy folder, its parts loaded when they are first needed."""

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from oldfriend.empathy.settings import EmpathyParams
from oldfriend.errors import CheckpointError, MissingDataError

if TYPE_CHECKING:  # these import numpy and torch
    from oldfriend.empathy.crisis import Crisis
    from oldfriend.empathy.crisis_answers import Resources
    from oldfriend.empathy.emotion import Emotion
    from oldfriend.empathy.encoder import Encoder
    from oldfriend.empathy.judge import Judge
    from oldfriend.empathy.repertoire import Repertoire
    from oldfriend.empathy.strategy import Strategist

CRISIS, JUDGE = "crisis", "judge"  # folders in it


class Empathy:
    """The parts that were trained into one folder. Opening it reads nothing but settings."""

    def __init__(self, folder: Path, params: EmpathyParams) -> None:
        self.folder, self.params = folder, params

    @classmethod
    def load(cls, folder: Path) -> Self:
        """MissingDataError if nothing was trained into ``folder``, CheckpointError if it broke."""
        path = folder / "meta.json"
        if not path.is_file():
            raise MissingDataError(f"{folder} has no empathy heads; run: dvc repro empathy")
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            return cls(folder, EmpathyParams.model_validate(told["params"]))
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is not ours ({error!r}); train it again") from None

    def crisis(self, resources: "Resources | None" = None) -> "Crisis":
        """Who hears danger, and answers with the deployer's ``resources``."""
        from oldfriend.empathy.crisis import Crisis

        return Crisis.load(self.folder / CRISIS, self.encoder.encode, resources)

    @cached_property
    def encoder(self) -> "Encoder":
        """MiniLM as it is, shared by all but emotion."""
        from oldfriend.empathy.encoder import Encoder

        return Encoder()

    @cached_property
    def emotion(self) -> "Emotion":
        from oldfriend.empathy.emotion import Emotion

        return Emotion.load(self.folder)

    @cached_property
    def strategist(self) -> "Strategist":
        from oldfriend.empathy.strategy import Strategist

        return Strategist.load(self.folder, self.encoder, self.params.rules)

    @cached_property
    def judge(self) -> "Judge":
        from oldfriend.empathy.judge import Judge

        return Judge.load(self.folder / JUDGE, self.encoder.encode, self.params.judge.weights)

    @cached_property
    def repertoire(self) -> "Repertoire":
        from oldfriend.empathy.repertoire import Repertoire

        return Repertoire.load(self.folder, self.encoder.encode)
