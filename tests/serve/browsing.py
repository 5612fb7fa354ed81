"""A service on a port of its own, and Chromium before it."""

from __future__ import annotations

import shutil
import socket
import threading
import time

import pytest
import uvicorn

from tastemaker.serve.app import create_app

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")

WIDTHS = {"phone": 360, "desktop": 1280}


class Running:
    """A service that listens on a free port of this machine, in a thread."""

    def __init__(self, service):
        self.service = service
        self.app = create_app(service)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(self.app, log_level="critical", ws="none", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def __enter__(self):
        self._thread.start()
        end = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < end
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        self._server.should_exit = True
        self._thread.join(20)
        self._socket.close()


def chromium():
    """Yield headless Chromium of the system; without one the tests are skipped."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on the path")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visitor:
    """Opens pages of a browser and closes them at the end; each page keeps what it logs, asks for or pops up."""

    def __init__(self, browser):
        self._browser = browser
        self._contexts = []

    def open(self, address, *, width="desktop", scheme="light", **options):
        context = self._browser.new_context(
            viewport={"width": WIDTHS[width], "height": 900}, color_scheme=scheme, **options
        )
        context.set_default_timeout(10_000)
        self._contexts.append(context)
        page = context.new_page()
        page.faults, page.asked = [], []
        page.on("console", lambda message: page.faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("dialog", lambda dialog: (page.faults.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: page.asked.append(request))
        page.goto(address)
        return page

    def close(self):
        for context in self._contexts:
            context.close()
