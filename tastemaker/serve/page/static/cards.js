// A list as cards: what, for how much, why, and what the shopper thinks of it.

import { calm, h, icon, picture, unseen } from "./dom.js";
import { clean, count, duration, kindOf, METHODS, price, several, titleOf } from "./text.js";

const CHIPS = 3;

// Evidence in a few words: what kind of fact, and the fact.
export function factOf(evidence) {
  const name = clean(evidence.name, 90);
  const value = clean(evidence.value, 90);
  switch (evidence.kind) {
    case "history":
      return ["because of", name || clean(evidence.item_id, 60)];
    case "attribute":
      return [`same ${name === "categories" ? "category" : name}`, value];
    case "wish":
      return ["wish", value || name];
    case "profile":
      return ["taste", value || name];
    case "popularity":
      return ["popular", value ? `${/^\d+$/.test(value) ? count(Number(value)) : value} purchases` : name];
    default:
      return [clean(evidence.kind, 20), [name, value].filter(Boolean).join(": ")];
  }
}

function chips(reason) {
  if (!reason?.evidence?.some((one) => one.kind !== "popularity")) return null; // the sentence says it all
  return h(
    "ul",
    { class: "plain chips", "aria-label": "Evidence" },
    ...reason.evidence.slice(0, CHIPS).map((evidence) => {
      const [kind, fact] = factOf(evidence);
      return h("li", { class: "chip" }, h("span", { class: "kind" }, kind), " ", h("bdi", {}, clean(fact, 44)));
    }),
  );
}

// Where a product stood in the list before this one.
function moved(item, before) {
  if (!before) return null;
  const was = before.get(item.item_id);
  if (was === undefined) return h("span", { class: "moved new" }, "new");
  const steps = was - item.rank;
  if (!steps) return null;
  const words = `${steps > 0 ? "up" : "down"} ${several(Math.abs(steps), "place")}`;
  return h(
    "span",
    { class: "moved", title: words },
    h("span", { "aria-hidden": "true" }, `${steps > 0 ? "▲" : "▼"} ${Math.abs(steps)}`),
    unseen(words),
  );
}

function card(item, answer, { before, other, why, judge }) {
  const title = titleOf(item);
  const short = clean(title, 80);
  const elsewhere = other && other.get(item.item_id);
  return h(
    "li",
    { class: "card", "data-item": item.item_id },
    h("span", { class: "rank" }, unseen("Place "), String(item.rank), moved(item, before)),
    picture(item.image_link),
    h(
      "div",
      { class: "what" },
      h("h3", { dir: "auto" }, title),
      h("p", { class: "small facts" }, price(item) && h("span", { class: "price" }, price(item)), h("span", { class: "soft" }, kindOf(item))),
      item.reason && h("p", { class: "reason" }, clean(item.reason.text, 400)),
      chips(item.reason),
      other &&
        h("p", { class: "small elsewhere" }, elsewhere === undefined ? "only in this list" : `place ${elsewhere} in the other list`),
    ),
    h(
      "div",
      { class: "actions" },
      h("button", { type: "button", class: "quiet why", "aria-haspopup": "dialog", on: { click: () => why(item, answer) } }, "Why?", unseen(` ${short}`)),
      judge && thumb("up", `More like ${short}`, () => judge(item, true, answer)),
      judge && thumb("down", `Not wanted: ${short}`, () => judge(item, false, answer)),
    ),
  );
}

function thumb(name, label, act) {
  return h("button", { type: "button", class: `bare thumb ${name}`, "aria-label": label, title: label, on: { click: act } }, icon(name));
}

export function places(answer) {
  return new Map(answer.items.map((item) => [item.item_id, item.rank]));
}

function understood(wish) {
  if (!wish) return null;
  const words = clean(wish.understood, 200);
  return h(
    "p",
    { class: "small understood" },
    words ? `Understood: ${words}` : "Nothing of the wish could be used.",
    typeof wish.products_that_fit === "number" ? ` (${several(wish.products_that_fit, "product")} fit)` : "",
    ...(wish.notes ?? []).map((note) => h("span", { class: "soft" }, ` ${clean(note)}`)),
  );
}

// A whole list: heading, badge where it is degraded, how it came about, cards.
export function list(answer, method, options) {
  const heading = h("h2", {}, METHODS.get(method) ?? method);
  const by = [
    answer.strategy !== method && (METHODS.get(answer.strategy) ?? clean(answer.strategy, 40)),
    answer.variant && `variant “${clean(answer.variant, 40)}”`,
    `${several(answer.items.length, "product")} in ${duration(answer.took_ms)}`,
  ].filter(Boolean);
  return h(
    "section",
    { class: "list", "aria-label": `List: ${METHODS.get(method) ?? method}` },
    h(
      "div",
      { class: "row between head" },
      heading,
      h("p", { class: "soft small" }, by.join(" · ")),
    ),
    answer.degraded &&
      h(
        "p",
        { class: "degraded" },
        h("strong", {}, "Degraded"),
        ` ${clean(answer.degraded_reason)}. What had answered by then is shown.`,
      ),
    understood(answer.wish),
    ...(answer.notes ?? []).map((note) => h("p", { class: "soft small" }, clean(note))),
    answer.items.length
      ? h("ol", { class: "plain cards" }, ...answer.items.map((item) => card(item, answer, options)))
      : h("p", { class: "nothing" }, "Nothing fits. Ask for something wider, or allow more products."),
  );
}

// Let cards glide from where they were to where they are.
export function glide(container, render) {
  const boxes = new Map(
    [...container.querySelectorAll(".card")].map((one) => [one.dataset.item, one.getBoundingClientRect()]),
  );
  render();
  if (calm() || !boxes.size) return;
  for (const one of container.querySelectorAll(".card")) {
    const was = boxes.get(one.dataset.item);
    const now = one.getBoundingClientRect();
    const frames = was
      ? [{ transform: `translate(${was.left - now.left}px, ${was.top - now.top}px)` }, { transform: "none" }]
      : [{ opacity: 0 }, { opacity: 1 }];
    one.animate(frames, { duration: 260, easing: "ease-out" });
  }
}
