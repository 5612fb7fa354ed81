"""A language-model server on a loopback port that plays every kind of answer, an OpenAI-compatible one or a fault."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def chat(text, *, finish="stop", top=None):
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    if top is not None:
        choice["logprobs"] = {"content": [{"top_logprobs": [{"token": t, "logprob": v} for t, v in top]}]}
    return {"choices": [choice], "usage": {"prompt_tokens": 11, "completion_tokens": 3}}


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.requests, self.over = [], [], threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, *arguments):
        pass  # a client that gave up is what some tests are about


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, dict(self.headers), body))
        step = self.server.script.pop(0) if len(self.server.script) > 1 else self.server.script[0]
        step(self, body) if callable(step) else self.reply(200, step)

    def reply(self, status, answer, headers=()):
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for key, value in headers:
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def status(code, *headers, said=b"busy"):
    return lambda handler, body: handler.reply(code, said, headers)


def hang(handler, body):
    handler.server.over.wait(10)


def drip(handler, body):
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.server.over.wait(0.05):
        try:
            handler.wfile.write(b" ")
        except OSError:
            return


@contextmanager
def running(*script):
    """Serve until the end of the block; the script's answers, where there are any, over and over."""
    server = Server()
    server.script = list(script) or server.script
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
