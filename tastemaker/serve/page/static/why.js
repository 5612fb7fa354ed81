// The drawer that says why a product is listed: the reason, its evidence, what each method says, and how long it took.

import { byId, h, icon, picture } from "./dom.js";
import { factOf } from "./cards.js";
import { clean, duration, kindOf, METHODS, percent, price, titleOf } from "./text.js";

const DEPTH = 100;
const ASKED = ["retriever", "full", "text", "popular"];
const STAGES = new Map([
  ["resolve", "Shopper and wish"],
  ["retrieve", "Retriever"],
  ["rank", "Later stages"],
  ["language_model", "Language model"],
  ["explain", "Reasons"],
]);

export class Why {
  constructor(session) {
    this.session = session;
    this.dialog = byId("why");
    this.kept = new Map(); // opinions on the shopper as they are now
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
  }

  // Forget what the methods said: the shopper or the wish has changed.
  forget() {
    this.kept.clear();
  }

  async open(item, answer) {
    const opinions = h("div", { class: "opinions", "aria-busy": "true" }, h("p", { class: "soft" }, "Asking each method …"));
    this.dialog.replaceChildren(
      h(
        "div",
        { class: "sheet" },
        h(
          "div",
          { class: "row between top-row" },
          h("h2", { dir: "auto" }, titleOf(item)),
          h("button", { type: "button", class: "bare", "aria-label": "Close", on: { click: () => this.dialog.close() } }, icon("close")),
        ),
        h("p", { class: "soft" }, [kindOf(item), price(item)].filter(Boolean).join(" · ")),
        picture(item.image_link),
        reason(item),
        h("h3", {}, "What each method says"),
        opinions,
        h("h3", {}, "How long this list took"),
        stages(answer),
        facts(item, answer),
      ),
    );
    this.dialog.setAttribute("aria-label", `Why: ${titleOf(item)}`);
    this.dialog.showModal();
    const lines = [];
    for (const method of ASKED) lines.push(await this.#opinion(method, item));
    opinions.setAttribute("aria-busy", "false");
    opinions.replaceChildren(table(lines));
  }

  async #opinion(method, item) {
    try {
      this.kept.set(method, this.kept.get(method) ?? (await this.session.recommend(method, { n: DEPTH, explain: false })));
    } catch (error) {
      return { method, says: clean(error.message) };
    }
    const answer = this.kept.get(method);
    const time = answer.took_ms;
    if (method === "full" && answer.timings.language_model === undefined) {
      const why = answer.degraded ? clean(answer.degraded_reason) : "this model asks none";
      return { method, says: why };
    }
    const found = answer.items.find((one) => one.item_id === item.item_id);
    const own = found && (method === "popular" || found.source !== "popular");
    return { method, says: own ? `place ${found.rank}` : `not among its first ${DEPTH}`, score: own ? found.score : null, time };
  }
}

function reason(item) {
  if (!item.reason) return h("p", { class: "reason" }, "No reason was given in the time there was.");
  const { text, evidence, phrased_by: by, grounded } = item.reason;
  return h(
    "div",
    {},
    h("p", { class: "reason large" }, clean(text, 600)),
    evidence.length
      ? h(
          "ul",
          { class: "plain evidence" },
          ...evidence.map((one) => {
            const [kind, fact] = factOf(one);
            return h(
              "li",
              {},
              h("span", { class: "kind" }, kind),
              h("span", { class: "fact", dir: "auto" }, fact),
              h("span", { class: "soft small" }, `${percent(one.weight)}, by ${clean(one.source, 60)}`),
            );
          }),
        )
      : h("p", { class: "soft" }, "Nothing is known that could be cited."),
    h(
      "p",
      { class: "soft small" },
      `Worded by ${by === "template" ? "a template" : clean(by, 60)}`,
      grounded ? "; each claim was checked against history and catalogue." : ".",
    ),
  );
}

function table(lines) {
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, ...["Method", "Says", "Score", "Time"].map((name, place) => h("th", { scope: "col", class: place > 1 && "number" }, name)))),
    h(
      "tbody",
      {},
      ...lines.map(({ method, says, score, time }) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, METHODS.get(method)),
          h("td", {}, says),
          h("td", { class: "number" }, typeof score === "number" ? score.toPrecision(3) : "–"),
          h("td", { class: "number" }, time === undefined ? "–" : duration(time)),
        ),
      ),
    ),
  );
}

function stages(answer) {
  const steps = Object.entries(answer.timings).filter(([, value]) => value >= 0.005);
  const longest = Math.max(...steps.map(([, value]) => value), 0.001);
  return h(
    "ul",
    { class: "plain stages" },
    ...steps.map(([step, value]) =>
      h(
        "li",
        {},
        h("span", {}, STAGES.get(step) ?? clean(step, 40)),
        h("meter", { min: 0, max: longest, value, "aria-label": `${STAGES.get(step) ?? step}: ${duration(value)}` }),
        h("span", { class: "number" }, duration(value)),
      ),
    ),
    h("li", { class: "all" }, h("span", {}, "In all"), h("span"), h("span", { class: "number" }, duration(answer.took_ms))),
  );
}

function facts(item, answer) {
  const rows = [
    ["Placed by", item.source],
    ["Product", item.item_id],
    ["Model", answer.model_version],
    ["Variant", answer.variant],
    ["Request", answer.request_id],
  ].filter(([, value]) => value);
  return h("dl", { class: "small" }, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, clean(value))]));
}
