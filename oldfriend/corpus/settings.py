"""The knobs of the corpus: the life simulator, and curation."""

from datetime import date
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from oldfriend.corpus.schema import Split


def _ordered(pair: tuple[int, int]) -> tuple[int, int]:
    if pair[0] > pair[1]:
        raise ValueError(f"[{pair[0]}, {pair[1]}]: the lower bound comes first")
    return pair


Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=100)]
Between = Annotated[tuple[Count, Count], AfterValidator(_ordered)]


class SimulatorParams(BaseModel):
    """How many people live how eventful a year; shares are chances, pairs are [least, most]."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    seed: int = Field(default=1, ge=0)
    """The same seed, settings and banks give the same lives, word for word."""

    people: int = Field(default=300, ge=1, le=100_000)
    """How many people. Each belongs to one split, as do the values and phrasings they use."""

    val_share: Share = 0.1
    """Share of people held out with values of their own but the phrasings of train."""

    test_share: Share = 0.2
    """Share of people held out with values and phrasings of their own."""

    start: date = date(2024, 1, 1)
    """First day of every simulated year."""

    days: int = Field(default=365, ge=100, le=3650)
    """Days between which the sessions lie."""

    sessions: Between = (8, 14)
    """Conversations per person."""

    slots: Between = (10, 18)
    """Slots that a person reveals; all others stay unsaid."""

    change_share: Share = 0.6
    """Chance that a single-valued slot changes after it was told, and again after that."""

    more_share: Share = 0.35
    """Chance of one more value of a multi-valued slot, and again after that."""

    joint_share: Share = 0.2
    """Chance that two facts due in one session are said in one turn."""

    mixed_share: Share = 0.25
    """Chance that a turn with a fact also holds a sentence of small talk."""

    smalltalk: Between = (1, 3)
    """Small-talk exchanges per session."""

    near_misses: Between = (0, 2)
    """Turns per session that sound like a fact and are none."""

    emotion_share: Share = 0.7
    """Chance of an emotional exchange in a session."""

    recall_share: Share = 0.4
    """Chance that the person asks, and the friend recalls, something said in earlier sessions."""

    joke_share: Share = 0.25
    """Chance of a joke in a session; it comes back in a later one."""

    promise_share: Share = 0.25
    """Chance of a promise in a session; a later one tells whether it was kept."""

    kept_share: Share = 0.6
    """Chance that a promise is kept."""

    interest_share: Share = 0.25
    """Share of people in each split with a niche interest, rounded up."""

    early_share: Share = 0.6
    """Share of an enthusiast's sessions to personalize on; the later ones test it."""

    interest_early: Between = (12, 18)
    """Mentions of the interest in the early sessions."""

    interest_late: Between = (8, 10)
    """Mentions of the interest in the later sessions."""

    passing_share: Share = 0.35
    """Chance per session that a person mentions a niche that is not their interest."""

    @model_validator(mode="after")
    def _someone_is_left_to_train_on(self) -> "SimulatorParams":
        if self.val_share + self.test_share >= 1:
            raise ValueError("val_share + test_share must stay below 1: nobody is left to train on")
        if self.sessions[0] < 2:
            raise ValueError("sessions: a year needs at least 2 conversations")
        if self.slots[0] < 1:
            raise ValueError("slots: everybody reveals at least 1")
        return self


