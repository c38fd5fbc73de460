"""Token embeddings that start from MiniLM's word vectors instead of noise.

A model trained from scratch on a small corpus knows a word only from its few occurrences there.
With word vectors of a public sentence encoder as their start, words of like meaning lie together
from the first step, and sentences that say a known thing in unseen words become readable.
"""

import itertools

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from oldfriend.lm.minilm import minilm_folder

WORD_VECTORS = "embeddings.word_embeddings.weight"
FIRST_WORD = 1996  # ids below are BERT's special and unused pieces and single characters
NOISE = 0.5  # share of the standard deviation that stays random: "cat" and " cat" must differ


def common_words(count: int) -> list[str]:
    """The ``count`` most frequent English words of three letters or more, by MiniLM's vocabulary
    (WordPiece ids rise as frequency falls)."""
    if not count:
        return []
    vocabulary = sorted(_pieces().get_vocab().items(), key=lambda item: item[1])
    words = (w for w, i in vocabulary if i >= FIRST_WORD and len(w) > 2 and w.isalpha())
    return list(itertools.islice(words, count))


@torch.no_grad()
def warm_start(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, seed: int) -> None:
    """Set the input embeddings [V, D] from MiniLM's, projected on their D first principal axes.

    A token's vector is the mean of its word pieces'; standard deviation stays that of the model's
    own initialization, and a share of it stays noise.
    """
    table_VD = model.get_input_embeddings().weight
    generator = torch.Generator().manual_seed(seed)
    words_VE = _word_vectors(tokenizer)
    words_VE = words_VE - words_VE.mean(0)
    axes_EE = torch.linalg.svd(words_VE, full_matrices=False).Vh
    size = min(table_VD.shape[1], axes_EE.shape[0])
    meaning_VD = torch.zeros(table_VD.shape)
    meaning_VD[:, :size] = words_VE @ axes_EE[:size].T
    meaning_VD /= meaning_VD.std()
    noise_VD = torch.randn(table_VD.shape, generator=generator)
    mixed_VD = (1 - NOISE**2) ** 0.5 * meaning_VD + NOISE * noise_VD
    table_VD.copy_(mixed_VD / mixed_VD.std() * model.config.initializer_range)


def _word_vectors(tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """MiniLM's vector [V, 384] of every token of ``tokenizer``; zero where it has none."""
    pieces = _pieces()
    known = load_file(str(minilm_folder() / "model.safetensors"))[WORD_VECTORS].float()
    known = known - known[FIRST_WORD:].mean(0)
    special = set(tokenizer.all_special_ids)
    vectors_VE = torch.zeros(len(tokenizer), known.shape[1])
    for i in range(len(tokenizer)):
        text = "" if i in special else tokenizer.decode([i]).strip().lower()
        ids = pieces.encode(text, add_special_tokens=False).ids if "\ufffd" not in text else []
        if ids:
            vectors_VE[i] = known[ids].mean(0)
    return vectors_VE


def _pieces() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
