from __future__ import annotations

import gzip
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tastemaker.errors import ConfigError, LanguageModelError

pytest.importorskip("httpx2", reason="needs the extra 'http'")

import httpx2

from tastemaker.http_client import Endpoint, HttpClient


class Server:
    """A loopback server that gives scripted answers, (status, body, headers), and remembers what it was sent."""

    def __init__(self, answers, delay=0.0):
        self.answers, self.delay, self.requests = list(answers), delay, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):  # the name that http.server calls
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((self.path, dict(self.headers), json.loads(body)))
                answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                status, content, headers = (*answer, {})[:3]
                time.sleep(outer.delay)
                content = content if isinstance(content, bytes) else json.dumps(content).encode()
                try:
                    self.send_response(status)
                    for name, value in {"Content-Length": str(len(content)), **headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    return  # the client gave up, as some tests want

            def log_message(self, *parts):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def ask(server, pauses=None, **settings):
    pause = (lambda seconds: None) if pauses is None else pauses.append
    with HttpClient(Endpoint(url=server.url, **settings), pause=pause) as client:
        return client.post("things", {"a": 1})


def test_posts_json_below_the_address():
    with Server([(200, {"ok": True})]) as server:
        assert ask(server) == {"ok": True}
    ((path, headers, body),) = server.requests
    assert path == "/v1/things" and body == {"a": 1} and "Authorization" not in headers


def test_busy_servers_are_asked_again_with_growing_pauses():
    pauses = []
    with Server([(503, b""), (429, b"", {"Retry-After": "4"}), (200, {"ok": 1})]) as server:
        assert ask(server, pauses) == {"ok": 1}
    assert pauses == [0.5, 4.0]


def test_attempts_are_bounded():
    with Server([(500, b"out of\x1b[31m memory")]) as server:
        with pytest.raises(LanguageModelError, match=r"after 3 of 3 attempts: HTTP 500 Internal Server Error$"):
            ask(server)
        assert len(server.requests) == 3


def test_refusals_and_redirects_are_not_repeated():
    for status in (400, 401, 404, 302):
        with Server([(status, b"no", {"Location": "http://127.0.0.1:9/"})]) as server:
            with pytest.raises(LanguageModelError, match=f"HTTP {status} [A-Z]"):
                ask(server)
            assert len(server.requests) == 1


def test_no_pause_goes_past_the_deadline():
    pauses = []
    with Server([(429, b"", {"Retry-After": "1000"})]) as server:
        with pytest.raises(LanguageModelError, match="after 1 of 3 attempts"):
            ask(server, pauses, deadline=5)
        assert pauses == []


def test_slow_servers_time_out():
    with (
        Server([(200, {})], delay=0.5) as server,
        pytest.raises(LanguageModelError, match="ReadTimeout"),
    ):
        ask(server, timeout=0.05, attempts=1)


def test_nobody_there_is_a_language_model_error():
    with Server([(200, {})]) as server:
        pass
    with pytest.raises(LanguageModelError, match="after 2 of 2 attempts: ConnectError"):
        ask(server, attempts=2)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "not JSON"),
        (b"[1]", "a JSON list, not an object"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"a": "' + b"x" * 200_000 + b'"}', "larger than max_megabytes"),
    ],
)
def test_bad_answers_are_named(body, message):
    with Server([(200, body)]) as server, pytest.raises(LanguageModelError, match=message):
        ask(server, max_megabytes=0.15)


