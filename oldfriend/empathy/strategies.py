"""The ways to answer, under the names of every data set that knows them."""

from typing import Literal, get_args

Strategy = Literal[
    "question", "restatement", "reflection_of_feelings", "self_disclosure", "affirmation",
    "suggestions", "information", "others", "praise", "companionship", "humour", "teasing",
    "plain_help",
]  # fmt: skip
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
ESCONV = STRATEGIES[:8]  # Liu et al. 2021, arXiv:2106.01144
LISTENING: frozenset[Strategy] = frozenset(
    ("question", "restatement", "reflection_of_feelings", "affirmation", "companionship")
)
PLAYFUL: frozenset[Strategy] = frozenset(("humour", "teasing"))
PUSHING: frozenset[Strategy] = frozenset(("suggestions", "information"))
_ALIASES: dict[str, Strategy] = {  # of ESConv and of FailedESConv
    "restatement or paraphrasing": "restatement",
    "affirmation and reassurance": "affirmation",
    "approval and reassurance": "affirmation",
    "providing suggestions": "suggestions",
    "direct guidance": "suggestions",
    "questions": "question",
    "other": "others",
}


def strategy_of(name: str | None) -> Strategy | None:
    """Our name for what a data set or a draft calls a strategy; None if it is none of ours."""
    plain = (name or "").strip("[] ").lower().replace("-", " ").replace("_", " ")
    plain = _ALIASES.get(plain, plain).replace(" ", "_")
    return next((strategy for strategy in STRATEGIES if strategy == plain), None)
