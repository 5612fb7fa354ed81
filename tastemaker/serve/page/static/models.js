// Versions of the model: which answers, and letting another one answer.

import { ask, pathOf } from "./api.js";
import { byId, h } from "./dom.js";
import { toast } from "./live.js";
import { confirmed, missing, nothing, table } from "./panels.js";
import { clean, count, moment } from "./text.js";

const STATES = new Map([
  ["active", "answers"],
  ["ready", "ready"],
  ["retired", "answered before"],
]);

export async function models() {
  const box = byId("models");
  try {
    show(box, await ask("GET", "/v1/models"));
  } catch (error) {
    box.replaceChildren(missing(error, "models"));
  }
}

function show(box, told) {
  const { active, fault, models: known, language_model: lm, addable: waiting } = told;
  box.replaceChildren(
    ...(fault ? [nothing(clean(fault, 600))] : []),
    active
      ? h(
          "dl",
          { class: "facts" },
          ...[
            ["Answers", active.version],
            ["Stages", active.stages.join(" → ") + (active.fallback ? `, then ${active.fallback}` : "")],
            ["Knows", `${count(active.items)} products, ${count(active.users)} shoppers`],
            ["Language model", active.language_model ? `in use; circuit ${lm.breaker ?? "without a breaker"}` : "this model asks none"],
          ].flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, clean(value))]),
        )
      : nothing("No model answers yet."),
    known.length
      ? table(
          "Versions",
          ["Version", "State", "Added", "Action"],
          known.map((one) => [
            clean(one.version, 120),
            STATES.get(one.state) ?? clean(one.state, 20),
            moment(one.created_at),
            one.version === active?.version ? "" : h("button", { type: "button", on: { click: () => activate(one.version) } }, "Activate", h("span", { class: "unseen" }, ` ${one.version}`)),
          ]),
        )
      : nothing("Not set up: without a store there is one version, that of the start."),
    h(
      "div",
      { class: "row actions" },
      known.some((one) => one.state === "retired") && h("button", { type: "button", on: { click: rollBack } }, "Roll back"),
      ...waiting.map((folder) => h("button", { type: "button", class: "quiet", on: { click: () => add(folder) } }, `Add ${folder}`)),
    ),
  );
}

async function change(work, done) {
  const box = byId("models");
  box.setAttribute("aria-busy", "true");
  try {
    const job = await work();
    if (job.state === "failed") toast(`It failed: ${clean(job.error)}`);
    else toast(job.state === "running" || job.state === "queued" ? "It goes on; look again soon." : done(job));
  } catch (error) {
    toast(clean(error.message));
  } finally {
    box.setAttribute("aria-busy", "false");
  }
  await models();
}

async function activate(version) {
  if (!(await confirmed("Activate this version?", `${version} answers from the next request on. Nothing is interrupted.`, "Activate"))) return;
  await change(
    () => ask("POST", `/v1/models/${pathOf(version)}:activate`),
    () => `${version} answers now.`,
  );
}

async function rollBack() {
  if (!(await confirmed("Roll back?", "The version that answered before answers from the next request on.", "Roll back"))) return;
  await change(
    () => ask("POST", "/v1/models:rollback"),
    (job) => `${job.result?.version ?? "The version before"} answers now.`,
  );
}

async function add(folder) {
  await change(
    async () => ({ state: "done", result: await ask("POST", "/v1/models", { folder }) }),
    (job) => `${job.result.version} can be activated.`,
  );
}
