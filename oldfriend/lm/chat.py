"""Messages to training documents, by the tokenizer's own chat template."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from oldfriend.errors import InputError
from oldfriend.lm.packing import Document

Message = dict[str, str]  # role (system, user, assistant), content


@dataclass(frozen=True)
class Dialogue:
    """Messages of which the last is the answer to learn."""

    messages: tuple[Message, ...]

    @property
    def prompt(self) -> tuple[Message, ...]:
        """All but the answer."""
        return self.messages[:-1]


def message(role: str, content: str) -> Message:
    """One message of a chat."""
    return {"role": role, "content": content}


def render_prompt(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """Text that asks the model for the next assistant message."""
    return str(
        tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    )


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """Text of a finished chat."""
    return str(tokenizer.apply_chat_template(list(messages), tokenize=False))


def answer_documents(
    tokenizer: PreTrainedTokenizerBase, dialogues: Iterable[Dialogue]
) -> list[Document]:
    """Documents whose loss falls on the last message (and its end token) only.

    Prompt and answer are tokenized apart, exactly as at generation. Raises InputError if the
    template does not render an answer after its own generation prompt.
    """
    prompts, answers = [], []
    for dialogue in dialogues:
        prompt = render_prompt(tokenizer, dialogue.prompt)
        whole = render(tokenizer, dialogue.messages)
        if not whole.startswith(prompt):
            raise InputError(
                "this tokenizer's chat template changes earlier text when an answer is added; "
                "use a template whose generation prompt is a prefix of the finished chat"
            )
        prompts.append(prompt)
        answers.append(whole[len(prompt) :])
    heads, tails = _ids(tokenizer, prompts), _ids(tokenizer, answers)
    return [
        Document((*head, *tail), supervised_from=len(head))
        for head, tail in zip(heads, tails, strict=True)
    ]


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
    result: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    return result
