"""The comparison's page in a real browser: nothing overflows, nothing is loaded or run, the keyboard reaches all."""

from __future__ import annotations

import io
import shutil
from itertools import product

import pytest
from sample_comparison import HOSTILE, crowded, sample

from tastemaker.characters import strip_hostile
from tastemaker.report import comparison_page

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")

WIDTHS = {"phone": 390, "desktop": 1280}
MODES = [*product(WIDTHS, ("light", "dark"))]
PROBE = """() => {
  const at = document.activeElement;
  const shown = at.classList.contains("landmark") ? at.querySelector(".mark") : at;
  const style = getComputedStyle(shown);
  const visible = at.classList.contains("landmark")
    ? parseFloat(style.strokeWidth) >= 3
    : style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const box = at.getBoundingClientRect();
  return {
    kind: at.classList[0] || at.tagName.toLowerCase(), visible,
    onScreen: box.width > 0 && box.right > 0 && box.left < innerWidth && box.bottom > 0 && box.top < innerHeight,
  };
}"""
OVERFLOWING = """() => [...document.querySelectorAll("main *, header *, nav *")]
  .filter(one => !one.closest(".scroll") && !one.closest("svg") && one.getBoundingClientRect().right > innerWidth + 1)
  .map(one => one.outerHTML.slice(0, 120))"""
CLIPPED = """() => [...document.querySelectorAll("svg:not(.key)")].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter(text => {
    const box = text.getBoundingClientRect();
    return getComputedStyle(text).visibility === "visible"
      && (box.left < frame.left - 1 || box.right > frame.right + 1
        || box.top < frame.top - 1 || box.bottom > frame.bottom + 1);
  }).map(text => svg.getAttribute("aria-label").slice(0, 40) + " | " + text.textContent);
})"""
OVERLAPPING = """() => [...document.querySelectorAll("svg:not(.key)")].flatMap(svg => {
  const texts = [...svg.querySelectorAll("text")].filter(text => getComputedStyle(text).visibility === "visible");
  const boxes = texts.map(text => text.getBoundingClientRect());
  const found = [];
  boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b, j) => {
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (wide > 1 && high > 0.35 * Math.min(a.height, b.height)) {
      found.push([svg.getAttribute("aria-label").slice(0, 40), texts[i].textContent, texts[i + 1 + j].textContent]);
    }
  }));
  return found;
})"""


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium of the system; without one these tests are skipped."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on the path")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The sample's page as a file, as a reader opens it."""
    return written(sample(), tmp_path_factory)


@pytest.fixture(scope="module")
def crowded_address(tmp_path_factory):
    """The page of twelve models with long names and figures that lie close."""
    return written(crowded(), tmp_path_factory)


def written(comparison, tmp_path_factory):
    place = tmp_path_factory.mktemp("report") / "comparison.html"
    place.write_text(comparison_page(comparison), encoding="utf-8")
    return place.as_uri()


@pytest.fixture
def visit(browser, address):
    """Open the page at a width and in a colour scheme; `events` takes all that it logs, asks for or pops up."""
    contexts = []

    def opened(width="desktop", scheme="light", **options):
        context = browser.new_context(viewport={"width": WIDTHS[width], "height": 900}, color_scheme=scheme, **options)
        contexts.append(context)
        page = context.new_page()
        page.events = []
        page.on("console", lambda message: page.events.append(("console", message.text)))
        page.on("pageerror", lambda error: page.events.append(("error", str(error))))
        page.on("dialog", lambda dialog: (page.events.append(("dialog", dialog.message)), dialog.dismiss()))
        page.on("request", lambda request: page.events.append(("request", request.url)))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()


def colours(screenshot):
    """Return the pixels of a screenshot as [n, 3] and how many of them are not the commonest colour."""
    image = pytest.importorskip("PIL.Image", reason="needs pillow").open(io.BytesIO(screenshot)).convert("RGB")
    counts = image.getcolors(maxcolors=2**24)
    return [colour for _, colour in counts], 1 - max(count for count, _ in counts) / (image.width * image.height)