class Settings(BaseModel):
    """Base of the curation sections: immutable, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class QualityParams(Settings):
    """Limits outside which a conversation is left out (``oldfriend.corpus.quality``)."""

    min_turns: int = Field(default=2, ge=1)
    """A talk with fewer turns is too short; documents of a domain may have one."""

    min_chars: int = Field(default=20, ge=1)
    """Characters over all turns."""

    max_chars: int = Field(default=100_000, ge=100)
    """Characters over all turns; longer ones are whole books that an importer should cut."""

    max_turn_chars: int = Field(default=4_000, ge=50)
    """Characters of the longest turn of a talk; documents are held to ``max_chars`` only."""

    min_letters: Share = 0.5
    """Share of letters among the characters that are not blanks."""

    max_repeated: Share = 0.5
    """Share of turns that say what an earlier turn said."""

    max_link_chars: Share = 0.2
    """Share of characters that belong to web links."""

    max_unprintable: Share = 0.005
    """Share of control, private and replacement characters."""


class DedupParams(Settings):
    """What counts as the same text (``oldfriend.corpus.dedup``)."""

    threshold: float = Field(default=0.8, gt=0, le=1)
    """Jaccard similarity of word shingles from which two conversations are duplicates."""

    shingle: int = Field(default=3, ge=1, le=20)
    """Words per shingle."""

    permutations: int = Field(default=128, ge=16, le=512)
    """Length of a MinHash signature."""


class SplitParams(Settings):
    """How much is held out; a source's own split comes first (``oldfriend.corpus.splits``)."""

    val: float = Field(default=0.05, ge=0, lt=1)
    """Share of persons for validation."""

    test: float = Field(default=0.1, ge=0, lt=1)
    """Share of persons for the test."""

    @model_validator(mode="after")
    def _leaves_training_data(self) -> "SplitParams":
        if self.val + self.test >= 1:
            raise ValueError(f"val + test is {self.val + self.test:g}; it must stay below 1")
        return self


class TaskParams(Settings):
    """How many examples of each task are cut from the talk."""

    note_negatives: float = Field(default=0.6, ge=0, lt=1)
    """Share of summarizer examples in which nothing is worth noting."""

    unfamiliar: Share = 0.5
    """Share of listed values that training examples replace by unfamiliar ones."""

    ground: dict[Split, Annotated[int, Field(ge=0, le=1_000_000)]] = {
        "train": 12_000,
        "val": 600,
        "test": 1_500,
    }
    """Grounding examples from simulated lives, by split."""

    ground_memories: int = Field(default=6, ge=1, le=50)
    """Most memories in one simulated grounding example."""

    ground_exchanges: int = Field(default=6, ge=0, le=50)
    """Most exchanges before the message in a training example (1 in held-out ones); all are learnt,
    so one set of memories teaches several answers."""

    ground_per_conversation: int = Field(default=4, ge=0, le=100)
    """At most so many grounding examples from one conversation of a public dataset."""


class SourceParams(Settings):
    """One public dataset: an importer and where its files lie."""

    name: str = Field(min_length=1)
    """Name in the importer registry."""

    path: str = Field(min_length=1)
    """Folder or file, relative to the folder of external data."""

    limit: int | None = Field(default=None, ge=1)
    """At most so many conversations, person by person in the order of a hash; null takes all."""

    scrub: bool = True
    """Replace personal data; not needed for published books and laws."""

    resplit: bool = False
    """Ignore the source's own split, for example where only its validation set is at hand."""

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts:
            raise ValueError("must be relative to the folder of external data, without '..'")
        return path


class CurateParams(Settings):
    """What the ``curate`` stage reads, cleans and splits."""

    simulator: SimulatorParams | None = SimulatorParams()
    """The life simulator; null leaves it out."""

    sources: tuple[SourceParams, ...] = ()
    """Public datasets beside the simulator."""

    quality: QualityParams = QualityParams()
    """Filters."""

    dedup: DedupParams = DedupParams()
    """Near-duplicates."""

    splits: SplitParams = SplitParams()
    """Held-out shares."""

    tasks: TaskParams = TaskParams()
    """Sizes of the task sets."""

    samples: int = Field(default=3, ge=0, le=20)
    """Conversations per source shown in the data card."""

    @model_validator(mode="after")
    def _reads_something(self) -> "CurateParams":
        if self.simulator is None and not self.sources:
            raise ValueError("nothing to curate: set simulator or sources")
        return self
