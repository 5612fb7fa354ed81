"""One file over HTTPS: resumed after a cut, capped, compared with what is known of it, in place whole or not at all.

The bytes go to a hidden draft beside the target; a later call goes on where it stops, if the server still has the same
file (Range with If-Range, RFC 9110 sections 13.1.5 and 14). Plain http is for loopback only: tests and local mirrors.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import ssl
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from tastemaker.addresses import is_loopback
from tastemaker.errors import DataError
from tastemaker.progress import silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import Message
    from pathlib import Path

    from tastemaker.progress import Progress

RETRIED = frozenset({408, 416, 425, 429, 500, 502, 503, 504})
ATTEMPTS = 5
"""Attempts in a row that bring nothing new."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds; the pause doubles with each further attempt
TIMEOUT = 60.0  # seconds without a byte
SLOW_SECONDS, SLOW_BYTES = 60.0, 60 * 1024  # a server that sends less than this in that time counts as cut
CHUNK, MIB = 1 << 16, 1 << 20
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on a server and what is known of it.

    Attributes:
        url: https address; http for loopback only.
        limit: most bytes that are read.
        size: its length in bytes, if known.
        sha256: its SHA-256 in hexadecimal, if known.
    """

    url: str
    limit: int
    size: int | None = None
    sha256: str | None = None


class _Again(Exception):
    """An attempt failed in a way that another one may mend; `wait` is what the server asked for, in seconds."""

    def __init__(self, reason: str, *, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class _SafeRedirects(HTTPRedirectHandler):
    """Follows redirects to https, and to loopback where the first address was that."""

    def __init__(self, *, loopback: bool) -> None:
        self.loopback = loopback

    def redirect_request(self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str) -> Any:  # noqa: ANN401  # as in the base class
        try:
            _check_address(newurl, loopback=self.loopback, source=f"{req.full_url} redirects to ")
        except DataError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(
    remote: Remote,
    target: Path,
    *,
    check: Callable[[Path], None] | None = None,
    progress: Progress = silent,
    pause: Callable[[float], None] = time.sleep,
) -> str:
    """Fetch a file, verify it, and put it at `target`; return its SHA-256.

    Args:
        remote: the file and what is known of it.
        target: where it goes; what stands there is replaced, once the new file is found good.
        check: looks at the whole draft before it is put in place and raises DataError if it is not good.
        progress: shows the MiB that have come.
        pause: how to wait between attempts, in seconds.

    Raises:
        DataError: the address is not allowed, the server refuses, gives up or sends another file, the file is larger
            than allowed or not what it should be, or it cannot be written. A draft that is not good is removed; one
            that is only incomplete stays for the next call.
    """
    loopback = _check_address(remote.url)
    opener = build_opener(_SafeRedirects(loopback=loopback), *([ProxyHandler({})] if loopback else []))
    draft = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with only_one(draft) as file:
            try:
                _receive_all(opener, remote, file, draft, progress, pause)
                found = _verify(remote, draft, check)
            except _Unusable as error:
                _discard(draft)
                raise DataError(str(error)) from error
            except DataError:
                if not draft.stat().st_size:
                    _discard(draft)
                raise
            os.fsync(file.fileno())
            draft.replace(target)
            _state(draft).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{target}: cannot be written: {error.strerror or error}") from error
    return found


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def only_one(path: Path, *, wait: bool = False) -> Iterator[IO[bytes]]:
    """Open a file for this process alone, made if needed; the lock ends with the process, however that ends.

    Where the system has no such locks (Windows), nothing is locked.

    Raises:
        DataError: another process has it, and this one is not to wait.
        OSError: it cannot be opened.
    """
    path.touch()
    with path.open("r+b") as file:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DataError(f"{path}: another process is fetching this file; wait for it") from error
        yield file


class _Unusable(DataError):
    """What has come is not good; the draft must go."""


def _receive_all(
    opener: OpenerDirector,
    remote: Remote,
    file: IO[bytes],
    draft: Path,
    progress: Progress,
    pause: Callable[[float], None],
) -> None:
    """Try until the draft is complete, or `ATTEMPTS` in a row have brought nothing new.

    Raises:
        DataError: the server refuses or gives up.
        _Unusable: too large, or not the known file.
    """
    furthest, fruitless, wait = 0, 0, FIRST_PAUSE
    while True:
        try:
            _receive(opener, remote, file, draft, progress)
            return
        except _Again as again:
            reached = file.seek(0, os.SEEK_END)
            if reached >= furthest + MIB:
                furthest, fruitless, wait = reached, 0, FIRST_PAUSE
            fruitless += 1
            if fruitless >= ATTEMPTS:
                raise DataError(
                    f"{remote.url}: given up after {fruitless} attempts: {again}; "
                    "run the same command again to go on where it stopped"
                ) from again
            pause(min(max(wait, again.wait), LONGEST_PAUSE))
            wait *= 2


def _receive(opener: OpenerDirector, remote: Remote, file: IO[bytes], draft: Path, progress: Progress) -> None:
    """Ask once, for the rest where the draft holds a beginning of the same file, and write what comes."""
    start, validator = _resumable(remote, file, draft)
    headers = {"User-Agent": "tastemaker", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    try:
        response = opener.open(Request(remote.url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if start and _content_range(error.headers)[1] == start:
                return  # the last call ended between the last byte and the rename
            _discard_content(file, draft)
        raise _refusal(remote, error) from error
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise DataError(f"{remote.url}: its certificate is not valid: {error.reason.verify_message}") from error
        raise _Again(str(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _Again(f"no answer: {error}") from error
    with response:
        found = _validator(response.headers)
        if response.status == HTTPStatus.PARTIAL_CONTENT:
            begins, total = _content_range(response.headers)
            if not start or begins != start or (found and found != validator):
                _discard_content(file, draft)
                raise _Again("the server sent another part than was asked for")
        elif response.status == HTTPStatus.OK:
            start, total = 0, _whole_number(response.headers.get("Content-Length"))
            _discard_content(file, draft)
            if found:
                _state(draft).write_text(json.dumps({"url": remote.url, "validator": found}), encoding="utf-8")
        else:
            raise DataError(f"{remote.url}: HTTP {response.status} instead of the file")
        _check_size(remote, total)
        steps = _write(response, remote, file, start)
        label = f"{urlsplit(remote.url).path.rpartition('/')[2]} (MiB)"
        for _ in progress(steps, label=label, total=None if total is None else -(-(total - start) // MIB)):
            pass
    file.flush()
    got = file.tell()
    if total is not None and got != total:
        raise _Again(f"cut off after {got:,} of {total:,} bytes")


def _write(response: http.client.HTTPResponse, remote: Remote, file: IO[bytes], start: int) -> Iterator[int]:
    """Write the body at `start`; yield once a MiB.

    Raises:
        _Again: the connection broke, or crawls.
        _Unusable: more bytes than allowed.
    """
    done, shown = file.seek(start), start
    since, slow_from = time.monotonic(), done
    while True:
        try:
            chunk = response.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _Again(f"cut off after {done:,} bytes: {error}") from error
        if not chunk:
            break
        file.write(chunk)
        done += len(chunk)
        if done > remote.limit:
            raise _Unusable(f"{remote.url}: larger than the {remote.limit:,} bytes that are allowed; nothing is kept")
        if time.monotonic() - since > SLOW_SECONDS:
            if done - slow_from < SLOW_BYTES:
                raise _Again(f"less than {SLOW_BYTES:,} bytes in {SLOW_SECONDS:g} seconds")
            since, slow_from = time.monotonic(), done
        while done - shown >= MIB:
            shown += MIB
            yield shown
    if done > shown:
        yield done


def _verify(remote: Remote, draft: Path, check: Callable[[Path], None] | None) -> str:
    """Compare length and SHA-256 with what is known, and look inside; return the SHA-256.

    Raises:
        _Unusable: it is another file than the known one.
    """
    size, found = draft.stat().st_size, sha256_of(draft)
    if remote.size is not None and size != remote.size:
        raise _Unusable(f"{remote.url}: {size:,} bytes came, the known file has {remote.size:,}; nothing is kept")
    if remote.sha256 is not None and found != remote.sha256:
        raise _Unusable(
            f"{remote.url}: SHA-256 is {found}, expected {remote.sha256}; refused, nothing is kept. "
            "The file has changed at its source, or somebody changed it on the way"
        )
    if check is not None:
        try:
            check(draft)
        except DataError as error:
            raise _Unusable(f"{remote.url}: {error}; nothing is kept") from error
    return found


def _check_size(remote: Remote, total: int | None) -> None:
    """Refuse before the body is read what its announced length already rules out."""
    if total is None:
        return
    if remote.size is not None and total != remote.size:
        raise _Unusable(f"{remote.url}: the server offers {total:,} bytes, the known file has {remote.size:,}")
    if total > remote.limit:
        raise _Unusable(
            f"{remote.url}: the server offers {total:,} bytes, more than the {remote.limit:,} that are allowed"
        )


def _refusal(remote: Remote, error: HTTPError) -> Exception:
    """Tell an answer that another attempt may mend from one that is final."""
    words = f"HTTP {error.code} {error.reason}".strip()
    if error.code in RETRIED:
        return _Again(words, wait=float(_whole_number(error.headers.get("Retry-After")) or 0))
    return DataError(f"{remote.url}: {words}; the file may have moved: see the page of the data set")


def _resumable(remote: Remote, file: IO[bytes], draft: Path) -> tuple[int, str]:
    """Return how many bytes the draft holds of which version of the file; 0 where that is not known."""
    size = file.seek(0, os.SEEK_END)
    try:
        state = json.loads(_state(draft).read_text(encoding="utf-8"))
        known, validator = state["url"] == remote.url, str(state["validator"])
    except (OSError, ValueError, TypeError, KeyError):
        return 0, ""
    return (size, validator) if known else (0, "")


def _validator(headers: Message) -> str:
    """Return what names this version of the file: a strong ETag, else the date of the last change, else nothing."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _content_range(headers: Message) -> tuple[int | None, int | None]:
    """Return the first byte of a partial answer and the length of the whole, None where not told."""
    match = CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    return (_whole_number(match[1]), _whole_number(match[2])) if match else (None, None)


def _whole_number(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdecimal() and len(text) < 19 else None


def _check_address(url: str, *, loopback: bool = True, source: str = "") -> bool:
    """Refuse all but https, and http to this machine if `loopback`; return whether it is http to this machine."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise DataError(f"{source}{url}: not an address: {error}") from error
    if parts.username is not None or parts.password is not None:
        raise DataError(f"{source}{parts.scheme}://...@{parts.hostname}: an address must not hold a password")
    if parts.scheme == "https" and parts.hostname:
        return False
    if loopback and parts.scheme == "http" and is_loopback(parts.hostname or ""):
        return True
    raise DataError(f"{source}{url}: refused; data come over https only")


def _state(draft: Path) -> Path:
    return draft.with_name(f"{draft.name}.json")


def _discard(draft: Path) -> None:
    draft.unlink(missing_ok=True)
    _state(draft).unlink(missing_ok=True)


def _discard_content(file: IO[bytes], draft: Path) -> None:
    """Start again from nothing; what the draft was a part of is no longer known."""
    _state(draft).unlink(missing_ok=True)
    file.seek(0)
    file.truncate()
