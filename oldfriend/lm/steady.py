"""One result from one seed: the vector math library is woken by a single thread.

MKL chooses the code path of ``cos`` and its kind at the first call. Where several threads make
that call at once, one of them may compute its share with another path, and the rotary positions of
the first batch differ in the last bit in one process out of ten: enough for another model.
"""

import torch

FUNCTIONS = (
    "acos asin atan cos cosh erf erfc erfinv exp expm1 log log10 log1p log2 sin sinh sqrt tan tanh"
)


def settle_vector_math() -> None:
    """Call each function that MKL computes once, on a tensor too small for a second thread."""
    for precision in (torch.float32, torch.float64):
        small = torch.full((8,), 0.5, dtype=precision)
        for name in FUNCTIONS.split():
            getattr(small, name)()