def test_the_key_comes_from_the_environment_and_stays_out_of_messages(monkeypatch):
    monkeypatch.setenv("SHOP_KEY", "sk-secret")
    with Server([(401, {"error": {"message": "bad key sk-secret", "code": "sk-secret"}})]) as server:
        with pytest.raises(
            LanguageModelError, match=r"HTTP 401 Unauthorized; set or check the key in SHOP_KEY$"
        ) as caught:
            ask(server, key_variable="SHOP_KEY")
        assert "sk-secret" not in str(caught.value)
        assert server.requests[0][1]["Authorization"] == "Bearer sk-secret"
        with pytest.raises(LanguageModelError, match="name the environment variable with the key in key_variable"):
            ask(server)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "https://api.example.com/v1"}, "api.example.com is not this machine; set allow_remote"),
        ({"url": "http://127.0.0.1.example.com/v1"}, "not this machine"),
        ({"url": "http://10.0.0.5/v1"}, "not this machine"),
        ({"url": "http://me:pw@localhost/v1"}, "user name or password"),
        ({"url": "file:///etc/passwd"}, "must look like"),
        ({"url": "localhost:8080"}, "must look like"),
        ({"url": "http://localhost:99999999/"}, "port 99999999 does not exist"),
        ({"url": "http://localhost/v1?key=secret"}, "without query"),
        ({"url": "http://local\nhost/v1"}, "non-printable"),
        ({"url": "http://localhost/\u202ev1"}, "cannot be seen"),
        ({"url": "http://127.0.0.1 /v1"}, "holds a space"),
        ({"url": "http://a..b/v1"}, "not this machine"),
        ({"url": "http://ä..b/v1", "allow_remote": True}, "IDNA"),
        ({"url": "http://[::1/v1"}, "Invalid"),
        ({"url": "http://127.0.0.1\\@example.com/v1"}, "user name or password"),
        ({"url": "http://localhost/", "key_variable": "NO_SUCH_KEY"}, "NO_SUCH_KEY is not set"),
        ({"url": "http://example.com/", "allow_remote": True, "key_variable": "SHOP_KEY"}, "use https"),
        ({"url": "http://localhost/", "key_variable": "BAD_KEY"}, "no HTTP header can carry"),
    ],
)
def test_addresses_and_keys_are_checked(settings, message, monkeypatch):
    monkeypatch.setenv("SHOP_KEY", "sk-secret")
    monkeypatch.setenv("BAD_KEY", "a\nb")
    with pytest.raises(ConfigError, match=message) as caught:
        HttpClient(Endpoint(**settings))
    assert "secret" not in str(caught.value) and "pw" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:1/v1", "http://[::1]:1/v1", "http://127.8.8.8:1/v1"])
def test_loopback_is_allowed_without_proxies(url, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example.com:3128")
    with HttpClient(Endpoint(url=url)) as client:
        assert client._client.trust_env is False


def test_a_proxy_that_is_no_address_is_named(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "ftp://proxy.example.com")
    with pytest.raises(ConfigError, match="HTTPS_PROXY"):
        HttpClient(Endpoint(url="https://api.example.com/v1", allow_remote=True))


@pytest.mark.parametrize("error", [httpx2.DecodingError("private"), httpx2.InvalidURL("private")])
def test_no_error_of_the_http_library_gets_out(error, monkeypatch):
    def fail(*arguments, **options):
        raise error

    with HttpClient(Endpoint(url="http://127.0.0.1:1/v1")) as client:
        monkeypatch.setattr(client._client, "stream", fail)
        with pytest.raises(LanguageModelError, match=type(error).__name__) as caught:
            client.post("things", {})
    assert "private" not in str(caught.value)


def test_half_characters_are_sent_as_json_escapes():
    with Server([(200, {"ok": True})]) as server, HttpClient(Endpoint(url=server.url)) as client:
        client.post("things", {"a": "\ud800 ü"})
    assert server.requests[0][2] == {"a": "\ud800 ü"}
    assert server.requests[0][1]["Content-Type"] == "application/json"


def test_compressed_answers_are_not_asked_for_and_refused():
    small = gzip.compress(b" " * 50_000_000)
    with Server([(200, small, {"Content-Encoding": "gzip"})]) as server:
        with pytest.raises(LanguageModelError, match="compressed"):
            ask(server, max_megabytes=0.1)
        assert server.requests[0][1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ({"error": {"message": "SECRET-HISTORY", "type": "invalid_request_error", "code": "context_length_exceeded"}},
         "HTTP 400 Bad Request (invalid_request_error) (context_length_exceeded)"),
        ({"object": "error", "message": "SECRET-HISTORY", "type": "BadRequestError", "code": 400},
         "HTTP 400 Bad Request (BadRequestError) (400)"),
        ({"error": {"type": "bought SECRET-HISTORY", "code": ["SECRET-HISTORY"]}}, "HTTP 400 Bad Request"),
        ({"error": "SECRET-HISTORY"}, "HTTP 400 Bad Request"),
        (["SECRET-HISTORY"], "HTTP 400 Bad Request"),
        (b"SECRET-HISTORY", "HTTP 400 Bad Request"),
        (b"[" * 100_000, "HTTP 400 Bad Request"),
    ],
)  # fmt: skip
def test_refusals_show_type_and_code_but_nothing_of_the_request(answer, shown):
    with Server([(400, answer)]) as server:
        with pytest.raises(LanguageModelError) as caught:
            ask(server)
        assert str(caught.value) == f"{server.url}/things: {shown}"


def test_a_status_without_a_name():
    with Server([(499, b"")]) as server, pytest.raises(LanguageModelError, match=r"HTTP 499$"):
        ask(server)


def test_what_a_server_says_beside_the_protocol_is_not_shown():
    with Server([(200, {})]) as server:
        server.server.RequestHandlerClass.do_POST = lambda handler: handler.wfile.write(b"SECRET-HISTORY\r\n\r\n")
        with pytest.raises(LanguageModelError, match=r"RemoteProtocolError$") as caught:
            ask(server, attempts=1)
    assert "SECRET" not in str(caught.value)
