from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from file_server import serving

from tastemaker.data.fetching import download as module
from tastemaker.data.fetching.download import MIB, Remote, download
from tastemaker.errors import DataError

CONTENT = os.urandom(3 * MIB + 17)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
LIMIT = 8 * MIB


def get(server, target, pauses=None, **known):
    pause = (lambda seconds: None) if pauses is None else pauses.append
    return download(Remote(f"{server.url}/set.zip", **{"limit": LIMIT, **known}), target, pause=pause)


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_file_arrives_and_nothing_else_stays(tmp_path):
    with serving(CONTENT) as server:
        assert get(server, tmp_path / "new" / "set.zip", size=len(CONTENT), sha256=SHA256) == SHA256
    assert (tmp_path / "new" / "set.zip").read_bytes() == CONTENT
    assert left_in(tmp_path / "new") == ["set.zip"]
    (headers,) = server.requests
    assert headers["Accept-Encoding"] == "identity" and "Range" not in headers


def test_progress_counts_mebibytes(tmp_path):
    seen = []

    def progress(steps, *, label, total=None):
        for step in steps:
            seen.append((label, total, step))
            yield step

    with serving(CONTENT) as server:
        download(Remote(f"{server.url}/set.zip", LIMIT), tmp_path / "set.zip", progress=progress)
    assert [label for label, _, _ in seen] == ["set.zip (MiB)"] * 4
    assert [total for _, total, _ in seen] == [4] * 4
    assert [step for _, _, step in seen] == [MIB, 2 * MIB, 3 * MIB, len(CONTENT)]


def test_a_cut_connection_is_resumed_where_it_broke(tmp_path):
    with serving(CONTENT, faults=["cut 1500000", "cut 100000"]) as server:
        assert get(server, tmp_path / "set.zip", sha256=SHA256) == SHA256
    assert [request.get("Range") for request in server.requests] == [None, "bytes=1500000-", "bytes=1600000-"]
    assert [request.get("If-Range") for request in server.requests] == [None, '"v1"', '"v1"']
    assert (tmp_path / "set.zip").read_bytes() == CONTENT


def test_a_later_call_resumes_what_an_earlier_one_gave_up(tmp_path):
    with serving(CONTENT, faults=["cut 2000000", *[503] * 9]) as server:
        with pytest.raises(DataError, match=r"given up after 5 attempts: HTTP 503 .*run the same command again"):
            get(server, tmp_path / "set.zip")
        assert left_in(tmp_path) == [".set.zip.part", ".set.zip.part.json"]
        server.faults, server.requests = [], []
        get(server, tmp_path / "set.zip", sha256=SHA256)
    assert [request.get("Range") for request in server.requests] == ["bytes=2000000-"]
    assert left_in(tmp_path) == ["set.zip"]


@pytest.mark.parametrize("options", [{"ranges": False}, {"etag": ""}, {"etag": 'W/"weak"'}])
def test_a_server_that_cannot_resume_is_read_from_the_start(tmp_path, options):
    with serving(CONTENT, faults=["cut 1500000"], **options) as server:
        assert get(server, tmp_path / "set.zip") == SHA256
    assert len(server.requests) == 2
    assert (tmp_path / "set.zip").read_bytes() == CONTENT


def test_a_file_that_changes_in_between_is_read_from_the_start(tmp_path):
    other = os.urandom(2 * MIB)
    with serving(CONTENT, faults=["cut 1500000"]) as server:

        def change(seconds):
            server.content, server.etag = other, '"v2"'

        download(Remote(f"{server.url}/set.zip", LIMIT), tmp_path / "set.zip", pause=change)
    assert (tmp_path / "set.zip").read_bytes() == other
    assert server.requests[1]["If-Range"] == '"v1"'


def test_a_part_that_was_not_asked_for_is_not_glued_on(tmp_path):
    with serving(CONTENT, faults=["cut 1500000", "wrong part"]) as server:
        assert get(server, tmp_path / "set.zip") == SHA256
    assert (tmp_path / "set.zip").read_bytes() == CONTENT
    assert [request.get("Range") for request in server.requests] == [None, "bytes=1500000-", None]


