// What all panels of the operator's view share: tables, what is missing, and a question before what matters.

import { Problem } from "./api.js";
import { byId, h } from "./dom.js";
import { clean } from "./text.js";

export function table(caption, heads, rows) {
  return h(
    "div",
    { class: "scroll", role: "region", tabindex: 0, "aria-label": caption },
    h(
      "table",
      {},
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col", class: /^#/.test(head) && "number" }, head.replace("#", ""))))),
      h(
        "tbody",
        {},
        ...rows.map((cells) =>
          h(
            "tr",
            {},
            ...cells.map((cell, place) =>
              place
                ? h("td", { class: /^#/.test(heads[place]) && "number" }, cell)
                : h("th", { scope: "row", dir: "auto" }, cell),
            ),
          ),
        ),
      ),
    ),
  );
}

export const nothing = (text) => h("p", { class: "soft" }, text);

// Why a panel is empty: nothing is stored, the key does not go so far, or something failed.
export function missing(error, what) {
  if (!(error instanceof Problem)) throw error;
  if (error.status === 409) {
    return nothing(
      /stores nothing/.test(error.message)
        ? `Not set up: this service stores nothing, so there are no ${what}. Start it with --store.`
        : clean(error.message),
    );
  }
  if (error.status === 403) return nothing(`This key does not open ${what}; they need the scope “admin”.`);
  return h("p", { class: "bad", role: "alert" }, clean(error.message), error.requestId ? ` (request ${clean(error.requestId)})` : "");
}

// Ask before something that changes what shoppers see.
export function confirmed(title, text, yes) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text;
  byId("confirm-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
