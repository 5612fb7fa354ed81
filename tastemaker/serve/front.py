"""What every request passes first: who asks, how much and how often, within which limits; and what it leaves by.

It is plain ASGI, as each layer of a framework costs time. The body is read here, whole and within limits, and replayed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tastemaker.errors import TastemakerError
from tastemaker.serve import limits
from tastemaker.serve.problems import MEDIA_TYPE, Problem, failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from tastemaker.serve.auth import Access
    from tastemaker.serve.service import Service

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger("tastemaker.serve")
OPEN = frozenset({"/health/live", "/health/ready", "/", "/operator"})
"""Paths that need no key: whether the service lives, and the page, which holds no data."""
STATIC = "/static/"
"""Start of the paths of the page's files, which need none either."""
SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


@dataclass(slots=True)
class Caller:
    """Who asks, as routes see it in `request.state.caller`.

    Attributes:
        request_id: of this request.
        started: when it came, on the clock of `time.perf_counter`.
        access: what the key opens; None on a path that needs none.
    """

    request_id: str
    started: float
    access: Access | None = None

    @property
    def tenant(self) -> str:
        """The shop whose data the caller may see."""
        if self.access is None:
            raise Problem(401, "an access key is needed")
        return self.access.tenant

    @property
    def actor(self) -> str:
        """How audit lines call the caller."""
        return "nobody" if self.access is None else self.access.key_id

    def must(self, scope: str) -> None:
        """Refuse what the key does not open.

        Raises:
            Problem: 401 without a key, 403 where it does not go so far.
        """
        if self.access is None:
            raise Problem(401, "an access key is needed")
        if not self.access.opens(scope):
            raise Problem(403, f"this key does not open what needs the scope '{scope}'")


@dataclass(frozen=True, slots=True)
class Hot:
    """A route that answers from bytes to bytes, past the framework.

    Attributes:
        scope: that a key must open.
        status: of an answer.
        work: answers.
    """

    scope: str
    status: int
    work: Callable[[Service, Caller, bytes], Awaitable[bytes]]


@dataclass(slots=True)
class Sent:
    """What has left so far."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


class Front:
    """The outermost layer of the application.

    Args:
        app: what answers behind it.
        service: what stands behind the routes.
        hot: by (method, path).
    """

    def __init__(self, app: App, *, service: Service, hot: dict[tuple[str, str], Hot]) -> None:
        self._app, self._service, self._hot = app, service, hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, self._beginning(send))
            return
        caller = Caller(os.urandom(16).hex(), time.perf_counter())
        method, path = scope["method"], scope["path"]
        sent = Sent()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent.status = message["status"]
                given = [name for name, _ in message.get("headers", ())]
                own = [pair for pair in SECURITY if pair[0] not in given]
                message["headers"] = [
                    *message.get("headers", ()),
                    *own,
                    (b"x-request-id", caller.request_id.encode()),
                    *(((b"connection", b"close"),) if self._service.stopping else ()),
                ]
            await send(message)

        service, shop = self._service, None
        try:
            service.limits.enter(path)
        except Problem as problem:
            await _refuse(problem, caller, sending)
            service.metrics.count(scope, sent.status, caller.started)
            return
        try:
            headers = dict(scope["headers"])
            service.limits.check_origin(scope, headers, open_to_all=not service.access.guarded)
            if path not in OPEN and not path.startswith(STATIC):
                caller.access = await service.access.of(headers)
                service.limits.take_turn(caller.access)
                shop = await service.enter(caller.access.tenant, caller.started)
            body = await self._body(scope, headers, receive)
            answer = self._hot.get((method, path))
            if answer is not None:
                caller.must(answer.scope)
                content = await answer.work(service, caller, body)
                await _reply(answer.status, b"application/json", content, sending)
            else:
                scope.setdefault("state", {})["caller"] = caller
                await self._app(scope, _replay(body, receive), sending)
        except Problem as problem:
            await self._problem(problem, caller, sent, sending)
        except TastemakerError as error:
            await self._problem(service.problem_of(error), caller, sent, sending)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # what is said must not hold what was asked
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("request %s: %s\n%s", caller.request_id, type(error).__name__, where)
            await self._problem(failure(), caller, sent, sending)
        finally:
            if shop is not None:
                shop.under_way -= 1
            service.limits.leave(path)
            service.metrics.count(scope, sent.status, caller.started)

    def _beginning(self, send: Send) -> Send:
        """Return a `send` that says in plain words why the service cannot begin, where that is known."""

        async def sending(message: Message) -> None:
            fault = self._service.fault
            if message["type"] == "lifespan.startup.failed" and fault is not None:
                message = {**message, "message": str(fault)}
            await send(message)

        return sending

    async def _body(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Read the body within the limits of size, time and depth.

        Raises:
            Problem: 413, 408, 400 or 415.
        """
        most = self._service.limits.body_size(scope["path"])
        stated = headers.get(b"content-length", b"")
        if stated.isdigit() and int(stated) > most:
            raise Problem(413, f"the body is larger than {most:,} bytes")
        message = await receive_soon(receive, self._service.settings.body_seconds)
        if not message.get("more_body", False):
            body: bytes = message.get("body", b"")
        else:
            parts, size = [message.get("body", b"")], len(message.get("body", b""))
            end = time.monotonic() + self._service.settings.body_seconds
            while message.get("more_body", False):
                message = await receive_soon(receive, end - time.monotonic())
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > most:
                    raise Problem(413, f"the body is larger than {most:,} bytes")
            body = b"".join(parts)
        if len(body) > most:
            raise Problem(413, f"the body is larger than {most:,} bytes")
        if body:
            kind, depth = headers.get(b"content-type", b""), self._service.settings.json_depth
            limits.check_body(scope["path"], body, kind, depth=depth)
        return body

    async def _problem(self, problem: Problem, caller: Caller, sent: Sent, send: Send) -> None:
        if sent.status:
            return  # the answer is under way already; the connection ends short
        await _refuse(problem, caller, send)


async def receive_soon(receive: Receive, seconds: float) -> Message:
    """Return the next part of a body.

    Raises:
        Problem: 408 if it does not come in time, 400 if the caller went away.
    """
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            message = await receive()
    except TimeoutError:
        raise Problem(408, "the body did not come in time") from None
    if message["type"] == "http.disconnect":
        raise Problem(400, "the caller went away")
    return message


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body, then whatever the server says."""
    given = False

    async def receiving() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving


async def _reply(
    status: int, kind: bytes, content: bytes, send: Send, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", kind), (b"content-length", str(len(content)).encode()), *headers],
        }
    )
    await send({"type": "http.response.body", "body": content})


async def _refuse(problem: Problem, caller: Caller, send: Send) -> None:
    headers = tuple((name.lower().encode(), value.encode()) for name, value in problem.headers().items())
    await _reply(problem.status, MEDIA_TYPE.encode(), problem.body(caller.request_id), send, headers)
