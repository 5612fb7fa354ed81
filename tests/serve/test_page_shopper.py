"""The shopper's view in real Chromium: journeys, hostile text, keyboard, contrast, a narrow phone, dark and light."""

from __future__ import annotations

import base64
import json
import re

import polars as pl
import pytest

pytest.importorskip("playwright.sync_api", reason="needs playwright")

from accessibility import FOCUSED, OVERFLOWING, faults
from browsing import Running, Visitor, chromium
from live_server import until
from shops import fitted

from tastemaker.data.dataset import Dataset
from tastemaker.serve.auth import EVERYTHING, Access
from tastemaker.serve.service import Service
from tastemaker.serve.settings import Settings
from tastemaker.store import open_store

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "javascript:alert(1)",
    "{{constructor.constructor('alert(1)')()}}",
    "<iframe srcdoc='<script>parent.alert(1)</script>'>",
    "</title></textarea></style><script>alert(1)</script>",
    "<a href='data:text/html,<script>alert(1)</script>'>free</a>",
    "${alert(1)} `alert(1)`",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "\u202egpj.exe\u2066 \u200bhidden\U000e0041",
    "<style>*{display:none}</style>",
]


def hostile_shop():
    """A shop whose products, brands and categories are attacks; every shopper has most of them."""
    rows = [(f"u{user}", f"p{(user + step) % 12}", 10 * user + step) for user in range(24) for step in range(5)]
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    items = pl.DataFrame(
        {
            "item_id": [f"p{number}" for number in range(12)],
            "title": HOSTILE,
            "brand": HOSTILE[::-1],
            "categories": [["All", text] for text in HOSTILE],
            "price": [1.0 + number for number in range(12)],
            "currency": ["EUR"] * 6 + ["<b>"] * 6,
            "image_link": [
                "javascript:alert(1)",
                "https://elsewhere.example/x.png",
                *["https://img.shop.example/p.png"] * 10,
            ],
        }
    )
    return Dataset.from_frames(log, items)


@pytest.fixture(scope="module")
def browser():
    yield from chromium()


@pytest.fixture(scope="module")
def shop(folder):
    service = Service(Settings(new_items=0))
    service.add_model(folder)
    with Running(service) as running:
        yield running


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    place = tmp_path_factory.mktemp("hostile") / "shop"
    fitted({"model": "transitions"}, folder=place, data=hostile_shop())
    service = Service(Settings(image_sources=("https://img.shop.example",)))
    service.add_model(place)
    with Running(service) as running:
        yield running


@pytest.fixture
def visit(browser):
    visitor = Visitor(browser)
    yield visitor.open
    visitor.close()


def settled(page):
    page.locator("#answer[aria-busy=false]").wait_for()


def listed(page, place=0):
    settled(page)
    return page.locator(".list").nth(place).locator(".card").evaluate_all("all => all.map(one => one.dataset.item)")


def hear(page, pattern):
    """Wait until the page says something to those who listen."""
    page.locator("#live", has_text=re.compile(pattern)).wait_for(state="attached")


def test_a_new_shopper_is_built_by_clicking_products(visit, shop):
    page = visit(shop.address)
    before = listed(page)
    assert len(before) == 10
    page.fill("#product-words", "soap number 4")
    page.locator("#products li:first-child button", has_text="soap number 4").click()
    page.locator("#history [data-item=i004]").wait_for()
    after = listed(page)
    assert after != before
    assert "i004" not in after
    assert page.locator(".moved").count() > 0
    hear(page, r"Added soap number 4\. \d+ of 10 places changed")
    page.locator("#history button").first.click()
    settled(page)
    assert listed(page) == before
    assert page.faults == []


def test_a_known_shopper_is_found_and_has_an_address(visit, shop):
    page = visit(shop.address)
    settled(page)
    page.fill("#shopper-id", "u003")
    page.keyboard.press("Enter")
    page.locator("h1", has_text="Shopper u003").wait_for()
    first = listed(page)
    assert page.url.endswith("#shopper=u003")
    history = page.locator("#history li").evaluate_all("all => all.map(one => one.dataset.item)")
    assert history
    assert not {*history} & {*first}
    other = visit(page.url)
    other.locator("h1", has_text="Shopper u003").wait_for()
    assert listed(other) == first
    page.click("#start-over")
    page.locator("h1", has_text="A new shopper").wait_for()
    assert "#" not in page.url


