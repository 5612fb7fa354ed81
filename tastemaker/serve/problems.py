"""Problem bodies by RFC 9457: what went wrong, and the request's id; never what the request said."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tastemaker.serve.engine.asks import as_json

if TYPE_CHECKING:
    from collections.abc import Sequence

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A refusal with its status.

    Args:
        status: of HTTP.
        detail: what went wrong and what would mend it, in a sentence.
        retry_after: seconds after which it may go well.
        errors: places of a body that are wrong, each with what is wrong there.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        retry_after: float | None = None,
        errors: Sequence[dict[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.retry_after, self.errors = status, detail, retry_after, errors

    def headers(self) -> dict[str, str]:
        """Return the headers beside the body's own."""
        found = {} if self.retry_after is None else {"Retry-After": str(max(1, math.ceil(self.retry_after)))}
        if self.status == HTTPStatus.UNAUTHORIZED:
            found["WWW-Authenticate"] = 'Bearer realm="tastemaker", Basic realm="tastemaker"'
        return found

    def body(self, request_id: str) -> bytes:
        """Return the body as JSON."""
        value: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.errors:
            value["errors"] = list(self.errors)
        return as_json(value)


def failure() -> Problem:
    """Return the answer to a fault of the service itself."""
    return Problem(500, "the service failed; its log has the request_id")


def wrong_places(errors: Sequence[Any]) -> list[dict[str, str]]:
    """Return pydantic's errors as places and rules, without the values, which may be personal."""
    return [
        {"place": ".".join(str(part) for part in error["loc"]), "message": str(error["msg"])[:300]}
        for error in list(errors)[:50]
    ]
