"""Ridge logistic regression, small enough to be read."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from oldfriend.memory.store.decide import Features, Logit

RIDGE = 0.001  # beside the mean log-likelihood; keeps separable features finite
STEPS = 50


def fit(rows: Sequence[Features], labels: Sequence[bool]) -> Logit:
    """On standardised features; the model is in the units of the features, to four decimals."""
    plain = np.array(rows, float)
    mean, spread = plain.mean(0), np.maximum(plain.std(0), 1e-3)
    bias, weights = solve((plain - mean) / spread, labels, RIDGE)
    slopes = weights / spread
    return Logit(
        round(float(bias - slopes @ mean), 4), tuple(round(float(slope), 4) for slope in slopes)
    )


def solve(
    rows: NDArray[np.float64], labels: Sequence[bool], ridge: float
) -> tuple[float, NDArray[np.float64]]:
    """Bias and weights [features] that minimise the mean negative log-likelihood and ``ridge`` / 2
    times the squared weights, by Newton's method."""
    x = np.column_stack([np.ones(len(rows)), rows])
    y = np.array(labels, float)
    weights = np.zeros(x.shape[1])
    penalty = ridge * np.eye(x.shape[1])
    penalty[0, 0] = 0
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        slope = x.T @ (p - y) / len(y) + penalty @ weights
        curve = (x * (p * (1 - p))[:, None]).T @ x / len(y) + penalty
        step = np.linalg.solve(curve + 1e-9 * np.eye(len(weights)), slope)
        weights -= step
        if np.abs(step).max() < 1e-8:
            break
    return float(weights[0]), weights[1:]