def test_cards_show_price_reason_and_evidence(visit, shop):
    page = visit(f"{shop.address}/#shopper=u003")
    settled(page)
    asked = json.loads(next(one for one in page.asked if one.url.endswith("/v1/recommend")).post_data)
    page.locator(".chip").first.wait_for()
    answer = page.request.post(f"{shop.address}/v1/recommend", data=asked).json()
    for place, item in enumerate(answer["items"]):
        card = page.locator(".card").nth(place)
        text = card.inner_text()
        assert (item["title"] or item["item_id"]) in text
        assert item["price"] is None or f"{item['price']:.2f}" in text
        assert item["reason"]["text"] in text
    assert page.locator(".chip .kind", has_text="because of").count() > 0


def test_the_drawer_says_what_each_method_says_and_how_long_it_took(visit, shop):
    page = visit(f"{shop.address}/#shopper=u003")
    settled(page)
    page.locator(".card .why").first.click()
    page.locator("#why table").wait_for()
    rows = page.locator("#why tbody tr").all_inner_texts()
    assert [row.split("\t")[0] for row in rows] == ["Retriever alone", "With language model", "Text", "Popular"]
    assert "place 1" in rows[0]
    assert "this model asks none" in rows[1]
    text = page.locator("#why").inner_text()
    assert "each claim was checked" in text
    assert "transitions" in text
    assert re.search(r"In all\s+[\d.]+ m?s", text)
    page.keyboard.press("Escape")
    assert page.locator("#why").is_hidden()
    assert page.evaluate("document.activeElement.classList.contains('why')")


def test_two_methods_side_by_side(visit, shop):
    page = visit(f"{shop.address}/#shopper=u003")
    settled(page)
    page.check("#compare")
    page.select_option("#other", "popular")
    page.locator(".common").wait_for()
    a, b = listed(page, 0), listed(page, 1)
    common = len({*a} & {*b})
    assert page.locator(".common").inner_text().startswith(f"{common} product")
    assert page.locator(".elsewhere", has_text="only in this list").count() == len(a) + len(b) - 2 * common
    left, right = (page.locator(".list").nth(place).bounding_box() for place in (0, 1))
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]


def test_a_wish_is_read_and_shown(visit, shop):
    page = visit(shop.address)
    settled(page)
    page.fill("#wish-words", "soap under 20")
    page.click("text=Ask")
    page.locator(".understood", has_text="Understood").wait_for()
    assert listed(page)
    prices = page.locator(".card .price").all_inner_texts()
    assert prices
    assert all(float(text) < 20 for text in prices)
    page.fill("#wish-words", "soap under 0.01")
    page.click("text=Ask")
    page.locator(".nothing", has_text="Nothing fits").wait_for()


def test_degraded_answers_wear_a_badge(visit, shop):
    page = visit(shop.address)
    settled(page)

    def degrade(route):
        answer = route.fetch()
        body = answer.json() | {"degraded": True, "degraded_reason": "language model: circuit open"}
        route.fulfill(response=answer, json=body)

    page.route("**/v1/recommend", degrade)
    page.fill("#wish-words", "soap")
    page.click("text=Ask")
    page.locator(".degraded", has_text="language model: circuit open").wait_for()
    hear(page, "Degraded")
    assert listed(page)


@pytest.mark.parametrize(
    ("status", "words"), [(503, "The service is busy"), (429, "Too many questions"), (500, "That did not work")]
)
def test_errors_say_what_happened_and_can_be_tried_again(visit, shop, status, words):
    page = visit(shop.address)
    settled(page)
    problem = {"detail": "in short: <b>no</b>", "request_id": "r1", "errors": [{"place": "n", "message": "too many"}]}
    page.route("**/v1/recommend", lambda route: route.fulfill(status=status, json=problem))
    page.select_option("#method", "popular")
    box = page.locator("[role=alert].problem")
    box.wait_for()
    for part in (words, "in short: <b>no</b>", "Request r1", "n: too many"):
        assert part in box.inner_text()
    page.unroute("**/v1/recommend")
    page.click("text=Try again")
    page.locator(".card").first.wait_for()


def test_no_connection_is_said(visit, shop):
    page = visit(shop.address)
    settled(page)
    page.route("**/v1/recommend", lambda route: route.abort())
    page.select_option("#method", "popular")
    page.locator(".problem", has_text="The service cannot be reached.").wait_for()


def test_without_a_model_the_way_on_is_shown(visit):
    with Running(Service(Settings())) as running:
        page = visit(running.address)
        page.locator(".problem", has_text="There is no model yet").wait_for()
        assert page.locator(".problem a").get_attribute("href") == "/operator"


def sent(page):
    return [json.loads(one.post_data)["events"][0] for one in page.asked if one.url.endswith("/v1/events")]


