"""JSON over HTTP to a model server: time limits, bounded retries, size caps, loopback unless allowed otherwise."""

from __future__ import annotations

import json
import os
import re
import time
import weakref
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

import httpx2
from pydantic import Field

from tastemaker import deadlines
from tastemaker.addresses import is_loopback
from tastemaker.configurable import Config
from tastemaker.errors import ConfigError, LanguageModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
FIRST_PAUSE = 0.5  # seconds; doubles with each further attempt
ERROR_WORD = re.compile(r"[A-Za-z][\w.-]{0,63}|\d{1,9}", re.ASCII)  # an error's type or code, never a sentence


class Endpoint(Config):
    """How to reach a model server; the configuration of everything that speaks HTTP extends this one.

    Attributes:
        url: where the API begins, e.g. "http://127.0.0.1:8080/v1".
        allow_remote: permit a server that is not this machine; product and shopper texts leave the house then.
        key_variable: name of the environment variable with the API key; empty for none. The key itself is never a
            setting, so that it cannot land in a file or a manifest.
        timeout: seconds that one attempt may go without an answer.
        deadline: seconds that one request may take with all its attempts and pauses.
        attempts: how often a request is sent at most.
        max_megabytes: largest answer that is read.
    """

    url: str
    allow_remote: bool = False
    key_variable: str = ""
    timeout: float = Field(default=60.0, gt=0)
    deadline: float = Field(default=300.0, gt=0)
    attempts: int = Field(default=3, ge=1, le=10)
    max_megabytes: float = Field(default=64.0, gt=0)


