"""Access keys: who may do what, for which shop.

Without any key the service is open, to this machine alone. As soon as there is one, every path but those that say
whether the service lives needs one, as `Authorization: Bearer KEY`, `X-API-Key: KEY`, or the password of Basic.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tastemaker.addresses import is_loopback
from tastemaker.errors import ConfigError
from tastemaker.serve.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCOPES = ("read", "write", "admin")
COMMENT = re.compile(r"(?:^|\s)#")
"""Where a comment of a key file begins; a # inside a secret belongs to it."""
KEPT_SECONDS = 2.0
"""How long a key that was found is trusted before it is looked up again."""
KEPT = 4096


@dataclass(frozen=True, slots=True)
class Access:
    """What a key opens.

    Attributes:
        tenant: the shop.
        key_id: names the key in limits and audit lines; not the secret.
        scopes: "read" opens answers, "write" what changes data, "admin" everything.
    """

    tenant: str
    key_id: str
    scopes: frozenset[str]

    def opens(self, scope: str) -> bool:
        """Say whether the key goes so far."""
        return scope in self.scopes or "admin" in self.scopes


EVERYTHING = frozenset(SCOPES)


class Keys(Protocol):
    """Where keys are kept. `find` is called in a thread, as a store may make it wait."""

    def find(self, secret: str) -> Access | None:
        """Return what a key opens, None for a wrong or a revoked one; in constant time."""
        ...

    def any(self) -> bool:
        """Say whether there is, or ever was, any key: revoking the last one must not open the service."""
        ...


class FileKeys:
    """Keys of a file, one a line: `SECRET [SCOPE,SCOPE] [TENANT]`; a line with a secret alone opens everything.

    Raises:
        ConfigError: the file cannot be read, others may read it, or a line makes no sense.
    """

    def __init__(self, file: Path, *, tenant: str) -> None:
        try:
            mode, text = file.stat().st_mode, file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file}: keys cannot be read: {error}") from error
        if mode & 0o077:
            raise ConfigError(f"{file}: others may read it; chmod 600 {file}")
        self._known: list[tuple[bytes, Access]] = []
        for number, line in enumerate(text.splitlines(), 1):
            words = COMMENT.split(line, maxsplit=1)[0].split()
            if not words:
                continue
            scopes = frozenset(words[1].split(",")) if len(words) > 1 else EVERYTHING
            if len(words) > 3 or not scopes <= EVERYTHING or len(words[0]) < 16:
                raise ConfigError(
                    f"{file}:{number}: write SECRET, optionally scopes ({', '.join(SCOPES)}) and a tenant; "
                    "a secret has at least 16 characters"
                )
            shop = words[2] if len(words) > 2 else tenant
            self._known.append((_digest(words[0]), Access(shop, f"file:{number}", scopes)))

    def find(self, secret: str) -> Access | None:
        """Compare with every key, so that the time says nothing."""
        digest, found = _digest(secret), None
        for known, access in self._known:
            if hmac.compare_digest(known, digest):
                found = access
        return found

    def any(self) -> bool:
        """Say whether the file holds a key."""
        return bool(self._known)


class Accesses:
    """Finds out what the key of a request opens.

    Args:
        sources: where keys are kept.
        tenant: the shop of callers where no key exists.
    """

    def __init__(self, sources: list[Keys], *, tenant: str) -> None:
        self._sources, self._open = sources, Access(tenant, "open", EVERYTHING)
        self._kept: dict[bytes, tuple[float, Access | None]] = {}
        self._guarded = any(source.any() for source in sources)
        self._looked = time.monotonic()

    @property
    def guarded(self) -> bool:
        """Whether there are keys at all; once there were, there are until the process ends."""
        now = time.monotonic()
        if not self._guarded and now - self._looked > KEPT_SECONDS:
            self._looked = now
            self._guarded = any(source.any() for source in self._sources)
        return self._guarded

    async def of(self, headers: Mapping[bytes, bytes]) -> Access:
        """Return what the key of a request opens.

        Raises:
            Problem: 401, there is none, or a wrong one.
        """
        if not self.guarded:
            return self._open
        secret = secret_of(headers)
        if not secret:
            raise Problem(401, "an access key is needed: Authorization: Bearer KEY")
        digest, now = _digest(secret), time.monotonic()
        kept = self._kept.get(digest)
        if kept is not None and now - kept[0] < KEPT_SECONDS:
            access = kept[1]
        else:
            access = await asyncio.to_thread(self._find, secret)
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[digest] = (now, access)
        if access is None:
            raise Problem(401, "the access key is wrong or revoked")
        return access

    def _find(self, secret: str) -> Access | None:
        return next((found for source in self._sources if (found := source.find(secret)) is not None), None)

    def forget(self) -> None:
        """Look keys up anew: one was made or revoked."""
        self._kept.clear()
        self._looked = 0.0


def secret_of(headers: Mapping[bytes, bytes]) -> str:
    """Return the key that a request carries, "" for none."""
    given = headers.get(b"x-api-key", b"")
    if given:
        return given.decode("latin-1").strip()
    scheme, _, rest = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return rest.decode("latin-1").strip()
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(rest, validate=True).decode("utf-8").partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def check_bind(host: str, accesses: Accesses) -> None:
    """Refuse to listen beyond this machine without keys.

    Raises:
        ConfigError: as above.
    """
    if not is_loopback(host) and not accesses.guarded:
        raise ConfigError(
            f"--host {host}: everybody who reaches this address could read and change everything; make a key first "
            "(tastemaker key create), give --key-file, or listen on 127.0.0.1"
        )


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