def test_thumbs_are_stored_and_change_the_next_list(visit, folder, tmp_path):
    with open_store(tmp_path / "shop.db") as store:
        service = Service(Settings(new_items=0), store=store)
        service.add_model(folder)
        with Running(service) as running:
            page = visit(f"{running.address}/#shopper=u003")
            before = listed(page)
            page.locator(".thumb.down").nth(1).click()
            page.locator("#unwanted [data-item]").wait_for()
            after = listed(page)
            assert after[:2] == [before[0], before[2]]
            assert before[1] not in after
            assert page.locator(".moved").count() >= 8
            hear(page, r"Noted: not wanted\. \d+ of 10 places changed")
            assert page.evaluate("document.activeElement.classList.contains('down')")
            page.locator(".thumb.up").first.click()
            page.locator(f"#history [data-item={after[0]}]", has_text="event").wait_for()
            assert after[0] not in listed(page)
            events = store.history("default", "u003")
            assert [(one.item_id, one.event_type, one.position) for one in events] == [
                (before[1], "dislike", 1),
                (after[0], "like", 0),
            ]

            def shown():
                return {one.request_id: one for one in store.impressions_between("default", 0, 2**62)}

            until(lambda: events[0].request_id in shown())
            assert set(shown()[events[0].request_id].item_ids) == {*before}
            other = visit(page.url)
            assert listed(other) == listed(page)


def test_only_what_a_shopper_would_see_is_noted_as_shown(visit, shop):
    page = visit(f"{shop.address}/#shopper=u003")
    settled(page)
    page.locator(".card .why").first.click()
    page.locator("#why table").wait_for()
    page.keyboard.press("Escape")
    page.select_option("#method", "popular")
    settled(page)
    asked = [json.loads(one.post_data) for one in page.asked if one.url.endswith("/v1/recommend")]
    assert [body["strategy"] for body in asked if not body["preview"]] == ["auto"]
    assert len(asked) == 6


def test_without_a_store_thumbs_count_on_this_page_and_say_so(visit, shop):
    page = visit(shop.address)
    first = listed(page)[0]
    page.locator(".thumb.down").first.click()
    page.locator("#toast", has_text="counts on this page alone: this service stores no events").wait_for()
    assert first not in listed(page)
    page.locator("#unwanted button").click()
    settled(page)
    assert listed(page)[0] == first
    page.locator(".thumb.up").first.click()
    page.locator(f"#history [data-item={first}]", has_text="clicked here").wait_for()
    assert first not in listed(page)
    assert [event["event_type"] for event in sent(page)] == ["dislike", "like"]
    assert sent(page)[0]["user_id"].startswith("visitor-")


def test_a_thumb_that_fails_changes_nothing(visit, shop):
    page = visit(shop.address)
    before = listed(page)
    page.route("**/v1/events", lambda route: route.fulfill(status=503, json={"detail": "the store is busy"}))
    page.locator(".thumb.up").first.click()
    page.locator("#toast", has_text="the store is busy").wait_for()
    assert listed(page) == before
    assert page.locator(".thumb").first.is_enabled()
    assert page.locator(".liked").count() == 0


class Secret:
    def find(self, secret):
        return Access("default", "k", EVERYTHING) if secret == "open-sesame-open" else None

    def any(self):
        return True


def test_a_key_is_asked_for_and_kept_in_this_tab_alone(visit, folder):
    service = Service(Settings(), keys=[Secret()])
    service.add_model(folder)
    with Running(service) as running:
        page = visit(running.address)
        page.locator("#sign-in[open]").wait_for()
        page.fill("#key", "wrong")
        page.keyboard.press("Enter")
        page.locator("#key-problem", has_text="wrong or revoked").wait_for()
        assert page.locator(".card").count() == 0
        page.fill("#key", "open-sesame-open")
        page.keyboard.press("Enter")
        page.locator(".card").first.wait_for()
        kept = "[localStorage.length, sessionStorage.length, document.cookie].join()"
        assert page.evaluate(kept) == "0,0,"
        assert not [one for one in page.asked if "sesame" in one.url]
        page.reload()
        page.locator("#sign-in[open]").wait_for()
        page.fill("#key", "open-sesame-open")
        page.check("#keep-key")
        page.click("#sign-in button")
        page.locator(".card").first.wait_for()
        page.reload()
        page.locator(".card").first.wait_for()
        page.click("#sign-out")
        page.locator("#sign-in[open]").wait_for()
        assert page.evaluate(kept) == "0,0,"


