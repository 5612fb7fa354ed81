"""Connections that wait for a request within limits, and that let one in that was on its way when the service stops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

HEAD_SECONDS = 10.0
"""Time for the head of a request; who sends it letter by letter is cut off."""
LINGER_SECONDS = 0.5
"""Time that an idle connection stays open at a stop."""
FRESH_SECONDS = 2.0
"""Time that one stays open over which nothing was asked yet: who has just come in is about to ask."""


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with a time limit for heads, and an end that breaks off no request."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401  # uvicorn's own type
        """Wait for the first head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._head_is_there()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Wait for the rest of a head that has begun."""
        super().on_message_begin()
        if self._head is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        self._head_is_there()
        super().on_headers_complete()

    def shutdown(self) -> None:
        """End the connection after what is under way, or soon where nothing is."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(FRESH_SECONDS if self.cycle is None else LINGER_SECONDS, self._end)
        else:
            super().shutdown()

    def _end(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def _await_head(self) -> None:
        self._head = self.loop.call_later(HEAD_SECONDS, self._cut_off)

    def _head_is_there(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _cut_off(self) -> None:
        self._head = None
        if not self.transport.is_closing():
            self.transport.close()
