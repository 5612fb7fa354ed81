// What happens now and what happened since the start: all of it from /metrics.

import { ask } from "./api.js";
import { trend } from "./charts.js";
import { byId, h } from "./dom.js";
import { nothing, table } from "./panels.js";
import { by, histogram, parse, quantile, since, sum } from "./prometheus.js";
import { clean, count, duration, METHODS, moment, percent } from "./text.js";

const KEPT = 61;
const WINDOW = 13;
const looks = []; // the last few minutes, the newest at the end

const asked = ({ route }) => !route.startsWith("/health/"); // a probe while the service starts is no failure
const failed = (labels) => asked(labels) && Number(labels.status) >= 500;

function look(samples) {
  return {
    at: performance.now() / 1000,
    requests: sum(samples, "tastemaker_requests_total", asked),
    errors: sum(samples, "tastemaker_requests_total", failed),
    lists: sum(samples, "tastemaker_lists_total"),
    events: sum(samples, "tastemaker_events_total"),
    degraded: sum(samples, "tastemaker_lists_total", ({ degraded }) => degraded === "true"),
    places: sum(samples, "tastemaker_places_total"),
    popular: sum(samples, "tastemaker_places_total", ({ source }) => source === "popular"),
    seconds: histogram(samples, "tastemaker_request_seconds", ({ route }) => route === "/v1/recommend"),
  };
}

const NOTHING = { lists: NaN, events: NaN, errors: NaN, degraded: NaN, fallback: NaN, half: NaN, most: NaN };

// Rates and shares between two looks.
function between(before, now) {
  const seconds = Math.max(1e-3, now.at - before.at);
  const requests = now.requests - before.requests;
  const lists = now.lists - before.lists;
  const buckets = since(now.seconds, before.seconds);
  return {
    lists: lists / seconds,
    events: (now.events - before.events) / seconds,
    errors: requests ? (now.errors - before.errors) / requests : NaN,
    degraded: lists ? (now.degraded - before.degraded) / lists : NaN,
    fallback: now.places > before.places ? (now.popular - before.popular) / (now.places - before.places) : NaN,
    half: 1000 * quantile(buckets, 0.5),
    most: 1000 * quantile(buckets, 0.99),
  };
}

const time = (value) => (Number.isFinite(value) ? duration(value) : "–");
const pace = (value) => (Number.isFinite(value) ? value.toFixed(value && value < 10 ? 1 : 0) : "–");
const FIGURES = [
  ["Lists a second", "lists", pace],
  ["Events a second", "events", pace],
  ["Median time", "half", time],
  ["99th percentile", "most", time],
  ["Degraded", "degraded", percent],
  ["Fallback", "fallback", percent],
  ["Server errors", "errors", percent],
];

export async function traffic() {
  const samples = parse(await ask("GET", "/metrics", undefined, { accept: "text/plain" }));
  looks.push(look(samples));
  looks.splice(0, looks.length - KEPT);
  const steps = looks.slice(1).map((now, place) => between(looks[place], now));
  const now = looks.at(-1);
  const started = sum(samples, "tastemaker_started_seconds");
  const first = { ...look([]), at: now.at - (Date.now() / 1000 - started) };
  const whole = between(first, now);
  const minute = looks.length > 1 ? between(looks[Math.max(0, looks.length - WINDOW)], now) : NOTHING;
  byId("figures").replaceChildren(
    ...FIGURES.map(([name, key, words]) =>
      h(
        "div",
        { class: "figure" },
        h("p", { class: "soft small" }, name),
        h("p", { class: "value" }, words(minute[key])),
        trend(steps.map((step) => step[key]), `${name}, since this page was opened`),
        h("p", { class: "soft small" }, `overall ${words(whole[key])}`),
      ),
    ),
  );
  byId("since").textContent =
    `The last minute of this process, all shops together; times are those of lists, fallback is the share of places filled with what is popular. ` +
    `The lines begin when this page was opened, five minutes ago at most; overall is since the start, ${moment(1000 * started)}.`;
  byId("answers").replaceChildren(...answers(samples));
  return samples;
}

function answers(samples) {
  const lists = sum(samples, "tastemaker_lists_total");
  const all = sum(samples, "tastemaker_places_total");
  const products = sum(samples, "tastemaker_products");
  const shown = sum(samples, "tastemaker_products_shown");
  const degraded = by(samples, "tastemaker_lists_total", "strategy", (labels) => labels.degraded === "true");
  const faults = by(samples, "tastemaker_faults_total", "fault");
  const events = by(samples, "tastemaker_events_total", "status");
  return [
    h(
      "dl",
      { class: "facts" },
      h("dt", {}, "Coverage"),
      h("dd", {}, products ? `${percent(shown / products)}: ${count(shown)} of ${count(products)} products were shown` : "no model"),
      sum(samples, "tastemaker_breaker_open") > 0 && [h("dt", {}, "Language model"), h("dd", { class: "bad" }, "left alone for a while, after failures")],
      h("dt", {}, "Events"),
      h("dd", {}, events.size ? [...events].map(([status, number]) => `${count(number)} ${clean(status, 30)}`).join(", ") : "none"),
    ),
    lists
      ? h(
          "div",
          { class: "pair" },
          table(
            "Lists by method",
            ["Method", "#Lists", "#Degraded"],
            [...by(samples, "tastemaker_lists_total", "strategy")].map(([strategy, number]) => [
              METHODS.get(strategy) ?? clean(strategy, 40),
              count(number),
              percent((degraded.get(strategy) ?? 0) / number),
            ]),
          ),
          table(
            "Places by source",
            ["Source", "#Places", "#Share"],
            [...by(samples, "tastemaker_places_total", "source")].map(([source, number]) => [
              clean(source, 60),
              count(number),
              percent(number / all),
            ]),
          ),
        )
      : nothing("No list was asked for yet."),
    faults.size
      ? table("Why lists were degraded", ["Cause", "#Lists"], [...faults].map(([fault, number]) => [clean(fault), count(number)]))
      : "",
  ];
}
