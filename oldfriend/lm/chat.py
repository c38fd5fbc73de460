"""Messages to training documents, by the tokenizer's own chat template."""

from collections.abc import Iterable, Sequence

from transformers import PreTrainedTokenizerBase

from oldfriend.errors import InputError
from oldfriend.lm.packing import Document

Message = dict[str, str]  # role (system, user, assistant), content


def message(role: str, content: str) -> Message:
    """One message of a chat; what people write can never pass for one of our control tokens."""
    return {"role": role, "content": content.replace("<|", "< |")}


def render_prompt(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """Text that asks the model for the next assistant message."""
    return str(
        tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    )


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """Text of a finished chat."""
    return str(tokenizer.apply_chat_template(list(messages), tokenize=False))


def stop_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids that end an answer: the end-of-text token, and what the template puts after an answer."""
    asked = [message("user", "?")]
    prompt = render_prompt(tokenizer, asked)
    whole = render(tokenizer, [*asked, message("assistant", "!")])
    tail = whole[len(prompt) :].partition("!")[2] if whole.startswith(prompt) else ""
    special = set(tokenizer.all_special_ids)
    ends = [i for i in tokenizer(tail, add_special_tokens=False)["input_ids"] if i in special]
    return sorted({tokenizer.eos_token_id, *ends[:1]})


def answer_documents(
    tokenizer: PreTrainedTokenizerBase, dialogues: Iterable[Sequence[Message]]
) -> list[Document]:
    """Documents whose loss falls on what the assistant says (and its end token) only.

    Prompts and answers are tokenized apart, as at generation. Raises InputError if the template
    does not render an answer after its own generation prompt.
    """
    pieces: list[str] = []
    counts: list[int] = []
    for dialogue in dialogues:
        split = _prompts_and_answers(tokenizer, dialogue)
        pieces += split
        counts.append(len(split))
    ids = iter(_ids(tokenizer, pieces))
    return [_join([next(ids) for _ in range(count)]) for count in counts]


def _prompts_and_answers(
    tokenizer: PreTrainedTokenizerBase, dialogue: Sequence[Message]
) -> list[str]:
    """The rendered chat cut before and after every answer: prompt, answer, prompt, answer..."""
    pieces: list[str] = []
    done = ""
    for place, said in enumerate(dialogue):
        if said["role"] != "assistant":
            continue
        prompt = render_prompt(tokenizer, dialogue[:place])
        whole = render(tokenizer, dialogue[: place + 1])
        if not (whole.startswith(prompt) and prompt.startswith(done)):
            raise InputError(
                "this tokenizer's chat template changes earlier text when an answer is added; "
                "use a template whose generation prompt is a prefix of the finished chat"
            )
        pieces += [prompt[len(done) :], whole[len(prompt) :]]
        done = whole
    return pieces


def _join(pieces: list[list[int]]) -> Document:
    ids: list[int] = []
    learn = []
    for place, piece in enumerate(pieces):
        ids += piece
        if place % 2:
            learn.append((len(ids) - len(piece), len(ids)))
    return Document(tuple(ids), tuple(learn))


def talk_documents(
    tokenizer: PreTrainedTokenizerBase, talks: Iterable[Sequence[Message]], row_tokens: int
) -> list[Document]:
    """Documents of whole conversations, all tokens supervised; long ones are cut into pieces."""
    texts = [render(tokenizer, talk) for talk in talks]
    return [
        Document(tuple(ids[start : start + row_tokens]))
        for ids in _ids(tokenizer, texts)
        for start in range(0, len(ids), row_tokens)
        if len(ids) - start > 1
    ]


def _ids(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    result: list[list[int]] = (
        tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    )
    return result
