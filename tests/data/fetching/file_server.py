"""A loopback server of one file, with the faults that downloads meet."""

from __future__ import annotations

import ssl
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """Serves `content` under any path; each entry of `faults` spoils one request, in turn.

    Attributes:
        content, etag: what is served.
        ranges: whether Range requests are honoured.
        certificate: a PEM file with key and certificate; https with it.
        faults: a number is a status; "cut N" ends the connection after N bytes of the body; "redirect URL";
            "endless" never stops; "wrong part" answers a Range with the bytes from 0; "none" is no fault.
        requests: the headers of every request so far.
    """

    def __init__(self, content=b"", *, etag='"v1"', ranges=True, faults=(), certificate=None):
        self.content, self.etag, self.ranges, self.faults = content, etag, ranges, list(faults)
        self.requests = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append(dict(self.headers))
                with suppress(OSError):  # the client goes away in some tests
                    outer.answer(self, str(outer.faults.pop(0)) if outer.faults else "none")

            def log_message(self, *parts):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.server.server_port}"

    def answer(self, handler, fault):
        if fault.isdecimal():
            handler.send_response(int(fault))
            handler.send_header("Retry-After", "7")
            handler.send_header("Content-Length", "0")
            return handler.end_headers()
        if fault.startswith("redirect "):
            handler.send_response(302)
            handler.send_header("Location", fault.removeprefix("redirect "))
            return handler.end_headers()
        if fault == "endless":
            handler.send_response(200)
            handler.end_headers()
            while True:
                handler.wfile.write(b"x" * 65536)
        asked = handler.headers.get("Range", "") if self.ranges else ""
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if asked and handler.headers.get("If-Range") != self.etag:
            asked, start = "", 0
        if asked and start >= len(self.content):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(self.content)}")
            handler.send_header("Content-Length", "0")
            return handler.end_headers()
        if fault == "wrong part":
            start = 0
        body = self.content[start:]
        handler.send_response(206 if asked else 200)
        if asked:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        if self.etag:
            handler.send_header("ETag", self.etag)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: int(fault.removeprefix("cut "))] if fault.startswith("cut ") else body)
        return None


@contextmanager
def serving(content=b"", **options):
    """Run a `FileServer` in a thread."""
    server = FileServer(content, **options)
    thread = threading.Thread(target=server.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.server.shutdown()
        server.server.server_close()
        thread.join()
