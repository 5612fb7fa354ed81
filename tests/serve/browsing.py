"""A service on a port of its own, and Chromium before it."""

from __future__ import annotations

import shutil

import pytest
from live_server import in_thread

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")

WIDTHS = {"phone": 360, "desktop": 1280}


class Running:
    """A service on a free port of this machine, with its address."""

    def __init__(self, service):
        self.service = service
        self._thread = in_thread(service)

    def __enter__(self):
        self.address = self._thread.__enter__()
        return self

    def __exit__(self, *error):
        self._thread.__exit__(*error)


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
