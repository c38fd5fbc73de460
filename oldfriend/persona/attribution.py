"""Who said it: a linear model on letter groups that tells voices apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Attribution:
    """Character n-grams (TF-IDF) and logistic regression, as in authorship attribution."""

    model: Any

    @classmethod
    def fit(cls, replies: Mapping[str, Sequence[str]], seed: int = 0) -> "Attribution":
        """Learn from what each voice says. ValueError from scikit-learn if there is but one."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        texts = [text for said in replies.values() for text in said]
        names = [name for name, said in replies.items() for _ in said]
        letters = TfidfVectorizer(
            analyzer="char_wb", ngram_range=(2, 4), lowercase=False, min_df=2, sublinear_tf=True
        )
        chosen = LogisticRegression(C=20.0, max_iter=1000, random_state=seed)
        return cls(make_pipeline(letters, chosen).fit(texts, names))

    def names(self, replies: Sequence[str]) -> list[str]:
        """The most likely voice of every reply."""
        return [str(name) for name in self.model.predict(list(replies))] if replies else []
