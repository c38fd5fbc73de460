"""A tokenizer for all tests of oldfriend.lm; no network, one thread."""

from collections.abc import Iterator

import pytest
import torch
from lm_tiny import sentences
from transformers import PreTrainedTokenizerFast

from oldfriend.lm.tokenizer import train_tokenizer


@pytest.fixture(scope="session", autouse=True)
def offline_and_single_threaded() -> Iterator[None]:
    """Nothing is fetched, and tiny matrices are not spread over threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of 400 tokens with our chat template."""
    return train_tokenizer(sentences(), 400)
