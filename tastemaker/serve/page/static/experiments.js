// Experiments and what they showed, each difference with its interval.

import { ask, pathOf } from "./api.js";
import { interval } from "./charts.js";
import { byId, h } from "./dom.js";
import { missing, nothing, table } from "./panels.js";
import { clean, count, percent } from "./text.js";

export async function experiments() {
  const box = byId("experiments");
  try {
    const { experiments: known } = await ask("GET", "/v1/experiments");
    const names = Object.keys(known);
    if (!names.length) {
      box.replaceChildren(nothing("None yet. One is put with PUT /v1/experiments/NAME, or with tastemaker experiment put."));
      return;
    }
    box.replaceChildren(...names.map((name) => shell(name, known[name])));
  } catch (error) {
    box.replaceChildren(missing(error, "experiments"));
  }
}

function shell(name, definition) {
  const body = h("div", { class: "body", "aria-busy": "true" }, nothing("Counting …"));
  const variants = (definition.variants ?? []).map((one) => clean(one.name, 40)).join(" against ");
  const details = h("details", { class: "fold" }, h("summary", {}, h("h3", { dir: "auto" }, clean(name, 80)), h("span", { class: "soft small" }, variants)), body);
  let asked = false;
  details.addEventListener("toggle", async () => {
    if (!details.open || asked) return;
    asked = true;
    try {
      body.replaceChildren(...shown(await ask("GET", `/v1/experiments/${pathOf(name)}/results`)));
    } catch (error) {
      asked = false;
      body.replaceChildren(missing(error, "results"));
    } finally {
      body.setAttribute("aria-busy", "false");
    }
  });
  return details;
}

const figure = (value, measure) =>
  !Number.isFinite(value) ? "–" : /revenue/.test(measure) ? value.toFixed(2) : percent(value);
const signed = (value) => (Number.isFinite(value) ? `${value > 0 ? "+" : ""}${(100 * value).toFixed(1)} %` : "–");

function shown({ results, note }) {
  if (!results) return [nothing(clean(note))];
  const reach = Math.max(
    0.05,
    ...results.rows.flatMap((row) => {
      const relative = row.against_control?.relative;
      return relative ? [relative.low, relative.high].filter(Number.isFinite).map((value) => Math.min(1, Math.abs(value))) : [];
    }),
  );
  return [
    table(
      `Results, against ${clean(results.control, 40)}`,
      ["Measure", "Variant", "#Shoppers", "#Value", "#95 % interval", "#Difference", "Interval of the difference"],
      results.rows.map((row) => line(row, reach)),
    ),
    h("ul", { class: "plain small soft notes" }, ...results.notes.map((one) => h("li", {}, clean(one, 400)))),
  ];
}

function line(row, reach) {
  const { estimate, against_control: against, measure } = row;
  const relative = against?.relative;
  const known = relative && [relative.low, relative.value, relative.high].every(Number.isFinite);
  return [
    clean(measure, 60),
    clean(row.variant, 40),
    count(row.shoppers),
    figure(estimate.value, measure),
    `${figure(estimate.low, measure)} to ${figure(estimate.high, measure)}`,
    against ? signed(relative.value) : "control",
    known
      ? interval(relative.low, relative.value, relative.high, reach, `${signed(relative.low)} to ${signed(relative.high)} of the control`)
      : "",
  ];
}
