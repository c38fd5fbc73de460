"""A pretrained sentence encoder that training stages can fine-tune: MiniLM over packed rows."""

from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from oldfriend.errors import CheckpointError
from oldfriend.lm.minilm import minilm_folder
from oldfriend.lm.packing import IGNORE, Document

MAX_PIECES = 256  # what MiniLM was trained on
HEAD_SCALE = 5.0


@dataclass(frozen=True)
class LabelledDocument(Document):
    """A document with a label of its own for every token (IGNORE: no loss)."""

    tags: tuple[int, ...] = ()

    def labels(self) -> list[int]:
        """One label a token, for the token itself."""
        return list(self.tags)

    def learnt(self) -> int:
        """How many tokens carry loss."""
        return sum(tag != IGNORE for tag in self.tags)


class PackedEncoder(nn.Module):
    """A BERT backbone for `PackedLM`: every token sees its own document, before and after it."""

    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.bert = bert
        self.config = bert.config

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        seq_idx: Tensor | None = None,
        **_: object,
    ) -> Any:
        """Hidden states [B, L, D]; ``seq_idx`` [B, L] takes the place of a causal mask."""
        if seq_idx is not None:
            attention_mask = (seq_idx[:, :, None] == seq_idx[:, None, :])[:, None]
        return self.bert(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids
        )


class LabelHead(nn.Linear):
    """Logits times HEAD_SCALE: under Adam a fresh head learns that much faster than its body."""

    def forward(self, hidden_BLD: Tensor) -> Tensor:
        """Logits [B, L, labels]."""
        return super().forward(hidden_BLD) * HEAD_SCALE


class TokenClassifier(nn.Module):
    """Labels for tokens; built like a causal LM (``model``, ``lm_head``), so it trains like one."""

    def __init__(self, bert: BertModel, labels: int, seed: int = 0) -> None:
        super().__init__()
        self.model = PackedEncoder(bert)
        self.lm_head = LabelHead(bert.config.hidden_size, labels)
        generator = torch.Generator().manual_seed(seed)
        nn.init.normal_(self.lm_head.weight, std=0.02 / HEAD_SCALE, generator=generator)
        nn.init.zeros_(self.lm_head.bias)


def load_minilm() -> BertModel:
    """MiniLM's transformer in float32, without dropout; its word vectors do not train.

    Raises CheckpointError if the package lacks weights.
    """
    folder = minilm_folder()
    config = BertConfig.from_pretrained(folder)
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    model = BertModel(config, add_pooling_layer=False)
    weights = load_file(folder / "model.safetensors")
    used = {name: w.float() for name, w in weights.items() if not name.startswith("pooler.")}
    missing, _ = model.load_state_dict(used, strict=False)
    if missing:
        raise CheckpointError(f"{folder} lacks the weights {', '.join(missing)}")
    model.embeddings.requires_grad_(False)
    return model


def word_pieces() -> Tokenizer:
    """MiniLM's tokenizer, which cuts at MAX_PIECES and does not pad."""
    tokenizer = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_PIECES)
    return tokenizer
