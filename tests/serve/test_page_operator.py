"""The operator's view in real Chromium: real figures, models, experiments, rules, events; and what is not set up."""

from __future__ import annotations

import json
import re

import pytest

pytest.importorskip("playwright.sync_api", reason="needs playwright")

from accessibility import faults
from browsing import Running, Visitor, chromium
from live_server import until
from shops import fitted

from tastemaker.serve.auth import Access
from tastemaker.serve.service import Service
from tastemaker.serve.settings import Settings
from tastemaker.serve.versions import Fault
from tastemaker.store import open_store

HOSTILE = "<img src=x onerror=alert(1)>"
RULES = {"rule": [{"name": HOSTILE, "hide": {"categories": ["soap"]}}]}


@pytest.fixture(scope="module")
def browser():
    yield from chromium()


@pytest.fixture
def visit(browser):
    visitor = Visitor(browser)
    yield visitor.open
    visitor.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models of one shop in one folder."""
    place = tmp_path_factory.mktemp("shop")
    for name, model in (("first", "transitions"), ("second", "text_knn")):
        fitted({"model": model}, folder=place / name)
    return place


@pytest.fixture
def shop(models, tmp_path):
    with open_store(tmp_path / "shop.db") as store:
        service = Service(Settings(), store=store)
        service.add_model(models / "first")
        with Running(service) as running:
            yield running


def call(page, shop, method, path, body=None):
    answer = page.request.fetch(f"{shop.address}{path}", method=method, data=body)
    assert answer.ok, answer.text()
    return answer.json()


def value(page, name):
    return page.locator(".figure", has_text=name).locator(".value").inner_text()


def row(page, part, head):
    """Return the cells of a row by its first one."""
    found = page.locator(f"#{part} tr", has=page.get_by_role("rowheader", name=head, exact=True)).first
    return found.locator("th, td").all_inner_texts()


def test_figures_are_those_of_the_service(visit, shop):
    page = visit(f"{shop.address}/operator")
    page.locator("#answers", has_text="No list was asked for yet.").wait_for()
    assert page.locator("#state").inner_text() == "Ready"
    lists = [
        call(page, shop, "POST", "/v1/recommend", {"user_id": user, "n": 5, "strategy": strategy, "budget_ms": 5000})
        for user, strategy in (("u001", "retriever"), ("u002", "retriever"), ("?", "popular"))
    ]
    page.reload()
    page.locator("#answers table").first.wait_for()
    items = {item["item_id"] for answer in lists for item in answer["items"]}
    assert f"{len(items)} of 40 products were shown" in page.locator("#answers").inner_text()
    assert row(page, "answers", "Retriever alone") == ["Retriever alone", "2", "0 %"]
    assert row(page, "answers", "Popular") == ["Popular", "1", "0 %"]
    popular = sum(item["source"] == "popular" for answer in lists for item in answer["items"])
    assert row(page, "answers", "popular")[1] == str(popular)
    assert "overall 0 %" in page.locator(".figure", has_text="Degraded").inner_text()
    assert re.search(r"overall [\d.]+ ms", page.locator(".figure", has_text="Median time").inner_text())


def test_rates_move_while_it_is_watched(visit, shop):
    page = visit(f"{shop.address}/operator")
    page.locator(".figure").first.wait_for()
    assert value(page, "Lists a second") == "–"
    for _ in range(20):
        call(page, shop, "POST", "/v1/recommend", {"n": 5})
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.locator(".figure", has_text="Lists a second").locator(".value", has_not_text="–").wait_for()
    assert float(value(page, "Lists a second")) > 0.5
    assert value(page, "Fallback") == "100 %"
    assert value(page, "Median time").endswith("ms")


def test_a_model_is_added_activated_and_rolled_back(visit, shop):
    page = visit(f"{shop.address}/operator")
    page.click("text=Add second")
    page.locator("#toast", has_text="can be activated").wait_for()
    page.get_by_role("button", name="Activate").click()
    page.locator("#confirm").get_by_role("button", name="Cancel").click()
    assert "first-" in page.locator("#models dl").inner_text()
    page.locator("#models").get_by_role("button", name="Activate").click()
    page.locator("#confirm").get_by_role("button", name="Activate").click()
    page.locator("#models dl", has_text="second-").wait_for()
    assert call(page, shop, "GET", "/version")["model_version"].startswith("second-")
    page.get_by_role("button", name="Roll back").click()
    page.locator("#confirm").get_by_role("button", name="Roll back").click()
    page.locator("#models dl", has_text="first-").wait_for()
    assert call(page, shop, "GET", "/version")["model_version"].startswith("first-")
    assert page.faults == []


def test_rules_are_checked_then_put_and_hold(visit, shop):
    page = visit(f"{shop.address}/operator")
    page.locator("#rules summary").click()
    text = page.locator("#rules-text")
    text.fill('{"rule": [')
    page.get_by_role("button", name="Check").click()
    page.locator("#rules-said", has_text="This is no JSON").wait_for()
    text.fill(json.dumps({"rule": [{"name": "x", "hid": {}}]}))
    page.get_by_role("button", name="Put in force").click()
    page.locator("#rules-said", has_text="the rules do not fit").wait_for()
    assert "rule[0]" in page.locator("#rules-said code").first.inner_text()
    text.fill(json.dumps(RULES))
    page.get_by_role("button", name="Check").click()
    page.locator("#rules-said", has_text="30 of 40 products may be shown").wait_for()
    assert row(page, "rules-said", HOSTILE)[3:] == ["10", "10"]
    assert call(page, shop, "GET", "/v1/rules")["version"] == 0
    page.get_by_role("button", name="Put in force").click()
    page.locator("#confirm-yes").click()
    page.locator("#rules .rule-list", has_text=HOSTILE).wait_for()
    assert "Version 1 is in force: 1 rule." in page.locator("#rules").inner_text()
    answer = call(page, shop, "POST", "/v1/recommend", {"n": 40})
    assert not [item for item in answer["items"] if "soap" in item["categories"]]
    assert page.locator("main img").count() == 0
    assert not [fault for fault in page.faults if "422" not in fault]  # the document that was refused


def test_events_come_in_as_text_and_lead_to_their_shopper(visit, shop):
    page = visit(f"{shop.address}/operator")
    page.locator("#events", has_text="None yet.").wait_for()
    event = {
        "user_id": f"u003/{HOSTILE}",
        "item_id": HOSTILE,
        "event_type": "<b>click</b>",
        "position": 2,
        "request_id": "r",
    }
    call(page, shop, "POST", "/v1/events", {"events": [event]})
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.locator("#events td", has_text=HOSTILE).first.wait_for()
    assert page.locator("#events td", has_text="place 3").count() == 1
    assert page.locator("main :is(img, b)").count() == 0
    page.locator("#events a").click()
    page.locator("h1", has_text=f"Shopper u003/{HOSTILE}").wait_for()
    assert page.faults == []


def test_experiments_show_their_results_with_intervals(visit, shop):
    page = visit("about:blank")
    variants = [{"name": "as it is"}, {"name": "popular", "settings": {"strategy": "popular"}}]
    call(page, shop, "PUT", "/v1/experiments/lists", {"experiment": {"variants": variants}})
    events, people = [], {"as it is": set(), "popular": set()}
    for number in range(60):
        answer = call(page, shop, "POST", "/v1/recommend", {"user_id": f"v{number}", "n": 5})
        people[answer["variant"]].add(number)
        if answer["variant"] == "popular" or number % 4 == 0:
            ids = {"request_id": answer["request_id"], "item_id": answer["items"][0]["item_id"]}
            events.append(ids | {"user_id": f"v{number}", "event_type": "click", "position": 0})
    call(page, shop, "POST", "/v1/events", {"events": events})
    store = shop.service.store
    until(lambda: len([one for one in store.impressions_between("default", 0, 2**62) if one.experiment]) == 60)
    page.goto(f"{shop.address}/operator")
    page.locator("#experiments summary").click()
    page.locator("#experiments table").wait_for()
    cells = page.locator("#experiments tr", has_text="shoppers who clicked").all_inner_texts()
    sizes = [int(text.split("\t")[2]) for text in cells]
    assert sizes == [len(people["as it is"]), len(people["popular"])]
    assert cells[0].split("\t")[5] == "control"
    assert cells[1].split("\t")[3] == "100 %"
    drawn = page.locator("#experiments svg.clear").first
    assert "of the control" in drawn.get_attribute("aria-label")


def test_without_a_store_it_says_so(visit, models):
    service = Service(Settings())
    service.add_model(models / "first")
    with Running(service) as running:
        page = visit(f"{running.address}/operator")
        for part in ("rules", "experiments", "events"):
            page.locator(f"#{part}", has_text="Start it with --store").wait_for()
        page.locator("#models", has_text="without a store there is one version").wait_for()
        assert page.locator("#models dl", has_text="transitions").count() == 1


class Reader:
    def find(self, secret):
        return Access("default", "k", frozenset({"read"})) if secret == "a-key-that-reads" else None

    def any(self):
        return True


def test_a_key_that_only_reads_sees_what_it_may(visit, models, tmp_path):
    with open_store(tmp_path / "shop.db") as store:
        service = Service(Settings(), store=store, keys=[Reader()])
        service.add_model(models / "first")
        with Running(service) as running:
            page = visit(f"{running.address}/operator")
            page.fill("#key", "a-key-that-reads")
            page.click("#sign-in button")
            page.locator("#events", has_text="they need the scope “admin”").wait_for()
            page.locator("#models dl", has_text="transitions").wait_for()
            page.click("text=Add second")
            page.locator("#toast", has_text="scope 'admin'").wait_for()


def test_a_model_that_cannot_be_loaded_is_said(visit, shop):
    served = next(iter(shop.service.shops.values()))
    served.fault = Fault("autumn", "/models/autumn: fitted anew", "spring")
    try:
        page = visit(f"{shop.address}/operator")
        page.locator("#models", has_text="'spring' answers, as the active version 'autumn' cannot be loaded").wait_for()
        assert page.locator("#models table").count() == 1
        assert "/models/autumn:" not in page.locator("#models").inner_text()
    finally:
        served.fault = None


def test_not_ready_is_said(visit):
    with Running(Service(Settings())) as running:
        page = visit(f"{running.address}/operator")
        page.locator("#state", has_text="Not ready").wait_for()
        page.locator("#models", has_text="No model answers yet.").wait_for()
        assert page.request.get(f"{running.address}/health/ready").status == 503
        page.reload()
        page.locator(".figure", has_text="Server errors").get_by_text("overall 0 %").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", ["phone", "desktop"])
def test_names_contrast_sizes_and_nothing_cut_off(visit, shop, width, scheme):
    page = visit("about:blank", width=width, scheme=scheme)
    call(page, shop, "PUT", "/v1/rules", {"rules": RULES})
    answer = call(page, shop, "POST", "/v1/recommend", {"user_id": "u001"})
    event = {"user_id": "u001", "item_id": "i001", "event_type": "click", "request_id": answer["request_id"]}
    call(page, shop, "POST", "/v1/events", {"events": [event]})
    call(page, shop, "POST", "/v1/models", {"folder": "second"})
    page.goto(f"{shop.address}/operator")
    page.locator("#events table").wait_for()
    page.locator("#rules summary").click()
    page.get_by_role("button", name="Check").click()
    page.locator("#rules-said table").wait_for()
    assert faults(page) == {}
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.locator("#models").get_by_role("button", name="Activate").click()
    assert faults(page) == {}
    page.keyboard.press("Escape")
    assert "first-" in page.locator("#models dl").inner_text()


def test_metrics_are_read_as_prometheus_does(visit, shop):
    page = visit(f"{shop.address}/operator")
    told = page.evaluate("""async () => {
      const { parse, sum, histogram, quantile, since } = await import("/static/prometheus.js");
      const samples = parse(`# HELP x y
a_total{route="/v1/{id}",why="a \\\\"b\\\\" \\\\\\\\"} 3.0
a_total{route="other",why=""} 4
s_bucket{le="0.1"} 2
s_bucket{le="0.2"} 6
s_bucket{le="+Inf"} 8
n NaN`);
      const buckets = histogram(samples, "s");
      return [sum(samples, "a_total"), samples[0].labels, quantile(buckets, 0.5), quantile(buckets, 0.99),
        quantile(new Map(), 0.5), [...since(buckets, new Map([[0.1, 2]])).values()]];
    }""")
    assert told[:2] == [7, {"route": "/v1/{id}", "why": 'a "b" \\'}]
    assert told[2] == pytest.approx(0.15)
    assert told[3] == pytest.approx(0.2)  # beyond the last edge nothing is known
    assert told[4] != told[4]
    assert told[5] == [0, 6, 8]
