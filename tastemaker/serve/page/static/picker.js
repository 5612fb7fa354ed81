// Building a shopper from products, and finding one who has been here.

import { ask } from "./api.js";
import { byId, h, icon, picture, unseen } from "./dom.js";
import { clean, kindOf, price, several, titleOf } from "./text.js";

const SHOWN = 8;

function later(action, wait = 180) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, wait);
  };
}

export function productSearch(add, report) {
  const words = byId("product-words");
  let running = null;

  async function search() {
    running?.abort();
    running = new AbortController();
    try {
      const asked = new URLSearchParams({ query: words.value.trim(), n: String(SHOWN) });
      const found = await ask("GET", `/v1/items?${asked}`, undefined, { signal: running.signal });
      show(found, words.value.trim());
    } catch (error) {
      if (error.name !== "AbortError") report(error);
    }
  }

  function show(found, said) {
    byId("product-count").textContent = said
      ? found.total
        ? several(found.total, "product")
        : "No product has all of these words."
      : `Popular among ${several(found.total, "product")}`;
    byId("products").replaceChildren(
      ...found.items.map((item) =>
        h(
          "li",
          {},
          h(
            "button",
            { type: "button", class: "product", on: { click: () => add(item) } },
            picture(item.image_link),
            h("span", { class: "name", dir: "auto" }, unseen("Add "), titleOf(item)),
            h("span", { class: "soft small" }, [kindOf(item), price(item)].filter(Boolean).join(" · ")),
            icon("add"),
          ),
        ),
      ),
    );
  }

  words.addEventListener("input", later(search));
  byId("product-search").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  return search;
}

export function shopperSearch(open, report) {
  const field = byId("shopper-id");
  const anybody = byId("any-shopper");
  let total = 0;

  // Listing shoppers needs a key with the scope "admin"; without one an id can be typed all the same.
  async function list(prefix) {
    try {
      const found = await ask("GET", `/v1/users?${new URLSearchParams({ prefix, n: "12" })}`);
      byId("shopper-ids").replaceChildren(
        ...found.users.map((user) => h("option", { value: user.user_id }, several(user.products, "product"))),
      );
      if (!prefix) total = found.total;
      anybody.hidden = total === 0;
    } catch (error) {
      if (error.status !== 403 && error.status !== 409) report(error);
    }
  }

  field.addEventListener("input", later(() => list(field.value)));
  byId("shopper-search").addEventListener("submit", (event) => {
    event.preventDefault();
    const id = field.value.trim();
    if (id) open(id);
  });
  anybody.addEventListener("click", async () => {
    const offset = String(Math.floor(Math.random() * total));
    try {
      const found = await ask("GET", `/v1/users?${new URLSearchParams({ offset, n: "1" })}`);
      if (found.users.length) {
        field.value = found.users[0].user_id;
        open(found.users[0].user_id);
      }
    } catch (error) {
      report(error);
    }
  });
  return () => list("");
}

// What is known of the shopper, the newest first.
export function showKnown(session, forget) {
  byId("known").hidden = session.empty && session.visitor;
  const basket = [...session.basket].reverse().map((item) => line(item, "clicked here", forget));
  const known = [...session.items].reverse().map((item) => line(item, item.known_from === "events" ? "event" : ""));
  const all = [...basket, ...known];
  byId("known-count").textContent = several(all.length, "product");
  const more = all.length - SHOWN;
  const list = byId("history");
  list.replaceChildren(...all.slice(0, SHOWN));
  if (!all.length) list.append(h("li", { class: "soft" }, "Nothing yet."));
  if (more > 0) list.append(h("li", { class: "soft small" }, `and ${several(more, "older product")}`));
  const unwanted = [
    ...[...session.excluded.values()].map((item) => line(item, "on this page", forget)),
    ...session.notWanted.map((item) => line(item, "event")),
  ];
  byId("unwanted-part").hidden = !unwanted.length;
  byId("unwanted").replaceChildren(...unwanted.slice(0, SHOWN));
}

function line(item, from, forget) {
  return h(
    "li",
    { "data-item": item.item_id },
    h("span", { class: "name", dir: "auto" }, titleOf(item)),
    from && h("span", { class: "soft small" }, from),
    forget &&
      h(
        "button",
        { type: "button", class: "bare", "aria-label": `Remove ${clean(titleOf(item), 80)}`, on: { click: () => forget(item) } },
        icon("close"),
      ),
  );
}
