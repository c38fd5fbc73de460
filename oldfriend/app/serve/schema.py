"""OpenAI's chat completions as types: what is read of a request, and what is answered.

Fields that we do not know are passed over, as clients send many of other servers (top_k, min_p,
mirostat ...). What would change the answer's kind and cannot be done is refused instead.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Text = Annotated[str, Field(max_length=200_000)]
Finish = Literal["stop", "length"]


class _In(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class TextPart(_In):
    """A piece of text; other kinds of parts are refused."""

    type: Literal["text"]
    text: Text


class ChatMessage(_In):
    """One message. Only the person's latest is heard: the friend remembers the others."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | Annotated[list[TextPart], Field(max_length=100)] | None = None
    name: str | None = None

    @property
    def text(self) -> str:
        """Its words."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(_In):
    include_usage: bool = False


class Extras(_In):
    """Of ours. ``why``: tell what is behind the reply, in the field ``oldfriend`` of the answer."""

    why: bool = False


class ResponseFormat(_In):
    type: Literal["text"]


class ChatRequest(_In):
    """What is read of a request to /v1/chat/completions."""

    model: str = Field(min_length=1, max_length=200)
    messages: list[ChatMessage] = Field(min_length=1, max_length=4000)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int = Field(default=1, ge=1, le=8)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stop: Text | Annotated[list[Text], Field(max_length=64)] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    response_format: ResponseFormat | None = None
    oldfriend: Extras = Extras()

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {k: v for k, v in value.items() if v is not None or k in ("model", "messages")}

    @property
    def stops(self) -> list[str]:
        """Texts at which a reply ends."""
        found = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [text for text in found if text]

    @property
    def most(self) -> int | None:
        """Tokens a reply may have."""
        return self.max_completion_tokens or self.max_tokens


class Usage(BaseModel):
    """Tokens that the model read and wrote. Both are 0 where no model was asked."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Said(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str


class Choice(BaseModel):
    index: int
    message: Said
    finish_reason: Finish
    logprobs: None = None


class Completion(BaseModel):
    """The answer to a request that does not stream."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    oldfriend: dict[str, Any] | None = None


class Delta(BaseModel):
    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(BaseModel):
    index: int
    delta: Delta
    finish_reason: Finish | None = None
    logprobs: None = None


class Chunk(BaseModel):
    """One event of a stream."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    oldfriend: dict[str, Any] | None = None


class Model(BaseModel):
    """A persona. ``name``, ``greeting`` and ``own`` are ours."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    name: str = ""
    greeting: str = ""
    own: bool = False
    picture: bool = False


class Models(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]
