"""A service on a real socket: uvicorn in a thread of this process, or `tastemaker serve` in one of its own."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import uvicorn

from tastemaker.serve.app import create_app

AMPLE = 5000
"""Milliseconds for an answer, so that a machine that is busy with other tests changes none."""


def until(says, seconds=20):
    """Wait until a condition holds that something beside the requests brings about."""
    end = time.monotonic() + seconds
    while not says() and time.monotonic() < end:
        time.sleep(0.02)
    assert says()


@contextmanager
def in_thread(service):
    """Give the address of a service."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(service), loop="asyncio", log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the service did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


class Process:
    """`tastemaker serve` in a process of its own, ended with the block."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tastemaker", "serve", "--port", "0", *map(str, arguments)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TASTEMAKER_SERVE_BUDGET_MS": str(AMPLE)},
        )
        self.lines = []
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.search(r"on (http://\S+) \(stop", line)
            if found:
                self.url = found[1]
                return
        self.__exit__()
        raise AssertionError("".join(self.lines))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()