def test_a_complete_draft_needs_no_further_byte(tmp_path):
    (tmp_path / ".set.zip.part").write_bytes(CONTENT)
    with serving(CONTENT) as server:
        (tmp_path / ".set.zip.part.json").write_text(f'{{"url": "{server.url}/set.zip", "validator": "\\"v1\\""}}')
        assert get(server, tmp_path / "set.zip", sha256=SHA256) == SHA256
    assert len(server.requests) == 1


def test_a_draft_longer_than_the_file_starts_again(tmp_path):
    (tmp_path / ".set.zip.part").write_bytes(CONTENT + b"more")
    with serving(CONTENT) as server:
        (tmp_path / ".set.zip.part.json").write_text(f'{{"url": "{server.url}/set.zip", "validator": "\\"v1\\""}}')
        assert get(server, tmp_path / "set.zip") == SHA256


@pytest.mark.parametrize("state", ['{"url": "http://127.0.0.1/other", "validator": "1"}', "{", "[]", "{}"])
def test_a_draft_of_unknown_origin_is_not_used(tmp_path, state):
    (tmp_path / ".set.zip.part").write_bytes(b"something else")
    (tmp_path / ".set.zip.part.json").write_text(state)
    with serving(CONTENT) as server:
        assert get(server, tmp_path / "set.zip") == SHA256
    assert "Range" not in server.requests[0]


def test_a_wrong_checksum_keeps_nothing_and_replaces_nothing(tmp_path):
    (tmp_path / "set.zip").write_bytes(b"good")
    with serving(CONTENT) as server, pytest.raises(DataError, match=rf"SHA-256 is {SHA256}, expected 0000.*refused"):
        get(server, tmp_path / "set.zip", sha256="0" * 64)
    assert left_in(tmp_path) == ["set.zip"]
    assert (tmp_path / "set.zip").read_bytes() == b"good"


def test_a_draft_that_its_check_refuses_is_removed(tmp_path):
    def check(path):
        raise DataError(f"{path.stat().st_size} bytes of nonsense")

    with serving(CONTENT) as server, pytest.raises(DataError, match="bytes of nonsense; nothing is kept"):
        download(Remote(server.url, LIMIT), tmp_path / "set.zip", check=check)
    assert left_in(tmp_path) == []


def test_another_length_is_refused_before_the_body_is_read(tmp_path):
    with serving(CONTENT) as server, pytest.raises(DataError, match=r"offers 3,145,745 bytes, the known file has 5"):
        get(server, tmp_path / "set.zip", size=5)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("fault", "words"), [("none", "offers 3,145,745 bytes, more than"), ("endless", "larger than")]
)
def test_a_file_over_the_cap_is_refused(tmp_path, fault, words):
    with serving(CONTENT, faults=[fault]) as server, pytest.raises(DataError, match=words):
        get(server, tmp_path / "set.zip", limit=MIB)
    assert left_in(tmp_path) == []


def test_refusals_are_final_and_busy_servers_are_asked_again(tmp_path):
    pauses = []
    with serving(CONTENT, faults=[500, 503]) as server:
        assert get(server, tmp_path / "set.zip", pauses) == SHA256
    assert pauses == [7, 7]  # what Retry-After asks for; the own pauses would be 1 and 2
    with (
        serving(CONTENT, faults=[404]) as server,
        pytest.raises(DataError, match="HTTP 404 Not Found; the file may have"),
    ):
        get(server, tmp_path / "other.zip")
    assert len(server.requests) == 1
    assert left_in(tmp_path) == ["set.zip"]


def test_pauses_grow_and_attempts_are_bounded(tmp_path):
    pauses = []
    with serving(b"x") as server:
        url = server.url
    with pytest.raises(DataError, match="given up after 5 attempts"):
        download(Remote(url, LIMIT), tmp_path / "set.zip", pause=pauses.append)
    assert pauses == [1, 2, 4, 8]


def test_a_crawling_server_counts_as_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SLOW_SECONDS", -1.0)
    monkeypatch.setattr(module, "SLOW_BYTES", 10 * MIB)
    with serving(CONTENT) as server, pytest.raises(DataError, match="less than 10,485,760 bytes in"):
        get(server, tmp_path / "set.zip")


