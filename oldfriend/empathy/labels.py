"""The names of feelings: GoEmotions' 28, the simulator's, and how they map onto each other.

One label set serves both. Where the simulator names what GoEmotions names too, or a near synonym,
they are one label; the seven that GoEmotions lacks are added behind its 28.
"""

GOEMOTIONS = (  # Demszky et al. 2020, arXiv:2005.00547; in the order of the data set's numbers
    "admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion",
    "curiosity", "desire", "disappointment", "disapproval", "disgust", "embarrassment",
    "excitement", "fear", "gratitude", "grief", "joy", "love", "nervousness", "optimism", "pride",
    "realization", "relief", "remorse", "sadness", "surprise", "neutral",
)  # fmt: skip
OWN = ("contentment", "nostalgia", "loneliness", "shame", "jealousy", "boredom", "overwhelm")
LABELS = GOEMOTIONS + OWN
NEUTRAL = LABELS.index("neutral")

SYNONYMS = {  # the simulator's word: GoEmotions' word
    "hope": "optimism",
    "frustration": "annoyance",
    "anxiety": "nervousness",
    "guilt": "remorse",
}
LIFE = (  # what simulated people feel, under the names of LABELS
    "joy", "pride", "relief", "gratitude", "excitement", "contentment", "optimism", "amusement",
    "nostalgia", "love", "sadness", "grief", "loneliness", "anger", "annoyance", "nervousness",
    "fear", "shame", "remorse", "jealousy", "disappointment", "boredom", "overwhelm",
    "embarrassment",
)  # fmt: skip

# Valence -1 to 1 and arousal 0 to 1 of each label, set by hand in the order of affect norms
# (Russell 1980's circumplex; no published table is copied). The simulator's own emotions have the
# valence of data/seeds/life.yaml and the middle of its intensity range.
AFFECT: dict[str, tuple[float, float]] = {
    "admiration": (0.6, 0.45), "amusement": (0.7, 0.55), "anger": (-0.8, 0.75),
    "annoyance": (-0.5, 0.55), "approval": (0.4, 0.3), "caring": (0.5, 0.4),
    "confusion": (-0.1, 0.35), "curiosity": (0.2, 0.35), "desire": (0.3, 0.45),
    "disappointment": (-0.5, 0.55), "disapproval": (-0.4, 0.4), "disgust": (-0.7, 0.6),
    "embarrassment": (-0.4, 0.45), "excitement": (0.8, 0.8), "fear": (-0.8, 0.75),
    "gratitude": (0.8, 0.65), "grief": (-0.9, 0.8), "joy": (0.9, 0.8), "love": (0.9, 0.75),
    "nervousness": (-0.6, 0.65), "optimism": (0.6, 0.55), "pride": (0.8, 0.65),
    "realization": (0.0, 0.25), "relief": (0.6, 0.65), "remorse": (-0.6, 0.6),
    "sadness": (-0.7, 0.65), "surprise": (0.1, 0.55), "neutral": (0.0, 0.05),
    "contentment": (0.6, 0.4), "nostalgia": (0.2, 0.45), "loneliness": (-0.6, 0.6),
    "shame": (-0.7, 0.65), "jealousy": (-0.5, 0.55), "boredom": (-0.3, 0.3),
    "overwhelm": (-0.6, 0.75),
}  # fmt: skip
VALENCE = tuple(AFFECT[label][0] for label in LABELS)
AROUSAL = tuple(AFFECT[label][1] for label in LABELS)


def label_of(name: str) -> str | None:
    """The label for what a data set calls a feeling; None where we have none for it."""
    name = SYNONYMS.get(name, name)
    return name if name in AFFECT else None


def valence_of(name: str | None) -> float:
    """How pleasant a feeling of that name is, -1 to 1; 0 for what we have no label for."""
    label = label_of(name or "")
    return AFFECT[label][0] if label else 0.0
