from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from tastemaker.errors import ConfigError, LanguageModelError

pytest.importorskip("httpx2", reason="needs the extra 'http'")

from tastemaker.encoders.http import HttpEncoder


class EmbeddingServer:
    """A loopback server with the vector [length, 1] for each text, in reverse order; `spoil` changes its answers."""

    def __init__(self):
        self.asked = []
        self.spoil = lambda answer: answer
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):  # the name that http.server calls
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append((self.path, request))
                data = [{"index": n, "embedding": [len(text), 1]} for n, text in enumerate(request["input"])]
                body = json.dumps(outer.spoil({"data": data[::-1]})).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *parts):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


@pytest.fixture
def server():
    server = EmbeddingServer()
    thread = threading.Thread(target=server.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.server.shutdown()
    server.server.server_close()
    thread.join()


@pytest.fixture
def make(server):
    made = []

    def build(**settings):
        made.append(HttpEncoder(url=server.url, served_model="tiny", **settings))
        return made[-1]

    yield build
    for encoder in made:
        if "_client" in vars(encoder):
            encoder._client.close()


def test_vectors_come_back_in_order_and_of_length_one(make, server):
    texts = ["a", "bbb", "", "a", "cc"]
    vectors = make(batch_size=2).encode(texts, kind="document")
    expected = np.array([[1, 1], [3, 1], [0, 0], [1, 1], [2, 1]]) / np.array([[2**0.5, 10**0.5, 1, 2**0.5, 5**0.5]]).T
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert vectors.dtype == np.float32
    assert [request["input"] for _, request in server.asked] == [["a", "bbb"], ["cc"]]
    path, request = server.asked[0]
    assert path == "/v1/embeddings" and request["model"] == "tiny"


def test_prefixes_and_limits(make, server):
    encoder = make(query_prefix="query: ", max_length=4)
    encoder.encode(["abcdefgh"], kind="query")
    encoder.encode(["abcdefgh"], kind="document")
    assert [request["input"] for _, request in server.asked] == [["query: abcd"], ["abcd"]]


def test_blank_texts_have_the_servers_dimension(make):
    assert make().encode(["", " "], kind="query").shape == (2, 2)
    assert make().encode([], kind="query").shape == (0, 2)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answer: {},
        lambda answer: {"data": None},
        lambda answer: {"data": answer["data"][:1]},
        lambda answer: {"data": answer["data"] + answer["data"][:1]},
        lambda answer: {"data": [{"index": n, "embedding": [1.0] * (n + 1)} for n in range(2)]},
        lambda answer: {"data": [{"index": n, "embedding": ["x"]} for n in range(2)]},
        lambda answer: {"data": [{"index": n, "embedding": []} for n in range(2)]},
        lambda answer: {"data": [{"index": n, "embedding": [1e300]} for n in range(2)]},
        lambda answer: {"data": [{"index": n, "embedding": [10**400]} for n in range(2)]},
        lambda answer: {"data": [{"index": n + 5, "embedding": [1]} for n in range(2)]},
    ],
    ids=range(10),
)
def test_answers_that_do_not_fit_are_refused(make, server, spoil):
    server.spoil = spoil
    with pytest.raises(LanguageModelError, match="not the embeddings of 2 texts"):
        make().encode(["a", "b"], kind="query")


def test_identity_is_of_the_model_not_of_the_access(make):
    same = make(batch_size=3, timeout=5, attempts=1)
    assert make().identity() == same.identity()
    assert make().identity() != make(query_prefix="q: ").identity()
    assert make().identity() != make(max_length=5).identity()


def test_remote_servers_need_leave():
    encoder = HttpEncoder(url="https://api.example.com/v1", served_model="x")
    with pytest.raises(ConfigError, match="allow_remote"):
        encoder.encode(["a"], kind="query")
