"""Every refusal in the shape that OpenAI's clients read."""

import logging
from collections.abc import Mapping

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException as AnyHTTPException

from oldfriend.app.serve.house import BusyError
from oldfriend.errors import InputError, OldFriendError

log = logging.getLogger("oldfriend.serve")


class Problem(BaseModel):
    """What was wrong; ``param`` names the field, ``code`` is for programs."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """The body of every refusal."""

    error: Problem


class ApiError(HTTPException):
    """A refusal with its status. FastAPI takes other errors for those of a body."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.body = ErrorBody(error=Problem(message=message, type=type, param=param, code=code))

    def response(self) -> JSONResponse:
        """As the client gets it."""
        return JSONResponse(self.body.model_dump(), self.status_code, headers=self.headers)


def not_found(what: str, code: str = "not_found", param: str | None = None) -> ApiError:
    """The same words for what is not there and for what is somebody else's."""
    return ApiError(404, f"no such {what}", code=code, param=param)


def too_large(most: int) -> ApiError:
    """More bytes than are read. The rest of them is not waited for."""
    message = f"at most {most:,} bytes are read"
    return ApiError(413, message, code="request_too_large", headers={"Connection": "close"})


def refused(error: OldFriendError) -> ApiError:
    """An expected error as a refusal. Only what somebody sent is told, never what lies where."""
    if isinstance(error, BusyError):
        status, code = (429, "rate_limit_exceeded") if error.own else (503, "overloaded")
        kind = "requests" if error.own else "server_error"
        return ApiError(status, str(error), type=kind, code=code, headers={"Retry-After": "1"})
    if isinstance(error, InputError) and (error.path is None or not error.path.is_absolute()):
        return ApiError(400, str(error), param=error.field or None, code="invalid_value")
    log.error("%s: %s", type(error).__name__, error)
    return ApiError(503, "the server lacks something; its log says what", type="server_error")


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` in this shape."""

    @app.exception_handler(ApiError)
    async def api(_: Request, error: ApiError) -> JSONResponse:
        return error.response()

    @app.exception_handler(OldFriendError)
    async def expected(_: Request, error: OldFriendError) -> JSONResponse:
        return refused(error).response()

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"] if part not in ("body", "query", "path")]
        if first["type"] == "json_invalid":
            place = []
        field = ".".join(place) or None
        message = f"{field}: {first['msg']}" if field else str(first["msg"])
        return ApiError(400, message, param=field, code="invalid_value").response()

    @app.exception_handler(AnyHTTPException)
    async def http(_: Request, error: AnyHTTPException) -> JSONResponse:
        said = {404: "no such page", 405: "not with this method"}
        message = said.get(error.status_code, str(error.detail))
        return ApiError(error.status_code, message, headers=error.headers).response()

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> JSONResponse:
        return ApiError(500, "something went wrong here", type="server_error").response()
