"""What a page must keep for everybody: names, one heading order, contrast, sizes, nothing cut off; as scripts."""

from itertools import pairwise

NAMELESS = """() => [...document.querySelectorAll(
    "a[href], button, input, select, textarea, summary, [role=button], dialog, section, nav, aside, table, meter")]
  .filter(one => one.checkVisibility() && !["SECTION", "TABLE"].includes(one.tagName))
  .filter(one => {
    const by = (one.getAttribute("aria-labelledby") ?? "").split(" ")
      .map(id => document.getElementById(id)?.textContent ?? "").join("");
    const labels = [...(one.labels ?? [])].map(label => label.textContent).join("");
    const own = ["BUTTON", "A", "SUMMARY"].includes(one.tagName) ? one.textContent : "";
    return !(one.getAttribute("aria-label") || by || labels || own).trim();
  }).map(one => one.outerHTML.slice(0, 120))"""
"""Controls and landmarks that say no name."""

HEADINGS = """() => [...document.querySelectorAll("h1, h2, h3, h4")].filter(one => one.checkVisibility())
  .map(one => Number(one.tagName[1]))"""

BROKEN = """() => {
  const ids = [...document.querySelectorAll("[id]")].map(one => one.id);
  const twice = ids.filter((id, place) => ids.indexOf(id) !== place);
  const lost = ["aria-labelledby", "aria-describedby", "aria-controls", "for", "list"].flatMap(name =>
    [...document.querySelectorAll(`[${name}]`)].flatMap(one => one.getAttribute(name).split(" "))
      .filter(id => !document.getElementById(id)));
  return [...twice, ...lost];
}"""
"""Ids that stand twice, or that are named and are not there."""

CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const over = (top, below) => top.slice(0, 3).map((value, k) => value * top[3] + below[k] * (1 - top[3]));
  const light = colour => { const [r, g, b] = colour.map(value => value / 255)
    .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = one => {
    const above = []; for (let at = one; at; at = at.parentElement) above.push(at);
    const paint = (found, at) => over(rgba(getComputedStyle(at).backgroundColor), found);
    return above.reverse().reduce(paint, [255, 255, 255]);
  };
  const bad = [];
  const modal = document.querySelector("dialog:modal");
  const walker = document.createTreeWalker(modal ?? document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !one.checkVisibility({ visibilityProperty: true })) continue;
    if (one.closest(".unseen, .skip, [disabled], noscript, option")) continue;
    const style = getComputedStyle(one);
    const below = behind(one);
    const [a, b] = [light(over(rgba(style.color), below)), light(below)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const text = walker.currentNode.textContent.slice(0, 40);
    if (ratio < (large ? 3 : 4.5)) bad.push([ratio.toFixed(2), style.color, text]);
  }
  return bad;
}"""
"""Texts whose contrast is below WCAG 2.2 AA (1.4.3)."""

EDGES = """() => {
  const light = value => { const [r, g, b] = value.match(/[\\d.]+/g).map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll("input:not([type=checkbox]), select, textarea")]
    .filter(one => one.checkVisibility() && !one.disabled).filter(one => {
      const edge = light(getComputedStyle(one).borderTopColor);
      return (Math.max(edge, paper) + 0.05) / (Math.min(edge, paper) + 0.05) < 3;
    }).map(one => one.id);
}"""
"""Fields whose edge cannot be told from the paper (1.4.11)."""

SMALL = """() => [...document.querySelectorAll("button, summary, select, input:not([type=checkbox]), nav a")]
  .filter(one => one.checkVisibility()).filter(one => {
    const box = one.getBoundingClientRect(); return box.width < 24 || box.height < 24;
  }).map(one => one.outerHTML.slice(0, 120))"""
"""Targets smaller than 24 by 24 pixels (2.5.8)."""

OVERFLOWING = """() => [...document.querySelectorAll("body *")]
  .filter(one => one.checkVisibility() && !one.closest(".scroll, svg, .unseen, .skip, .chip *"))
  .filter(one => { const box = one.getBoundingClientRect(); return box.right > innerWidth + 1 || box.left < -1; })
  .map(one => one.outerHTML.slice(0, 120))"""

WRAPPED = """() => {
  const lines = one => {
    const range = document.createRange();
    range.selectNodeContents(one);
    const seen = [...range.getClientRects()].filter(box => box.width > 1).map(box => box.top + box.height / 2);
    return seen.length ? (Math.max(...seen) - Math.min(...seen)) / parseFloat(getComputedStyle(one).fontSize) : 0;
  };
  return [...document.querySelectorAll("button")]
    .filter(one => one.checkVisibility() && one.innerText.trim().length <= 24 && !one.querySelector("img, svg"))
    .filter(one => lines(one) > 0.75).map(one => one.outerHTML.slice(0, 120));
}"""
"""Buttons with a short word that takes more than one line."""

FOCUSED = """() => {
  const at = document.activeElement;
  const style = getComputedStyle(at);
  const box = at.getBoundingClientRect();
  return {
    kind: at.tagName.toLowerCase(), id: at.id,
    label: at.getAttribute("aria-label") ?? at.textContent.trim().slice(0, 60),
    visible: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    onScreen: box.width > 0 && box.right > 0 && box.left < innerWidth && box.bottom > 0 && box.top < innerHeight,
    top: Math.round(box.top + scrollY), left: Math.round(box.left),
  };
}"""


def faults(page):
    """Return all that is wrong with a page as it is shown now."""
    headings = page.evaluate(HEADINGS)
    jumps = [pair for pair in pairwise(headings) if pair[1] > pair[0] + 1]
    found = {
        "without a name": page.evaluate(NAMELESS),
        "ids": page.evaluate(BROKEN),
        "headings that jump": jumps,
        "contrast": page.evaluate(CONTRAST),
        "edges": page.evaluate(EDGES),
        "too small": page.evaluate(SMALL),
        "overflowing": page.evaluate(OVERFLOWING),
        "wrapped": page.evaluate(WRAPPED),
    }
    return {what: places for what, places in found.items() if places}