@pytest.mark.parametrize(("width", "scheme"), MODES)
def test_nothing_overflows_and_nothing_is_loaded(visit, address, width, scheme):
    page = visit(width, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert over == 0
    assert page.evaluate(OVERFLOWING) == []
    assert page.events == [("request", address)]
    seen, drawn = colours(page.screenshot())
    assert drawn > 0.02
    assert len(seen) > 50
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(18, 23, 29)")


@pytest.mark.parametrize("crowd", [False, True], ids=["five models", "twelve models"])
@pytest.mark.parametrize("width", WIDTHS)
def test_chart_texts_are_whole_and_apart(visit, crowded_address, width, crowd):
    page = visit(width)
    if crowd:
        page.goto(crowded_address)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert page.evaluate(CLIPPED) == []
    assert page.evaluate(OVERLAPPING) == []
    smallest = page.evaluate(
        """() => Math.min(...[...document.querySelectorAll("svg text")].map(text =>
          parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a))"""
    )
    assert smallest >= 8.5


def test_hostile_titles_are_inert(visit):
    page = visit()
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    for place in page.locator("svg .cloud .mark").all()[:5]:
        place.hover(force=True)
    assert (
        page.locator("script, img, iframe, object, embed, form, input, [onerror], [onmouseover], [onload]").count() == 0
    )
    assert not [event for event in page.events if event[0] != "request"]
    titles = page.evaluate("[...document.querySelectorAll('svg .cloud title')].map(one => one.textContent)")
    assert strip_hostile(HOSTILE[0]) in titles
    assert HOSTILE[2] in titles


@pytest.mark.parametrize("width", WIDTHS)
def test_the_keyboard_reaches_everything_with_visible_focus(visit, width):
    page = visit(width)
    reached = []
    for _ in range(200):
        page.keyboard.press("Tab")
        found = page.evaluate(PROBE)
        if found["kind"] == "body":
            break
        reached.append(found)
    kinds = [found["kind"] for found in reached]
    assert kinds[:2] == ["skip", "a"]
    assert {"summary", "scroll", "landmark"} <= set(kinds)
    assert [found for found in reached if not found["visible"] or not found["onScreen"]] == []
    assert kinds.count("summary") == page.locator("summary").count()


def test_the_skip_link_and_details_work_by_keyboard(visit):
    page = visit("phone")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.url.endswith("#result")
    summary = page.locator("figure summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("figure details").first.evaluate("one => one.open")
    assert page.locator("figure details table").first.is_visible()


def test_a_wide_table_scrolls_by_keyboard_inside_its_region(visit):
    page = visit("phone")
    region = page.locator(".scroll").first
    region.focus()
    for _ in range(50):  # it scrolls smoothly; the page's own policy forbids wait_for_function
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(20)
        if region.evaluate("one => one.scrollLeft") > 0:
            break
    assert region.evaluate("one => one.scrollLeft") > 0
    assert page.evaluate("document.documentElement.scrollLeft") == 0


def test_in_grey_the_page_stays_readable(visit):
    page = visit()
    page.context.new_cdp_session(page).send("Emulation.setEmulatedVisionDeficiency", {"type": "achromatopsia"})
    for anchor in ("#differences", "#cold-start", "#map"):
        page.locator(anchor).scroll_into_view_if_needed()
        seen, drawn = colours(page.screenshot())
        assert all(max(colour) - min(colour) <= 2 for colour in seen)
        assert drawn > 0.02
    styles = page.evaluate(
        """() => [...document.querySelector("#cold-start svg").querySelectorAll(".line")]
          .map(line => line.getAttribute("stroke-dasharray"))"""
    )
    assert len(set(styles)) == len(styles) == 5


def test_it_prints_with_all_numbers(visit):
    page = visit()
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("nav").is_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    shown = "document.querySelector('figure details table').checkVisibility({contentVisibilityAuto: true})"
    assert page.evaluate(shown)
