"""Text to ids and back, and where the loss falls in a chat."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_tiny import sentences
from transformers import PreTrainedTokenizerFast

from oldfriend.errors import InputError
from oldfriend.lm.chat import (
    Message,
    answer_documents,
    message,
    render,
    render_prompt,
    stop_ids,
    talk_documents,
)
from oldfriend.lm.tokenizer import BOS, END, PAD, ROLES, ensure_chat, train_tokenizer

FALLBACK = "fallback"
words = st.text(max_size=40).filter(lambda text: "<|" not in text)


@st.composite
def dialogues(draw: st.DrawFn) -> list[Message]:
    """User and assistant in turn, with or without a system message, one to four answers."""
    said: list[Message] = [message("system", draw(words))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 4))):
        said += [message("user", draw(words)), message("assistant", draw(words))]
    return said


@pytest.fixture(scope="module")
def fallback() -> PreTrainedTokenizerFast:
    """A loaded tokenizer that came without a pad token and a chat template."""
    bare = train_tokenizer(sentences(), 400)
    bare.chat_template = None
    bare.pad_token = None
    ensure_chat(bare)
    return bare


@pytest.fixture(params=["ours", FALLBACK])
def either(
    request: pytest.FixtureRequest,
    tokenizer: PreTrainedTokenizerFast,
    fallback: PreTrainedTokenizerFast,
) -> PreTrainedTokenizerFast:
    return fallback if request.param == FALLBACK else tokenizer


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


@given(st.text())
def test_any_text_comes_back(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(encode(tokenizer, text)) == text


def test_talk_it_was_trained_on_is_shorter_than_its_bytes(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    text = " ".join(sentences())
    assert len(encode(tokenizer, text)) < len(text.encode()) / 3


def test_special_tokens_are_one_token_each(tokenizer: PreTrainedTokenizerFast) -> None:
    assert (tokenizer.pad_token, tokenizer.bos_token, tokenizer.eos_token) == (PAD, BOS, END)
    for special in (PAD, BOS, END, *(f"<|{role}|>" for role in ROLES)):
        assert encode(tokenizer, special) == [tokenizer.convert_tokens_to_ids(special)]
    assert len({tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}) == 3
    assert tokenizer.decode(encode(tokenizer, f"a{END}{PAD}b"), skip_special_tokens=True) == "ab"


def test_the_asked_words_are_one_token_and_the_vocabulary_has_its_size() -> None:
    words = ["pet_name", "home_city"]
    tokenizer = train_tokenizer(sentences(), 350, words=words)
    assert len(tokenizer) == 350
    for word in words:
        assert len(encode(tokenizer, word)) == 1


def test_same_texts_give_the_same_tokenizer() -> None:
    one, other = (train_tokenizer(sentences(), 350) for _ in range(2))
    assert one.backend_tokenizer.to_str() == other.backend_tokenizer.to_str()


def test_ensure_chat_keeps_what_is_there(tokenizer: PreTrainedTokenizerFast) -> None:
    before = (tokenizer.pad_token, tokenizer.chat_template)
    ensure_chat(tokenizer)
    assert (tokenizer.pad_token, tokenizer.chat_template) == before


@given(said=st.lists(dialogues(), max_size=4))
@settings(max_examples=40, deadline=None)
def test_the_loss_falls_on_the_answers_and_their_ends_only(
    tokenizer: PreTrainedTokenizerFast, said: list[list[Message]]
) -> None:
    documents = answer_documents(tokenizer, said)
    assert len(documents) == len(said)
    for document, dialogue in zip(documents, said, strict=True):
        learnt = [tokenizer.decode(document.ids[start:end]) for start, end in document.learn]
        answers = [m["content"] for m in dialogue if m["role"] == "assistant"]
        assert learnt == [answer + END for answer in answers]
        assert tokenizer.decode(document.ids) == render(tokenizer, dialogue)


def test_answers_under_the_fallback_template(fallback: PreTrainedTokenizerFast) -> None:
    dialogue = [message("user", "Hi."), message("assistant", "Well met."), message("user", "Eh?")]
    (document,) = answer_documents(fallback, [dialogue])
    ((start, end),) = document.learn
    assert fallback.decode(document.ids[start:end]) == f" Well met.{END}\n"


@given(dialogue=dialogues())
@settings(max_examples=40, deadline=None)
def test_a_prompt_is_a_prefix_of_the_document_it_was_cut_from(
    tokenizer: PreTrainedTokenizerFast, dialogue: list[Message]
) -> None:
    """What the model reads before its last answer in training is what it reads at generation."""
    (document,) = answer_documents(tokenizer, [dialogue])
    start, _ = document.learn[-1]
    assert len([m for m in dialogue if m["role"] == "assistant"]) == len(document.learn)
    assert all(one[1] <= other[0] for one, other in pairwise(document.learn))
    if len(document.learn) == 1:
        prompt = encode(tokenizer, render_prompt(tokenizer, dialogue[:-1]))
        assert list(document.ids[:start]) == prompt
    else:  # pieces of earlier answers are tokenized apart; the text is the same
        assert tokenizer.decode(document.ids[:start]) == render_prompt(tokenizer, dialogue[:-1])


def test_what_follows_the_last_answer_is_left_out(tokenizer: PreTrainedTokenizerFast) -> None:
    dialogue = [message("user", "a"), message("assistant", "b"), message("user", "c")]
    assert answer_documents(tokenizer, [dialogue]) == answer_documents(tokenizer, [dialogue[:2]])


@pytest.mark.parametrize(
    "template",
    [
        # drops what earlier answers said, as reasoning models do
        "{% for m in messages %}{% if m.role != 'assistant' or loop.last %}{{ m.content }}"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}A:{% endif %}",
        # the generation prompt is no prefix of the finished chat
        "{% for m in messages %}{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<think>{% endif %}",
    ],
)
def test_a_template_that_rewrites_earlier_text_is_refused(template: str) -> None:
    tokenizer = train_tokenizer(sentences(), 300)
    tokenizer.chat_template = template
    dialogue = [message("user", "u"), message("assistant", "x")] * 2
    with pytest.raises(InputError, match="chat template changes earlier text"):
        answer_documents(tokenizer, [dialogue])


def test_an_answer_stops_at_the_end_token(either: PreTrainedTokenizerFast) -> None:
    assert stop_ids(either) == [either.convert_tokens_to_ids(END)]


def test_a_turn_end_other_than_the_text_end_stops_too() -> None:
    tokenizer = train_tokenizer(sentences(), 300)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }}:{{ m.content }}<|turn|>{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    ends = {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|turn|>")}
    assert set(stop_ids(tokenizer)) == ends


@given(said=st.lists(dialogues(), max_size=4), row_tokens=st.integers(2, 40))
@settings(max_examples=40, deadline=None)
def test_talk_is_cut_to_rows_and_every_token_is_learnt(
    tokenizer: PreTrainedTokenizerFast, said: list[list[Message]], row_tokens: int
) -> None:
    documents = talk_documents(tokenizer, said, row_tokens)
    assert all(1 < len(document) <= row_tokens for document in documents)
    assert all(document.learnt() == len(document) - 1 for document in documents)
    whole = [i for talk in said for i in encode(tokenizer, render(tokenizer, talk))]
    lost = len(whole) - sum(len(document) for document in documents)
    assert 0 <= lost <= len(said)  # a tail of one token has nothing to teach
    if not lost:
        assert [i for document in documents for i in document.ids] == whole
