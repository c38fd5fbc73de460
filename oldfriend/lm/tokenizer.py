"""Tokenizer: a byte-level BPE of our own for models from scratch, with its chat template."""

from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

PAD, BOS, END = "<|pad|>", "<|start|>", "<|end|>"
ROLES = ("system", "user", "assistant")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# A word takes the space before it along; a year is one piece, longer numbers fall into several.
_WORDS = Regex(r" ?\p{L}+| ?\p{N}{1,4}| ?[^\s\p{L}\p{N}]+|\s+")


def train_tokenizer(
    texts: Iterable[str], vocab: int, *, words: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """Byte-level BPE (any text can be encoded and decoded back) with our chat template.

    ``words`` become single tokens, e.g. slot names. Deterministic for the same texts.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_WORDS, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - len(words),
        special_tokens=[PAD, BOS, END, *(f"<|{role}|>" for role in ROLES)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.add_tokens(list(words))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=PAD, bos_token=BOS, eos_token=END
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def ensure_chat(tokenizer: PreTrainedTokenizerBase) -> None:
    """Give a loaded tokenizer what training needs: a pad token and a chat template."""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if not tokenizer.chat_template:
        tokenizer.chat_template = (
            "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}"
            "{{ eos_token }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
        )