class HttpClient:
    """Posts JSON to an `Endpoint`.

    Args:
        endpoint: where and how.
        pause: how to wait between attempts, in seconds.

    Raises:
        ConfigError: the address is malformed or remote without leave; the key is missing or would go out unencrypted.
    """

    def __init__(self, endpoint: Endpoint, *, pause: Callable[[float], None] = time.sleep) -> None:
        self.endpoint = endpoint
        self._pause = pause
        local = _check_address(endpoint)
        self._key = _read_key(endpoint, local)
        # A compressed answer would pass the size cap and grow afterwards.
        headers = {"Accept-Encoding": "identity", "Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            # Proxies named by the environment are for remote servers; loopback traffic must stay on this machine.
            self._client = httpx2.Client(
                headers=headers, timeout=endpoint.timeout, follow_redirects=False, trust_env=not local
            )
        except (httpx2.InvalidURL, ValueError, ImportError) as error:
            raise ConfigError(f"the proxy that the environment names (HTTPS_PROXY) cannot be used: {error}") from error
        # what is no longer used closes its connections by itself: a service drops models together with their clients
        self._closing = weakref.finalize(self, self._client.close)

    def close(self) -> None:
        """Close the connections."""
        self._closing()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def post(self, path: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Send `payload` to `path` below the endpoint's address and return the JSON object that comes back.

        A limit of `tastemaker.deadlines` that ends sooner than the endpoint's own deadline holds instead.

        Raises:
            LanguageModelError: refused, unreachable after all attempts, too slow, too large, or not a JSON object.
        """
        url = f"{self.endpoint.url.rstrip('/')}/{path.lstrip('/')}"
        end = min(time.monotonic() + self.endpoint.deadline, deadlines.end())
        wait = FIRST_PAUSE
        for attempt in range(1, self.endpoint.attempts + 1):
            asked = 0.0
            if time.monotonic() >= end:
                raise LanguageModelError(f"{url}: no time is left to ask")
            try:
                status, headers, body = self._send(url, payload, end)
            except httpx2.TransportError as error:
                # What the operating system says; other errors may quote what the server sent.
                said = f": {error}" if isinstance(error, httpx2.NetworkError) else ""
                problem = f"{type(error).__name__}{said}"
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                raise LanguageModelError(f"{url}: cannot be asked: {type(error).__name__}") from error
            else:
                if status == HTTPStatus.OK:
                    return _json_object(url, headers.get("content-encoding", "identity"), body)
                problem = self._problem(status, body)
                if status not in RETRIED:
                    raise LanguageModelError(f"{url}: {problem}")
                asked = _seconds(headers.get("retry-after", ""))
            wait_now = max(wait, asked)
            if attempt == self.endpoint.attempts or time.monotonic() + wait_now > end:
                break
            self._pause(wait_now)
            wait *= 2
        raise LanguageModelError(f"{url}: no answer after {attempt} of {self.endpoint.attempts} attempts: {problem}")

    def _send(self, url: str, payload: Mapping[str, Any], end: float) -> tuple[int, httpx2.Headers, bytes]:
        """Send once and read at most the allowed size, giving up at the time `end`."""
        limit = int(self.endpoint.max_megabytes * 2**20)
        timeout = max(0.001, min(self.endpoint.timeout, end - time.monotonic()))
        body = bytearray()
        content = json.dumps(payload).encode("ascii")  # escapes whatever no encoding can write
        with self._client.stream("POST", url, content=content, timeout=timeout) as response:
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > limit:
                    raise LanguageModelError(f"{url}: the answer is larger than max_megabytes = {limit / 2**20:g}")
                if time.monotonic() > end:
                    raise LanguageModelError(
                        f"{url}: the answer took longer than deadline = {self.endpoint.deadline:g} s, or than was left"
                    )
            return response.status_code, response.headers, bytes(body)

    def _problem(self, status: int, body: bytes) -> str:
        """Return a refusal in one line: status, and the error's type and code.

        Servers quote the request in their messages, and it says what a shopper bought; so the rest is left out.
        """
        words = [f"HTTP {status}"]
        if status in {known.value for known in HTTPStatus}:
            words.append(HTTPStatus(status).phrase)
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        error = answer.get("error", answer) if isinstance(answer, dict) else None
        if isinstance(error, dict):
            found = [str(error.get(key)) for key in ("type", "code") if isinstance(error.get(key), str | int)]
            words += [f"({word})" for word in found if ERROR_WORD.fullmatch(word) and word != self._key]
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            name = self.endpoint.key_variable
            cure = (
                f"set or check the key in {name}"
                if name
                else "name the environment variable with the key in key_variable"
            )
            words[-1] += f"; {cure}"
        return " ".join(words)


def _check_address(endpoint: Endpoint) -> bool:
    """Refuse an address that is malformed or remote without leave; return whether it is this machine."""
    try:
        url = httpx2.URL(endpoint.url)  # the parser that also connects, so that both mean the same host
    except (httpx2.InvalidURL, ValueError) as error:
        raise ConfigError(f"url: {error}") from error
    if url.userinfo:
        raise ConfigError("url: holds a user name or password; put the key into an environment variable (key_variable)")
    if not endpoint.url.isprintable() or " " in endpoint.url:
        raise ConfigError("url: holds a space or a character that cannot be seen; type it anew")
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise ConfigError("url: must look like http://127.0.0.1:8080/v1, without query or fragment")
    if url.port is not None and not 0 < url.port < 1 << 16:
        raise ConfigError(f"url: port {url.port} does not exist; ports go from 1 to 65535")
    host = url.host
    local = is_loopback(host)
    if not local and not endpoint.allow_remote:
        raise ConfigError(f"url: {host} is not this machine; set allow_remote = true if texts may be sent there")
    return local


def _read_key(endpoint: Endpoint, local: bool) -> str:
    if not endpoint.key_variable:
        return ""
    key = os.environ.get(endpoint.key_variable, "").strip()
    if not key:
        raise ConfigError(f"key_variable: the environment variable {endpoint.key_variable} is not set")
    if not key.isascii() or not key.isprintable():
        raise ConfigError(f"key_variable: {endpoint.key_variable} holds characters that no HTTP header can carry")
    if not local and httpx2.URL(endpoint.url).scheme != "https":
        raise ConfigError("url: a key is not sent to a remote server over http; use https")
    return key


def _seconds(retry_after: str) -> float:
    """Return the seconds of a Retry-After header; 0 for its date form or none."""
    return float(retry_after) if retry_after.strip().isdecimal() else 0.0


def _json_object(url: str, encoding: str, body: bytes) -> dict[str, Any]:
    if encoding != "identity":
        raise LanguageModelError(f"{url}: the answer is compressed, which was not asked for; turn that off there")
    try:
        answer = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise LanguageModelError(f"{url}: the answer is not JSON: {error}") from error
    if not isinstance(answer, dict):
        raise LanguageModelError(f"{url}: the answer is a JSON {type(answer).__name__}, not an object")
    return answer


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not a JSON number")
