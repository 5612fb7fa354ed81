"""What all routes share: the service, the caller, what a key must open, and how problems are documented."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import Request, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from tastemaker.serve.problems import MEDIA_TYPE
from tastemaker.serve.schemas import ProblemOut

if TYPE_CHECKING:
    from tastemaker.serve.front import Caller
    from tastemaker.serve.service import Service

KEYS = (
    "An access key, where the service has any; also as `X-API-Key: KEY`, or as the password of Basic. The scope that "
    "an operation lists is what the key must have; `admin` opens everything."
)
_PROBLEM: dict[str, Any] = {"model": ProblemOut, "content": {MEDIA_TYPE: {}}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {**_PROBLEM, "description": "The request makes no sense."},
    401: {**_PROBLEM, "description": "There is no access key, or a wrong one."},
    403: {**_PROBLEM, "description": "The key does not go so far."},
    404: {**_PROBLEM, "description": "There is no such thing in this shop."},
    409: {**_PROBLEM, "description": "It does not fit the state of things."},
    413: {**_PROBLEM, "description": "The body is too large."},
    415: {**_PROBLEM, "description": "The body is not JSON."},
    422: {**_PROBLEM, "description": "A value does not fit."},
    429: {**_PROBLEM, "description": "This key asks too often."},
    503: {**_PROBLEM, "description": "Busy, or the store cannot do it; Retry-After says for how long."},
    507: {**_PROBLEM, "description": "The disk of the store is full; nothing was stored."},
}


def service_of(request: Request) -> Service:
    """Return what stands behind the routes."""
    service: Service = request.app.state.service
    return service


def caller_of(request: Request) -> Caller:
    """Return who asks."""
    caller: Caller = request.state.caller
    return caller


class Needs(SecurityBase):
    """A dependency that refuses callers whose key does not open a scope; the OpenAPI document says which that is.

    Attributes:
        scope: what is needed.
    """

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.scheme_name = "key"
        self.model = HTTPBearer(description=KEYS)

    async def __call__(self, request: Request) -> None:
        """Refuse, or let through."""
        caller_of(request).must(self.scope)


def needs(scope: str) -> Any:  # noqa: ANN401  # FastAPI's own type
    """Return a route's dependency on a scope."""
    return Security(Needs(scope), scopes=[scope])