@pytest.mark.parametrize(
    "target",
    [
        "http://example.org/set.zip",
        "ftp://127.0.0.1/set.zip",
        "file:///etc/hostname",
        "http://localhost.evil.org/",
        "http://user:secret@127.0.0.1/",
    ],
)
def test_redirects_to_anything_but_https_are_refused(tmp_path, target):
    refused = pytest.raises(DataError, match=r"redirects to .*(refused|password)|not allowed")
    with serving(CONTENT, faults=[f"redirect {target}"]) as server, refused:
        get(server, tmp_path / "set.zip")


def test_redirects_on_this_machine_are_followed(tmp_path):
    with serving(CONTENT) as server, serving(faults=[f"redirect {server.url}/moved"]) as first:
        assert get(first, tmp_path / "set.zip") == SHA256


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/x",
        "ftp://example.org/x",
        "file:///x",
        "https://",
        "/x",
        "https://a:b@c.org/",
        "https://[::1",
    ],
)
def test_only_https_addresses_are_taken(tmp_path, url):
    with pytest.raises(DataError, match=r"https only|must not hold a password|not an address"):
        download(Remote(url, LIMIT), tmp_path / "set.zip")
    assert left_in(tmp_path) == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1 with its key, in one file."""
    if not shutil.which("openssl"):
        pytest.skip("needs the program openssl to make a certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [*command.split(), "-keyout", path, "-out", path.with_suffix(".crt")], check=True, capture_output=True
    )
    path.write_bytes(path.read_bytes() + path.with_suffix(".crt").read_bytes())
    return path


def test_https_with_a_trusted_certificate(tmp_path, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(CONTENT, certificate=certificate, faults=["cut 1500000"]) as server:
        assert get(server, tmp_path / "set.zip", sha256=SHA256) == SHA256
        with serving(faults=[f"redirect {server.url}/moved"]) as first:
            assert get(first, tmp_path / "moved.zip") == SHA256
            server.faults = [f"redirect {first.url}/down"]
            with pytest.raises(DataError, match=r"redirects to http://.*refused"):
                get(server, tmp_path / "down.zip")


def test_https_with_an_unknown_certificate_is_refused_at_once(tmp_path, certificate, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    pauses = []
    refused = pytest.raises(DataError, match="its certificate is not valid: self-signed certificate")
    with serving(CONTENT, certificate=certificate) as server, refused:
        get(server, tmp_path / "set.zip", pauses)
    assert pauses == []
    assert left_in(tmp_path) == []


def test_a_second_process_waits_its_turn(tmp_path):
    with serving(CONTENT) as server, (tmp_path / ".set.zip.part").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another process is fetching"):
            get(server, tmp_path / "set.zip")
    assert server.requests == []


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with serving(CONTENT) as server, pytest.raises(DataError, match="cannot be written"):
        get(server, tmp_path / "file" / "set.zip")


KILLED = """
import sys
from pathlib import Path
from tastemaker.data.fetching.download import Remote, download
download(Remote(sys.argv[1], 1 << 30), Path(sys.argv[2]))
"""


def test_a_killed_process_is_resumed(tmp_path):
    """kill -9 while the body hangs after 2 MiB; what had come is used."""
    target, draft = tmp_path / "set.zip", tmp_path / ".set.zip.part"
    with serving(CONTENT) as server:
        whole = server.answer

        def hanging(handler, fault):
            handler.send_response(200)
            handler.send_header("ETag", '"v1"')
            handler.send_header("Content-Length", str(len(CONTENT)))
            handler.end_headers()
            handler.wfile.write(CONTENT[: 2 * MIB])
            handler.wfile.flush()
            deadline = time.monotonic() + 20
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)

        server.answer = hanging
        process = subprocess.Popen([sys.executable, "-c", KILLED, f"{server.url}/set.zip", str(target)])
        deadline = time.monotonic() + 20
        while (not draft.exists() or draft.stat().st_size < 2 * MIB - 65536) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not target.exists()
        held = draft.stat().st_size
        assert held > MIB
        server.answer = whole
        assert get(server, target, sha256=SHA256) == SHA256
    assert server.requests[-1]["Range"] == f"bytes={held}-"
