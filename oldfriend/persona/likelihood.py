"""How likely a model finds what is said: nats of the supervised tokens, document by document."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

from oldfriend.lm.lit import unwrap
from oldfriend.lm.packing import IGNORE, Document


@torch.no_grad()
def nats(
    model: Any, documents: Sequence[Document], *, pad_id: int, batch_size: int = 16
) -> list[tuple[float, int]]:
    """Summed cross entropy and number of the learnt tokens of every document, in fp32.

    Rows are padded on the right, where a causal model cannot see; only learnt tokens reach the
    head.
    """
    found: list[tuple[float, int]] = []
    model.eval()
    causal_lm = unwrap(model)
    for start in range(0, len(documents), batch_size):
        batch = documents[start : start + batch_size]
        width = max(map(len, batch))
        ids_BL = _padded([list(d.ids) for d in batch], width, pad_id).to(model.device)
        labels_BL = _padded([d.labels() for d in batch], width, IGNORE).to(model.device)
        hidden_BLD = causal_lm.model(input_ids=ids_BL, use_cache=False).last_hidden_state
        kept_BL = labels_BL != IGNORE
        logits_MV = causal_lm.lm_head(hidden_BLD[kept_BL])
        losses_M = F.cross_entropy(logits_MV.float(), labels_BL[kept_BL], reduction="none")
        counts = kept_BL.sum(1).tolist()
        sums = [float(part.sum()) for part in torch.split(losses_M, counts)]
        found += list(zip(sums, counts, strict=True))
    return found


def mean_loss(model: Any, documents: Sequence[Document], *, pad_id: int) -> float:
    """Mean cross entropy (nats a token) over all learnt tokens; 0 of no documents."""
    found = nats(model, documents, pad_id=pad_id)
    return sum(loss for loss, _ in found) / max(sum(count for _, count in found), 1)


def _padded(rows: Sequence[list[int]], width: int, fill: int) -> torch.Tensor:
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows])
