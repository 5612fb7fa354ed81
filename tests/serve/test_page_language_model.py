"""What the page shows of a language model: its opinion, its time, and that it failed."""

from __future__ import annotations

import pytest

pytest.importorskip("playwright.sync_api", reason="needs playwright")

from browsing import Running, Visitor, chromium
from model_server import chat, running, status
from shops import fitted

from tastemaker.serve.service import Service
from tastemaker.serve.settings import Settings


@pytest.fixture
def model():
    with running() as server:
        yield server


@pytest.fixture
def visit():
    for browser in chromium():
        visitor = Visitor(browser)
        yield visitor.open
        visitor.close()


@pytest.fixture
def shop(model, tmp_path):
    """A retriever, and a ranker that asks the model."""
    model.script = [chat("A, B, C")]
    listwise = {"model": "listwise", "mode": "generate", "weight": 1.0, "candidates": 10, "max_rise": 9}
    lm = {"url": model.url, "model": "qwen", "attempts": 1, "cache": False}
    service = Service(Settings())
    service.add_model(fitted({"model": "transitions", "keep": 10}, listwise, folder=tmp_path / "asking", lm=lm))
    with Running(service) as started:
        yield started


def listed(page):
    page.locator("#answer[aria-busy=false] .card").first.wait_for()
    return page.locator(".card").evaluate_all("all => all.map(one => one.dataset.item)")


def test_its_opinion_its_time_and_its_failure_are_shown(visit, model, shop):
    model.script = [chat("C, B, A")]
    page = visit(f"{shop.address}/#shopper=u001")
    asked = listed(page)
    assert page.locator(".degraded").count() == 0
    page.locator(".card .why").first.click()
    page.locator("#why table").wait_for()
    opinion = page.locator("#why tr", has_text="With language model").inner_text().split("\t")
    assert opinion[1] == "place 1"
    assert opinion[3].endswith("s")
    assert page.locator("#why .stages li", has_text="Language model").count() == 1
    body = {"user_id": "u001", "strategy": "retriever", "n": 10, "preview": True}
    alone = page.request.post(f"{shop.address}/v1/recommend", data=body).json()
    place = 1 + [item["item_id"] for item in alone["items"]].index(asked[0])
    assert place > 1
    assert page.locator("#why tr", has_text="Retriever alone").inner_text().split("\t")[1] == f"place {place}"
    page.keyboard.press("Escape")
    model.script = [status(500)]
    page.select_option("#method", "full")
    page.locator(".degraded", has_text="Degraded language model: ").wait_for()
    retrieved = listed(page)
    assert retrieved != asked
    page.select_option("#method", "retriever")
    page.locator(".list[aria-label$='Retriever alone']").wait_for()
    assert listed(page) == retrieved
    assert page.faults == []
