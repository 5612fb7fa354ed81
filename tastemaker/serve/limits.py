"""How much, how deep, how often, from where: what is refused before anything is done."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tastemaker.addresses import is_loopback
from tastemaker.serve.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from tastemaker.serve.auth import Access
    from tastemaker.serve.settings import Settings

LARGE = ("/v1/events", "/v1/items:batch", "/v1/users:batch")
"""Paths whose bodies hold many rows."""
_TOKENS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
"""Texts, also one that does not end: it is read once, so that the time grows with the body's length alone."""
_PART = rb"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+"""
JSON, TOML = b"application/json", b"application/toml"
DOCUMENTS = frozenset({"/v1/rules"})
"""Paths whose bodies may be TOML, too: people write them."""
KEYS = 10_000
"""Keys whose rate is remembered."""


class Limits:
    """Counts what is under way and how often each key asks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.in_flight = 0
        self._turns: dict[str, tuple[float, float]] = {}  # key -> turns left, when that was

    def enter(self, path: str) -> None:
        """Let a request in.

        Raises:
            Problem: 503, too many are under way. Whether the service lives is always answered.
        """
        if self.in_flight >= self._settings.in_flight and not path.startswith("/health/"):
            raise Problem(503, "too many requests are under way", retry_after=1)
        self.in_flight += 1

    def leave(self, path: str) -> None:
        """Let a request out."""
        del path
        self.in_flight -= 1

    def body_size(self, path: str) -> int:
        """Return the largest body of a path, in bytes."""
        return self._settings.batch_body_bytes if path in LARGE else self._settings.body_bytes

    def take_turn(self, access: Access) -> None:
        """Use one turn of a key (token bucket).

        Raises:
            Problem: 429, it has none left.
        """
        rate = self._settings.rate
        if rate is None:
            return
        now = time.monotonic()
        left, when = self._turns.get(access.key_id, (float(self._settings.rate_burst), now))
        left = min(float(self._settings.rate_burst), left + (now - when) * rate)
        if left < 1:
            raise Problem(429, "this key asks too often", retry_after=(1 - left) / rate)
        if len(self._turns) > KEYS:
            self._turns.clear()
        self._turns[access.key_id] = (left - 1, now)

    def check_origin(
        self, scope: MutableMapping[str, Any], headers: Mapping[bytes, bytes], *, open_to_all: bool
    ) -> None:
        """Refuse requests that a page of another site makes a browser send.

        Without keys, the host that is asked for must be this machine, or a page whose name is made to point here could
        read everything.

        Raises:
            Problem: 403.
        """
        host = headers.get(b"host", b"").decode("latin-1")
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1").partition("://")[2] != host:
            raise Problem(403, "requests from pages of another site are refused")
        if open_to_all and scope.get("client") is not None and not _is_here(host):
            raise Problem(403, "without access keys the service answers to this machine's own names only")


@lru_cache(maxsize=256)
def _is_here(host: str) -> bool:
    """Say whether a Host header names this machine."""
    return is_loopback(host_name(host))


def host_name(host: str) -> str:
    """Return the host of a Host header, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def media_type(content_type: bytes) -> bytes:
    """Return the type of a Content-Type header, without parameters."""
    return content_type.partition(b";")[0].strip().lower()


@lru_cache
def _long_keys(depth: int) -> re.Pattern[bytes]:
    """Return what finds a dotted key of TOML of more than so many parts, or what looks like one."""
    return re.compile(rb"(?<![\w-])(?:%s\.[ \t]*+){%d}" % (_PART, depth))


def check_body(path: str, body: bytes, content_type: bytes, *, depth: int) -> None:
    """Refuse a body that is not said to be JSON, or TOML where that is taken, or is nested too deeply.

    Raises:
        Problem: 415 or 400.
    """
    kind = media_type(content_type)
    if kind != JSON and (kind != TOML or path not in DOCUMENTS):
        raise Problem(415, "send application/json" + (" or application/toml" if path in DOCUMENTS else ""))
    if kind == TOML and _long_keys(depth).search(body):  # a name of 16,000 parts takes ten seconds to be read
        raise Problem(400, f"the body has a name of more than {depth} parts")
    if body.count(b"[") + body.count(b"{") <= depth:
        return
    level = 0
    for token in _TOKENS.finditer(body):
        mark = token[0]
        if mark in (b"[", b"{"):
            level += 1
            if level > depth:
                raise Problem(400, f"the body is nested more than {depth} levels deep")
        elif mark in (b"]", b"}"):
            level -= 1
