"""Answers errors of an application in the API's form, and counts these answers. Does not know what is served."""

from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from swarmeval.serving.errors import ApiError, BadRequest, InternalError, TooLarge

Handler = Callable[[Request, Exception], Awaitable[Response]]


class ErrorResponses:
    """The responses to errors of one application."""

    def __init__(self, count: Callable[[str, int], None], max_body_bytes: int) -> None:
        """`count` is called with the path and status of each response."""
        self._count = count
        self._max_body_bytes = max_body_bytes

    def handlers(self) -> dict[type[Exception], Handler]:
        """The handlers for Starlette, by the exception that they answer."""
        return {ApiError: self._fault, HTTPException: self._http_error, Exception: self._broken}

    def refusal(self, scope: Scope, fault: ApiError) -> Response:
        """The response to a call that is refused."""
        self._count(getattr(scope.get("route"), "path", "unknown"), fault.status)
        headers = {} if fault.retry_s is None else {"retry-after": str(fault.retry_s)}
        return Response(fault.body(), fault.status, headers, "application/json")

    async def _fault(self, request: Request, fault: Exception) -> Response:
        assert isinstance(fault, ApiError)
        return self.refusal(request.scope, fault)

    async def _broken(self, request: Request, error: Exception) -> Response:
        """Answer an unexpected exception; Starlette raises it again, so that it is logged."""
        return self.refusal(request.scope, InternalError())

    async def _http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == TooLarge.status:
            return self.refusal(request.scope, TooLarge(self._max_body_bytes))
        fault = BadRequest(f"{request.method} {request.scope['path']}: {error.detail}")
        fault.status = error.status_code
        return self.refusal(request.scope, fault)