def test_hostile_products_are_inert_everywhere(visit, hostile):
    page = visit("about:blank")
    page.route(re.compile("^https://"), lambda route: route.fulfill(status=200, content_type="image/png", body=PIXEL))
    page.goto(f"{hostile.address}/#shopper=u1")
    page.check("#compare")
    settled(page)
    page.fill("#product-words", "alert")
    page.locator("#products button").first.wait_for()
    page.uncheck("#compare")
    settled(page)
    for place in range(min(4, page.locator(".card .why").count())):
        page.locator(".card .why").nth(place).click()
        page.locator("#why table").wait_for()
        page.keyboard.press("Escape")
    odd = "main :is(script, iframe, object, embed, style, math, [srcdoc], [style], a[href^=data], a[href^=javascript])"
    assert page.locator(odd).count() == 0
    assert (
        page.evaluate("""[...document.querySelectorAll("*")].flatMap(one => [...one.attributes])
        .filter(one => one.name.startsWith("on")).length""")
        == 0
    )
    assert page.faults == []
    sources = set(page.locator("main img").evaluate_all("all => all.map(one => one.src)"))
    assert sources <= {"https://img.shop.example/p.png"}
    outside = {one.url for one in page.asked if not one.url.startswith((hostile.address, "about:"))}
    assert outside <= {"https://img.shop.example/p.png"}
    text = page.locator("main").inner_text()
    assert "<script>alert(1)</script>" in text
    assert not re.search("[\u200b\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]", text)


def test_the_browser_itself_refuses_markup_from_text(visit, shop):
    page = visit(shop.address)
    settled(page)
    refused = page.evaluate("""() => {
      try { document.body.innerHTML = "<b>x</b>"; return "made"; } catch (error) { return error.name; }
    }""")
    assert refused == "TypeError"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", ["phone", "desktop"])
def test_names_contrast_sizes_and_nothing_cut_off(visit, shop, width, scheme):
    page = visit(f"{shop.address}/#shopper=u003", width=width, scheme=scheme)
    settled(page)
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    page.locator("#products button").first.wait_for()
    assert faults(page) == {}
    field, button = (page.locator(f"#shopper-search {one}").bounding_box() for one in ("#shopper-id", "button"))
    assert abs(field["y"] + field["height"] / 2 - button["y"] - button["height"] / 2) < 2, "beside each other"
    page.locator("#any-shopper").evaluate("one => { one.style.width = '4rem'; }")
    assert [*faults(page)] == ["wrapped"], "that is seen"
    page.locator("#any-shopper").evaluate("one => { one.style.width = ''; }")
    page.check("#compare")
    page.locator(".common").wait_for()
    assert faults(page) == {}
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.locator(".card .why").first.click()
    page.locator("#why table").wait_for()
    page.wait_for_timeout(300)  # it has slid in
    assert faults(page) == {}
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(18, 23, 29)")


def test_long_words_do_not_widen_a_phone(visit, hostile):
    page = visit(f"{hostile.address}/#shopper=u1", width="phone")
    settled(page)
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    assert page.evaluate(OVERFLOWING) == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.parametrize("width", ["phone", "desktop"])
def test_the_keyboard_reaches_everything_in_order_with_visible_focus(visit, shop, width):
    page = visit(f"{shop.address}/#shopper=u003", width=width)
    settled(page)
    reached = []
    for _ in range(150):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if found["kind"] == "body":
            break
        reached.append(found)
    assert reached[0]["label"] == "Skip to the content"
    assert [one for one in reached if not one["visible"] or not one["onScreen"]] == []
    buttons = page.locator("main button:not([disabled])").evaluate_all(
        "all => all.filter(one => one.checkVisibility()).length"
    )
    assert sum(one["kind"] == "button" for one in reached) >= buttons
    labels = [one["label"] for one in reached]
    wish, why = labels.index("Ask"), next(k for k, label in enumerate(labels) if label.startswith("Why?"))
    assert wish < why


def test_a_journey_without_a_mouse(visit, shop):
    page = visit(shop.address)
    settled(page)
    page.locator("#product-words").focus()
    page.keyboard.type("brush number 2")
    page.locator("#product-count", has_text="product").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("#history [data-item]").first.wait_for()
    settled(page)
    page.locator("#method").focus()
    page.keyboard.press("ArrowDown")
    settled(page)
    page.locator(".card .why").first.focus()
    page.keyboard.press("Enter")
    page.locator("#why table").wait_for()
    inside = "document.querySelector('#why').contains(document.activeElement)"
    for _ in range(8):
        page.keyboard.press("Tab")
        assert page.evaluate(f"{inside} || document.activeElement === document.body")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.classList.contains('why')")
    assert page.faults == []


def test_nothing_moves_where_less_motion_is_wanted(visit, shop):
    page = visit(shop.address, reduced_motion="reduce")
    settled(page)
    page.select_option("#method", "retriever")
    settled(page)
    assert page.evaluate("document.getAnimations().length") == 0
    moving = visit(shop.address)
    settled(moving)
    moving.evaluate("Element.prototype.animate = function () { window.moved = true; }")
    moving.select_option("#method", "retriever")
    settled(moving)
    assert moving.evaluate("window.moved === true")
